"""Boxes written into a caption as text: what a user of a base without an adapter would try first."""

from __future__ import annotations

from gillnext.layouts import Layout


def with_boxes(layout: Layout, grid: int) -> str:
    """Each object's name with its box xyxy in whole numbers from 0 to `grid`: 猫[1,2,5,6]和树[6,0,9,8]."""
    objects = zip(layout.names, layout.boxes, strict=True)
    placed = (f"{name}[{','.join(str(round(v * grid)) for v in box)}]" for name, box in objects)
    return "和".join(placed) or layout.caption
