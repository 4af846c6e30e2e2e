"""The image-text model: a Chinese-CLIP (Yang et al., 2022) in the form in which torchmetrics takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import ChineseCLIPModel, ChineseCLIPProcessor

from gillnext.instruments import families
from gillnext.runtime.errors import UserError

MINIATURE = "training.json"  # what the demo's own model has beside its weights, and no published one


def pooled(output: Any) -> Tensor:
    """The projected embedding in what `get_*_features` returns: a tensor, or an output object that holds it."""
    return output if isinstance(output, Tensor) else output.pooler_output


class PooledChineseCLIP(ChineseCLIPModel):
    """A ChineseCLIPModel whose `get_*_features` return the embedding itself, as torchmetrics' CLIPScore expects."""

    def get_image_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return pooled(super().get_image_features(*args, **kwargs))

    def get_text_features(self, *args: Any, **kwargs: Any) -> Tensor:
        return pooled(super().get_text_features(*args, **kwargs))


def published(folder: Path | str, kind: Any, weights: bool = True) -> Any:
    """`kind.from_pretrained(folder)`, `weights` of safetensors alone and in float32, whatever the files have;
    `UserError` where that fails, or where they are .bin alone.
    """
    path = Path(folder)
    if list(path.glob("*.bin")) and not list(path.glob("*.safetensors")):
        raise UserError(
            "has its weights as .bin alone, a pickle, which can hold code", where=str(folder),
            remedy=f"gillnext convert --model {folder} --out {str(folder).rstrip('/')}-safetensors, then name that one",
        )  # fmt: skip
    try:
        if not weights:
            return kind.from_pretrained(folder)
        return kind.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be loaded: {error}", where=str(folder), remedy="fetch the checkpoint again") from error


def for_torchmetrics(folder: Path | str) -> tuple[PooledChineseCLIP, ChineseCLIPProcessor]:
    """Model and processor for `CLIPScore(model_name_or_path=lambda: for_torchmetrics(folder))`.

    Raises `UserError` where the folder holds another model, or weights that are no safetensors.
    """
    if (named := families.model_type(folder)) != "chinese_clip":
        raise UserError(
            f"an image-text model that reads Chinese is needed, not a {named!r}", where=str(folder),
            remedy="name the folder of a Chinese-CLIP",
        )  # fmt: skip
    model = published(folder, PooledChineseCLIP).eval().requires_grad_(False)
    return model, published(folder, ChineseCLIPProcessor, weights=False)


def describe(folder: Path | str) -> str:
    """What the model in a folder is, in the words of a protocol."""
    if (Path(folder) / MINIATURE).exists():
        return "miniature Chinese-CLIP"
    vision = families.config_of(folder).get("vision_config")
    known = vision if isinstance(vision, dict) else {}
    parts = [
        f"{text} {known[key]}"
        for key, text in (("hidden_size", "width"), ("patch_size", "patches of"), ("image_size", "pixels"))
        if key in known
    ]
    return f"Chinese-CLIP ({', '.join(parts)})" if parts else "Chinese-CLIP"
