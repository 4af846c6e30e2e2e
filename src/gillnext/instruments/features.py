"""The feature network of FID and KID, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: Path, device: str = "cpu") -> Any:
    """The feature network in `folder`: (B, 3, H, W) floats in 0–255 to (B, D)."""
    from gillnext.miniatures.networks.features import FeatureNetwork

    return FeatureNetwork.from_pretrained(folder).to(device)
