"""What was measured on one GPU at Kolors' real size, as a result table: rates, bytes, and how much of the GPU they use.

The files are `kolors.json` and `language.json` in `reference/measured`, by `make bench-gpu` (docs/gpu.md); no run makes
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gillnext.record.gpu import Gpu
from gillnext.tables.table import Column, Table, decimals, in_percent, integer, number, span, text

UNEVEN = 1.5  # a longest run of so many times the shortest is told
BATCH = re.compile(r"(^|, )batch \d+")
# how a name in language.json begins -> (key of its rate, its unit)
RATES = {
    "filter": ("captions_per_second", "captions/s"),
    "annotation": ("images_per_second", "pictures/s"),
    "zero-shot": ("images_per_second", "pictures/s"),
    "planner": ("layouts_per_second", "layouts/s"),
}
NAMES = {"zero-shot": "Grounding DINO", "plans, grammar": "plans, by grammar"}  # in print, of names in the file
MODELS = "Filter: Qwen2.5-7B; annotation: Qwen2-VL-7B; planner: Qwen2.5-1.5B"


@dataclass(frozen=True)
class Row:
    """A figure in print, with the numbers beside it; None where a file does not tell them."""

    part: str
    what: str
    values: dict[str, Any]
    rate: float
    unit: str

    def get(self, key: str, scale: float = 1.0) -> float | None:
        value = self.values.get(key)
        return None if value is None else scale * value

    @property
    def gigabytes(self) -> float | None:
        return self.get("bytes_at_peak", 1e-9) or self.get("peak_bytes", 1e-9)

    @property
    def seconds(self) -> list[float]:
        """Each run's, where the file has them."""
        return self.values.get("seconds_a_run") or self.values.get("seconds_a_step") or []


def _order(item: tuple[str, dict[str, Any]]) -> tuple[bool, str, int]:
    """Recomputed ones last; by arm, then by batch."""
    name, values = item
    return values.get("recomputed", False), BATCH.sub("", name), values.get("batch", 0)


def _rows(part: str, what: str, values: dict[str, Any], key: str, unit: str) -> Iterator[Row]:
    """The row, where the measurement came to its end."""
    if values.get(key):
        yield Row(part, f"{part}, {what}".removesuffix(", "), values, values[key], unit)


def rows(gpu: Gpu) -> Iterator[Row]:
    """Kolors' UNet by arm and batch, its autoencoder, and the language models."""
    for name, values in sorted(gpu.kolors.get("training", {}).items(), key=_order):
        yield from _rows("training", _named(name), values, "samples_per_second", "samples/s")
    for name, values in sorted(gpu.kolors.get("sampling", {}).items()):
        what = f"{_named(name).replace('none', 'no adapter')}, {values.get('unet_steps')} steps"
        yield from _rows("sampling", what, values, "seconds_per_image", "s/picture")
    for _, values in sorted(gpu.kolors.get("decoding", {}).items()):
        yield from _rows("decoding", "", values, "seconds_per_image", "s/picture")
    for begins, (key, unit) in RATES.items():
        of = {name: values for name, values in gpu.figures.items() if name.startswith(f"{begins}, ")}
        for name, values in sorted(of.items(), key=lambda item: (item[1].get("batch", 0), item[0])):
            what = _named(name.removeprefix(f"{begins}, "))
            yield from _rows(NAMES.get(begins, begins), NAMES.get(what, what), values, key, unit)


def _named(name: str) -> str:
    """A name of the file without its batch, which has a column."""
    return BATCH.sub("", name).removeprefix(", ")


def _uneven(found: list[Row]) -> str:
    """Names the figures whose runs took very different times: their medians say little."""
    apart = [row for row in found if row.seconds and max(row.seconds) >= UNEVEN * min(row.seconds)]
    ends = [span((min(row.seconds), max(row.seconds)), 2) for row in apart]
    figures = [f"{row.what}, batch {row.values['batch']} ({end} s)" for row, end in zip(apart, ends, strict=True)]
    return f"Of unlike runs: {'; '.join(figures)}." if apart else ""


def gpu_table(gpu: Gpu | None) -> Table | None:
    """A row a figure; None where nothing was measured."""
    if gpu is None:
        return None
    found = list(rows(gpu))
    columns = {
        Column("part", "part", left=True): lambda row: text(row.part),
        Column("what", "of", left=True): lambda row: text(row.what),
        Column("batch", "batch"): lambda row: integer(row.get("batch")),
        Column("rate", "measured"): lambda row: number(row.rate, 3 if row.unit == "s/picture" else 2),
        Column("unit", "unit", left=True): lambda row: text(row.unit),
        Column("gigabytes", "GB"): lambda row: number(row.gigabytes, 1),
        Column("share_of_peak", "% of peak"): lambda row: number(row.get("share_of_peak", 100), 1),
        Column("busy", "% busy"): lambda row: number(row.get("gpu_busy_mean", 100), 0),
        Column("n", "n"): lambda row: integer(row.get("repeats")),
    }
    peak, prompts = gpu.kolors.get("peak_tflop_per_second"), gpu.figures.get("annotation, prompts", {})
    asked = f"; annotation {prompts['side']}² and {prompts['answer_tokens']} tokens an answer" if prompts else ""
    notes = [
        f"{MODELS}. Precision {gpu.kolors.get('precision')}, 1024² pixels{asked}. Medians of n repeats in one process, "
        f"no interval. GB: the most that torch allocated. % of peak: operations, counted, of {peak} TFLOP/s; % busy: "
        "mean of the driver's own counter. Recomputed: with gradient checkpointing.",
        _uneven(found),
    ]
    title = f"Measured on one {gpu.device}, with random weights of the published sizes"
    return Table.of("gpu", title, found, columns, *filter(None, notes))


def quoted(gpu: Gpu | None) -> dict[str, str]:
    """`gpu.…`: what the paper's text says of these; {} where nothing was measured."""
    if gpu is None:
        return {}
    out = {"gpu.device": gpu.device}
    trained = [row for batch in gpu.batches("attn2") if (row := gpu.training("attn2", batch))]
    if trained:
        row = trained[-1]
        out |= {"gpu.batch": str(row["batch"]), "gpu.samples": decimals(row["samples_per_second"], 1)}
        out |= {"gpu.share": in_percent(row["share_of_peak"]), "gpu.gigabytes": decimals(row["bytes_at_peak"] / 1e9, 1)}
    filters = [row for name, row in gpu.figures.items() if name.startswith("filter, batch ")]
    labels = max(filters, key=lambda row: row["captions_per_second"], default=None)
    for begins, fastest in (("filter", labels), ("annotation", gpu.annotation())):
        key, alone = RATES[begins][0], gpu.figures.get(f"{begins}, one by one")
        if fastest and alone:
            out[f"gpu.{begins}"] = decimals(fastest[key], 0 if fastest[key] >= 100 else 1)
            out[f"gpu.{begins}.times"] = decimals(fastest[key] / alone[key], 0)
            out[f"gpu.{begins}.busy"] = in_percent(fastest.get("gpu_busy_mean", 0.0))
    return out
