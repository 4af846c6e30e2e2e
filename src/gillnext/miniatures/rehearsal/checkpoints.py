"""Checkpoints as a lab has them, out of a run's miniatures: in the published formats, in folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import KolorsPipeline

from gillnext.roles.sources import ROLES
from gillnext.runtime import files
from gillnext.runtime.errors import UserError


def base(models: Path, out: Path) -> None:
    """The base as Kolors is published: fp16 files alone, by their variant's name."""
    pipeline = KolorsPipeline.from_pretrained(models / "base", torch_dtype=torch.float16, local_files_only=True)
    pipeline.save_pretrained(out, variant="fp16", safe_serialization=True)


def language(models: Path, out: Path) -> None:
    """What a planner starts from: a causal language model, without what the classifier's stage notes beside it."""
    shutil.copytree(models / "classifier", out, ignore=shutil.ignore_patterns("classifier.json"))


OWN = {"base": base, "planner": language}  # of the other roles the miniature is saved as it is given


def make(models: Path, out: Path) -> dict[str, Path]:
    """A checkpoint for every role in `out`, whole or not at all, out of a run's `models`; returns their folders."""
    if lacking := [role.made for role in ROLES.values() if not (models / role.made).is_dir()]:
        raise UserError(
            f"no {', '.join(lacking)} there", where=str(models), remedy="name results/TIER/models of a finished run"
        )
    if not out.exists():
        with files.atomic(out) as folder:
            folder.mkdir()
            for role, about in ROLES.items():
                if role in OWN:
                    OWN[role](models, folder / role)
                else:
                    shutil.copytree(models / about.made, folder / role)
    return {role: out / role for role in ROLES}
