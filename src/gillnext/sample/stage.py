"""Sample one picture for every held-out layout, with an arm's adapter or with the base alone.

    gillnext sample --config config.yaml --arm attn2 --seed 0 --base results/demo/models/base \\
        --adapter results/demo/adapters/attn2/0 --layouts results/demo/world/heldout/test.jsonl \\
        --out results/demo/samples/attn2/0/test

Writes NNNNN.png and layouts.jsonl (row i is picture i). The noise of picture i depends on the seed and i, not on the
arm, so that arms are compared on equal noise. A killed run keeps its finished pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.adapter import pipeline as grounded
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.sample import guidance, sizes
from gillnext.sample.captions import with_boxes
from gillnext.sample.pictures_folder import Keys, dtype, name_of, open_work, save_png


def pictures(
    cfg: Config,
    arm: str,
    pipeline: Any,
    rows: list[layouts.Layout],
    keys: Keys,
    size: sizes.Size | None = None,
) -> np.ndarray:
    """Pictures (N, H, W, 3) in [0, 1] of one batch of one `size` (the pipeline's own, None), as the arm gets its boxes;
    `keys` name each one's noise.
    """
    scale, way, local = cfg.sample.guidance, cfg.study.arms[arm].boxes, cfg.study.arms[arm].local
    if way == "guidance":
        return guidance.draw(pipeline, rows, pipeline.noise(keys, size), cfg.guided, scale)
    prompts = [with_boxes(row, cfg.sample.caption_grid) if way == "caption" else row.caption for row in rows]
    images, _ = pipeline.draw(prompts, rows, keys=keys, steps=cfg.sample.steps, guidance=scale, size=size, local=local)
    return images


def sample(
    cfg: Config, arm: str, seed: int, base: Path, adapter: Path | None, rows: list[layouts.Layout], out: Path
) -> None:
    """Pictures of `rows` in `out`; the same whatever the batch size or an interruption (to rounding of the batch)."""
    if arm not in cfg.study.arms:
        raise UserError(f"{arm!r} is no arm", where="study.arms", remedy=f"one of {', '.join(cfg.study.arms)}")
    site = cfg.study.arms[arm].site
    if (site == "none") != (adapter is None):
        needed = "no --adapter" if site == "none" else "--adapter"
        raise UserError(f"arm {arm!r} needs {needed}", where="gillnext sample", remedy="see study.arms in the config")
    training.setup(cfg.run.threads, cfg.run.device)
    pipeline = grounded.load(base, adapter, cfg.run.device, dtype(cfg))
    work, wanted = out.with_name(out.name + ".work"), sizes.wanted(rows, pipeline, cfg.sample.size)
    weights = [contents.sha256(folder) for folder in (base, adapter) if folder]
    captions = [row.to_row() for row in rows]
    ways = [dataclasses.asdict(part) for part in (cfg.run, cfg.guided, cfg.study.arms[arm])]
    drawn = cfg.sample.steps, cfg.sample.guidance, cfg.sample.batch, cfg.sample.caption_grid, cfg.sample.size
    code = ["gillnext.sample.stage"]
    open_work(work, provenance.fingerprint(*ways, drawn, seed, *weights, captions, code=code))
    with Progress("sample", len(rows), "images") as progress:
        for batch in sizes.batches(wanted, cfg.sample.batch):
            if not all((work / name_of(i)).exists() for i in batch):
                keys: Keys = [(cfg.run.seed, seed, i) for i in batch]
                images = pictures(cfg, arm, pipeline, [rows[i] for i in batch], keys, wanted[batch[0]])
                for i, image in zip(batch, images, strict=True):
                    save_png(work / name_of(i), (image * 255).round().astype(np.uint8))
            progress.step(len(batch))
    placed = [dataclasses.replace(row, image_path=name_of(i)) for i, row in enumerate(rows)]
    layouts.write(work / "layouts.jsonl", placed)
    with files.atomic(out) as temporary:
        shutil.copytree(work, temporary, ignore=shutil.ignore_patterns("identity.json", ".*"))
    shutil.rmtree(work, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--arm", required=True, help="a row of study.arms")
    parser.add_argument("--seed", type=int, required=True, help="training seed of the arm; also names the noise")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, a Kolors or SDXL pipeline")
    parser.add_argument("--adapter", type=Path, help="folder of the trained adapter; none for the base alone")
    parser.add_argument("--layouts", type=Path, required=True, help="layouts to draw, JSONL")
    add_out(parser, "folder of the pictures")


def main(args: argparse.Namespace) -> None:
    sample(config(args), args.arm, args.seed, args.base, args.adapter, layouts.read(args.layouts), args.out)
