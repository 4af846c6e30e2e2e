"""Scores of the filter: against the world's truth, and on captions that no template made.

`native_captions.tsv` has captions in the style of the web with a label each, written for this repository in simplified
and traditional characters. The lexicon's words were chosen with its half `dev` in view; the scores are of `held-out`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gillnext.filter.keyword import keyword_pass
from gillnext.filter.lexicon import Lexicon

NATIVE = Path(__file__).with_name("native_captions.tsv")
LABELS = ("strong", "weak", "none")
SPATIAL = ("strong", "weak")
Metrics = dict[str, tuple[float, int]]  # name -> (value, number that it is a mean over)


def share(flags: Any) -> tuple[float, int]:
    """Mean of booleans or numbers, and how many there were; 0 where none."""
    values = np.asarray(flags, dtype=np.float64)
    return (float(values.mean()) if values.size else 0.0), int(values.size)


def filter_metrics(judged: pl.DataFrame, lexicon: Lexicon) -> Metrics:
    """Precision, recall and labels of the filter over all rows, and the share of spatial captions before and
    after.
    """
    truth, predicted = judged["label"], judged["predicted"]
    spatial, kept = truth.is_in(SPATIAL), predicted != "none"
    passed = keyword_pass(judged["caption"], lexicon)
    return {
        "filter_precision": share(spatial.filter(kept)),
        "filter_recall": share(kept.filter(spatial)),
        "filter_label_accuracy": share(truth == predicted),
        "filter_spatial_label_accuracy": share((truth == predicted).filter(spatial)),
        "filter_kept_share": share(kept),
        "keyword_recall": share(passed.filter(spatial)),
        "keyword_precision": share(spatial.filter(passed)),
        "spatial_share_before": share(spatial),
        "spatial_share_after": share(spatial.filter(kept)),
    }


def read_native(half: str) -> pl.DataFrame:
    """Caption, label (strong, weak, none) and script of the native captions of a half: dev or held-out."""
    return pl.read_csv(NATIVE, separator="\t", quote_char=None).filter(pl.col("half") == half)


def native_metrics(lexicon: Lexicon, label: Callable[[Sequence[str]], list[str]]) -> Metrics:
    """The keyword pass and the filter on the held-out native captions; `label` is the classifier."""
    native = read_native("held-out")
    truth, passed = native["label"], keyword_pass(native["caption"], lexicon)
    spatial = truth.is_in(SPATIAL)
    answers = pl.Series(label(native["caption"].filter(passed).to_list()), dtype=pl.String)
    kept = passed.clone().scatter(passed.arg_true(), answers != "none")
    return {
        "native_keyword_recall_strong": share(passed.filter(truth == "strong")),
        "native_keyword_recall": share(passed.filter(spatial)),
        "native_keyword_passed_none": share(passed.filter(~spatial)),
        "native_filter_precision": share(spatial.filter(kept)),
        "native_filter_recall": share(kept.filter(spatial)),
    }


def filter_breakdown(judged: pl.DataFrame) -> dict[str, Any]:
    """Rows by true and predicted label, and the kept share by the kind of caption template."""
    pairs = Counter(judged.select("label", "predicted").iter_rows())
    kinds = judged.group_by("label", "kind").agg(n=pl.len(), kept=(pl.col("predicted") != "none").mean().round(6))
    return {
        "confusion": {t: {p: pairs[t, p] for p in LABELS} for t in LABELS},
        "kept_by_kind": {
            f"{row['label']}/{row['kind']}": {"n": row["n"], "kept": row["kept"]}
            for row in kinds.sort("label", "kind").iter_rows(named=True)
        },
    }
