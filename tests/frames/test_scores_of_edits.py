"""Drawing in every way and scoring it: against loops, formulas and torchmetrics; and the part of the supplement."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext import cli, layouts
from gillnext.frames import draw, edit, measures, score, train
from gillnext.frames.draw import WAYS, repeated
from gillnext.frames.latents import Latents
from gillnext.frames.measures import Wanted
from gillnext.frames.score import Split
from gillnext.instruments.detections import Detections
from gillnext.runtime.errors import UserError

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 255, (*shape, 3), dtype=np.uint8)


def test_errors_are_means_over_what_changed_and_what_did_not():
    drawn, target, area = pixels(3, 8, 8), pixels(3, 8, 8), RNG.random((3, 8, 8)) < 0.3
    found = measures.errors(drawn, target, area)
    sums = {"inside": [0.0, 0], "outside": [0.0, 0], "error": [0.0, 0]}
    for n, y, x in np.ndindex(3, 8, 8):
        apart = sum(abs(int(drawn[n, y, x, c]) - int(target[n, y, x, c])) for c in range(3)) / 3
        for name in ("inside" if area[n, y, x] else "outside", "error"):
            sums[name][0] += apart
            sums[name][1] += 1
    for name, (total, count) in sums.items():
        assert found[name].value == pytest.approx(total / count)


def detections(*rows):
    boxes, labels, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, dtype=float).reshape(-1, 4), np.array(labels), np.array(scores))


HERE, NEAR, FAR = (0.1, 0.1, 0.4, 0.4), (0.12, 0.1, 0.42, 0.4), (0.6, 0.6, 0.9, 0.9)


@pytest.mark.parametrize(
    ("wanted", "found", "met"),
    [
        (Wanted("move", 1, HERE), [(NEAR, 1, 0.9)], True),
        (Wanted("move", 1, HERE), [(FAR, 1, 0.9)], False),
        (Wanted("move", 1, HERE), [(HERE, 1, 0.5), (FAR, 1, 0.9)], False),  # the best one counts
        (Wanted("move", 1, HERE), [(HERE, 2, 0.9)], False),
        (Wanted("move", 1, HERE), [], False),
        (Wanted("cover", 1, HERE, 2, NEAR), [(HERE, 1, 0.9)], True),
        (Wanted("cover", 1, HERE, 2, NEAR), [(HERE, 1, 0.9), (NEAR, 2, 0.5)], False),
        (Wanted("cover", 1, HERE, 2, NEAR), [(HERE, 1, 0.9), (FAR, 2, 0.5)], True),
    ],
)
def test_an_instruction_has_succeeded_where_the_object_is_in_its_place(wanted, found, met):
    assert wanted.met(detections(*found)) is met


def test_a_row_of_truth_asks_for_what_the_evaluator_knows():
    extra = {"task": "cover", "object": "猫", "hidden": {"name": "鱼", "bbox": list(NEAR)}}
    row = layouts.Layout("用猫盖住鱼", ("树", "猫"), (FAR, HERE), "cover/0", extra=extra)
    assert measures.wanted(row, {"树": 0, "猫": 4, "鱼": 7}) == Wanted("cover", 4, HERE, 7, NEAR)
    assert measures.wanted(row, {"树": 0, "猫": 4}) is None
    share = measures.success([None, Wanted("move", 1, HERE)], [detections(), detections((HERE, 1, 0.9))])
    assert share.value == 1.0 and share.of.tolist() == [0, 1]


def test_the_inception_score_is_torchmetrics():
    from torchmetrics.image.inception import InceptionScore

    logits = torch.randn(40, 12, generator=torch.Generator().manual_seed(0))
    other = InceptionScore(feature=torch.nn.Identity(), splits=1)
    other.update(logits)
    found = measures.inception_score(logits.softmax(-1).double().numpy())
    assert found == pytest.approx(float(other.compute()[0]), rel=1e-5)


@pytest.fixture(scope="module")
def models(settings, encoded, tiny_base, tmp_path_factory):
    from accelerate.state import AcceleratorState

    folder, cfg = tmp_path_factory.mktemp("models"), settings(training={"steps": 1})
    for frames in (20, 1):
        AcceleratorState._reset_state(True)
        train.train(cfg, encoded, tiny_base, frames, folder / str(frames))
    AcceleratorState._reset_state(True)
    return folder


@pytest.fixture(scope="module")
def drawing(settings):
    return settings(drawing={"text_scales": [1.0, 2.0], "image_scales": [1.5], "batch": 2})


@pytest.fixture(scope="module")
def edits(drawing, encoded, data, clips_folder, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("edits") / "edits"
    given = {"latents": encoded, "data": data, "clips": clips_folder, "model": models / "20", "single": models / "1"}
    draw.run(drawing, given, out)
    return out


def test_every_way_is_drawn_of_every_clip(edits):
    found = {way: np.load(edits / "test" / f"{way}.npy") for way in WAYS}
    assert {one.shape for one in found.values()} == {(3, 64, 64, 3)}
    assert {path.name for path in (edits / "sweep").iterdir()} == {"1-1.5.npy", "2-1.5.npy"}
    assert not edits.with_name("edits.work").exists()


def test_a_killed_drawing_goes_on_with_what_is_not_there(drawing, encoded, data, clips_folder, models, edits, tmp_path):
    """What lies in the work folder is not drawn again; of other settings all is."""
    given = {"latents": encoded, "data": data, "clips": clips_folder, "model": models / "20", "single": models / "1"}
    calls = []

    class Killed(draw.Drawing):
        def __call__(self, *words, **more):
            calls.append(words)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return super().__call__(*words, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "Drawing", Killed)
        with pytest.raises(KeyboardInterrupt):
            draw.run(drawing, given, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        draw.run(drawing, given, tmp_path / "out")
    assert len(calls) == 3 + 4  # of six sets that models draw two were there
    for path in edits.rglob("*.npy"):
        assert np.array_equal(np.load(path), np.load(tmp_path / "out" / path.relative_to(edits)))


def test_baselines_are_the_clips_own_pictures(edits, clips_folder):
    frames = [Image.open(clips_folder / f"test/cover/00000/{k:02d}.jpg") for k in range(21)]
    stack = np.stack([np.asarray(frame) for frame in frames])
    for way, expected in (("last", stack[19]), ("target", stack[20])):
        assert np.array_equal(np.load(edits / "test" / f"{way}.npy")[1], expected)
    assert np.abs(np.load(edits / "test/mean.npy")[1] - stack[:20].mean(0)).max() <= 0.5


def test_a_clip_is_drawn_the_same_in_any_batch(drawing, encoded, models):
    from gillnext.frames.loading import load

    pipeline, rows = load(models / "20", words=False), Latents(encoded, "test")
    found = []
    for batch in (1, 3):
        cfg = dataclasses.replace(drawing, frames=dataclasses.replace(
            drawing.frames, drawing=dataclasses.replace(drawing.frames.drawing, batch=batch)
        ))  # fmt: skip
        found.append(draw.Drawing(cfg, pipeline, rows, "test")(2.0, 1.5))
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1
    change = draw.Drawing(drawing, pipeline, rows, "test")(2.0, 1.5, change=repeated)
    assert change.shape == found[0].shape


def test_the_last_frame_stands_for_all_where_it_is_repeated():
    frames = torch.randn(2, 5, 4, 3, 3)
    assert all(torch.equal(repeated(frames)[:, k], frames[:, -1]) for k in range(5))


class OneOfEach:
    """An evaluator that finds what it is shown as truth: all boxes of the targets, in whatever picture."""

    classes, description = ["猫"], "fake"

    def __init__(self, rows):
        self.classes = list(dict.fromkeys(name for row in rows for name in (*row.names, row.extra["object"])))
        self.rows = rows

    def detect(self, images, batch):
        return [
            detections(*((box, self.classes.index(name), 0.9) for name, box in zip(row.names, row.boxes, strict=True)))
            for row in self.rows
        ]


@pytest.fixture(scope="module")
def scores(drawing, edits, data, clips_folder):
    from gillnext.miniatures.networks.features import FeatureNetwork

    torch.manual_seed(0)
    network = FeatureNetwork(12, 4).eval()
    test, val = (Split(data, clips_folder, split) for split in ("test", "val"))
    network.requires_grad_(False)
    # KID wants four pictures a set, of which the tiny clips have three: each counts twice
    features = lambda images: network(images).repeat(2, 1)  # noqa: E731
    found = score.test_scores(edits, test, OneOfEach(test.truth), features, "cpu")
    found["sweep"] = score.sweep_scores(drawing, edits, val, data, OneOfEach(val.truth), 64)
    return json.loads(json.dumps(found | {"scales": [2.0, 1.25]}))


def test_scores_stand_by_task_beside_baselines_chance_and_ceiling(scores):
    assert set(scores["tasks"]) == {"all", "drop", "cover", "move"}
    ways = scores["tasks"]["all"]
    assert set(ways) == {*WAYS, "chance"} and ways["frames"]["n"] == 3
    assert ways["target"]["metrics"] == {"inside": 0.0, "outside": 0.0, "error": 0.0, "success": 1.0}
    assert ways["last"]["metrics"]["inside"] > 10 * ways["last"]["metrics"]["outside"]
    one = scores["contrasts"]["move"]["frames − last"]["inside"]["value"]
    move = scores["tasks"]["move"]
    assert one == pytest.approx(move["frames"]["metrics"]["inside"] - move["last"]["metrics"]["inside"], abs=1e-5)
    assert scores["features"]["target"]["kid"] <= scores["features"]["frames"]["kid"]
    assert [cell["text"] for cell in scores["sweep"]["cells"]] == [1.0, 2.0]


def test_clips_without_truth_are_scored_by_their_pixels(data, clips_folder, tmp_path):
    import shutil

    folder = shutil.copytree(clips_folder, tmp_path / "clips")
    (folder / "test/truth.jsonl").unlink()
    for path in folder.rglob("changed.png"):
        path.unlink()
    split = Split(data, folder, "test")
    assert split.wanted({}) == [None] * 3 and set(split.groups()) == {"all"}
    before, after = pixels(1, 16, 16)[0], None
    after = before.copy()
    after[4:8, 4:8] = 255 - before[4:8, 4:8] // 2
    area = measures.changed(after, before)
    assert area[4:8, 4:8].any() and not area[:2].any() and not area[:, 10:].any()


def test_the_part_tells_of_every_way_and_draws_its_figures(scores, edits, data, clips_folder, tmp_path):
    from gillnext.paper import style
    from gillnext.supplement import frames, frames_figures, storyboard

    style.use()
    tables = frames.tables(scores)
    assert [table.name for table in tables] == ["frames", "frames_tasks", "frames_contrasts", "frames_sweep"]
    assert len(tables[0].rows) == len(frames.WAYS) and len(tables[1].rows) == 3 * len(frames.WAYS)
    told = frames.numbers(scores)
    assert told["frames.all.target.success"] == "1.000" and told["frames.n"] == "3"
    storyboard.write(edits, data, clips_folder, tmp_path / "frames.zip")
    first = (tmp_path / "frames.zip").read_bytes()
    storyboard.write(edits, data, clips_folder, tmp_path / "frames.zip")
    assert (tmp_path / "frames.zip").read_bytes() == first
    drawn = frames_figures.figures(scores, tmp_path / "frames.zip")
    assert set(drawn) == {"clips", "clip_tasks", "clip_scales"} and all(drawn.values())
    shown = storyboard.Shown(tmp_path / "frames.zip")
    assert [row["name"] for row in shown.rows] == ["drop/00000", "cover/00000", "move/00000"]
    assert np.array_equal(shown.image("drop/00000", "target"), np.load(edits / "test/target.npy")[0])


def edited(*words, capsys=None):
    status = cli.main(["edit", *map(str, words)])
    return status, capsys.readouterr()


def test_one_clip_is_edited_from_the_command_line(models, clips_folder, config_file, tmp_path, capsys):
    clip, out = clips_folder / "test/move/00000", tmp_path / "picture.png"
    words = [clip, "--config", config_file, "--model", models / "20", "--out", out, "--steps", "2"]
    status, told = edited(*words, "--instruction", "让猫接着移动", capsys=capsys)
    assert status == 0 and str(out) in told.out
    assert Image.open(out).size == (64, 64)
    status, told = edited(*words, "--instruction", "move the cat", capsys=capsys)
    assert status == 2 and "knows no word of 'move the cat'" in told.err
    status, told = edited(*words, "--instruction", "猫" * 40, capsys=capsys)
    assert status == 0 and "the rest is cut off" in told.out
    status, told = edited(clips_folder, *words[1:], "--instruction", "猫", capsys=capsys)
    assert status == 2 and "frame 00.jpg: the frame is missing" in told.err


def test_a_picture_is_edited_by_a_model_of_one_frame(models, clips_folder):
    picture = clips_folder / "test/move/00000/19.jpg"
    assert len(edit.frames_of(picture, 1)) == 1
    with pytest.raises(UserError, match="no such clip"):
        edit.frames_of(picture, 20)
