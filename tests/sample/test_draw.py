"""`gillnext draw`: caption and boxes in, picture out; bad boxes are named, never bent into shape."""

import json
import shutil
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from diffusers import KolorsPipeline
from PIL import Image

from gillnext import cli, overlay
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline, load
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import Layout
from gillnext.planner import format as plan_format
from gillnext.runtime import manifest

CAPTION = "一只猫和一棵树"
UNIT = {"猫": [0.1, 0.3, 0.5, 0.8], "树": [0.6, 0.1, 0.95, 0.6]}


@pytest.fixture(scope="module")
def adapter_folder(tmp_path_factory, tiny_base, awake):
    folder = tmp_path_factory.mktemp("draw")
    torch.manual_seed(0)
    adapter = SpatialAdapter.for_unet(GroundedKolorsPipeline.from_folders(tiny_base).unet, width=16)
    awake(adapter).save_pretrained(folder)
    return folder


@pytest.fixture
def draw(tiny, adapter_folder, tmp_path, capsys):
    """Runs the command with a boxes file; gives exit code, printed text and picture."""

    def run(boxes, *extra, name="picture.png"):
        path, out = tmp_path / "boxes.json", tmp_path / name
        path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
        arguments = ["draw", CAPTION, "--config", tiny.config_file, "--base", tiny.base, "--adapter", adapter_folder,
                     "--boxes", path, "--out", out, "--scale", 2, *extra]  # fmt: skip
        code = cli.main([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err, np.asarray(Image.open(out)) if out.exists() else None

    return run


def test_boxes_by_name_or_in_a_list_or_as_a_layout_give_the_same_picture(draw):
    code, printed, picture = draw(UNIT)
    assert code == 0 and picture.shape == (128, 128, 3)
    assert "猫 [0.10, 0.30, 0.50, 0.80]" in printed and "树 [0.60, 0.10, 0.95, 0.60]" in printed
    rows = [{"name": name, "bbox": box} for name, box in UNIT.items()]
    for same in (rows, {"objects": rows}):
        np.testing.assert_array_equal(draw(same, name="again.png")[2], picture)
    moved = UNIT | {"猫": [0.5, 0.3, 0.9, 0.8]}
    assert (draw(moved, name="moved.png")[2] != picture).any()
    assert (draw(UNIT, "--local", 1, name="local.png")[2] != picture).any()


def test_other_conventions_are_named(draw):
    expected = draw(UNIT)[2]
    thousandths = {name: [v * 1000 for v in box] for name, box in UNIT.items()}
    for convention in ("thousandths", "auto"):
        code, printed, picture = draw(thousandths, "--convention", convention, name=f"{convention}.png")
        assert code == 0, printed
        assert np.abs(picture.astype(int) - expected).max() <= 1  # 0.95·1000/1000 may differ in its last bit


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0.5, 0.3, 0.1, 0.8], "reversed"),
        ([0.1, 0.3, 0.1, 0.8], "reversed or empty"),
        ([-0.1, 0.3, 0.5, 0.8], "out of the range"),
        ([0.1, 0.3, 0.5, 1.2], "out of the range"),
        ([600, 100, 950, 600], "looks like 0–1000"),
        ([0.1, 0.3, 0.5], "3 numbers"),
        ([0.1, 0.3, 0.5, "x"], "not a finite number"),
    ],
)
def test_a_bad_box_is_refused_with_its_file_and_object(box, reason, draw):
    code, printed, picture = draw({"猫": UNIT["猫"], "树": box})
    assert code == 2 and picture is None
    assert "boxes.json, box 1" in printed and reason in printed and "remedy" in printed


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ("{", "not JSON"),
        ([{"name": "猫"}], "'bbox' is missing"),
        (5, "'objects' is 5 and not a list"),
        ({"猫": UNIT["猫"], " ": UNIT["树"]}, "box 1: 'name' is ' ' and not text"),
        ({"猫": [1, 300, 500, 800], "树": [0.6, 0.1, 0.95, 0.6]}, "out of the range"),
    ],
)
def test_a_bad_file_is_refused(boxes, reason, draw):
    code, printed, picture = draw(boxes)
    assert code == 2 and picture is None and reason in printed


def test_mixed_conventions_are_not_guessed(draw):
    code, printed, _ = draw({"猫": [100, 300, 500, 800], "树": [0.6, 0.1, 0.95, 0.6]}, "--convention", "auto")
    assert code == 2 and "some boxes are in 0–1 and others in 0–1000" in printed


def test_boxes_are_shown_over_the_picture(draw):
    plain, shown = draw(UNIT)[2], draw(UNIT, "--show-boxes", name="shown.png")[2]
    orange = np.array([0xD5, 0x5E, 0x00])
    left, top, right, bottom = (round(v * 128) for v in UNIT["猫"])
    marked = (shown == orange).all(-1)
    for side in (marked[top:bottom, left - 1 : left + 2], marked[top:bottom, right - 1 : right + 2]):
        assert side.any(1).all()  # in every row a pixel of the frame, to within a pixel
    assert marked[bottom - 1 : bottom + 2, left:right].any(0).all()
    assert shown.shape == plain.shape


@pytest.mark.parametrize("given", ["Kolors, fp16 files alone", "SDXL"])
def test_given_weights_draw_at_their_own_size_and_in_a_layouts_shape(given, tiny, tiny_sdxl, awake, tmp_path, capsys):
    base = tiny_sdxl if given == "SDXL" else tmp_path / "half"
    if given != "SDXL":
        KolorsPipeline.from_pretrained(tiny.base).to(torch.float16).save_pretrained(base, variant="fp16")
    torch.manual_seed(0)
    awake(SpatialAdapter.for_unet(load(base).unet, width=16)).save_pretrained(tmp_path / "adapter")
    shaped = {"width": 90, "height": 60, "objects": [{"name": "cat", "bbox": UNIT["猫"]}]}
    (tmp_path / "boxes.json").write_text(json.dumps(shaped))
    (tmp_path / "shapes.json").write_text(json.dumps({"sample": {"size": "layout"}}))
    sizes = []
    for more in ([], [tmp_path / "shapes.json"]):
        arguments = [
            "draw", "a cat", "--config", tiny.config_file, *more, "--base", base, "--adapter", tmp_path / "adapter",
            "--boxes", tmp_path / "boxes.json", "--out", tmp_path / "out.png",
        ]  # fmt: skip
        assert cli.main([str(a) for a in arguments]) == 0, capsys.readouterr().err
        sizes.append(Image.open(tmp_path / "out.png").size)
    assert sizes[0] == (512, 512)  # 64, enlarged
    assert sizes[1][0] > sizes[1][1]


def test_an_adapter_of_another_base_is_told_with_the_remedy(draw, tiny_sdxl):
    code, printed, picture = draw(UNIT, "--base", tiny_sdxl)
    assert code == 2 and picture is None and "remedy: give the base that this adapter was trained on" in printed


def test_chinese_names_have_glyphs_in_the_overlay():
    font = overlay.font(20)
    drawn = {name: bytes(font.getmask(name)) for name in ("猫", "树", "\U0010fffe")}
    assert len(set(drawn.values())) == 3  # none of them is the sign of a missing glyph


class FakePlanner:
    asked: ClassVar[list[list[str]]] = []
    nouns, tokenizer = tuple(UNIT), None

    @classmethod
    def from_pretrained(cls, folder):
        return cls()

    def plan(self, captions):
        self.asked.append(captions)
        return [Layout(c, tuple(UNIT), tuple(map(tuple, UNIT.values()))) for c in captions]


def test_without_boxes_the_planner_places_the_objects(draw, tiny, adapter_folder, tmp_path, monkeypatch, capsys):
    expected = draw(UNIT)[2]
    monkeypatch.setattr("gillnext.sample.painter.Planner", FakePlanner)
    monkeypatch.setattr("gillnext.sample.remarks.unread", lambda *_: [])
    arguments = ["draw", CAPTION, "--config", tiny.config_file, "--base", tiny.base, "--adapter", adapter_folder,
                 "--planner", tmp_path, "--out", tmp_path / "planned.png", "--scale", 2]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    assert FakePlanner.asked == [[CAPTION]]
    assert "猫 [0.10, 0.30, 0.50, 0.80]" in capsys.readouterr().out
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "planned.png")), expected)


def test_models_that_are_not_there_are_named(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["draw", CAPTION, "--config", str(tiny.config_file)]) == 2
    printed = capsys.readouterr().err
    assert "the base is not there" in printed and "make paper" in printed
    assert cli.main(["draw", CAPTION, "--config", str(tiny.config_file), "--boxes", "none.json"]) == 2
    assert "none.json: no such file" in capsys.readouterr().err


def test_without_a_run_the_kept_models_draw_and_a_runs_own_come_first(
    results, tiny_base, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "reference/models"
    shutil.copytree(tiny_base, kept / "base")
    manifest.write(kept / "base", {"role": "base"})
    shutil.copytree(results / "adapters/attn2/0", kept / "draw/adapter")
    shutil.copytree(results / "models/planner", kept / "draw/planner")
    manifest.write(kept / "draw", {"role": "draw"})
    (tmp_path / "config.yaml").write_text("models: { base: kept }\nstudy: { arms: { attn2: {} }, seeds: [3] }\n")
    command = ["draw", "一只猫和一棵树", "--json"]
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == "reference/models/draw/adapter"
    whole = (kept / "draw/adapter/config.json").read_text()
    (kept / "draw/adapter/config.json").write_text(whole + " ")
    assert cli.main(command) == 2
    printed = capsys.readouterr().err
    assert "reference/models/draw/adapter/config.json: not the file that was kept" in printed
    assert "git checkout -- reference/models/draw" in printed
    (tmp_path / "results/demo/adapters/attn2").mkdir(parents=True)
    (tmp_path / "results/demo/models").symlink_to(results / "models")
    (tmp_path / "results/demo/adapters/attn2/3").symlink_to((results / "adapters/attn2/0").resolve())
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["adapter"] == "results/demo/adapters/attn2/3"
    assert cli.main([*command, "--results", "elsewhere"]) == 2
    assert "elsewhere" in capsys.readouterr().err


NOUNS = ["猫", "树", "气球"]


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_base, adapter_folder, tiny_config):
    """A run's folder: its settings, base and adapter, and an untrained planner that knows three names."""
    import dataclasses

    folder = tmp_path_factory.mktemp("results")
    (folder / "models").mkdir()
    (folder / "adapters/attn2").mkdir(parents=True)
    (folder / "models/base").symlink_to(tiny_base)
    (folder / "adapters/attn2/0").symlink_to(adapter_folder)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(tiny_config)))
    captions = ["左边是一棵树，右边是一只猫和一只气球，画面前面有"] * 2
    tokenizer = train_tokenizer(captions, 700, [*plan_format.tokens(), *NOUNS])
    network = model.build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=0)
    model.save(network, tokenizer, folder / "models/planner", {"nouns": NOUNS}, "planner")
    return folder


@pytest.fixture
def tell(results, tmp_path, capsys):
    """Runs the command with a run's models and --json; gives exit code, the object that it prints, and stderr."""

    def run(caption, *extra):
        out = tmp_path / "told.png"
        code = cli.main([str(a) for a in ["draw", caption, "--results", results, "--out", out, "--json", *extra]])
        printed = capsys.readouterr()
        assert out.exists() == (code == 0)
        return code, json.loads(printed.out or "null"), printed.err

    return run


def test_json_tells_what_was_drawn_with_the_settings_of_the_run(tell, results, tiny_config, tmp_path):
    code, told, errors = tell("左边是一棵树，右边是一只猫", "--seed", 5)
    assert code == 0 and "warning" not in errors
    assert {thing["name"] for thing in told.pop("objects")} == {"树", "猫"}
    assert told == {
        "caption": "左边是一棵树，右边是一只猫", "picture": str(tmp_path / "told.png"), "warnings": [], "seed": 5,
        "arm": "attn2", "adapter": str(results / "adapters/attn2/0"),
        "steps": tiny_config.sample.steps, "guidance": tiny_config.sample.guidance, "local": 0.0,
    }  # fmt: skip
    _, told, _ = tell("一只猫", "--steps", 3, "--guidance", 2, "--adapter", results / "adapters/attn2/0")
    assert (told["steps"], told["guidance"], told["arm"]) == (3, 2.0, None)


def test_told_objects_are_a_boxes_file(tell, tmp_path):
    _, told, _ = tell("一只猫和一棵树")
    (tmp_path / "again.json").write_text(json.dumps(told))
    assert tell("一只猫和一棵树", "--boxes", tmp_path / "again.json")[1] == told


@pytest.mark.parametrize(
    "caption", ["", " \n", "，。！？", "🐱", "a cat left of a tree", "沙发前面有一只狗", "左邊有一棵樹"]
)
def test_a_caption_that_names_nothing_known_is_refused_with_what_is_known(tell, caption):
    code, _, errors = tell(caption)
    assert code == 2
    assert "names nothing" in errors and "猫、树、气球" in errors and "boxes of your own" in errors


@pytest.mark.parametrize(
    ("caption", "counts", "said"),
    [
        ("三只气球", {"气球": 3}, None),
        ("左边有一只猫，右边是两个气球", {"猫": 1, "气球": 2}, None),
        ("七只气球", {"气球": 6}, "7 气球; 6 drawn"),
        ("三只狗和一只猫", {"猫": 1}, "三只: no known name follows"),
        ("沙发前面有一只猫", {"猫": 1}, "沙发"),
        ("red 一只猫", {"猫": 1}, "red"),
        ("一只猫🐱", {"猫": 1}, "🐱"),
        ("一只猫" + "，" * 300, {"猫": 1}, "tokens"),
    ],
)
def test_what_a_picture_lacks_of_its_caption_is_said(tell, caption, counts, said):
    code, told, errors = tell(caption)
    assert code == 0 and Counter(thing["name"] for thing in told["objects"]) == counts
    about = [w for w in told["warnings"] if "planned on each other" not in w]
    assert bool(about) == (said is not None)
    assert all(f"warning: {w}" in errors for w in told["warnings"])
    if said:
        assert any(said in w for w in about), about


def test_boxes_with_names_that_the_models_do_not_know_are_drawn_and_said(tell, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"沙发": UNIT["猫"], "猫": UNIT["树"]}))
    code, told, _ = tell("一只猫", "--boxes", tmp_path / "boxes.json")
    assert code == 0 and "no box in training was called 沙发" in told["warnings"]
    assert any("猫、树、气球" in w for w in told["warnings"])
    (tmp_path / "boxes.json").write_text("{}")
    assert "no boxes" in tell("一只猫", "--boxes", tmp_path / "boxes.json")[1]["warnings"][0]


def test_in_an_open_vocabulary_no_word_is_unknown(tell, tiny_config, tmp_path):
    open_ = {"annotate": {"backend": "vlm"}}
    (tmp_path / "open.json").write_text(json.dumps(open_))
    settings = tmp_path / "tiny.json"
    settings.write_text(
        json.dumps({"sample": {"steps": 2}, "study": {"arms": {"attn2": {"site": "attn2"}}, "seeds": [0]}})
    )
    code, told, _ = tell("沙发前面有一只狗", "--config", settings, tmp_path / "open.json")
    assert code == 0 and all(thing["name"] in told["caption"] for thing in told["objects"])
    assert not any("training" in w or "know" in w for w in told["warnings"])


@pytest.mark.parametrize(("option", "value"), [("--steps", "0"), ("--scale", "0"), ("--steps", "x")])
def test_counts_below_one_are_refused(option, value, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["draw", "猫", option, value])
    assert ended.value.code == 2 and option in capsys.readouterr().err
