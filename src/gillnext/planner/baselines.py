"""What a planner has to beat: boxes of a random training layout, and those of the nearest training caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from gillnext.layouts import Layout
from gillnext.planner.format import ordered
from gillnext.runtime import seeds


def by_mention(layout: Layout) -> list[int]:
    """The layout's object indices in the order in which its caption names them."""
    return sorted(range(len(layout.names)), key=lambda i: (layout.caption.find(layout.names[i]) + 1) or 10**6)


def transfer(source: Layout, target: Layout) -> Layout:
    """`target`'s objects in the boxes of `source`, first mentioned to first mentioned; those left over are missing."""
    rows = by_mention(target)[: len(source.names)]
    names = tuple(target.names[i] for i in rows)
    return Layout(target.caption, names, ordered(source).boxes[: len(rows)], target.id)


def random(truths: Sequence[Layout], train: Sequence[Layout], seed: int) -> list[Layout]:
    """Each caption's objects in the boxes of a random training layout, of as many objects if there is one."""
    plans = []
    for i, truth in enumerate(truths):
        fitting = [x for x in train if len(x.names) == len(truth.names)] or list(train)
        rng = seeds.rng("random-plan", seed, i)
        source = fitting[int(rng.integers(len(fitting)))]
        order = rng.permutation(len(source.names))
        shuffled = Layout("", source.names, tuple(source.boxes[int(j)] for j in order))
        names = truth.names[: len(shuffled.names)]
        plans.append(Layout(truth.caption, names, shuffled.boxes[: len(names)], truth.id))
    return plans


def _ngrams(text: str, sizes: tuple[int, ...]) -> Counter[str]:
    padded = f"^{text}$"
    return Counter(padded[i : i + n] for n in sizes for i in range(len(padded) - n + 1))


def nearest(captions: Sequence[str], known: Sequence[str], sizes: tuple[int, ...] = (1, 2, 3)) -> np.ndarray:
    """For each caption the index (N,) of the known one with the highest cosine of tf-idf weighted character n-grams."""
    counts = [_ngrams(t, sizes) for t in (*known, *captions)]
    index = {gram: i for i, gram in enumerate(sorted({g for c in counts[: len(known)] for g in c}))}
    rows, columns, values = [], [], []
    for row, count in enumerate(counts):
        for gram, n in count.items():
            if gram in index:
                rows.append(row)
                columns.append(index[gram])
                values.append(float(n))
    table = csr_matrix((values, (rows, columns)), shape=(len(counts), len(index)))
    frequency = np.asarray((table[: len(known)] > 0).sum(0)).ravel()
    table = table.multiply(np.log((1 + len(known)) / (1 + frequency)) + 1).tocsr()
    norm = np.sqrt(np.asarray(table.multiply(table).sum(1)).ravel())
    table = table.multiply(1 / np.maximum(norm, 1e-12)[:, None]).tocsr()
    return np.asarray((table[len(known) :] @ table[: len(known)].T).toarray().argmax(1))


def retrieval(truths: Sequence[Layout], train: Sequence[Layout]) -> list[Layout]:
    """Each caption's objects in the boxes of the training layout with the nearest caption."""
    rows = nearest([t.caption for t in truths], [x.caption for x in train])
    return [transfer(train[int(i)], t) for i, t in zip(rows, truths, strict=True)]
