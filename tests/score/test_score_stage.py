"""The score stage, run through with a detector that knows the truth and models of random weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from gillnext.config import Config
from gillnext.config.model import Run, Sample
from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout, write
from gillnext.miniatures import ceilings, clip, templates
from gillnext.miniatures.networks.features import FeatureNetwork
from gillnext.miniatures.world import captions, corpus, prior, scenes
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime.errors import UserError
from gillnext.score import images, stage

SEED, COUNT = 11, 24
CONFIG = Config(run=Run(seed=SEED), sample=Sample(test=COUNT))


@pytest.fixture(scope="module")
def layouts():
    data = corpus.make(SEED, "test", COUNT)
    rows = zip(data.scenes, data.captions, strict=True)
    return [Layout(c, s.names, tuple(o.box for o in s.objects), id=f"t{i}") for i, (s, c) in enumerate(rows)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, layouts):
    """Model folders (an autoencoder, too), and the held-out layouts."""
    from gillnext.miniatures import vae

    root = tmp_path_factory.mktemp("score")
    torch.manual_seed(0)
    FeatureNetwork(len(CLASSES), 4).save_pretrained(root / "features")
    processor = clip.make_processor([row.caption for row in layouts])
    clip.make_model(len(processor.tokenizer)).save_pretrained(root / "clip")
    processor.save_pretrained(root / "clip")
    vae.build().save_pretrained(root / "vae")
    templates.make().save_pretrained(root / "templates")
    prior.make(SEED, COUNT).save(root / "prior.safetensors")
    write(root / "test.jsonl", layouts)
    return root


class Knowing:
    """A detector that knows the test pictures by their pixels and answers the truth with jitter."""

    description = "knowing"

    def __init__(self):
        rng = np.random.default_rng(0)
        self.answers, self.classes = {}, [c.name for c in CLASSES]
        for i in range(COUNT):
            scene = scenes.sample(SEED, "test", i)
            boxes = (scene.boxes + rng.normal(0, 0.01, scene.boxes.shape)).clip(0, 1)
            labels = np.array([o.kind.id for o in scene.objects])
            self.answers[scenes.render(scene).tobytes()] = Detections(boxes, labels, np.full(len(labels), 0.9))

    def detect(self, pixels, batch):
        nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
        return [self.answers.get(picture.tobytes(), nothing) for picture in pixels]


def evaluators(first=None):
    return stage.Evaluators(first or Knowing(), templates.make(), {"evaluator": "abc", "second_evaluator": "def"})


@pytest.fixture(scope="module")
def models(folders):
    named = (folders / name for name in ("prior.safetensors", "features", "clip"))
    return stage.scorers(evaluators(), *named, CONFIG)


@pytest.fixture(scope="module")
def reports(folders, models):
    out = folders / "scores" / "ceilings"
    ceilings.make(CONFIG, folders / "vae", folders / "test.jsonl", models, folders / "reference", out)
    return {name: json.loads((out / f"{name}.json").read_text()) for name in ("real", "vae")}


def test_ceilings_hold_the_real_pictures_and_their_reconstructions(folders, reports):
    real = images.read(folders / "reference" / "real")
    assert [p.name for p in real.paths[:2]] == ["00000.png", "00001.png"]
    first = next(real.batches(4))[0][3]
    assert np.array_equal(first, scenes.render(scenes.sample(SEED, "test", 3)))
    assert len(images.read(folders / "reference" / "vae")) == COUNT


def test_real_pictures_score_high_and_ruined_ones_low(reports):
    real, vae = reports["real"]["metrics"], reports["vae"]["metrics"]
    assert real["success50"] == 1.0
    assert real["ap50"] == 1.0
    assert real["chance_success50"] < 0.3
    assert real["rules_success50"] > 0.9 > 0.5 > real["rules_chance_success50"]
    # An untrained autoencoder leaves nothing to see.
    assert vae["success50"] == vae["ap"] == vae["chance_miou"] == 0
    assert vae["rules_success50"] < 0.1
    assert vae["fid"] > 2 * real["fid"]
    assert vae["cmmd"] > 2 * real["cmmd"]


def test_score_file_says_what_it_is(reports):
    report = reports["real"]
    names = "success50 miou ap ap50 wrong_class chance_success50 chance_miou clip_score fid kid kid_se cmmd"
    names += " miou_migc miou_lgs miou_overlaybench o_miou chance_o_miou ap_voc shown chance_shown"
    names += " rules_shown rules_chance_shown"
    names += " rules_success50 rules_miou rules_wrong_class rules_chance_success50 rules_chance_miou"
    assert set(names.split()) == set(report["metrics"])
    assert (report["name"], report["arm"], report["seed"], report["n"]) == ("real", "real", None, COUNT)
    assert set(report["hashes"]) == {"evaluator", "second_evaluator", "features", "clip", "samples", "reference"}
    assert sum(report["per_image"]["hits"]) == report["boxes"]
    assert report["fid_by_n"] == {str(COUNT): report["metrics"]["fid"]}
    assert "not comparable" in report["protocol"]["extractor"]
    assert report["protocol"]["evaluator"] == "knowing" and "templates" in report["protocol"]["rules"]
    made = {"version", "code", "lock", "image", "arithmetic", "processor", "libc"}
    assert set(report["provenance"]) == made


def test_parts_have_their_own_interval_and_chance_level(reports):
    report = reports["real"]
    for kind, parts in report["breakdown"].items():
        for part in parts.values():
            low, high = part["intervals"]["miou"]
            assert 0.8 < low <= part["miou"] <= high <= 1, kind
            assert part["intervals"]["success50"] == [1.0, 1.0]
    assert sum(part["n"] for part in report["chance_breakdown"]["size"].values()) == 5 * report["boxes"]
    assert all(part["success50"] < 0.5 for part in report["chance_breakdown"]["size"].values())
    low, high = report["intervals"]["o_miou"]
    assert low < report["metrics"]["o_miou"] < high and report["counts"]["o_miou"] <= COUNT


def test_samples_score_as_the_same_pictures_do_and_repeat_exactly(folders, models, reports):
    samples = images.read(folders / "reference" / "real")
    twice = [stage.score(samples, models, folders / "reference", CONFIG, stage.Name("attn2", 1)) for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0]["metrics"] == reports["real"]["metrics"]
    assert twice[0]["name"] == "attn2/1"


def test_layouts_of_another_world_are_refused(folders, models, tmp_path):
    other = dataclasses.replace(CONFIG, run=Run(seed=SEED + 1))
    with pytest.raises(UserError, match=r"test.jsonl, line 1.*\n.*make the world"):
        ceilings.make(other, folders / "vae", folders / "test.jsonl", models, tmp_path / "r", tmp_path / "s")


def test_missing_picture_is_named(folders, models, reports, tmp_path, layouts):
    write(tmp_path / "layouts.jsonl", layouts[:2])
    with pytest.raises(UserError, match=r"00000\.png"):
        stage.score(images.read(tmp_path), models, folders / "reference", CONFIG, stage.Name("a", 0))


def test_relations_are_scored_against_the_true_captions_whatever_the_plan_lists(folders, reports, tmp_path):
    truth, plans, pictures = [], [], []
    for i in range(COUNT):
        scene = scenes.sample(SEED, "test", i)
        stated = captions.spatial(scene, np.random.default_rng(i))
        if stated is None:
            continue
        boxes, extra = tuple(o.box for o in scene.objects), {"relations": [r.to_row() for r in stated[1]]}
        truth.append(Layout(stated[0], scene.names, boxes, id=f"r{i}", extra=extra))
        plans.append(Layout(stated[0], scene.names[:1], boxes[:1], id=f"r{i}"))  # the plan forgot all but one
        pictures.append(scenes.render(scene))
    write(tmp_path / "truth.jsonl", truth)
    samples = images.write(tmp_path / "samples" / "attn2" / "2" / "relations", np.stack(pictures), plans)
    report = stage.score_relations(samples, tmp_path / "truth.jsonl", evaluators(), stage.Name("attn2", 2))
    assert report["metrics"]["relation_accuracy"] == report["metrics"]["object_recall"] == 1
    assert report["metrics"]["success50"] == 1
    assert report["metrics"]["rules_relation_accuracy"] > 0.9
    assert report["n_relations"] == sum(len(row.extra["relations"]) for row in truth)
    stranger = [dataclasses.replace(p, names=(*p.names, "沙发"), boxes=p.boxes * 2) for p in plans]  # no class of any
    samples = images.write(tmp_path / "samples" / "attn2" / "3" / "relations", np.stack(pictures), stranger)
    planned = stage.score_relations(samples, tmp_path / "truth.jsonl", evaluators(), stage.Name("attn2", 3))
    halved = report["metrics"] | {key: report["metrics"][key] / 2 for key in ("miou", "success50")}
    assert planned["metrics"] == pytest.approx(halved, abs=1e-6)
    write(tmp_path / "truth.jsonl", truth[1:])
    with pytest.raises(UserError, match=truth[0].id):
        stage.score_relations(samples, tmp_path / "truth.jsonl", evaluators(), stage.Name("attn2", 2))


def test_captions_without_an_id_of_their_own_are_refused(folders, reports, tmp_path, layouts):
    samples = images.read(folders / "reference" / "real")
    for ids in (["", ""], ["a", "a"]):
        write(tmp_path / "truth.jsonl", [dataclasses.replace(layouts[i], id=name) for i, name in enumerate(ids)])
        with pytest.raises(UserError, match="without an id of their own"):
            stage.score_relations(samples, tmp_path / "truth.jsonl", evaluators(), stage.Name("attn2", 2))


def test_boxes_alone_are_scored_as_among_all_scores_and_swapped_names_are_wrong_classes(
    folders, models, reports, tmp_path
):
    real = images.read(folders / "reference" / "real")
    found = stage.score_boxes(real, evaluators(), models.prior, stage.Name("attn2", 2))
    whole = reports["real"]["metrics"]
    assert found["metrics"] == {key: whole[key] for key in found["metrics"]} and found["metrics"]["success50"] == 1
    assert (found["name"], found["n"], found["hashes"]["evaluator"]) == ("attn2/2", COUNT, "abc")
    several = [i for i, row in enumerate(real.layouts) if len(set(row.names)) == len(row.names) > 1]
    rows = [real.layouts[i] for i in several]
    swapped = [dataclasses.replace(row, names=(*row.names[1:], row.names[0])) for row in rows]
    pictures = np.stack([scenes.render(scenes.sample(SEED, "test", i)) for i in several])
    samples = images.write(tmp_path / "samples" / "attn2" / "2" / "swapped", pictures, swapped)
    found = stage.score_boxes(samples, evaluators(), models.prior, stage.Name("attn2", 2))["metrics"]
    assert (found["success50"], found["wrong_class"]) == (0, 1)


def test_unlikely_detections_count_for_precision_alone(folders, models, reports):
    """Boxes as right as can be, that the detector itself hardly believes in."""

    class Doubtful(Knowing):
        def detect(self, pixels, batch):
            return [dataclasses.replace(found, scores=found.scores * 0.1) for found in super().detect(pixels, batch)]

    real = images.read(folders / "reference" / "real")
    found = stage.score_boxes(real, evaluators(Doubtful()), models.prior, stage.Name("attn2", 2))["metrics"]
    assert found["success50"] == 0 < found["rules_success50"]


@pytest.mark.parametrize("mode", ["--boxes", "--relations"])
def test_the_command_line_scores_boxes_and_relations_alone(mode, folders, reports, tmp_path):
    from gillnext.cli import main
    from gillnext.miniatures.networks.fcos import Evaluator

    torch.manual_seed(0)
    Evaluator([c.name for c in CLASSES], scenes.SIZE, 64).save_pretrained(tmp_path / "evaluator")
    (tmp_path / "config.yaml").write_text(f"run: {{seed: {SEED}}}\n")
    stated, pictures = [], []
    for i in range(COUNT):
        scene = scenes.sample(SEED, "test", i)
        if found := captions.spatial(scene, np.random.default_rng(i)):
            extra = {"relations": [r.to_row() for r in found[1]]}
            boxes = tuple(o.box for o in scene.objects)
            stated.append(Layout(found[0], scene.names, boxes, id=f"r{i}", extra=extra))
            pictures.append(scenes.render(scene))
    write(tmp_path / "truth.jsonl", stated)
    samples = images.write(tmp_path / "samples" / "attn1" / "3" / "some", np.stack(pictures), stated)
    command = ["score", mode, "--config", tmp_path / "config.yaml", "--evaluator", tmp_path / "evaluator"]
    command += ["--arm", "attn1", "--seed", 3, "--second-evaluator", folders / "templates"]
    command += ["--samples", samples.folder, "--out", tmp_path / "scores.json"]
    assert main([str(part) for part in command]) == 2  # --layouts or --prior is missing
    if mode == "--relations":
        command += ["--layouts", tmp_path / "truth.jsonl"]
    else:
        command += ["--prior", folders / "prior.safetensors"]
    assert main([str(part) for part in command]) == 0
    report = json.loads((tmp_path / "scores.json").read_text())
    assert (report["arm"], report["seed"], report["n"]) == ("attn1", 3, len(stated))
    rules = "rules_relation_accuracy" if mode == "--relations" else "rules_success50"
    assert report["metrics"][rules] > 0.9  # the pictures are right, whatever the untrained evaluator sees
    assert ("captions" in report["hashes"]) == (mode == "--relations")


def test_command_line_scores_a_folder_named_by_arm_and_seed(folders, reports, tmp_path):
    from gillnext.cli import main
    from gillnext.miniatures.networks.fcos import Evaluator

    torch.manual_seed(0)
    Evaluator([c.name for c in CLASSES], scenes.SIZE, 64).save_pretrained(tmp_path / "evaluator")
    (tmp_path / "config.yaml").write_text(f"run: {{seed: {SEED}}}\n")
    real = images.read(folders / "reference" / "real")
    pictures = next(real.batches(6))[0]
    samples = images.write(tmp_path / "samples" / "attn1" / "3" / "test", pictures, real.layouts[:6])
    out = tmp_path / "scores" / "3.json"
    shared = ["--config", str(tmp_path / "config.yaml"), "--evaluator", str(tmp_path / "evaluator")]
    shared += ["--second-evaluator", str(folders / "templates"), "--arm", "attn1", "--seed", "3"]
    rest = ["--features", str(folders / "features"), "--clip", str(folders / "clip")]
    rest += ["--prior", str(folders / "prior.safetensors")]
    where = ["--samples", str(samples.folder), "--out", str(out)]
    assert main(["score", *shared, *rest, *where, "--reference", str(folders / "reference")]) == 0
    report = json.loads(out.read_text())
    assert (report["arm"], report["seed"], report["n"]) == ("attn1", 3, 6)
    assert main(["score", *shared, *where]) == 2  # --features and others are missing


def test_evaluators_of_other_classes_are_refused(folders, tmp_path):
    from gillnext.miniatures.networks.fcos import Evaluator

    Evaluator(["猫", "树"], scenes.SIZE, 64).save_pretrained(tmp_path / "evaluator")
    with pytest.raises(UserError, match="know other classes"):
        stage.evaluators(tmp_path / "evaluator", folders / "templates", CONFIG)
