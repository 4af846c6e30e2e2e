"""What captions say of a kind of object: its noun and its measure word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of object; `id` is its place in the world's list, which is the class id of detectors."""

    id: int
    name: str  # Chinese noun
    measure: str  # the measure word between 一 and the noun

    @property
    def phrase(self) -> str:
        """The noun phrase in captions, e.g. 一棵树."""
        return f"一{self.measure}{self.name}"
