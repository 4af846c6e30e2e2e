"""Keeps the models that a run made, for other runs to take as a lab takes published ones; or compares the two.

    gillnext foundations --results results/foundations --out reference/models
    gillnext foundations --results results/foundations --against reference/models
    gillnext foundations --results results/demo --drawing --out reference/models

A folder a role: the model, the base in half precision, as Kolors is published, the others as the run made them; its
card; and `manifest.json`, with the SHA-256 of each file and a hash of all values. With `--against` these are compared:
status 1 where a role's are others, or its model is not kept. `make foundations` makes the run and compares.
`--drawing` keeps what a finished run trained on these models and `gillnext draw` needs: planner, and reference adapter.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import KolorsPipeline

from gillnext.adapter import folders
from gillnext.config.load import settings_of
from gillnext.config.model import Config
from gillnext.roles import checkpoints
from gillnext.roles.sources import DRAWING, ROLES
from gillnext.runtime import files, manifest
from gillnext.runtime.errors import UserError
from gillnext.verify.values import of_output

KEPT = {role: about.made for role, about in ROLES.items() if role != "planner"}  # role -> the folder that a run makes
# The rules that make a role's model, where they are several.
PARTS = {"base": ["vae", "text_encoder", "base_on_windows", "base"]}
EQUAL, OTHER, ABSENT = "the kept values", "other values than the kept ones", "no model is kept"
CARD = """\
---
license: apache-2.0
tags: [gillnext, miniature]
---

# {title}

A miniature that GILL-Next-CN made of drawn scenes and of captions from templates, to stand where a published model
stands in the real system. It knows the drawn world alone.

| | |
|---|---|
| role | `{role}`: {does} |
| class | {kind} |
| parameters | {parameters:,} |
| made by | `make foundations`: {rules}, tier {tier}, seed {seed} |
| arithmetic | {arithmetic} |
| settings | {settings} |
| measured while it was made | {measured} |

The SHA-256 of the files and of all values stand in `manifest.json`. Licence: that of the code (Apache-2.0); nothing of
another's data, pictures or weights is in it.
"""
DRAWING_CARD = """\
---
license: apache-2.0
tags: [gillnext, miniature]
---

# Planner and adapter for `gillnext draw`

What tier {tier} trained on the kept base: the layout planner, and the adapter of arm {arm}, seed {seed}, {steps} steps.
They let `gillnext draw` work before anything is trained; no table or figure reads them. The SHA-256 of the files
stand in `manifest.json`. Licence: that of the code (Apache-2.0).
"""
DOES = {
    "classifier": ("Caption classifier", "tells whether a Chinese caption says where things are"),
    "annotator": ("Box annotator", "finds the objects that a caption names"),
    "base": ("Text-to-image base", "draws a caption, without boxes"),
    "image_text": ("Image-text scorer", "how well picture and caption fit"),
    "features": ("Feature network", "the space of FID and KID"),
    "evaluator": ("Box evaluator", "finds objects in pictures, to score them"),
    "second_evaluator": ("Template evaluator", "finds objects by the templates that they are drawn of; learns nothing"),
}


def half(base: Path, out: Path) -> None:
    """The base as Kolors is published: fp16 files alone, by their variant's name."""
    pipeline = KolorsPipeline.from_pretrained(
        base, variant=folders.variant(base), dtype=torch.float16, local_files_only=True
    )
    pipeline.save_pretrained(out, variant="fp16", safe_serialization=True)


def parameters(folder: Path) -> int:
    """How many numbers the folder's weights hold."""
    from safetensors import safe_open

    total = 0
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as data:
            total += sum(torch.Size(data.get_slice(name).get_shape()).numel() for name in data.keys())  # noqa: SIM118
    return total


def measured(models: Path, rules: list[str]) -> str:
    """What the trainings noted beside their models, in words."""
    found: dict[str, Any] = {}
    for rule in rules:
        for name in ("training.json", "report.json"):
            if (models / rule / name).exists():
                found |= files.read_json(models / rule / name)
    flat = {**{k: v for k, v in found.items() if not isinstance(v, dict)}, **found.get("held_out", {})}
    return ", ".join(f"{key} {value:.4g}" for key, value in flat.items()) or "nothing"


def keep(role: str, root: Path, config: Config, out: Path) -> dict[str, Any]:
    """Write the folder `out` of a role's model, from the results folder `root`; returns its manifest."""
    made, rules = root / "models" / KEPT[role], PARTS.get(role, [KEPT[role]])
    if not made.is_dir():
        raise UserError(
            "no such model", where=str(made), remedy="make foundations, or a tier that makes all its models"
        )
    if role == "base":
        half(made, out)
    else:
        shutil.copytree(made, out, ignore=shutil.ignore_patterns(".*"))
    values = of_output(out.parent, [out.name])
    settings = {rule: asdict(config)[rule] for rule in rules if rule in asdict(config)}
    title, does = DOES[role]
    card = CARD.format(
        title=title,
        role=role,
        does=does,
        kind=checkpoints.kind(out),
        parameters=parameters(out),
        rules=", ".join(rules),
        tier=config.run.tier,
        seed=config.run.seed,
        arithmetic=config.run.arithmetic,
        settings="; ".join(f"{rule}: {values}" for rule, values in settings.items()) or "none",
        measured=measured(root / "models", rules),
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    return manifest.write(out, {"role": role, "values": values, "settings": settings})


def keep_all(root: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Write every role's folder into `out`, each whole or not at all; returns their manifests."""
    config, kept = settings_of(root), {}
    for role in KEPT:
        with files.atomic(out / role) as folder:
            kept[role] = keep(role, root, config, folder)
    return kept


def keep_drawing(root: Path, out: Path) -> dict[str, Any]:
    """Write `out`/draw: the planner of the run in `root`, and its reference arm's adapter of the first seed, without
    what their trainings noted on the way. Returns their manifest.
    """
    config = settings_of(root)
    arm, seed = config.study.reference, config.study.seeds_of(config.study.reference)[0]
    made = {"planner": root / "models/planner", "adapter": root / "adapters" / arm / str(seed)}
    with files.atomic(out / DRAWING) as folder:
        for name, model in made.items():
            if not model.is_dir():
                raise UserError("no such model", where=str(model), remedy="name the results of a finished run")
            notes = ("tensorboard", "snapshots", "*losses.json", "*norms.json", "processors.txt", ".*")
            shutil.copytree(model, folder / name, ignore=shutil.ignore_patterns(*notes))
        (folder / "README.md").write_text(
            DRAWING_CARD.format(
                arm=arm, seed=seed, tier=config.run.tier, steps=config.study.arms[arm].steps_of(config.adapter)
            ),
            encoding="utf-8",
        )
        return manifest.write(folder, {"values": of_output(folder, ["planner", "adapter"])})


def compare(root: Path, kept: Path) -> dict[str, str]:
    """role -> what the run in `root` made for it, in words: EQUAL, OTHER than is kept in `kept`, or ABSENT there."""
    with tempfile.TemporaryDirectory() as scratch:
        made = keep_all(root, Path(scratch))
    found = {}
    for role in KEPT:
        if not (kept / role / manifest.MANIFEST).exists():
            found[role] = ABSENT
        else:
            found[role] = EQUAL if manifest.check(kept / role)["values"] == made[role]["values"] else OTHER
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results of a run that made them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the kept models, a folder a role; replaced")
    parser.add_argument(
        "--drawing", action="store_true", help="keep the run's planner and adapter, for `gillnext draw`"
    )
    parser.add_argument("--against", type=Path, metavar="DIR", help="kept models, to compare with")


def main(args: argparse.Namespace) -> None:
    if not (args.results / "config.json").exists():
        raise UserError("no config.json in it", where=str(args.results), remedy="make foundations")
    if args.out and args.drawing:
        drawing = keep_drawing(args.results, args.out)
        print(f"{args.out / DRAWING}: {drawing['bytes'] / 2**20:.1f} MiB")
    elif args.out:
        kept = keep_all(args.results, args.out)
        print(f"{args.out}: {len(kept)} models, {sum(one['bytes'] for one in kept.values()) / 2**20:.1f} MiB")
    if args.against:
        found = compare(args.results, args.against)
        for role, words in found.items():
            print(f"{role:<17} {words}")
        if set(found.values()) != {EQUAL}:
            raise SystemExit(1)
