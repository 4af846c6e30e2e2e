"""Where the model of a role comes from, as the setting `models.ROLE` says: made | kept | PATH | ORG/NAME @ REVISION.

The Snakefile reads this module on hosts that have Snakemake alone: standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext.instruments.families import ZERO_SHOT
from gillnext.runtime import manifest
from gillnext.runtime.errors import UserError

MADE, KEPT = "made", "kept"
MODELS = "reference/models"  # where kept models lie, in the checkout
DRAWING = "draw"  # folder of the kept planner and adapter beside them
OWN = (MADE, KEPT)  # of this workflow, made now or before
_HUB = re.compile(r"([\w.-]+/[\w.-]+)\s*@\s*([\w./-]+)")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Role:
    """What a model does in the workflow. `made`: the rule that makes a miniature of it; `takes`: the kinds of
    checkpoints that can be given (`checkpoints.kind`).
    """

    made: str
    takes: tuple[str, ...]


_LM = "causal language model"
_VLM = ("qwen2_vl", "qwen2_5_vl")
ROLES = {
    "classifier": Role("classifier", (_LM,)),
    "annotator": Role("annotator", ("gillnext-faster-rcnn", *_VLM, *ZERO_SHOT)),
    "base": Role(
        "base", ("KolorsPipeline", "StableDiffusionXLPipeline", "GroundedKolorsPipeline", "GroundedSDXLPipeline")
    ),
    "planner": Role("planner", (_LM,)),
    "image_text": Role("clip", ("chinese_clip",)),
    "features": Role("features", ("gillnext-features", "inception", "dinov2", "clip", "chinese_clip")),
    "evaluator": Role("evaluator", ("gillnext-fcos", "gillnext-templates", *ZERO_SHOT)),
    "second_evaluator": Role("templates", ("gillnext-fcos", "gillnext-templates", *ZERO_SHOT, *_VLM)),
}


@dataclass(frozen=True)
class Source:
    """Where a model is: `path` of a folder (or file), or `hub` and `revision`; of one that is made here, neither."""

    path: str = ""
    hub: str = ""
    revision: str = ""

    @property
    def given(self) -> bool:
        return bool(self.path or self.hub)


def kept(role: str, models: Path, where: str) -> Source:
    """The model that is kept for `role` in the folder `models`; `UserError` unless it is there as it was kept."""
    if not (models / role / manifest.MANIFEST).exists():
        known = ", ".join(name for name in ROLES if (models / name / manifest.MANIFEST).exists())
        remedy = f"made, or one of the roles that have a kept model: {known}" if known else "made"
        raise UserError("no model is kept for this role", where=where, remedy=remedy)
    manifest.check(models / role)
    return Source(path=str(models / role))


def read(role: str, value: str, models: Path | str = MODELS) -> Source:
    """The source that `value` names; kept models lie in the folder `models`. `UserError` where it is none of the four,
    or its folder is not there.
    """
    where = f"models.{role}: {value}"
    if value == MADE:
        return Source()
    if value == KEPT:
        return kept(role, Path(models), where)
    if value and Path(value).exists():
        return Source(path=value)
    if found := _HUB.fullmatch(value.strip()):
        return Source(hub=found[1], revision=found[2])
    if _NAME.fullmatch(value):
        remedy = f"{value} @ REVISION: a commit, so that it stays what it was, or main; of a folder the whole path"
        raise UserError("a hub's id without a revision, or no such folder", where=where, remedy=remedy)
    raise UserError("no such folder", where=where, remedy="made, kept, the path of a folder, or ORG/NAME @ REVISION")


def on_hub(models: Any) -> list[str]:
    """The roles whose models the settings `models` name on a hub."""
    return [role for role in ROLES if _HUB.fullmatch(getattr(models, role))]


def unmade(models: Any) -> set[str]:
    """The rules that the settings `models` leave out: of models that are given, and of their parts. A planner that is
    given is only what its training starts from.
    """
    made = {role.made for name, role in ROLES.items() if name != "planner" and getattr(models, name) != MADE}
    return made | ({"vae", "text_encoder", "base_on_windows"} if "base" in made else set())
