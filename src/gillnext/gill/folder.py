"""A trained Gill as a folder: the trained tensors, and what they were trained with. The frozen parts stay elsewhere.

gill.safetensors   [IMG] rows, visual prefix, retrieval projections and temperature, mapper
gill.json          sizes, the SHA-256 of language model, visual encoder and base, counts
adapter/           the spatial adapter, where generation was trained through the UNet
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gillnext.gill.model import Gill, Sizes
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

WEIGHTS, ABOUT, ADAPTER = "gill.safetensors", "gill.json", "adapter"


def save(gill: Gill, folder: Path, about: dict[str, Any]) -> None:
    """Write what was trained into `folder`, which is there; `about` goes into gill.json beside the sizes."""
    trained = {name: p for name, p in gill.trainable_parameters().items() if not name.startswith("denoiser.")}
    save_file({name: p.detach().cpu().contiguous() for name, p in trained.items()}, folder / WEIGHTS)
    files.write_json(folder / ABOUT, about | {"sizes": dataclasses.asdict(gill.sizes)})
    if gill.denoiser:
        gill.denoiser.adapter.save_pretrained(folder / ADAPTER)


def about(folder: Path) -> dict[str, Any]:
    """gill.json; `UserError` where the folder is none of a Gill."""
    if not (folder / ABOUT).is_file() or not (folder / WEIGHTS).is_file():
        raise UserError("no trained GILL there", where=str(folder), remedy="name a folder that `gillnext gill` wrote")
    return files.read_json(folder / ABOUT)


def load(folder: Path, language: Any) -> Gill:
    """The Gill in `folder` around its language model, without a UNet; `UserError` where its tensors do not fit."""
    gill = Gill(language, Sizes(**about(folder)["sizes"]))
    try:
        missing, unknown = gill.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    except (RuntimeError, SafetensorError) as error:
        raise UserError(f"its tensors do not fit: {error}", where=str(folder), remedy="train it again") from error
    lost = [name for name in missing if not name.startswith("language.")] + unknown
    if lost:
        raise UserError(f"{', '.join(lost)}: missing or unknown", where=str(folder), remedy="train it again")
    return gill.eval()
