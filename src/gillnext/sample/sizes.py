"""The size that a layout's picture is drawn at: the pipeline's own, or the bucket nearest to the layout's own picture.

A layout may carry `width` and `height`, in pixels, of the picture that its boxes are of. Sizes are (height, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gillnext.adapter import buckets
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

Size = tuple[int, int]


def carried(layout: Layout) -> Size | None:
    """Height and width of the layout's own picture; None where it carries none. `UserError` where they are no sizes."""
    height, width = layout.extra.get("height"), layout.extra.get("width")
    if height is None and width is None:
        return None
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        where = f"layout {layout.id or layout.caption!r}"
        remedy = "give both `width` and `height` of the picture in pixels, or neither"
        raise UserError(f"width {width!r}, height {height!r}", where=where, remedy=remedy)
    return height, width


def wanted(layouts: Sequence[Layout], pipeline: Any, how: str) -> list[Size]:
    """The size of each layout's picture. `how` is `sample.size`: "own", or "layout" for the bucket of the same area."""
    own = (pipeline.image_size, pipeline.image_size)
    if how == "own":
        return [own] * len(layouts)
    unet = pipeline.unet.config
    among = buckets.of_base(unet.sample_size, len(unet.block_out_channels), pipeline.vae_scale_factor)
    sizes = [carried(layout) for layout in layouts]
    return [own if size is None else buckets.frame(size, among).target for size in sizes]


def batches(sizes: Sequence[Size], most: int) -> list[list[int]]:
    """Indices of rows of one size, `most` at a time, in their order."""
    groups = dict[Size, list[int]]()
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]
