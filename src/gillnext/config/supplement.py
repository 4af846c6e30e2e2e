"""Which of the design notes' other systems the supplement runs and tells of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gillnext.config.setting import s

PARTS = ("gill", "regions", "frames")


@dataclass(frozen=True)
class Variant:
    images: int | None = s(None, "[IMG] tokens; null: gill.images")
    generation: Literal["matching", "denoising"] = s(
        "matching", "what the mapper learns by; denoising trains the adapter along"
    )
    steps: int | None = s(None, "optimiser steps; null: gill.steps")


@dataclass(frozen=True)
class Supplement:
    parts: list[str] = s([*PARTS], f"the systems that it runs and tells of, in this order: {', '.join(PARTS)}")
    variants: dict[str, Variant] = field(
        default_factory=dict, metadata={"doc": "further trainings of GILL, by name, and in what they differ from it"}
    )
