"""Miniature visual encoders of published classes, of random weights, as their folders lie on the hub."""

import torch

VISION = {
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "max_position_embeddings": 16,
}


def save(folder, kind):
    """A folder of the class that `kind`, a `model_type`, stands for."""
    from transformers import (
        ChineseCLIPConfig,
        ChineseCLIPImageProcessor,
        ChineseCLIPModel,
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
    )

    classes = {
        "chinese_clip": (ChineseCLIPModel, ChineseCLIPConfig, ChineseCLIPImageProcessor, {"projection_dim": 8}),
        "clip": (CLIPModel, CLIPConfig, CLIPImageProcessor, {"projection_dim": 8}),
        "siglip": (SiglipModel, SiglipConfig, SiglipImageProcessor, {}),
    }
    model, config, processor, settings = classes[kind]
    torch.manual_seed(0)
    model(config(text_config=TEXT, vision_config=VISION, **settings)).save_pretrained(folder)
    size = {"height": 32, "width": 32} if kind != "clip" else {"shortest_edge": 32}
    crop = {} if kind == "siglip" else {"crop_size": {"height": 32, "width": 32}}
    processor(size=size, **crop).save_pretrained(folder)
    return folder
