"""Near-duplicates: perceptual hashes that differ in few bits, found by banding.

Hashes are cut into two blocks more than the bits by which they may differ. At least two blocks of a near pair are then
equal (the pigeonhole principle; Manku et al. 2007, "Detecting near-duplicates for web crawling"), so that it is enough
to compare hashes that share two blocks.

Letters: N rows, U different hashes in the order of their first rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gillnext.runtime.errors import UserError

BITS, MOST = 64, 8  # of more bits the blocks are so short that nearly everything would be compared


def check(most: int | None) -> None:
    """Refuse a distance that banding is no help with."""
    if most is not None and most > MOST:
        raise UserError(f"{most} is more than {MOST}", where="split.near", remedy=f"give 0 to {MOST}, or null")


def masks(blocks: int) -> list[np.uint64]:
    """A mask for each two of `blocks` blocks, as equal as they can be, of 64 bits."""
    ends = [BITS * i // blocks for i in range(blocks + 1)]
    block = [(1 << high) - (1 << low) for low, high in itertools.pairwise(ends)]
    return [np.uint64(a | b) for a, b in itertools.combinations(block, 2)]


def pairs(hashes_U: np.ndarray, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places (i, j), i < j, of all hashes that differ in at most `most` bits, a piece at a time, some more than once.

    `hashes_U` are uint64, each once. The memory is that of a few copies of them.
    """
    for mask in masks(most + 2):
        key_U = hashes_U & mask
        order_U = np.argsort(key_U, kind="stable")
        sorted_U, key_U = hashes_U[order_U], key_U[order_U]
        start = np.arange(len(order_U))
        for step in itertools.count(1):
            start = start[start + step < len(order_U)]
            start = start[key_U[start] == key_U[start + step]]
            if not len(start):
                break
            near = np.bitwise_count(sorted_U[start] ^ sorted_U[start + step]) <= most
            a, b = order_U[start[near]], order_U[start[near] + step]
            yield np.minimum(a, b), np.maximum(a, b)


@dataclass(frozen=True)
class Groups:
    """Near-duplicates of N rows. `hash_N` is each row's place among the different hashes, `first_U` the first row of
    each, `earlier_U` the first hash that a hash is near to, itself where there is none before it.
    """

    hashes_U: np.ndarray
    hash_N: np.ndarray
    first_U: np.ndarray
    earlier_U: np.ndarray
    most: int

    @property
    def first_N(self) -> np.ndarray:
        """(N,) bool: the rows that no earlier row is near to. Rows that are added later change nothing of it."""
        kept = np.zeros(len(self.hash_N), dtype=bool)
        kept[self.first_U[self.earlier_U == np.arange(len(self.earlier_U))]] = True
        return kept

    @property
    def head_N(self) -> np.ndarray:
        """(N,) the row that a row's group began with: that of the first row that it is near to, and so on."""
        head_U = self.earlier_U.copy()
        for place in np.flatnonzero(head_U != np.arange(len(head_U))):
            head_U[place] = head_U[head_U[place]]
        return self.first_U[head_U][self.hash_N]

    def between(self, side_N: np.ndarray) -> np.ndarray:
        """(N,) bool: rows that are near to an earlier row whose group is on another side. `side_N` is the same for all
        rows of a group.
        """
        side_U, found_U = side_N[self.first_U], np.zeros(len(self.first_U), dtype=bool)
        for i, j in pairs(self.hashes_U, self.most):
            found_U[j[side_U[i] != side_U[j]]] = True
        return found_U[self.hash_N]


def groups(hashes_N: np.ndarray, most: int) -> Groups:
    """The near-duplicates of (N,) uint64 hashes that differ in at most `most` bits."""
    values, first, place_N = np.unique(hashes_N, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    hashes_U, earlier_U = values[order], np.arange(len(order))
    for i, j in pairs(hashes_U, most):
        np.minimum.at(earlier_U, j, i)
    return Groups(hashes_U, rank[place_N], first[order], earlier_U, most)
