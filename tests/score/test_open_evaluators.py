"""Scores by evaluators of open vocabulary, of pictures of different sizes, and what a protocol says of what ran."""

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from zero_shot_miniatures import folder

from gillnext.annotate.base import Found
from gillnext.annotate.evaluator import VisionLanguageEvaluator
from gillnext.cli import main
from gillnext.config import Config
from gillnext.instruments.detections import Detections, OpenDetector
from gillnext.layouts import Layout, write
from gillnext.miniatures.networks.fcos import Evaluator
from gillnext.runtime.errors import UserError
from gillnext.score import boxes, fid_kid, images, models, relations, stage
from gillnext.score.chance import Prior

CLASSES = ["猫", "树", "花"]
A, B, C = (0.1, 0.1, 0.4, 0.4), (0.5, 0.5, 0.9, 0.9), (0.0, 0.6, 0.3, 0.9)
ROWS = [
    Layout("图", ("猫", "树"), (A, B), id="0"),
    Layout("图", ("树", "花", "猫"), (B, C, A), id="1"),
    Layout("图", ("花",), (C,), id="2"),
]


class Closed:
    """Finds what the layouts of ROWS ask for, a little beside it, by the place of the picture."""

    description, classes = "closed", CLASSES

    def detect(self, pixels, batch):
        return [self.answer(int(picture[0, 0, 0]), CLASSES) for picture in pixels]

    def answer(self, place, names):
        row = ROWS[place]
        kept = [i for i, name in enumerate(row.names) if name in names]
        boxes = (np.array([row.boxes[i] for i in kept]).reshape(-1, 4) * 0.98).clip(0, 1)
        labels = np.array([CLASSES.index(row.names[i]) for i in kept], dtype=np.int64)
        return Detections(boxes, labels, np.full(len(kept), 0.3))


class Open(Closed):
    """The same for names that it knows, with scores of its own scale."""

    description, confident, scored = "open", 0.2, True

    def __init__(self, known):
        self.labels, self.counts, self.asked = {name: CLASSES.index(name) for name in known}, Counter(), []

    def detect_named(self, pixels, names, batch):
        self.asked += names
        return [self.answer(int(p[0, 0, 0]), set(n) & set(self.labels)) for p, n in zip(pixels, names, strict=True)]


def samples(path, rows=ROWS, sizes=((8, 8), (8, 12), (8, 12))):
    path.mkdir(parents=True)
    for i, (size, row) in enumerate(zip(sizes, rows, strict=True)):
        Image.fromarray(np.full((*size, 3), int(row.id), np.uint8)).save(path / f"{i:05d}.png")
    write(path / "layouts.jsonl", [dataclasses.replace(r, image_path=f"{i:05d}.png") for i, r in enumerate(rows)])
    return images.read(path)


@pytest.fixture
def prior():
    rng = np.random.default_rng(0)
    low, side = rng.uniform(0, 0.5, (2, 3, 3, 3, 2)), rng.uniform(0.1, 0.5, (2, 3, 3, 3, 2))
    return Prior(np.concatenate([low, low + side], -1))


def boxes_of(folder_, first, prior, second=None):
    pair = models.Evaluators(first, second or Closed(), {"evaluator": "a", "second_evaluator": "b"})
    return stage.score_boxes(folder_, pair, prior, stage.Name("arm", 0))


def test_a_batch_ends_where_the_size_of_pictures_changes_and_all_come_in_order(tmp_path):
    sizes = [(8, 8), (8, 8), (6, 9), (6, 9), (6, 9), (8, 8)]
    rows = [dataclasses.replace(ROWS[0], id=str(i)) for i in range(6)]
    got = [(p.shape, [r.id for r in some]) for p, some in samples(tmp_path / "s", rows, sizes).batches(4)]
    assert got == [
        ((2, 8, 8, 3), ["0", "1"]), ((2, 6, 9, 3), ["2", "3"]), ((1, 6, 9, 3), ["4"]), ((1, 8, 8, 3), ["5"]),
    ]  # fmt: skip


def test_pictures_of_any_sizes_are_detected_as_each_alone(tmp_path):
    torch.manual_seed(0)
    detector = Evaluator(CLASSES, 64, 64)
    rng, sizes = np.random.default_rng(0), [(64, 64), (30, 90), (100, 40), (100, 40)]
    found = samples(tmp_path / "s", [dataclasses.replace(ROWS[0], id=str(i)) for i in range(4)], sizes)
    for path, size in zip(found.paths, sizes, strict=True):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    together = models.detected(found, detector)
    for path, one in zip(found.paths, together, strict=True):
        (alone,) = detector.detect(images.read_image(path)[None], images.BATCH)
        assert np.array_equal(one.boxes, alone.boxes) and np.array_equal(one.scores, alone.scores)


def test_names_that_an_open_evaluator_does_not_know_are_left_out_and_counted(tmp_path, prior):
    known = Open(["猫", "树"])
    report = boxes_of(samples(tmp_path / "a"), known, prior)
    assert isinstance(known, OpenDetector) and known.asked == [["猫", "树"], ["树", "花", "猫"], ["花"]]
    without = [ROWS[0], dataclasses.replace(ROWS[1], names=("树", "猫"), boxes=(B, A))]
    likely = Closed()
    likely.answer = lambda place, names: dataclasses.replace(Closed.answer(likely, place, names), scores=np.ones(2))
    likely.detect = lambda pixels, batch: [likely.answer(int(p[0, 0, 0]), ["猫", "树"]) for p in pixels]
    theirs = boxes_of(samples(tmp_path / "b", without, ((8, 8),) * 2), likely, prior)
    ours = {key: value for key, value in report["metrics"].items() if not key.startswith("rules_")}
    assert ours == {key: theirs["metrics"][key] for key in ours} and ours["success50"] == 1
    assert report["unknown"] == {"evaluator": {"boxes": 2, "names": 1, "unsure": {}}}
    assert report["protocol"]["threshold"] == 0.2 and "unknown" not in theirs
    assert theirs["protocol"]["threshold"] == 0.4


def test_a_closed_evaluator_still_refuses_a_name_that_is_no_class(tmp_path, prior):
    row = dataclasses.replace(ROWS[0], names=("猫", "沙发"))
    with pytest.raises(UserError, match=r"layouts.jsonl, line 1: no class is called '沙发'"):
        boxes_of(samples(tmp_path / "a", [row], ((8, 8),)), Closed(), prior)


def test_relations_of_unknown_objects_are_left_out():
    one, kinds = relations.stated, relations.holds
    caption = Layout("图", ("猫", "树"), (A, B), extra={})
    said = [(0, "r", 1), (1, "r", None), (0, "r", None)]
    relations.stated, relations.holds = (lambda *_: said), (lambda *_: True)
    try:
        found = [Detections(np.array([A, B]), np.array([0, 1]), np.ones(2))]
        every = relations.accuracy([caption], found, CLASSES, "x", {"猫": 0, "树": 1})
        some = relations.accuracy([caption], found, CLASSES, "x", {"猫": 0})
        closed = relations.accuracy([caption], found, CLASSES, "x")
    finally:
        relations.stated, relations.holds = one, kinds
    assert every == closed and closed["n_relations"] == 3 and closed["n_objects"] == 2
    assert some["n_relations"] == 1 and some["n_objects"] == 1 and some["metrics"]["object_recall"] == 1


def test_a_vision_language_model_is_a_second_evaluator_whose_every_box_counts(tmp_path, prior):
    class Says:
        def annotate(self, pictures, captions, names):
            assert [p.size for p in pictures] and captions == ["、".join(n) for n in names]
            return [
                [Found(n, A if n == "猫" else B, 1.0) if n != "花" else Found(n, None, 0.0, "malformed") for n in one]
                for one in names
            ]

    second = VisionLanguageEvaluator(Says(), {"猫": "cat", "树": "", "花": "flower"}, "qwen2_vl")
    assert isinstance(second, OpenDetector)
    report = boxes_of(samples(tmp_path / "a"), Open(CLASSES), prior, second)
    assert report["metrics"]["rules_success50"] == pytest.approx(4 / 6, abs=1e-6)
    assert report["unknown"]["second_evaluator"] == {"boxes": 0, "names": 0, "unsure": {"malformed": 2}}
    assert "no scores" in report["protocol"]["rules"]


def test_the_command_line_scores_with_two_zero_shot_detectors(tmp_path, prior):
    dino, owl = (folder(kind, tmp_path / kind) for kind in ("grounding-dino", "owlv2"))
    samples(tmp_path / "samples", sizes=((40, 60), (64, 64), (64, 64)))
    prior.save(tmp_path / "prior.safetensors")
    (tmp_path / "names.tsv").write_text("猫\tcat\n树\ttree\n花\t\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text("zero_shot: {confident: 0.1}\n")
    command = ["score", "--boxes", "--config", "config.yaml", "--arm", "attn2", "--samples", "samples"]
    command += ["--evaluator", dino, "--second-evaluator", owl, "--prior", "prior.safetensors", "--out", "scores.json"]
    paths = [str(tmp_path / part) if (tmp_path / part).exists() or part == "scores.json" else part for part in command]
    assert main(list(map(str, paths))) == 2  # the names are missing
    assert main([*map(str, paths), "--names", str(tmp_path / "names.tsv")]) == 0
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["boxes"] == 4 and report["unknown"]["evaluator"]["boxes"] == 2
    assert set(report["unknown"]) == {"evaluator", "second_evaluator"}
    assert set(report["hashes"]) == {"evaluator", "second_evaluator", "names", "samples"}
    assert report["protocol"]["threshold"] == 0.1
    assert "Grounding DINO" in report["protocol"]["evaluator"] and "OWLv2" in report["protocol"]["rules"]


def test_the_command_line_takes_all_scores_of_pictures_of_different_sizes(tmp_path, prior):
    """Zero-shot evaluators, CLIP for FID, KID and CMMD, a Chinese-CLIP; every folder in its published form."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    from gillnext.instruments import features, image_text
    from gillnext.miniatures import clip

    sizes, rng = [(40, 60), (64, 64), (33, 90), (64, 64), (40, 60)], np.random.default_rng(0)
    rows = [dataclasses.replace(ROWS[i % 2], id=str(i)) for i in range(5)]
    found = samples(tmp_path / "samples", rows, sizes)
    for path, size in zip(found.paths, sizes, strict=True):
        Image.fromarray(rng.integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    for kind in ("grounding-dino", "owlv2"):
        folder(kind, tmp_path / kind)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=tower, vision_config=tower | {"image_size": 32, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(tmp_path / "features")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(tmp_path / "features")
    processor = clip.make_processor(["一张图"])
    clip.make_model(len(processor.tokenizer)).save_pretrained(tmp_path / "clip")
    processor.save_pretrained(tmp_path / "clip")
    Prior(np.tile(prior.boxes_DICN4, (1, 2, 1, 1, 1))).save(tmp_path / "prior.safetensors")
    (tmp_path / "names.tsv").write_text("猫\tcat\n树\ttree\n花\t\n", encoding="utf-8")
    digests = {name: models.weights(tmp_path / name) for name in ("features", "clip")}
    network = features.load(tmp_path / "features")
    fid_kid.make_reference_of_files(
        tmp_path / "reference" / stage.REFERENCE, found.paths, "held-out pictures", network,
        lambda: image_text.for_torchmetrics(tmp_path / "clip"), digests,
    )  # fmt: skip
    (tmp_path / "config.yaml").write_text("zero_shot: {confident: 0.1}\n")
    options = {"config": "config.yaml", "evaluator": "grounding-dino", "second-evaluator": "owlv2"}
    options |= {name: name for name in ("samples", "features", "clip", "reference")}
    options |= {"prior": "prior.safetensors", "names": "names.tsv", "out": "scores.json"}
    command = [text for name, path in options.items() for text in (f"--{name}", str(tmp_path / path))]
    assert main(["score", "--arm", "attn2", "--seed", "0", *command]) == 0
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["metrics"]["fid"] == pytest.approx(0, abs=1e-3)  # the pictures are the reference itself
    assert report["metrics"]["cmmd"] == pytest.approx(0, abs=1e-6)
    assert report["protocol"]["reference"] == "5 held-out pictures"
    assert report["protocol"]["cmmd"].endswith(report["protocol"]["extractor"])
    assert report["unknown"]["evaluator"]["boxes"] == 2 and report["n"] == 5


def protocol(clip_name, source, features):
    pair = models.Evaluators(Closed(), Closed(), {})
    scorers = models.Scorers(pair, Prior(np.zeros((5, 1, 1, 1, 4))), features, None, {}, clip_name)
    return stage._protocol(scorers, fid_kid.Reference(np.zeros((500, 2)), np.zeros((500, 2)), "", source))


def test_the_protocol_tells_what_ran(tmp_path):
    """The demo's words are those of its kept scores."""
    from gillnext.instruments.image_text import describe

    config = {"model_type": "chinese_clip", "vision_config": {"hidden_size": 768, "patch_size": 16, "image_size": 224}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    published = describe(tmp_path)
    (tmp_path / "training.json").write_text("{}")

    class Features:
        description, embedding = "some network", False

    found = protocol(describe(tmp_path), "fidreference", Features)
    assert found["cmmd"] == "1000·MMD², Gaussian kernel, σ 10, unit image embeddings of the miniature Chinese-CLIP"
    assert found["clip"] == "100·max(mean cos, 0), miniature Chinese-CLIP, torchmetrics"
    assert found["reference"] == "500 real scenes of an independent stream" and found["extractor"] == "some network"
    found = protocol(published, "held-out pictures of the release", Features)
    assert found["clip"] == "100·max(mean cos, 0), Chinese-CLIP (width 768, patches of 16, pixels 224), torchmetrics"
    assert found["reference"] == "500 held-out pictures of the release"
    Features.embedding = True
    assert protocol(published, "x", Features)["cmmd"].endswith("unit image embeddings of some network")


def test_evaluators_of_other_classes_may_stand_side_by_side_where_one_is_open(tmp_path):
    owl = folder("owlv2", tmp_path / "owlv2")
    Evaluator(CLASSES, 64, 64).save_pretrained(tmp_path / "closed")
    (tmp_path / "names.tsv").write_text("狗\tdog\n", encoding="utf-8")
    pair = models.evaluators(tmp_path / "closed", owl, Config(), tmp_path / "names.tsv")
    assert pair.first.classes == CLASSES and pair.second.classes == ["狗"] and "names" in pair.hashes


def test_the_pairs_that_a_benchmark_names_are_scored_by_open_evaluators_too():
    """Those of two boxes that the evaluator knows, wherever these stand among the known ones; no pair is made up."""
    every = Layout("图", ("花", "猫", "树", "猫"), (A, A, B, C), extra={"overlaps": [[0, 1], [1, 3], [2, 3]]})
    known = boxes.requested_known(every, {"猫": 4, "树": 7})
    assert known.labels.tolist() == [4, 7, 4] and known.boxes.tolist() == [list(A), list(B), list(C)]
    assert {(*known.boxes[i], *known.boxes[j]) for i, j in known.overlaps} == {(*A, *C), (*B, *C)}
    assert boxes.requested_known(every, {"花": 0}).overlaps.shape == (0, 2)
    assert boxes.requested_known(ROWS[0], {"猫": 0}).overlaps is None


def test_the_chance_level_of_named_pairs_is_that_of_the_same_pairs(prior):
    row = Layout("图", ("猫", "树", "花"), (A, B, C), extra={"overlaps": [[0, 2]]})
    wanted = boxes.requested(row, CLASSES)
    assert all(redrawn.overlaps.tolist() == [[0, 2]] for (redrawn,) in prior.redrawn([wanted]))
