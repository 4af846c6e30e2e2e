"""Layout files: rows come back as written, and a bad row is told with file and line."""

import json

import pytest

from gillnext import layouts
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError

GOOD = {
    "id": "a",
    "image_path": "0.png",
    "caption": "左边是一棵树",
    "objects": [{"name": "树", "bbox": [0.1, 0.2, 0.4, 0.9]}],
}


def write(path, *rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_layouts_come_back_as_written(tmp_path):
    written = [
        Layout("左边是一棵树", ("树",), ((0.1, 0.2, 0.4, 0.9),), "a", "0.png", {"relations": [[0, "left", None]]}),
        Layout("什么也没有", (), (), "b"),
    ]
    layouts.write(tmp_path / "layouts.jsonl", written)
    found = layouts.read(tmp_path / "layouts.jsonl")
    assert found == written
    assert found[0].extra == {"relations": [[0, "left", None]]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": [{"name": "树", "bbox": [0.4, 0.2, 0.1, 0.9]}]}, "reversed"),
        ({"objects": [{"name": "树", "bbox": [100, 200, 400, 900]}]}, "0–1000"),
        ({"objects": [{"name": "树", "bbox": [0.1, 0.2, 0.4, 1.9]}]}, "out of the range"),
        ({"objects": [{"name": "树"}]}, "'bbox'"),
        ({"objects": None}, "lacks or misuses"),
        ({"caption": None, "objects": ["树"]}, "lacks or misuses"),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(tmp_path, change, message):
    path = write(tmp_path / "layouts.jsonl", GOOD, GOOD | change)
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 2") as caught:
        layouts.read(path)
    assert message in str(caught.value) and caught.value.remedy


def test_a_missing_key_is_told(tmp_path):
    path = write(tmp_path / "layouts.jsonl", {k: v for k, v in GOOD.items() if k != "objects"})
    with pytest.raises(UserError, match=r"line 1.*'objects'"):
        layouts.read(path)


def test_other_conventions_are_converted_where_they_are_named(tmp_path):
    row = GOOD | {"objects": [{"name": "树", "bbox": [100, 200, 400, 900]}]}
    for convention in ("thousandths", "auto"):
        (layout,) = layouts.read(write(tmp_path / "layouts.jsonl", row), convention)
        assert layout.boxes == ((0.1, 0.2, 0.4, 0.9),)


def test_names_and_boxes_must_agree_in_number():
    with pytest.raises(ValueError, match="1 names and 0 boxes"):
        Layout("树", ("树",), ())
