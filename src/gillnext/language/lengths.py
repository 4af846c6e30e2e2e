"""Batches of texts of about one length; without torch, for those who only deal them out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def by_length(lengths: Sequence[int], batch: int) -> Iterator[list[int]]:
    """Indices in batches of at most `batch`, shortest first, so that little is padded; ties keep their order."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for start in range(0, len(order), batch):
        yield order[start : start + batch]
