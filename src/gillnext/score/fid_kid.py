"""Distance between two sets of images in feature space: FID by clean-fid, and KID; and the reference set of all.

FID (Heusel et al., 2017) goes through clean-fid's own functions (Parmar et al., 2022), with Inception and its resize to
299×299 where that is given, else with another feature network (`instruments.features`): such values mean something
beside each other, and nothing beside published ones. A network with `prepare` brings pictures of all sizes to its own;
the demo's takes them as they are. KID (Bińkowski et al., 2018) is the unbiased MMD² with k(x, y) = (x·y / D +
1)³.

FID of few images is too high by about one over their number (Chong and Forsyth, 2020): `fid_by_n` shows by how much.

Letters: N and M images, D features, E width of CLIP's embedding.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError
from gillnext.score import images
from gillnext.score.cmmd import embed
from gillnext.score.text import Loader

HALVES = 100  # random halves behind KID's standard error
CURVE = (64, 128, 256, 512)  # numbers of images at which FID is computed
DRAWS = 5  # random subsets behind each point of that curve
MODELS = {"features": "feature network", "clip": "image-text scorer"}  # what made the reference features
# What the sources of reference images are called in protocols; others are called as they are.
SOURCES = {"fidreference": "real scenes of an independent stream"}
Extractor = Callable[[Tensor], Tensor]  # (B, 3, H, W) float in 0–255 to (B, D)


@dataclass(frozen=True)
class Reference:
    """Features (N, D) and unit CLIP embeddings (N, E) of the reference images, with the images' digest and `source`."""

    features_ND: np.ndarray
    clip_NE: np.ndarray
    images: str
    source: str = ""


def _as_it_is(image: np.ndarray) -> np.ndarray:
    """In place of clean-fid's resize to 299×299, which is Inception's."""
    return image


def _alike(sizes: Sequence[tuple[int, ...]]) -> list[slice]:
    """Slices of pictures of one size, in order."""
    runs = [[i for i, _ in run] for _, run in itertools.groupby(enumerate(sizes), key=lambda one: one[1])]
    return [slice(run[0], run[-1] + 1) for run in runs]


def features_of_files(paths: Sequence[Path], network: Extractor, device: str = "cpu", batch: int = 64) -> np.ndarray:
    """Features (N, D) of image files of any sizes, in float64, by clean-fid's reader."""
    from cleanfid.fid import get_files_features

    prepare = getattr(network, "prepare", None)
    runs = [slice(None)] if prepare else _alike([images.size_of(path) for path in paths])
    parts = [
        get_files_features(
            [str(path) for path in paths[run]], network, num_workers=0, batch_size=batch, device=torch.device(device),
            custom_fn_resize=prepare or _as_it_is, verbose=False,
        )
        for run in runs
    ]  # fmt: skip
    return np.concatenate(parts).astype(np.float64)


@torch.no_grad()
def features_of_images(
    pictures: Sequence[np.ndarray] | np.ndarray, network: Extractor, device: str = "cpu", batch: int = 64
) -> np.ndarray:
    """Features (N, D) of (H, W, 3) uint8 images of any sizes; equal to those of the same images read from PNG files."""
    prepare = getattr(network, "prepare", None)
    parts = []
    for run in [slice(None)] if prepare else _alike([image.shape for image in pictures]):
        for start in range(0, len(pictures[run]), batch):
            part = pictures[run][start : start + batch]
            ready_NHWC = np.stack([prepare(image) for image in part]) if prepare else np.asarray(part)
            pixels_NCHW = torch.from_numpy(ready_NHWC).permute(0, 3, 1, 2)
            parts.append(network(pixels_NCHW.to(device).float()).cpu().numpy())
    return np.concatenate(parts).astype(np.float64)


def make_reference(
    path: Path, pictures: Sequence[np.ndarray] | np.ndarray, source: str, network: Extractor, clip: Loader,
    digests: dict[str, str], device: str = "cpu",
) -> Reference:  # fmt: skip
    """Keep the features of real images, each (H, W, 3) uint8, at `path`. `source` names the images, `digests` holds
    those of both models' weights.
    """
    batches: Iterable[Any] = (pictures[i : i + 64] for i in range(0, len(pictures), 64))
    features_ND = features_of_images(pictures, network, device)
    return _keep(path, features_ND, embed(batches, clip, device), pictures, source, digests)


def make_reference_of_files(
    path: Path, paths: Sequence[Path], source: str, network: Extractor, clip: Loader, digests: dict[str, str],
    device: str = "cpu",
) -> Reference:  # fmt: skip
    """The same of image files, of which a batch at a time is in memory."""
    batches: Iterable[Any] = ([images.read_image(p) for p in paths[i : i + 64]] for i in range(0, len(paths), 64))
    features_ND, clip_NE = features_of_files(paths, network, device), embed(batches, clip, device)
    return _keep(path, features_ND, clip_NE, map(images.read_image, paths), source, digests)


def _keep(
    path: Path, features_ND: np.ndarray, clip_NE: np.ndarray, pictures: Iterable[np.ndarray], source: str,
    digests: dict[str, str],
) -> Reference:  # fmt: skip
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.tobytes())
    made_of = {"images": digest.hexdigest(), "stream": source} | {name: digests[name] for name in MODELS}
    with files.atomic(path) as temporary:  # one key of metadata: fixed order
        save_file({"features": features_ND, "clip": clip_NE}, temporary, metadata={"made_of": json.dumps(made_of)})
    return Reference(features_ND, clip_NE, made_of["images"], source)


def read_reference(path: Path, digests: dict[str, str]) -> Reference:
    """The kept features; raises `UserError` where they are missing or came from models other than `digests`."""
    remedy = "make the reference again: gillnext ceilings"
    if not path.exists():
        raise UserError("no reference features", where=str(path), remedy=remedy)
    with safe_open(path, "np") as kept:
        made_of = json.loads(kept.metadata()["made_of"])
        for name, title in MODELS.items():
            if made_of.get(name) != digests[name]:
                raise UserError(f"the reference features came from another {title}", where=str(path), remedy=remedy)
        return Reference(kept.get_tensor("features"), kept.get_tensor("clip"), made_of["images"], made_of["stream"])


def fid(a_ND: np.ndarray, b_MD: np.ndarray) -> float:
    """Fréchet distance of the Gaussians with the features' means and covariances, ≥ 0 up to rounding."""
    from cleanfid.fid import fid_from_feats

    return float(fid_from_feats(a_ND, b_MD))


def fid_by_n(a_ND: np.ndarray, b_MD: np.ndarray, seed: int = 0, draws: int = DRAWS) -> dict[str, float]:
    """FID of random subsets of `a_ND` against all of `b_MD`, by their size; the mean of `draws` subsets each.

    Sizes are those of `CURVE` below N, and N itself, which is all of `a_ND`.
    """
    n = len(a_ND)
    curve = {}
    for size in (size for size in CURVE if size < n):
        rng = seeds.rng("fid_by_n", seed, n, size)
        values = [fid(a_ND[rng.choice(n, size, replace=False)], b_MD) for _ in range(draws)]
        curve[str(size)] = round(float(np.mean(values)), 6)
    return curve | {str(n): round(fid(a_ND, b_MD), 6)}


def _off_diagonal_mean(kernel_NN: np.ndarray) -> float:
    n = len(kernel_NN)
    return float((kernel_NN.sum() - np.trace(kernel_NN)) / (n * (n - 1)))


def kid(a_ND: np.ndarray, b_MD: np.ndarray, seed: int = 0, halves: int = HALVES) -> tuple[float, float]:
    """Unbiased MMD² of all images, and its standard error.

    The standard error is the deviation over random halves of both sets: with half of the sample deleted, the
    delete-d jackknife's factor (n − d) / d is 1 (Shao and Wu, 1989).
    """
    d = a_ND.shape[1]
    aa, bb, ab = ((x @ y.T / d + 1) ** 3 for x, y in ((a_ND, a_ND), (b_MD, b_MD), (a_ND, b_MD)))

    def mmd2(i: np.ndarray, j: np.ndarray) -> float:
        cross = float(ab[np.ix_(i, j)].mean())
        return _off_diagonal_mean(aa[np.ix_(i, i)]) + _off_diagonal_mean(bb[np.ix_(j, j)]) - 2 * cross

    n, m = len(a_ND), len(b_MD)
    if min(n, m) < 4:
        raise UserError(f"KID needs 4 images a set, not {min(n, m)}", where="sample.test", remedy="sample more images")
    rng = seeds.rng("kid", seed, n, m)
    parts = [mmd2(rng.choice(n, n // 2, replace=False), rng.choice(m, m // 2, replace=False)) for _ in range(halves)]
    return mmd2(np.arange(n), np.arange(m)), float(np.std(parts, ddof=1))
