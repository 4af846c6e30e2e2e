"""The box-following curve: validation box fidelity over training, by sampling pictures, not by the loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gillnext import layouts
from gillnext.config.model import Config
from gillnext.runtime import files

if TYPE_CHECKING:
    from gillnext.adapter.train import Trainer


class Curve:
    """Points {step, miou, success50, n}. Measured with the averaged weights; kept in `work` for resume.

    An arm that trains longer than `adapter.steps` has the other arms' points up to there and then, for time, points
    that lie as many times further apart as it is longer.
    """

    def __init__(self, cfg: Config, steps: int, work: Path, val: Path | None, evaluator: Path | None) -> None:
        self.cfg, self.steps, self.path = cfg, steps, work / "curve.json"
        self.points: list[dict[str, Any]] = []
        self.every = cfg.adapter.evaluate_every if val and evaluator else 0
        if self.every and val and evaluator:
            from gillnext.score.evaluator import Evaluator

            self.rows = layouts.read(val)[: cfg.adapter.evaluate_images]
            self.evaluator = Evaluator.from_pretrained(evaluator)

    def resume(self, step: int) -> None:
        """Keep the points up to `step` of an interrupted run."""
        if step and self.path.exists():
            self.points = [p for p in files.read_json(self.path) if p["step"] <= step]

    def due(self, step: int) -> bool:
        """Whether a point is measured after `step` steps."""
        plain = self.cfg.adapter.steps  # of an arm that trains no longer than most
        apart = self.every * (1 if step <= plain else max(self.steps // plain, 1))
        return bool(apart) and (step % apart == 0 or step == self.steps)

    @torch.no_grad()
    def measure(self, step: int, trainer: Trainer) -> None:
        """Sample the validation layouts and add a point; the trained weights are put back afterwards."""
        from gillnext.score.boxes import confident, fidelity, requested

        kept = [p.detach().clone() for p in trainer.parameters]
        if trainer.ema:
            trainer.ema.copy_to(trainer.parameters)
        pictures: list[np.ndarray] = []
        for i in range(0, len(self.rows), self.cfg.sample.batch):
            part = self.rows[i : i + self.cfg.sample.batch]
            images, _ = trainer.pipeline.draw(
                [row.caption for row in part],
                part,
                keys=[("curve", self.cfg.run.seed, i + k) for k in range(len(part))],
                steps=self.cfg.sample.steps,
                guidance=self.cfg.sample.guidance,
            )
            pictures += list((images * 255).round().astype(np.uint8))
        for p, value in zip(trainer.parameters, kept, strict=True):
            p.copy_(value)
        found = [confident(f) for f in self.evaluator.detect(np.stack(pictures))]
        metrics = fidelity([requested(row) for row in self.rows], found)["metrics"]
        point = {"step": step, "n": len(self.rows), **{k: round(v, 6) for k, v in metrics.items()}}
        self.points.append(point)
        files.write_json(self.path, self.points)
        scalars = {f"validation/{k}": point[k] for k in ("miou", "success50")}
        trainer.accelerator.log(scalars, step=step)
        writer = trainer.accelerator.get_tracker("tensorboard").writer
        writer.add_images("validation/pictures", np.stack(pictures[:8]), step, dataformats="NHWC")
