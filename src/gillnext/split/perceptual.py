"""A perceptual hash of a picture, 64 bits that copies of other size or compression share, or nearly so.

pHash (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"): of the picture in grey at
32×32, the discrete cosine transform's 8×8 lowest frequencies, a bit each, set where it is above their median. The
cosines are whole numbers here, so that every processor finds the same bits.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE, LOW = 32, 8  # pixels, and frequencies along each axis
_ANGLES = np.pi / SIDE * np.outer(np.arange(LOW), np.arange(SIDE) + 0.5)
COSINES = np.rint(4096 * np.cos(_ANGLES)).astype(np.int64)  # (LOW, SIDE), the transform's rows but for their scale


def phash(image: Image.Image) -> int:
    """The hash of a picture, 0 … 2⁶⁴ − 1."""
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.int64)
    low = (COSINES @ grey @ COSINES.T).ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
