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
(NAMED,) = GOOD["objects"]


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
        ({"objects": None}, "'objects' is None"),
        ({"objects": {"树": [0.1, 0.2, 0.4, 0.9]}}, "'objects' is {'树'"),
        ({"objects": "树"}, "'objects' is '树'"),
        ({"objects": ["树"]}, "'树' is no object"),
        ({"objects": [None]}, "None is no object"),
        ({"caption": None}, "'caption' is None"),
        ({"caption": 7}, "'caption' is 7"),
        ({"caption": " "}, "'caption' is ' '"),
        ({"caption": "一棵\ud83d树"}, "'caption' is"),
        ({"objects": [{"bbox": [0.1, 0.2, 0.4, 0.9]}]}, "'name' is missing"),
        ({"id": ["a"]}, "'id' is ['a']"),
        ({"id": True}, "'id' is True"),
        ({"image_path": 3}, "'image_path' is 3"),
        *(({"objects": [NAMED | {"name": name}]}, f"'name' is {name!r}") for name in (None, 3, "", "  ", ["树"])),
        *(({"objects": [NAMED | {"bbox": box}]}, f"'bbox' is {box!r}") for box in (None, 3, "0.1,0.2,0.4,0.9", {})),
        *(
            ({"objects": [NAMED | {"bbox": [value, 0.2, 0.4, 0.9]}]}, "not a finite number")
            for value in (None, "0.1", True, [0.1], {}, 1e999, 10**400)
        ),
        ({"objects": [NAMED | {"bbox": []}]}, "0 numbers"),
        ({"objects": [NAMED | {"bbox": [0.1, 0.2, 0.4, 0.9, 0.8]}]}, "5 numbers"),
        ({"objects": [NAMED | {"bbox": [0.1, 0.2, 0.3, "70%"]}]}, "not a finite number"),
        ({"objects": [NAMED | {"bbox": {"x": 0.1, "y": 0.2, "w": 0.3, "h": 0.7}}]}, "'bbox' is {'x'"),
        ({"objects": [{"label": "树", "bbox": [0.1, 0.2, 0.4, 0.9]}]}, "'name' is missing"),
        ({"objects": [[0.1, 0.2, 0.4, 0.9]]}, "is no object"),
        ({"objects": [NAMED | {"bbox": [[0.1, 0.2, 0.4, 0.9]]}]}, "1 numbers"),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(tmp_path, change, message):
    path = tmp_path / "layouts.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD | change).replace('Infinity', '1e999')}\n")
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 2") as caught:
        layouts.read(path)
    assert message in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("value", [None, "0.1", "a", True, [0.1], {}, 10**400, -5])
def test_what_is_no_number_has_no_convention(tmp_path, value):
    row = GOOD | {"objects": [NAMED, {"name": "猫", "bbox": [value, 0.2, 0.4, 0.9]}]}
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 1, box 1 \(猫\)"):
        layouts.read(write(tmp_path / "layouts.jsonl", row), "auto")


@pytest.mark.parametrize("row", [None, 3, "树", [], [GOOD]])
def test_a_row_that_is_no_object_is_told(tmp_path, row):
    with pytest.raises(UserError, match=r"layouts\.jsonl, line 2: .* is no object"):
        layouts.read(write(tmp_path / "layouts.jsonl", GOOD, row))


def test_what_is_null_is_as_what_is_not_there(tmp_path):
    """And no text “None”; a whole number names a layout as its digits do."""
    path = write(tmp_path / "layouts.jsonl", GOOD | {"id": None, "image_path": None}, GOOD | {"id": 7})
    assert [(row.id, row.image_path) for row in layouts.read(path)] == [("", ""), ("7", "0.png")]


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
