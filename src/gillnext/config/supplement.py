"""Which of the design notes' other systems the supplement runs and tells of."""

from __future__ import annotations

from dataclasses import dataclass

from gillnext.config.setting import s

PARTS = ("gill", "regions")


@dataclass(frozen=True)
class Supplement:
    parts: list[str] = s([*PARTS], f"the systems that it runs and tells of, in this order: {', '.join(PARTS)}")
