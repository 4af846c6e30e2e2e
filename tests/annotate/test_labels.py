"""Drawn boxes: a strict CSV, and how well annotated ones agree with them."""

import itertools
import json

import numpy as np
import pytest

from gillnext import boxes, layouts
from gillnext.annotate import agreement, labels
from gillnext.annotate.review import score
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

HEADER = "image,name,x1,y1,x2,y2\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png,猫,0.1,0.2,0.3\n", r"line 2: 5 fields"),
        ("a.png,猫,10,20,300,400\n", r"(?s)line 2.*out of the range"),
        ("a.png,猫,0.3,0.2,0.1,0.4\n", r"line 2.*reversed"),
        ("a.png,猫,0.3,x,0.1,0.4\n", r"line 2.*not four numbers"),
        ("a.png,猫,nan,0,1,1\n", r"line 2.*finite"),
        ("a.png,,0,0,1,1\n", r"line 2: no name"),
        (",猫,0,0,1,1\n", r"line 2: no image"),
        ("a.png,?,,,,\n", r"line 2: a\.png is not filled in"),
        ("a.png,,,,,\n\na.png,猫,0,0,1,1\n", r"line 4: a\.png has boxes and"),
        ("a.png,猫,0,0,1,1\na.png,,,,,\n", r"line 3: a\.png has boxes and"),
        ("a.png,,,,,\na.png,,,,,\n", r"line 3"),
        ("a.png,猫,0,0,1,1\na.png,猫,0,0,1,1\n", r"line 3: 猫 comes twice"),
        ('a.png,"猫,0,0,1,1\n', r"line 2: not CSV"),
        ("", r"no images"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path, rows, message):
    (tmp_path / "labels.csv").write_text(HEADER + rows, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        labels.read(tmp_path / "labels.csv")


def test_another_header_is_refused(tmp_path):
    for text in ("", "image;name;x1;y1;x2;y2\n", "a.png,猫,0,0,1,1\n"):
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="line 1"):
            labels.read(tmp_path / "labels.csv")


def test_rows_are_layouts_by_image_whatever_a_spreadsheet_saves(tmp_path):
    text = "\ufeff" + HEADER + '"a, b.png",猫,0.1,0.2,0.3,0.4\nc.png,,,,,\n\n"a, b.png",树,0,0,1,1\n'
    (tmp_path / "labels.csv").write_bytes(text.replace("\n", "\r\n").encode())
    found = labels.read(tmp_path / "labels.csv")
    assert found == {
        "a, b.png": Layout("", ("猫", "树"), ((0.1, 0.2, 0.3, 0.4), (0, 0, 1, 1)), image_path="a, b.png"),
        "c.png": Layout("", (), (), image_path="c.png"),
    }


def drawn(seed, count, names):
    """Random layouts of up to four boxes, by image."""
    rng, found = np.random.default_rng(seed), {}
    for i in range(count):
        low = rng.uniform(0, 0.6, (int(rng.integers(0, 5)), 2))
        unit = np.concatenate([low, low + rng.uniform(0.1, 0.4, low.shape)], 1)
        chosen = tuple(names[int(k)] for k in rng.integers(len(names), size=len(low)))
        found[f"{i}.png"] = Layout("", chosen, tuple(tuple(b) for b in unit.tolist()), image_path=f"{i}.png")
    return found


def test_scores_are_those_of_the_best_matching_by_brute_force():
    truth, rng = drawn(0, 40, ["猫", "树"]), np.random.default_rng(3)
    found = {}
    for image, row in truth.items():
        shifted = tuple(tuple(np.clip(np.array(b) + rng.normal(0, 0.02, 4), 0, 1).tolist()) for b in row.boxes[1:])
        found[image] = Layout("", (*row.names[1:], "船"), (*shifted, (0.0, 0.0, 0.2, 0.2)))
    report = agreement.score(found, truth)
    total, hits = 0.0, 0
    for image, row in truth.items():
        table = boxes.iou(np.array(row.boxes), np.array(found[image].boxes))
        same = np.array([[a == b for b in found[image].names] for a in row.names]).reshape(table.shape)
        table, spare = np.where(same, table, 0.0), len(row.names)
        wide = np.concatenate([table, np.zeros((len(row.names), spare))], 1)
        best = max(
            itertools.permutations(range(wide.shape[1]), spare), key=lambda p: sum(wide[i, j] for i, j in enumerate(p))
        )
        overlaps = [wide[i, j] for i, j in enumerate(best)]
        total, hits = total + sum(overlaps), hits + sum(v >= 0.5 for v in overlaps)
    count, annotated = (sum(len(row.names) for row in rows.values()) for rows in (truth, found))
    metrics = report["metrics"]
    assert metrics["annotation_miou"] == pytest.approx(total / count)
    assert metrics["annotation_recall"] == hits / count and metrics["annotation_precision"] == hits / annotated
    assert 0.3 < metrics["annotation_precision"] < metrics["annotation_recall"] < 0.9
    assert report["n"] == 40 and report["boxes"] == {"annotated": annotated, "drawn": count}
    for name, (low, high) in report["intervals"].items():
        assert low < metrics[name] < high and high - low < 0.35


def test_the_truth_agrees_with_itself_and_nothing_with_none():
    truth = drawn(1, 10, ["猫"])
    assert set(agreement.score(truth, truth)["metrics"].values()) == {1.0}
    nothing = {image: Layout("", (), ()) for image in truth}
    report = agreement.score(nothing, truth)
    assert report["metrics"] == {"annotation_precision": None, "annotation_recall": 0.0, "annotation_miou": 0.0}
    assert "annotation_precision" not in report["intervals"]


def test_the_command_scores_the_images_of_the_csv_alone(tmp_path):
    rows = [Layout("一只猫", ("猫",), ((0.1, 0.1, 0.5, 0.5),), str(i), f"{i}.png") for i in range(3)]
    layouts.write(tmp_path / "l.jsonl", rows)
    (tmp_path / "labels.csv").write_text(HEADER + "1.png,猫,0.1,0.1,0.5,0.5\n2.png,,,,,\n", encoding="utf-8")
    report = score([tmp_path / "l.jsonl"], tmp_path / "labels.csv", tmp_path / "quality.json")
    assert report["metrics"] == {"annotation_precision": 0.5, "annotation_recall": 1.0, "annotation_miou": 1.0}
    written = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert written["metrics"] == report["metrics"] and written["n"] == 2 and "provenance" in written
    (tmp_path / "labels.csv").write_text(HEADER + "9.png,,,,,\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.csv, line 2: 1 images are in no layout: 9\.png"):
        score([tmp_path / "l.jsonl"], tmp_path / "labels.csv", tmp_path / "quality.json")
