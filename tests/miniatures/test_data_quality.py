"""Data scores on a world of twelve rows, worked out by hand."""

import json

import numpy as np
import polars as pl
import pytest

from gillnext.config import Config
from gillnext.config.model import Run
from gillnext.filter.lexicon import Lexicon
from gillnext.layouts import Layout, write
from gillnext.miniatures import filter_quality, quality
from gillnext.miniatures.world import scenes
from gillnext.miniatures.world.captions import join
from gillnext.miniatures.world.objects import DRAWN
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SEED = 5
CONFIG = Config(run=Run(seed=SEED))
# label, the filter's answer, fault, arrived. Two shards of six rows.
ROWS = [
    ("strong", "strong", "", True), ("strong", "weak", "slow", True), ("strong", "none", "", False),
    ("weak", "weak", "", True), ("none", "strong", "", True), ("none", "none", "", False),
    ("strong", "strong", "not_found", False), ("strong", "strong", "truncated", True),
    ("weak", "strong", "duplicate", False), ("none", "none", "", False), ("none", "none", "", False),
    ("weak", "none", "", False),
]  # fmt: skip


def caption(i, label):
    scene = scenes.sample(SEED, "world", i)
    words = {"strong": "左边是", "weak": "旁边有", "none": "包邮"}[label]
    return words + (join([o.kind.phrase for o in scene.objects]) if label != "none" else "")


def row(i):
    label, predicted, fault, arrived = ROWS[i]
    url = f"http://img.example/{i}.jpg"
    place = {"shard": i // 6, "row": i % 6, "url": url, "scene": i, "fault": fault, "relations": "[]"}
    row = {"caption": caption(i, label), "label": label, "kind": label}
    return place | row | {"predicted": predicted, "arrived": arrived}


def annotate(entry):
    """Truth, but the first object of row 0 is far off, row 3 is given up, and row 4 has a box for nothing."""
    scene = scenes.sample(SEED, "world", entry["scene"])
    boxes = [tuple(float(v) for v in o.box) for o in scene.objects]
    names = list(scene.names) if entry["label"] != "none" else []
    i = entry["shard"] * 6 + entry["row"]
    if i == 0:
        x1, y1, x2, y2 = boxes[0]
        boxes[0] = (x1, y1, x1 + (x2 - x1) / 4, y2)  # IoU 1/4
    if i == 4:
        names, boxes = [next(name for name in DRAWN.names if name not in scene.names)], boxes[:1]
    return Layout(entry["caption"], tuple(names), tuple(boxes[: len(names)]), extra={"url": entry["url"]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    entries = [row(i) for i in range(len(ROWS))]
    truth = pl.DataFrame(entries)
    (root / "world/truth").mkdir(parents=True)
    for shard in (0, 1):
        part = truth.filter(pl.col("shard") == shard).drop("shard", "predicted", "arrived")
        part.write_parquet(root / f"world/truth/{shard}.parquet")
        kept = truth.filter((pl.col("shard") == shard) & (pl.col("predicted") != "none"))
        kept.select("url", "caption", "shard", "row", spatial_type="predicted").write_parquet(root / f"{shard}.parquet")
        there = [e for e in entries if e["shard"] == shard and e["arrived"]]
        (root / "images").mkdir(exist_ok=True)
        for e in there:
            (root / "images" / f"{e['scene']}.jpg").write_bytes(b"x" * 100)
        index = [
            {"url": e["url"], "caption": e["caption"], "image_path": str(root / f"images/{e['scene']}.jpg")}
            for e in there
        ]
        files.write_jsonl(root / f"index{shard}.jsonl", index)
        counts = {"ok": len(index), "duplicate": shard, "not_found": shard}
        files.write_json(root / f"index{shard}.json", {"outcomes": counts})
        write(root / f"layouts{shard}.jsonl", [annotate(e) for e in there if e["scene"] != 3])
    return root


class Strong:
    """A classifier that calls everything strong."""

    def label(self, captions):
        return ["strong"] * len(captions)


@pytest.fixture(scope="module")
def report(folder):
    parts = {k: [folder / f"{k}{i}.jsonl" for i in (0, 1)] for k in ("index", "layouts")}
    kept = [folder / "0.parquet", folder / "1.parquet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quality.Classifier, "from_pretrained", lambda *_: Strong())
        patch.setattr(quality, "survival", lambda *_: {"annotation_oom_survived": (0.75, 4)})  # tests/annotate/test_oom
        return quality.quality(
            CONFIG, folder / "world", kept, parts["index"], parts["layouts"], "annotator", "classifier"
        )


def test_filter_precision_recall_and_labels(report):
    m, n = report["metrics"], report["counts"]
    assert (m["filter_precision"], n["filter_precision"]) == (pytest.approx(6 / 7, abs=1e-6), 7)
    assert (m["filter_recall"], n["filter_recall"]) == (pytest.approx(6 / 8, abs=1e-6), 8)
    # Wrong labels: rows 1, 2, 4, 8 and 11.
    assert m["filter_label_accuracy"] == pytest.approx(7 / 12, abs=1e-6)
    assert m["filter_spatial_label_accuracy"] == pytest.approx(4 / 8, abs=1e-6)
    assert report["breakdown"]["confusion"]["strong"] == {"strong": 3, "weak": 1, "none": 1}
    assert report["breakdown"]["kept_by_kind"]["weak/weak"] == {
        "n": 3,
        "kept": pytest.approx(2 / 3, abs=1e-6),
    }


def test_keyword_pass_and_spatial_share_before_and_after(report):
    m = report["metrics"]
    assert m["keyword_recall"] == m["keyword_precision"] == 1.0
    assert m["spatial_share_before"] == pytest.approx(8 / 12, abs=1e-6)
    assert m["spatial_share_after"] == m["filter_precision"]


def test_native_captions_are_scored_by_both_passes(monkeypatch):
    """Of 左1 左2 右3 无4 中5 the pass lets 左 and 右 through, and the classifier all but the second."""
    rows = {"caption": ["左1", "左2", "右3", "无4", "中5"], "label": ["strong", "weak", "none", "none", "strong"]}
    monkeypatch.setattr(filter_quality, "read_native", lambda half: pl.DataFrame(rows))
    found = filter_quality.native_metrics(
        Lexicon(("左", "右"), ()), lambda captions: ["none" if "2" in c else "weak" for c in captions]
    )
    assert found == {
        "native_keyword_recall_strong": (1 / 2, 2),
        "native_keyword_recall": (pytest.approx(2 / 3), 3),
        "native_keyword_passed_none": (1 / 2, 2),
        "native_filter_precision": (1 / 2, 2),
        "native_filter_recall": (pytest.approx(1 / 3), 3),
    }


def test_the_report_scores_the_held_out_native_captions(report):
    labels = filter_quality.read_native("held-out")["label"]
    assert report["counts"]["native_keyword_recall_strong"] == (labels == "strong").sum() > 40
    assert report["metrics"]["native_filter_recall"] == report["metrics"]["native_keyword_recall"] > 0.9


def test_download_outcomes_by_fault(report):
    m = report["metrics"]
    assert m["download_kept"] == pytest.approx(5 / 7, abs=1e-6)
    assert m["download_recovered"] == 1.0  # rows 0, 1, 3, 4
    assert m["download_bad_accepted"] == 0.5  # row 6 is gone, row 7 came through although it is truncated
    assert m["download_alive"] == pytest.approx(6 / 7, abs=1e-6)  # 5 images and one copy of 7 links
    assert report["breakdown"]["kept_by_fault"]["slow"] == {"n": 1, "kept": 1.0}
    assert report["breakdown"]["outcomes"] == {"ok": 5, "duplicate": 1, "not_found": 1}


def test_annotation_against_the_scenes(report):
    m, n = report["metrics"], report["counts"]
    sizes = {i: len(scenes.sample(SEED, "world", i).objects) for i in (0, 1, 3, 7)}
    named, missing = sum(sizes.values()), sizes[3]
    assert n["annotation_miou_all"] == named
    total = named - missing - 0.75
    assert m["annotation_miou_all"] == pytest.approx(total / named, abs=1e-4)
    assert m["annotation_miou"] == pytest.approx(total / (named - missing), abs=1e-4)
    assert m["annotation_recall"] == pytest.approx((named - missing - 1) / named, abs=1e-6)
    assert m["annotation_found"] == pytest.approx((named - missing) / named, abs=1e-6)
    assert m["annotation_wrong"] == pytest.approx(1 / (named - missing + 1), abs=1e-6)
    assert m["annotation_rows_kept"] == 0.8


def test_filter_first_against_download_first(report):
    m = report["metrics"]
    assert (m["requests_filter_first"], m["requests_download_first"]) == (7, 12)
    assert m["requests_saved"] == pytest.approx(5 / 12, abs=1e-6)
    assert m["bytes_filter_first"] == 500
    assert m["bytes_download_first"] == round(100 * 6 / 7 * 12)


def test_report_can_be_written_and_is_made_of_plain_numbers(report, tmp_path):
    files.write_json(tmp_path / "data.json", report)
    assert json.loads((tmp_path / "data.json").read_text()) == report
    assert all(isinstance(v, (int, float)) and np.isfinite(v) for v in report["metrics"].values())


def test_world_without_truth_and_foreign_index_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match="make the world first"):
        quality.read_truth(tmp_path)
    files.write_jsonl(tmp_path / "i.jsonl", [{"url": "http://else/1", "caption": "树", "image_path": "x"}])
    files.write_json(tmp_path / "i.json", {"outcomes": {"ok": 1}})
    with pytest.raises(UserError, match="no URL of the world"):
        quality.quality(
            CONFIG,
            folder / "world",
            [folder / "0.parquet"],
            [tmp_path / "i.jsonl"],
            [folder / "layouts0.jsonl"],
            "annotator",
            "classifier",
        )


def test_parts_are_numbers_not_text():
    assert [quality.number(n) for n in ("10.parquet", "wukong_100m_3.csv", "7")] == [10, 3, 7]
    with pytest.raises(UserError, match="no shard number"):
        quality.number("truth.parquet")


def test_intervals_hold_the_score_statistics_own_ends():
    """Wilson's ends are where a proportion p is 1.96 of its standard errors from what was seen."""
    metrics = {"filter_precision": (0.9, 50), "annotation_miou": (0.8, 50), "filter_recall": (0.0, 0)}
    ends = quality.intervals(metrics)
    assert list(ends) == ["filter_precision"]  # a mean of overlaps is no share, and nothing has no interval
    for p in ends["filter_precision"]:
        assert abs(0.9 - p) / np.sqrt(p * (1 - p) / 50) == pytest.approx(1.959964, abs=1e-3)


def test_every_share_of_the_report_has_an_interval_around_it(report):
    assert set(report["intervals"]) == set(quality.SHARES) & set(report["metrics"])
    for name, (low, high) in report["intervals"].items():
        assert 0 <= low <= report["metrics"][name] <= high <= 1
