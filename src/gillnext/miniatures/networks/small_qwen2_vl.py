"""Miniatures of Qwen2-VL and Qwen2.5-VL of the real classes, tokens and chat template, with random weights.

They drive the vision-language annotator's own path (prompt, padding, generation, parsing) where no checkpoint can be
fetched, in the tests and in benchmarks/qwen2vl_annotator.py, which trains one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from gillnext.language.tokenizer import train_tokenizer

SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# Processor, configuration and model of a family.
CLASSES = {
    "qwen2_vl": (Qwen2VLProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration),
    "qwen2_5_vl": (Qwen2_5_VLProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
}


def make_processor(texts: Iterable[str], size: int = 112, family: str = "qwen2_vl") -> Any:
    """A processor with a byte-level BPE tokenizer of `texts`; pictures are brought to about `size`² pixels."""
    tokenizer = train_tokenizer(texts, 800)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(t, special=True) for t in SPECIAL]})
    return processor(tokenizer, size, family)


def processor(tokenizer: Any, size: int, family: str = "qwen2_vl", patch: int = 14) -> Any:
    """A processor around a tokenizer that knows `SPECIAL`; patches have `patch` pixels."""
    sizes: dict[str, Any] = {"size": {"shortest_edge": size * size, "longest_edge": size * size}, "patch_size": patch}
    return CLASSES[family][0](
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(**sizes), chat_template=TEMPLATE
    )


def _vision(family: str, width: int, layers: int) -> dict[str, int]:
    """Settings of a family's vision tower, `width` on both of its sides."""
    common = {"depth": layers, "hidden_size": width, "num_heads": width // 16}
    if family == "qwen2_vl":
        return common | {"embed_dim": width, "mlp_ratio": 2}
    return common | {"out_hidden_size": width, "intermediate_size": 2 * width}


def make_model(processor: Any, width: int = 64, layers: int = 2, family: str = "qwen2_vl") -> Any:
    """An untrained model: patches of 14 pixels merged two by two, multimodal rotary positions, heads of 16."""
    text = {
        "vocab_size": len(processor.tokenizer), "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": layers, "num_attention_heads": width // 16, "num_key_value_heads": width // 32,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
    }  # fmt: skip
    return build(processor, text, _vision(family, width, layers), family, tied=True)


def build(
    processor: Any, text: dict[str, Any], vision: dict[str, Any], family: str = "qwen2_vl", tied: bool = False
) -> Any:
    """An untrained model of any size that speaks the processor's tokens; `text` and `vision` are the two towers'."""
    token = processor.tokenizer.convert_tokens_to_ids
    marks = {
        "bos_token_id": None, "eos_token_id": token("<|im_end|>"), "pad_token_id": processor.tokenizer.pad_token_id,
    }  # fmt: skip
    _, config_class, model_class = CLASSES[family]
    config = config_class(
        text_config=text | marks, vision_config=vision, tie_word_embeddings=tied,
        image_token_id=token("<|image_pad|>"), video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"), vision_end_token_id=token("<|vision_end|>"),
    )  # fmt: skip
    model = model_class(config)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model
