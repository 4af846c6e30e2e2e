"""The ceilings: what real images, and real images through the autoencoder, score; and the reference features.

No sample can be expected above them: the first is the evaluator's own limit, the second the autoencoder's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gillnext import layouts
from gillnext.config import Config
from gillnext.layouts import Layout
from gillnext.runtime import files, training
from gillnext.runtime.errors import UserError
from gillnext.score import distribution, images
from gillnext.score.images import BATCH, ImageSet
from gillnext.score.stage import REFERENCE, Name, Scorers, score
from gillnext.world import scenes

STREAM = "test"


def render(rows: Sequence[Layout], seed: int, where: str) -> np.ndarray:
    """The real images (N, H, W, 3) uint8 of the test layouts; raises `UserError` where a layout is not its
    scene's.
    """
    pictures = []
    for i, layout in enumerate(rows):
        scene = scenes.sample(seed, STREAM, i)
        same = sorted(layout.names) == sorted(scene.names)
        if not same or not np.allclose(sorted(layout.boxes), sorted(o.box for o in scene.objects), atol=1e-4):
            raise UserError(
                f"is not scene {i} of the stream {STREAM!r} at run.seed {seed}",
                where=f"{where}, line {i + 1}",
                remedy="make the world and its held-out layouts again with this config",
            )
        pictures.append(scenes.render(scene))
    return np.stack(pictures)


def rebuild(pictures: np.ndarray, vae_folder: Path, device: str) -> np.ndarray:
    """The images encoded (mean of the posterior) and decoded, (N, H, W, 3) uint8."""
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(vae_folder).eval().to(device, memory_format=torch.channels_last)
    rebuilt = []
    with torch.no_grad():
        for part in torch.from_numpy(pictures).split(BATCH):
            pixels = part.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
            decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
            rebuilt.append(((decoded + 1) * 127.5).round().permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy())
    return np.concatenate(rebuilt)


def write(folder: Path, pictures: np.ndarray, rows: Sequence[Layout]) -> ImageSet:
    """NNNNN.png and layouts.jsonl in `folder`, whole or not at all."""
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(temporary / f"{i:05d}.png", compress_level=1)
        named = (dataclasses.replace(row, image_path=f"{i:05d}.png") for i, row in enumerate(rows))
        layouts.write(temporary / "layouts.jsonl", named)
    return images.read(folder)


def make(config: Config, vae: Path, test: Path, models: Scorers, reference: Path, out: Path) -> list[dict[str, Any]]:
    """Write `reference`/{real,vae}, the reference features, and `out`/{real,vae}.json; returns the two
    reports.
    """
    training.setup(config.run.threads, config.run.device)
    rows, device = layouts.read(test), config.run.device
    real = render(rows, config.run.seed, str(test))
    sets = {"real": real, "vae": rebuild(real, vae, device)}
    count = max(config.sample.test, len(rows))
    path, seed = reference / REFERENCE, config.run.seed
    distribution.make_reference(path, models.features, models.clip, models.hashes, seed, count, device)
    reports = []
    for name, pictures in sets.items():
        report = score(write(reference / name, pictures, rows), models, reference, config, Name(name, None))
        files.write_json(out / f"{name}.json", report)
        reports.append(report)
    return reports
