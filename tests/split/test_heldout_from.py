"""Held-out layouts from files in OverLayBench's and COCO's forms: read as they are published, refused by place."""

import json

import numpy as np
import polars as pl
import pytest

from gillnext import layouts
from gillnext.cli import main
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.score.boxes import requested
from gillnext.score.chance import Prior
from gillnext.score.protocols import in_overlap
from gillnext.split import forms
from gillnext.split.heldout_from import convert

ANNOTATION = {
    "caption": "Two cats behind a dog",
    "annotations": {
        "cat_1": {"bbox": [0, 128, 512, 640], "category": "cat", "local_prompts": "a grey cat"},
        "cat_2": {"bbox": [256, 256, 768, 768], "category": "cat", "local_prompts": "a black cat"},
        "dog_1": {"bbox": [512, 512, 1024, 1024], "category": "dog", "local_prompts": "it's a dog"},
    },
    "relations": {"(cat_1, dog_1)": "behind"},
    "valid_overlap": [{"overlap_box": [0, 1], "iou": 0.2}],
}
UNIT = ((0.0, 0.125, 0.5, 0.625), (0.25, 0.25, 0.75, 0.75), (0.5, 0.5, 1.0, 1.0))


def overlay(folder, suffix, annotation=ANNOTATION, key="000001"):
    """A file of one image in each of the ways that OverLayBench's rows are found: as Python's literal, or as JSON."""
    path = folder / f"bench{suffix}"
    row = {"image_id": key, "annotation": repr(annotation)}
    if suffix == ".parquet":
        pl.DataFrame([row | {"image": {"bytes": b"JPEG", "path": "a"}}]).write_parquet(path)
    elif suffix == ".jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        path.write_text(json.dumps({key: annotation}))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json"])
def test_overlaybenchs_rows_are_read(tmp_path, config_file, suffix):
    from gillnext.config.load import load

    counts = convert(load(config_file), overlay(tmp_path, suffix), "overlaybench", tmp_path / "out")
    (row,) = layouts.read(tmp_path / "out" / "test.jsonl")
    assert (row.id, row.caption, row.names, row.boxes) == ("000001", ANNOTATION["caption"], ("cat", "cat", "dog"), UNIT)
    assert row.extra == {"overlaps": [[0, 1]]}
    assert (tmp_path / "out" / "names.txt").read_text().split() == ["cat", "dog"]
    assert counts == {"layouts": 1, "boxes": 3, "names": 2, "left_out": {}}


def test_the_overlap_of_the_named_pairs_is_scored_and_of_no_other(tmp_path):
    """As the published code: the pairs of `valid_overlap` alone, by arithmetic. The dog overlaps a cat too, unnamed."""
    (row,) = forms.overlaybench(overlay(tmp_path, ".json"), {})
    seen = np.array([UNIT[0], UNIT[1], (0.0, 0.0, 0.1, 0.1)])
    found = Detections(seen, np.array([0, 0, 1]), np.ones(3))
    assert in_overlap(requested(row, ["cat", "dog"]), found) == pytest.approx(1.0)
    shifted = np.array([UNIT[0], (0.25, 0.375, 0.75, 0.75), UNIT[2]])
    found = Detections(shifted, np.array([0, 0, 1]), np.ones(3))
    # asked: 0.25–0.5 × 0.25–0.625; seen: 0.25–0.5 × 0.375–0.625; IoU 0.25 / 0.375
    assert in_overlap(requested(row, ["cat", "dog"]), found) == pytest.approx(0.25 / 0.375)
    every = Layout(row.caption, row.names, row.boxes)  # without the file's pairs: cats' overlap, and cat's with the dog
    asked, got = 0.25 * 0.25, 0.25 * 0.25
    assert in_overlap(requested(every, ["cat", "dog"]), found) == pytest.approx((0.25 / 0.375 + got / asked) / 2)


def without(key):
    return {k: v for k, v in ANNOTATION.items() if k != key}


def instances(**cat):
    return ANNOTATION | {"annotations": {"cat_1": ANNOTATION["annotations"]["cat_1"] | cat}, "valid_overlap": []}


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        (without("caption"), "image 0: 'caption' is missing"),
        (without("annotations"), "image 0: 'annotations' is missing"),
        (ANNOTATION | {"annotations": []}, "'annotations' is "),
        (instances(category=" "), "instance 'cat_1': 'category' is ' '"),
        (instances(bbox=[0, 0, 10]), "is not four numbers"),
        (instances(bbox=[0, 0, "x", 5]), "is not four numbers"),
        (instances(bbox=[0, 0, 1030, 500]), "is out of the range 0–1"),
        (instances(bbox=[500, 0, 100, 500]), "is reversed or empty"),
        (ANNOTATION | {"valid_overlap": [{"overlap_box": [0, 3]}]}, r"\[0, 3\] are not two of 3 instances"),
        (ANNOTATION | {"valid_overlap": [{}]}, "'overlap_box' is missing"),
        (ANNOTATION | {"annotations": {}}, "holds no layout: {'image without boxes': 1}"),
    ],
)
def test_what_is_wrong_in_an_annotation_is_told_with_its_place(tmp_path, tiny_config, annotation, what):
    with pytest.raises(UserError, match=what) as told:
        convert(tiny_config, overlay(tmp_path, ".json", annotation), "overlaybench", tmp_path / "out")
    assert str(tmp_path) in str(told.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "[1, 2]", "{'a': ", "(" * 5000, "x" * 2_000_000])
def test_an_annotation_is_data_and_never_run(tmp_path, tiny_config, text):
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({"image_id": "1", "annotation": text}) + "\n")
    with pytest.raises(UserError, match=r"bench\.jsonl, line 1"):
        convert(tiny_config, path, "overlaybench", tmp_path / "out")


def test_an_image_twice_and_a_table_of_something_else_are_refused(tmp_path, tiny_config):
    path = tmp_path / "bench.jsonl"
    path.write_text((json.dumps({"image_id": "1", "annotation": ANNOTATION}) + "\n") * 2)
    with pytest.raises(UserError, match="image '1' comes twice"):
        convert(tiny_config, path, "overlaybench", tmp_path / "out")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="no table of image_id and annotation"):
        convert(tiny_config, tmp_path / "x.parquet", "overlaybench", tmp_path / "out")


def coco(folder, **change):
    """A file of COCO's instances: an image with three boxes and a crowd, one without boxes, one without a caption."""
    box = {"image_id": 7, "category_id": 18, "iscrowd": 0}
    content = {
        "images": [
            {"id": 9, "width": 100, "height": 100, "file_name": "9.jpg"},
            {"id": 7, "width": 640, "height": 480, "file_name": "7.jpg"},
            {"id": 8, "width": 100, "height": 100, "file_name": "8.jpg"},
        ],
        "annotations": [
            box | {"id": 1, "bbox": [64.0, 48.0, 320.0, 240.0]},
            box | {"id": 2, "bbox": [320, 240, 320.4, 240], "category_id": 1},
            box | {"id": 3, "bbox": [5, 5, 0, 9]},
            box | {"id": 4, "bbox": [0, 0, 640, 480], "iscrowd": 1},
            {"id": 5, "image_id": 9, "category_id": 1, "bbox": [0, 0, 50, 50]},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
    } | change
    (folder / "instances.json").write_text(json.dumps(content))
    captions = [{"image_id": 7, "id": 11, "caption": "A dog. "}, {"image_id": 7, "id": 3, "caption": "Another."}]
    (folder / "captions.json").write_text(json.dumps({"annotations": captions}))
    return folder / "instances.json", folder / "captions.json"


def test_cocos_instances_are_read_with_the_first_caption(tmp_path, tiny_config):
    source, captions = coco(tmp_path)
    counts = convert(tiny_config, source, "coco", tmp_path / "out", captions)
    (row,) = layouts.read(tmp_path / "out" / "test.jsonl")
    assert (row.id, row.caption, row.names) == ("7", "A dog.", ("dog", "person"))
    assert row.boxes == ((0.1, 0.1, 0.6, 0.6), (0.5, 0.5, 1.0, 1.0)) and row.image_path == "7.jpg"
    assert counts["left_out"] == {
        forms.CROWD: 1, forms.FLAT: 1, forms.EDGE: 1, forms.EMPTY: 1, forms.SILENT: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"categories": [{"id": 18, "name": "dog"}]}, "annotation 1: no category has the id 1"),
        ({"images": []}, "boxes of image 7, which 'images' does not list"),
        ({"images": [{"id": 7, "width": 64, "height": 480}, {"id": 9, "width": 1, "height": 1}]}, "out of the range"),
        ({"annotations": [{"image_id": 7, "category_id": 1}]}, "annotation 0: 'bbox' is missing"),
        ({"annotations": {}}, "'annotations' is {}"),
    ],
)
def test_what_is_wrong_in_a_coco_file_is_told_with_its_place(tmp_path, tiny_config, change, what):
    source, captions = coco(tmp_path, **change)
    with pytest.raises(UserError, match=what):
        convert(tiny_config, source, "coco", tmp_path / "out", captions)


def test_cocos_instances_without_captions_are_refused_with_the_option(tmp_path, tiny_config):
    with pytest.raises(UserError, match="holds no layout") as told:
        convert(tiny_config, coco(tmp_path)[0], "coco", tmp_path / "out")
    assert "--captions" in told.value.remedy


def test_the_command_draws_the_chance_level_from_training_layouts(tmp_path, config_file, capsys):
    box = ((0.1, 0.1, 0.2, 0.2), (0.3, 0.3, 0.5, 0.5))
    layouts.write(tmp_path / "train.jsonl", [Layout("a", ("x", "y"), box), Layout("b", ("x",), box[1:])])
    command = ["heldout-from", str(overlay(tmp_path, ".json")), "--form", "overlaybench", "--config", str(config_file)]
    assert main([*command, "--train", str(tmp_path / "train.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert "1 layouts, 3 boxes of 2 names" in capsys.readouterr().out
    prior = Prior.load(tmp_path / "out" / "prior.safetensors")
    (row,) = layouts.read(tmp_path / "out" / "test.jsonl")
    drawn = prior.redraw(requested(row, ["cat", "dog"]), 0, 0).boxes
    assert {tuple(b) for b in drawn.tolist()} <= set(box) and len(drawn) == 3  # of the nearest number of boxes, two
    assert json.loads((tmp_path / "out" / "counts.json").read_text())["prior_nearest"] == {"3": 2}
