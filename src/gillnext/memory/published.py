"""The published checkpoints' shapes, as their own configurations have them, built without memory: no weights are read.

Kolors' UNet is in `kolors.py`. Attention is computed by matrix products (`eager`), so that a counter sees them.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from transformers import (
    AutoModelForCausalLM,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    Dinov2Config,
    Dinov2Model,
    GlmConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SwinConfig,
)

# Qwen2.5-7B-Instruct
QWEN: dict[str, Any] = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
# Qwen2.5-1.5B-Instruct
SMALL_QWEN: dict[str, Any] = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": True,
}  # fmt: skip
# Qwen2-VL-7B-Instruct: its language model, and what sees the pictures
TEXT: dict[str, Any] = {
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1_000_000.0},
}  # fmt: skip
VISION: dict[str, Any] = {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "num_heads": 16}
PATCH = 14  # pixels a side; four patches make a token of the language model
# ChatGLM3-6B, which Kolors reads captions with, in the words of transformers' class of the same architecture
CHATGLM: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 13696, "num_hidden_layers": 28, "num_attention_heads": 32,
    "num_key_value_heads": 2, "head_dim": 128, "vocab_size": 65024, "attention_bias": True, "pad_token_id": 0,
}  # fmt: skip
# SDXL's autoencoder, which is Kolors' too
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4, "sample_size": 1024,
}  # fmt: skip
# grounding-dino-base's backbone, Swin-B at 384; the rest are the class's defaults
SWIN: dict[str, Any] = {
    "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12, "image_size": 384,
    "out_features": ["stage2", "stage3", "stage4"],
}  # fmt: skip
DINO_SIDE, OWL_SIDE, VIT_SIDE = 800, 960, 224  # pixels that the processors make of a square picture
# What differs from the classes' defaults: owlv2-base-patch16-ensemble, dinov2-base, chinese-clip-vit-base-patch16
OWL: dict[str, Any] = {"image_size": OWL_SIDE, "patch_size": 16}
DINOV2: dict[str, Any] = {"patch_size": 14, "image_size": 518}
CHINESE_CLIP: dict[str, Any] = {"patch_size": 16, "image_size": VIT_SIDE}

EAGER: dict[str, Any] = {"attn_implementation": "eager"}


def language_model(shape: dict[str, Any]) -> Any:
    """A causal language model of `shape`."""
    config = GlmConfig(**shape) if shape is CHATGLM else Qwen2Config(**shape)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, **EAGER).eval()


def vision_language_model() -> Any:
    """Qwen2-VL-7B."""
    config = Qwen2VLConfig(text_config=TEXT, vision_config=VISION)
    with torch.device("meta"):
        return Qwen2VLForConditionalGeneration._from_config(config, **EAGER).eval()


def autoencoder() -> Any:
    """SDXL's."""
    with torch.device("meta"):
        return AutoencoderKL(**VAE).eval()


def detector() -> Any:
    """Grounding DINO-base, on the device that is the default."""
    config = GroundingDinoConfig(backbone_config=SwinConfig(**SWIN), text_config={"model_type": "bert"})
    return GroundingDinoForObjectDetection._from_config(config, **EAGER).eval()


def second_detector() -> Any:
    """OWLv2-base."""
    with torch.device("meta"):
        return Owlv2ForObjectDetection._from_config(Owlv2Config(vision_config=OWL), **EAGER).eval()


def feature_network() -> Any:
    """DINOv2-base."""
    with torch.device("meta"):
        return Dinov2Model._from_config(Dinov2Config(**DINOV2), **EAGER).eval()


def image_text_model() -> Any:
    """Chinese-CLIP, ViT-B/16."""
    with torch.device("meta"):
        return ChineseCLIPModel._from_config(ChineseCLIPConfig(vision_config=CHINESE_CLIP), **EAGER).eval()
