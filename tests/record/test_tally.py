"""The data scores of a release are the sums of what its data stages counted."""

import pytest
from scipy.stats import binomtest

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.record.tally import tally
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

FILTERED = [{"rows": 100, "kept": 9, "kept_strong": 7, "kept_weak": 3}, {"rows": 300, "kept": 21, "kept_strong": 22}]
INDEX = [
    {"rows": 9, "kept": 5, "outcomes": {"ok": 5, "duplicate": 1, "timeout": 3}},
    {"rows": 21, "kept": 15, "outcomes": {"ok": 15, "not_found": 6}},
]
LAYOUTS = [{"rows": 20, "kept": 16, "objects": 30, "rows_dropped": {"malformed": 4}, "objects_dropped": {"no box": 10}}]
SPLIT = {"rows": 16, "rows_dropped": {"duplicate": 3, "box too small": 1}}


@pytest.fixture
def written(tmp_path):
    def write(name, contents):
        paths = [tmp_path / name / f"{i}.json" for i in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            files.write_json(path, content)
        return paths

    split = tmp_path / "counts.json"
    files.write_json(split, SPLIT)
    return write("filtered", FILTERED), write("index", INDEX), write("layouts", LAYOUTS), split


def test_parts_are_added_up(written):
    report = tally(*written)
    assert report["n"] == 400
    assert report["metrics"] == {
        "spatial_share_before": 0.08, "filter_kept_share": 0.075, "download_alive": 0.7,
        "download_kept": round(2 / 3, 6), "annotation_rows_kept": 0.8, "annotation_found": 0.75,
        "split_rows_kept": 0.75,
    }  # fmt: skip
    assert report["counts"]["download_alive"] == 30 and report["counts"]["annotation_found"] == 40
    between = binomtest(21, 30).proportion_ci(method="wilson")
    assert report["intervals"]["download_alive"] == pytest.approx(between, abs=1e-6)
    assert report["breakdown"]["outcomes"] == {"ok": 20, "duplicate": 1, "timeout": 3, "not_found": 6}
    assert report["breakdown"]["split_dropped"] == SPLIT["rows_dropped"]


def test_scores_against_hand_drawn_boxes_stand_among_them(written, tmp_path):
    """By arithmetic: of three drawn boxes one is met exactly, one is half as wide as drawn, one is missing; a fourth
    annotated box is of nothing that was drawn. The image that nobody looked at counts nowhere.
    """
    rows = [
        Layout("图", ("猫", "树", "花"), ((0, 0, 0.5, 0.5), (0, 0.5, 0.25, 1), (0.5, 0.5, 1, 1)), "0", "a.png"),
        Layout("图", ("猫",), ((0, 0, 0.5, 0.5),), "1", "unseen.png"),
        Layout("图", (), (), "2", "b.png"),
    ]
    layouts.write(tmp_path / "0.jsonl", rows)
    (tmp_path / "labels.csv").write_text(
        "image,name,x1,y1,x2,y2\na.png,猫,0,0,0.5,0.5\na.png,树,0,0.5,0.5,1\nb.png,猫,0,0,1,1\n", encoding="utf-8"
    )
    report = tally(*written, [tmp_path / "0.jsonl"], tmp_path / "labels.csv")
    expected = {"precision": (2 / 3, 3), "recall": (2 / 3, 3), "miou_all": ((1 + 0.5 + 0) / 3, 3), "labelled": (2, 2)}
    for name, (value, n) in expected.items():
        assert report["metrics"][f"annotation_{name}"] == pytest.approx(value, abs=1e-6)
        assert report["counts"][f"annotation_{name}"] == n
    low, high = report["intervals"]["annotation_recall"]
    assert low == 0 and high == 1  # a resample may draw one of the two images alone
    assert report["metrics"]["download_alive"] == 0.7 and "annotation" in report["protocol"]
    assert "annotation_precision" not in tally(*written)["metrics"]


def test_a_stage_that_saw_nothing_has_no_share(written, tmp_path):
    empty = tmp_path / "none.json"
    files.write_json(empty, {"rows": 0, "kept": 0})
    assert "download_alive" not in tally(written[0], [empty], *written[2:])["metrics"]


def test_a_file_without_counts_is_told(written, tmp_path):
    bad = tmp_path / "bad.json"
    files.write_json(bad, [1])
    with pytest.raises(UserError, match=r"bad\.json: holds no counts"):
        tally([bad], *written[1:])


def test_the_pace_of_each_part_is_kept_by_itself(written):
    paces = [{"devices": 1, "items": 100, "seconds": 20.0}, {"devices": 3, "items": 300, "seconds": 19.5}]
    for path, content, pace in zip(written[0], FILTERED, paces, strict=True):
        files.write_json(path, content | {"pace": pace})
    report = tally(*written)
    assert report["breakdown"]["filter_pace"] == {"0": paces[0], "1": paces[1]}
    assert report["breakdown"]["annotation_pace"] == {}  # of a CPU
    assert report["metrics"]["spatial_share_before"] == 0.08
