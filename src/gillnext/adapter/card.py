"""The model card of an adapter's folder, README.md, and its record of the base that it was trained on.

A card is told from the settings and the files beside it. It has no date and no path, so that the same training writes
the same card.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gillnext.adapter import folders
from gillnext.config.model import Arm, Config
from gillnext.layouts import MAX_BOXES
from gillnext.runtime import contents, files

CARD = "README.md"

TEXT = """\
---
library_name: diffusers
license: apache-2.0
pipeline_tag: text-to-image
tags: [layout-to-image, spatial-adapter, gillnext]
---

# Spatial adapter {arm}, seed {seed}

It draws phrases where boxes say, in a frozen text-to-image base (docs/adapter.md of GILL-Next-CN has its equations).

    from gillnext.adapter.pipeline import load
    pictures, _ = load(BASE, ADAPTER).draw([caption], [layout])

Into a diffusers pipeline that is there already:

    pipe = {grounded}.from_pipe(pipe, adapter=SpatialAdapter.from_pretrained(ADAPTER))
    pipe(caption, layouts=[layout])

## What it was trained on

| | |
|---|---|
| base | `{base}`, {side} × {side} pixels, cross-attention width {cross} |
| SHA-256 of the base's folder | `{sha256}` |
| tier | {tier} |
| optimiser steps | {steps}, {batch} × {accumulation} samples each |
| learning rate | {lr} |
| samples without boxes | {drop} |
| trained parameters | {parameters} |

## What it is

| | |
|---|---|
| injection site | {site} |
| attention bias | {bias} |
| coordinates, frequencies | {coordinates}, {frequencies} |
| token width | {width} |
| phrases | {phrases} |
| boxes of a training sample | at most {slots} |

Another base is refused: its blocks, widths and class must be those above.

## Scores

They are not known when the weights are written. The run's `scores.parquet` has them under tier {tier}, arm {arm}, seed
{seed}, each with its protocol and interval.

## Licence

The adapter's weights have the licence of the code that trained them (Apache-2.0). The base has a licence of its own, as
have the pictures and captions that it was trained on: what is drawn with both is bound by these.
"""


def limitation(base: Path) -> str:
    """What the base's own card says that it cannot do: the text of `limitation` in the YAML before README.md; "" where
    there is no card, or it does not say.
    """
    card = files.read_text(base / CARD) if (base / CARD).is_file() else ""
    _, *parts = re.split("^---$", card, maxsplit=2, flags=re.MULTILINE) if card.startswith("---\n") else [""]
    try:
        heading = yaml.safe_load(parts[0]) if len(parts) == 2 else None
    except yaml.YAMLError:  # of another's card nothing is wanted but this
        return ""
    found = heading.get("limitation") if isinstance(heading, dict) else None
    return " ".join(found.split()) if isinstance(found, str) else ""


def of_base(base: Path, unet: Any) -> dict[str, Any]:
    """What an adapter's record tells of its base: class, SHA-256 of the folder, cross-attention width, side of the
    latents, and what its card says that it cannot do, where it does.
    """
    cannot = limitation(base)
    return ({"limitation": cannot} if cannot else {}) | {
        "class": folders.class_of(base),
        "sha256": contents.sha256(base),
        "cross_attention_dim": unet.config.cross_attention_dim,
        "sample_size": unet.config.sample_size,
    }


def write(folder: Path, cfg: Config, arm: Arm, base: Path, pipeline: Any) -> None:
    """Add the base to training.json of an adapter's `folder`, under provenance, and write the card beside it."""
    record = files.read_json(folder / "training.json")
    about = record["provenance"]["base"] = of_base(base, pipeline.unet)
    files.write_json(folder / "training.json", record)
    settings = cfg.adapter
    text = TEXT.format(
        arm=record["arm"], seed=record["seed"], grounded=type(pipeline).__name__, base=about["class"],
        side=pipeline.image_size, cross=about["cross_attention_dim"], sha256=about["sha256"], tier=cfg.run.tier,
        steps=record["steps"], batch=settings.batch, accumulation=settings.accumulation,
        lr=settings.lr if arm.lr is None else arm.lr,
        drop=f"{settings.drop:.0%}" + ", without their caption too" * arm.drop_caption,
        parameters=f"{record['parameters']:,}" + ", the base's UNet among them (folder unet)" * (arm.unet_lr > 0),
        site=arm.site, bias=arm.bias, coordinates=arm.coordinates, frequencies=arm.frequencies, width=settings.width,
        phrases="embedded by the base's text encoder" if arm.phrases else "none",
        slots=getattr(settings, "slots", MAX_BOXES),
    )  # fmt: skip
    files.write_text(folder / CARD, text)
