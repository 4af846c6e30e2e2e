"""The result tables, built from a run's record alone: no seconds, so the same seeds give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gillnext.record.results import BY_HAND, DATA, LABELLED, PLANNER, REAL, VAE, Results, Scored
from gillnext.roles.sources import OWN
from gillnext.statistics import RESAMPLES, Estimate, bootstrap, paired
from gillnext.tables.distances import SECOND_KID, distances_notes, has_second_kid
from gillnext.tables.table import NOTHING, Cell, Column, Table, integer, number, span, text
from gillnext.tables.words import protocol_key, titled

# metric -> (title, decimals); the order is the order of print
MAIN: dict[str, tuple[str, int]] = {
    "success50": ("success@0.5 ↑", 3),
    "miou": ("mIoU ↑", 3),
    "ap50": ("AP50 ↑", 3),
    "wrong_class": ("wrong class ↓", 3),
    "clip_score": ("CLIP score ↑", 2),
    "fid": ("FID ↓", 2),
    "kid": ("KID ↓", 2),
    "cmmd": ("CMMD ↓", 3),
}
RELATIONS: dict[str, tuple[str, int]] = {
    "relation_accuracy": ("relation accuracy ↑", 3),
    "rules_relation_accuracy": ("the same by rules ↑", 3),
    "object_recall": ("object recall ↑", 3),
}
PER_IMAGE = {"success50": "hits", "miou": "iou"}  # metric -> its sums in per_image
PLANNER_LABELS: dict[str, str] = {
    "validity_unconstrained": "validity, unconstrained decoding",
    "validity_constrained": "validity, constrained decoding",
    "spatial_accuracy": "spatial accuracy",
    "retrieval_spatial_accuracy": "spatial accuracy, retrieval baseline",
    "random_spatial_accuracy": "spatial accuracy, random baseline",
    "count_accuracy": "object count accuracy",
    "miou": "matched mIoU",
}
DATA_LABELS: dict[str, str] = {
    "filter_precision": "filter: precision (spatial)",
    "filter_recall": "filter: recall (spatial)",
    "filter_label_accuracy": "filter: accuracy of strong, weak, none",
    "download_alive": "download: links with an image",
    "annotation_miou": "annotation: mean IoU, objects found",
    "annotation_recall": "annotation: recall at IoU 0.5",
}
OPTIONAL: dict[str, str] = {  # labels of further metrics, printed where a file has them
    "filter_spatial_label_accuracy": "filter: accuracy of strong, weak",
    "keyword_precision": "keyword pass: precision",
    "keyword_recall": "keyword pass: recall",
    "native_keyword_recall_strong": "keyword pass, native captions: recall of strong",
    "native_keyword_recall": "keyword pass, native captions: recall (spatial)",
    "native_keyword_passed_none": "keyword pass, native captions: share of none that passes",
    "native_filter_precision": "filter, native captions: precision (spatial)",
    "native_filter_recall": "filter, native captions: recall (spatial)",
    "filter_kept_share": "filter: share of rows kept",
    "spatial_share_before": "share of spatial captions, before",
    "spatial_share_after": "share of spatial captions, after",
    "download_kept": "download: rows with an image of their own",
    "download_recovered": "download: recoverable links that arrived",
    "download_bad_accepted": "download: broken links accepted",
    "annotation_miou_all": "annotation: mean IoU, missing ones as 0",
    "annotation_precision": "annotation: precision at IoU 0.5",
    "annotation_labelled": "annotation: images with boxes drawn by hand",
    "annotation_found": "annotation: objects found",
    "annotation_wrong": "annotation: boxes of absent objects",
    "annotation_rows_kept": "annotation: images with all their objects",
    "annotation_oom_survived": "annotation: images that survive injected memory errors",
    "annotation_oom_survived_plain": "the same of a loop that gives up a batch",
    "annotation_oom_same": "annotation: same answers as without such errors",
    "split_rows_kept": "split: layouts kept, after duplicates and quality control",
    "requests_filter_first": "requests, filter first",
    "requests_download_first": "requests, download first",
    "requests_saved": "requests saved by filtering first",
    "bytes_filter_first": "bytes, filter first",
    "bytes_download_first": "bytes, download first (estimate)",
}
HAND_NOTE = "Precision, recall and mean IoU are of the annotator's boxes by those that a person has drawn:"
SITES = {"none": "none", "attn1": "self-attention", "attn2": "cross-attention", "both": "both", "gated": "gated"}


def metric_title(metric: str) -> str:
    """A metric's name in print, without the arrow that says which way is better."""
    return MAIN[metric][0].rstrip(" ↑↓") if metric in MAIN else metric.replace("_", " ")


def metric_digits(metric: str) -> int:
    """Decimals in print."""
    return MAIN[metric][1] if metric in MAIN else 3


def main_metrics(results: Results) -> dict[str, tuple[str, int]]:
    """The columns of `MAIN`, with the second KID where the run has it."""
    more = [SECOND_KID] * has_second_kid(results)
    return {k: v for key in MAIN for k, v in [(key, MAIN[key]), *(more if key == "kid" else [])]}


def protocol_notes(results: Results) -> list[str]:
    """What the score files say about how they were made, and what the numbers may not be compared with."""
    config = results.config
    counts = sorted({len(config.study.seeds_of(name)) for name in config.study.arms})
    first = results.first()
    protocol = results.protocol(first)
    n, seeds = results.size(first), " or ".join(map(str, counts))
    stated = [
        f"{protocol_key(results, key)}: {protocol[key]}"
        for key in sorted(protocol)
        if isinstance(protocol[key], (str, int, float))
    ]
    notes = [
        f"{n} test images an arm and seed, {seeds} seed{'s' if counts[-1] > 1 else ''}; "
        + ("mean ± half width of the 95% t interval over seeds." if counts[-1] > 1 else "one seed: no interval."),
        "FID and KID use this workflow's own feature network, not Inception, and CMMD its own CLIP: "
        "never compare them with published values."
        if {config.models.features, config.models.image_text} <= set(OWN)
        else "FID, KID and CMMD are by the networks that the protocol names: compare them with published values by "
        "these alone, over as many pictures.",
    ]
    notes += [f"The base, by its own card: {results.base_limitation}."] if results.base_limitation else []
    return [*notes, f"Protocol: {'; '.join(stated)}."] if stated else notes


def main_table(results: Results) -> Table:
    """Arms × metrics, then the ceilings (real images, VAE) and the chance level of redrawn boxes."""
    study = results.config.study
    columns = {
        Column("arm", "arm", left=True): text,
        Column("site", "site", left=True): lambda arm: text(SITES.get(study.arms[arm].site, study.arms[arm].site)),
        Column("bias", "bias", left=True): lambda arm: text(study.arms[arm].bias if study.adapter_of(arm) else "–"),
        Column("seeds", "seeds"): lambda arm: integer(len(study.seeds_of(arm))),
        Column("n", "n"): lambda arm: integer(results.size(results.scored(arm)[0])),
        Column("parameters", "trained"): lambda arm: _parameters(results, arm),
    } | over_seeds(results, main_metrics(results))
    notes = ["Trained: parameters of the adapter, of the UNet too for an arm that trains it."]
    notes += distances_notes(results)
    title = "Box fidelity and image quality"
    table = Table.of("main", title, study.arms, columns, *protocol_notes(results), *notes)
    for of, name in ((REAL, "real images"), (VAE, "real, via VAE")):
        size = integer(results.size(of))
        table.rows.append([text(name), *[text("–")] * 3, size, text(NOTHING), *_ceiling(results, of)])
    table.rows.append(_chance(results))
    return table


def arm_and_seeds(results: Results) -> dict[Column, Callable[[str], Cell]]:
    """Columns of an arm's name and of how many seeds it has."""
    seeds = results.config.study.seeds_of
    return {Column("arm", "arm", left=True): text, Column("seeds", "seeds"): lambda arm: integer(len(seeds(arm)))}


def over_seeds(
    results: Results, metrics: dict[str, tuple[str, int]], split: str = "test"
) -> dict[Column, Callable[[str], Cell]]:
    """Columns of an arm's metrics over its seeds. `metrics`: metric -> (title, decimals)."""

    def cell(metric: str, digits: int) -> Callable[[str], Cell]:
        return lambda arm: number(results.over_seeds(arm, metric, split), digits)

    return {Column(key, title, interval=True): cell(key, digits) for key, (title, digits) in metrics.items()}


def _ceiling(results: Results, of: Scored) -> list[Cell]:
    needed = {"success50", "miou"}
    return [
        number(results.metric(of, k) if k in needed or results.has(of, k) else None, d)
        for k, (_, d) in main_metrics(results).items()
    ]


def _chance(results: Results) -> list[Cell]:
    arm, seeds = results.reference, results.config.study.seeds_of(results.reference)
    levels = {"success50": "chance_success50", "miou": "chance_miou"}
    known = main_metrics(results).items()
    cells = [number(results.over_seeds(arm, levels[k]) if k in levels else None, d) for k, (_, d) in known]
    n = results.size(results.scored(arm)[0])
    return [text(f"{arm}, boxes redrawn"), *[text("–")] * 2, integer(len(seeds)), integer(n), text(NOTHING), *cells]


def _parameters(results: Results, arm: str) -> Cell:
    """Trained parameters; a dash where an arm has none, or its training did not tell."""
    if arm not in results.config.study.trained:
        return text(NOTHING)
    first = results.scored(arm, "training")[0]
    return integer(results.metric(first, "parameters")) if results.has(first, "parameters") else text(NOTHING)


def intervals_table(results: Results) -> Table:
    """Two intervals of the same means and headline contrasts: over seeds (t), and over test images (bootstrap)."""
    rows = []
    for metric, key in PER_IMAGE.items():
        for arm in results.config.study.arms:
            seeds = results.config.study.seeds_of(arm)
            sums_SN, counts_N = _per_image(results, arm, seeds, key)
            images = bootstrap(sums_SN, counts_N, arm, metric)
            rows.append(_two_intervals(arm, metric, results.over_seeds(arm, metric), images))
        for first, second in results.config.study.headline:
            seeds = results.common_seeds(first, second)
            (one_SN, counts_N), (two_SN, _) = (_per_image(results, arm, seeds, key) for arm in (first, second))
            images = bootstrap(one_SN - two_SN, counts_N, first, second, metric)
            difference = paired(*results.both(first, second, metric))
            rows.append(_two_intervals(f"{first} − {second}", metric, difference, images))
    columns = [Column("arm", "arm", left=True), Column("metric", "metric", left=True), Column("mean", "mean")]
    columns += [Column("seeds", "95%, seeds (t)"), Column("images", "95%, images (bootstrap)")]
    notes = [
        "The t interval holds for these test images, over seeds of training (of the noise, where an arm trains "
        f"nothing); the bootstrap holds for these seeds: {RESAMPLES:,} resamples of the test images, the same for all "
        "seeds, and for both arms of a contrast."
    ]
    return Table("intervals", "Two sources of uncertainty", columns, rows, notes)


def _per_image(results: Results, arm: str, seeds: list[int], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Sums of a box score, (seeds, images), and boxes of each image."""
    scored = [Scored(arm, seed) for seed in seeds]
    return np.array([results.per_image(of, key) for of in scored]), results.per_image(scored[0], "boxes").astype(int)


def _two_intervals(name: str, metric: str, seeds: Estimate, images: tuple[float, float]) -> list[Cell]:
    spans = [(seeds.low, seeds.high) if seeds.half is not None else None, images]
    intervals = [text(span(ends) if ends else NOTHING) for ends in spans]
    return [text(name), text(metric_title(metric)), number(seeds.mean), *intervals]


def relations_table(results: Results) -> Table:
    """End to end: caption → planner → adapter → picture → relation. The reference arm, and those of
    `study.end_to_end`.
    """
    study = results.config.study
    columns = arm_and_seeds(results) | {
        Column("n", "captions"): lambda arm: integer(results.size(results.scored(arm, "relations")[0])),
        Column("n_relations", "relations"): lambda arm: integer(
            results.metric(results.scored(arm, "relations")[0], "n_relations")
        ),
    }
    titles = {key: (titled(results, title), digits) for key, (title, digits) in RELATIONS.items()}
    columns |= over_seeds(results, titles, "relations")
    note = (
        "A relation counts where both objects are found and their box centres stand as the caption says. ± over the "
        "adapter's seeds, for these captions and one planner."
    )
    return Table.of("relations", "Spatial relations, from the caption alone", study.end_to_end_arms, columns, note)


def _listing(results: Results, of: Scored, known: dict[str, str], name: str, title: str) -> Table:
    """Metric, value and n: the known ones first and required, any other of the set after them."""
    metrics = results.metrics(of)
    labels = known | {k: v for k, v in OPTIONAL.items() if k in metrics and known is DATA_LABELS}
    labels |= {k: k.replace("_", " ") for k in sorted(metrics) if k not in labels}
    for key in labels:
        results.metric(of, key)  # says what is missing
    columns = {
        Column("metric", "metric", left=True): lambda key: text(labels[key]),
        Column("value", "value"): lambda key: _listed(key, metrics[key].value),
        Column("ci95", "95% interval"): lambda key: text(span(metrics[key].ends)),
        Column("n", "n"): lambda key: integer(metrics[key].n or 0),
    }
    if any(value.ends for value in metrics.values()):
        notes = ["Intervals are Wilson's, over rows, links or objects as if these were independent."]
        return Table.of(name, title, labels, columns, *notes)
    return Table.of(name, title, labels, {column: cell for column, cell in columns.items() if column.key != "ci95"})


def _listed(key: str, value: float) -> Cell:
    """Counts and bytes as whole numbers, everything else with three decimals."""
    whole = key.startswith(("n_", "bytes_")) or (value > 1 and value == int(value))
    return integer(value) if whole else number(value)


def planner_table(results: Results) -> Table:
    return _listing(results, PLANNER, PLANNER_LABELS, "planner", "The layout planner on held-out captions")


def data_table(results: Results) -> Table:
    """The data stages against the world's truth; of a release what they kept, and its boxes against those that a person
    has drawn: without these nobody knows the truth, and the rows say so.
    """
    if not results.config.world.release:
        title = "Filter, download and annotation against the world's truth"
        return _listing(results, DATA, DATA_LABELS, "data", title)
    labels = DATA_LABELS | OPTIONAL
    known = {key: label for key, label in labels.items() if results.has(DATA, key)}
    if LABELLED in known:
        table = _listing(results, DATA, known, "data", "What filter, download and annotation kept, and boxes by hand")
        images = int(results.metric(DATA, LABELLED))
        hand = f"{HAND_NOTE} {images:,} images, over which these intervals are resampled; n: boxes."
        return replace(table, notes=[*table.notes, hand])
    table = _listing(results, DATA, known, "data", "What filter, download and annotation kept; there is no truth")
    for key in (key for key in labels if key in BY_HAND and key not in known):
        cells = {"metric": text(labels[key]), "value": text("no truth")}
        table.rows.append([cells.get(column.key, text(NOTHING)) for column in table.columns])
    return table
