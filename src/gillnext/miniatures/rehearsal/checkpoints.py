"""Checkpoints as a lab has them, out of a run's miniatures: in the published formats, in folders of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import KolorsPipeline

from gillnext.roles.sources import ROLES
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def base(models: Path, out: Path) -> None:
    """The base as Kolors is published: fp16 files alone, by their variant's name."""
    pipeline = KolorsPipeline.from_pretrained(models / "base", torch_dtype=torch.float16, local_files_only=True)
    pipeline.save_pretrained(out, variant="fp16", safe_serialization=True)


def copy(models: Path, role: str, out: Path) -> None:
    """A model whose miniature is saved as the published one is, or that has no published class."""
    shutil.copytree(models / ROLES[role].made, out)


def language(models: Path, out: Path) -> None:
    """What a planner starts from: a causal language model, without what the classifier's stage notes beside it."""
    shutil.copytree(models / "classifier", out, ignore=shutil.ignore_patterns("classifier.json"))


def make(models: Path, out: Path) -> dict[str, Path]:
    """A checkpoint for every role in `out`, whole or not at all, out of a run's `models`; returns their folders."""
    if lacking := [role.made for role in ROLES.values() if not (models / role.made).is_dir()]:
        raise UserError(
            f"no {', '.join(lacking)} there", where=str(models), remedy="name results/TIER/models of a finished run"
        )
    if not out.exists():
        with files.atomic(out) as folder:
            folder.mkdir()
            for role in ROLES:
                if role == "base":
                    base(models, folder / role)
                elif role == "planner":
                    language(models, folder / role)
                else:
                    copy(models, role, folder / role)
    return {role: out / role for role in ROLES}
