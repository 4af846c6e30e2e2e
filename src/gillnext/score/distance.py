"""KID by a network that nobody here has trained, beside the one by `models.features`: pictures against real ones.

    gillnext distance --ceilings R/reference --network R/models/lite0 --known R/distances/real.safetensors \\
        --out R/distances/ceilings
    gillnext distance --arm attn2 --seed 0 --samples R/samples/attn2/0/test --network R/models/lite0 \\
        --known R/distances/real.safetensors --out R/distances/attn2/0.json

The first keeps the features of the real pictures that all distances are to (R/reference/others), and scores the real
test pictures (R/reference/real) and the same through the autoencoder (R/reference/vae). Values are as the formula gives
them (`fid_kid.kid`). It is no FID, and its network is not Inception: they compare with each other alone.

Letters: N and M pictures, D features.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from gillnext.config import Config, arguments
from gillnext.instruments.efficientnet_lite import EfficientNetLite0
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.score import fid_kid

METRIC = "kid_lite0"
BATCH = 16  # pictures that go through the network together
CEILINGS = ("real", "vae")


def features(folder: Path, network: Any, device: str) -> np.ndarray:
    """(N, D) features of the PNG files in `folder`, in the order of their names."""
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise UserError("no pictures here", where=str(folder), remedy="make them again: the stage before this one")
    return fid_kid.features_of_files(paths, network, device, BATCH)


def keep(folder: Path, network: Any, weights: str, out: Path, device: str) -> None:
    """Write the features of the real pictures in `folder` to `out`, with what they are of."""
    made_of = {"images": files.sha256(folder), "weights": weights}
    with files.atomic(out) as temporary:
        found = {"features": features(folder, network, device)}
        save_file(found, temporary, metadata={"made_of": json.dumps(made_of)})


def known(path: Path, weights: str) -> tuple[np.ndarray, str]:
    """(N, D) kept features and the digest of their pictures; `UserError` where they are of another network."""
    if not path.exists():
        raise UserError("no features of real pictures", where=str(path), remedy="gillnext distance --ceilings …")
    with safe_open(path, "np") as kept:
        made_of = json.loads(kept.metadata()["made_of"])
        if made_of["weights"] != weights:
            raise UserError("of another network", where=str(path), remedy="gillnext distance --ceilings …, again")
        return kept.get_tensor("features"), made_of["images"]


def distance(
    samples: Path, network: Any, weights: str, reference: Path, config: Config, arm: str, seed: int | None
) -> dict[str, Any]:
    """KID and its standard error of the pictures in `samples`, as a score file's content."""
    real_MD, images = known(reference, weights)
    found_ND = features(samples, network, config.run.device)
    kid, error = fid_kid.kid(found_ND, real_MD, config.run.seed)
    return {
        "name": arm if seed is None else f"{arm}/{seed}", "arm": arm, "seed": seed, "n": len(found_ND),
        "metrics": {METRIC: round(kid, 6), f"{METRIC}_se": round(error, 6)},
        "protocol": {METRIC: f"unbiased MMD², (x·y/D + 1)³, by {network.description}; not an FID"},
        "hashes": {"lite0": weights, "lite0_reference": images, "samples": files.sha256(samples)},
        "provenance": provenance.stamp(),
    }  # fmt: skip


def ceilings(reference: Path, network: Any, weights: str, kept: Path, config: Config, out: Path) -> list[dict]:
    """Write the features of the real pictures to `kept`, and `out`/{real,vae}.json; returns the two reports."""
    keep(reference / "others", network, weights, kept, config.run.device)
    reports = [distance(reference / of, network, weights, kept, config, of, None) for of in CEILINGS]
    for of, report in zip(CEILINGS, reports, strict=True):
        files.write_json(out / f"{of}.json", report)
    return reports


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ceilings", type=Path, metavar="DIR", help="reference folder of `gillnext ceilings` or `real`")
    what.add_argument("--samples", type=Path, metavar="DIR", help="pictures of an arm and seed")
    parser.add_argument("--arm", default="", help="arm of the pictures")
    parser.add_argument("--seed", type=int, help="its training seed")
    parser.add_argument("--network", type=Path, required=True, metavar="DIR", help="what `gillnext lite0` wrote")
    parser.add_argument("--known", type=Path, required=True, metavar="FILE", help="features of real pictures")
    arguments.add_out(parser, "score file, or folder of the ceilings' two")


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    training.setup(config.run.threads, config.run.device)
    network = EfficientNetLite0.from_pretrained(args.network).to(config.run.device)
    weights = contents.sha256(args.network / "model.safetensors")
    if args.ceilings:
        reports = ceilings(args.ceilings, network, weights, args.known, config, args.out)
    else:
        reports = [distance(args.samples, network, weights, args.known, config, args.arm, args.seed)]
        files.write_json(args.out, reports[0])
    for report in reports:
        print(f"{report['name']}: {report['metrics']}", file=sys.stderr)
