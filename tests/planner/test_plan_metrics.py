"""Planner scores against brute force, mirrored layouts, baselines, and a training run of a few steps."""

import itertools

import numpy as np
import pytest

from gillnext import layouts
from gillnext.config.load import from_dict
from gillnext.layouts import Layout
from gillnext.miniatures.world import captions, heldout, scenes
from gillnext.planner import augment, baselines, metrics, stage, train
from gillnext.planner import format as plan_format
from gillnext.planner.model import Planner
from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError

LEFT, RIGHT = (0.0, 0.3, 0.3, 0.6), (0.6, 0.3, 0.9, 0.6)


def spatial_layouts(count, stream="planner-test"):
    return heldout.relations(11, count, stream)


def test_spatial_accuracy_agrees_with_brute_force():
    truths = spatial_layouts(40)
    plans, right, each = [], 0, []
    for i, truth in enumerate(truths):
        rng = np.random.default_rng(i)
        places = [scenes.sample_boxes(rng, 1)[0] for _ in truth.names]
        plans.append(Layout(truth.caption, truth.names, tuple(places)))
        verdicts = []
        for subject, relation, reference in truth.extra["relations"]:
            x1, y1, x2, y2 = places[subject]
            u1, v1, u2, v2 = places[reference] if reference is not None else (0, 0, 1, 1)
            dx, dy = (x1 + x2) / 2 - (u1 + u2) / 2, (y1 + y2) / 2 - (v1 + v2) / 2
            verdicts.append({"left": dx < 0, "right": dx > 0, "above": dy < 0, "below": dy > 0}[relation])
        right += all(verdicts)
        each += verdicts
    found = metrics.score(plans, truths)
    assert found["spatial_accuracy"] == pytest.approx(right / 40)
    assert found["relation_accuracy"] == pytest.approx(np.mean(each))
    assert 0 < right < 40


def test_truth_scores_one_and_nothing_scores_zero():
    truths = spatial_layouts(20)
    assert set(metrics.score(truths, truths).values()) == {1.0}
    assert set(metrics.score([None] * 20, truths).values()) == {0.0}


def test_missing_object_fails_its_relations_and_the_count():
    truth = Layout(
        "猫在树的左边", ("猫", "树"), (LEFT, RIGHT), extra={"relations": [[0, "left", 1], [0, "left", None]]}
    )
    plan = Layout("", ("猫",), (LEFT,))
    assert metrics.relations_hold(plan, truth) == [False, True]
    assert metrics.score([plan], [truth])["count_accuracy"] == 0


def test_matched_iou_pairs_boxes_of_one_name_as_well_as_can_be():
    rng = np.random.default_rng(4)
    truth_boxes, plan_boxes = ([scenes.sample_boxes(rng, 1)[0] for _ in range(3)] for _ in range(2))
    truth, plan = Layout("", ("猫",) * 3, tuple(truth_boxes)), Layout("", ("猫",) * 3, tuple(plan_boxes))
    from gillnext.boxes import iou

    table = iou(np.array(truth_boxes), np.array(plan_boxes))
    best = max(sum(table[i, p[i]] for i in range(3)) for p in itertools.permutations(range(3)))
    assert sum(metrics.matched_iou(plan, truth)) == pytest.approx(best)


@pytest.mark.parametrize("rows", [[[5, "left", 0]], [[0, "beside", 1]], [[-1, "left", None]], [["x"]], [], None])
def test_bad_relations_are_refused(rows):
    truth = Layout("", ("猫", "树"), (LEFT, RIGHT), id="r-1", extra={"relations": rows})
    with pytest.raises(UserError, match="r-1"):
        metrics.relations_hold(None, truth)


def test_mirrored_captions_state_what_mirrored_boxes_show():
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    changed = 0
    for truth in spatial_layouts(60):
        for axis, sides in ((0, ("left", "right")), (1, ("above", "below"))):
            mirrored = augment.mirror(truth, axis)
            assert mirrored is not None
            turned = [[s, opposite[r] if r in sides else r, o] for s, r, o in truth.extra["relations"]]
            as_truth = Layout(mirrored.caption, truth.names, truth.boxes, extra={"relations": turned})
            assert all(metrics.relations_hold(mirrored, as_truth))
            changed += mirrored.caption != truth.caption
            assert augment.mirror_caption(mirrored.caption, axis) == truth.caption
    assert changed > 60


@pytest.mark.parametrize("caption", ["价格100元左右，一只猫", "一只猫在上海", "一只猫在树的头顶上"])
def test_captions_with_other_words_of_side_are_not_mirrored(caption):
    assert None in (augment.mirror_caption(caption, 0), augment.mirror_caption(caption, 1))


def test_retrieval_finds_the_same_caption_and_moves_its_boxes():
    known = spatial_layouts(50, "planner-known")
    rows = baselines.nearest([x.caption for x in known], [x.caption for x in known])
    assert [known[i].caption for i in rows] == [x.caption for x in known]
    again = baselines.retrieval(known[:10], known)
    assert metrics.score(again, known[:10])["spatial_accuracy"] == 1.0


def test_random_baseline_depends_on_seed_and_index_only():
    known, truths = spatial_layouts(50, "planner-known"), spatial_layouts(20)
    assert baselines.random(truths, known, 1) == baselines.random(truths, known, 1)
    assert baselines.random(truths[:5], known, 1) == baselines.random(truths, known, 1)[:5]
    assert baselines.random(truths, known, 1) != baselines.random(truths, known, 2)


def test_few_steps_teach_the_format_and_the_stage_writes_its_files(tmp_path):
    rows = []
    for i in range(300):
        rng, scene = seeds.rng("planner-train", i), scenes.sample(9, "planner-train", i)
        if stated := captions.spatial(scene, rng, "world"):
            rows.append(Layout(stated[0], scene.names, tuple(o.box for o in scene.objects), id=str(i)))
    layouts.write(tmp_path / "train.jsonl", rows)
    layouts.write(tmp_path / "relations.jsonl", spatial_layouts(24))
    small = {"hidden": 48, "layers": 2, "heads": 2, "steps": 100, "batch": 8, "lr": 5e-3}
    config = from_dict({"planner": small})
    train.train(config, [tmp_path / "train.jsonl"], tmp_path / "planner")
    scores = stage.run(
        config, tmp_path / "planner", tmp_path / "relations.jsonl", [tmp_path / "train.jsonl"], tmp_path / "plans"
    )
    assert scores["validity_constrained"] == 1.0
    assert scores["validity_unconstrained"] > 0.5
    report = files.read_json(tmp_path / "plans" / "planner.json")
    assert report["metrics"] == scores
    plans = layouts.read(tmp_path / "plans" / "relations.jsonl")
    truths = layouts.read(tmp_path / "relations.jsonl")
    assert [p.id for p in plans] == [t.id for t in truths]
    shares = {name: ends for name, ends in report["intervals"].items() if 0 < scores[name] < 1}
    assert len(report["intervals"]) == 2 + 2 * 4 and shares
    for name, ends in shares.items():  # Wilson's: where a share is 1.96 of its standard errors from what was seen
        for p in ends:
            assert abs(scores[name] - p) / (p * (1 - p) / 24) ** 0.5 == pytest.approx(1.959964, abs=1e-3)
    assert Planner.from_pretrained(tmp_path / "planner").plan([]) == []
    text = plan_format.write(plans[0].names, plans[0].boxes)
    assert plan_format.parse(text).boxes == plans[0].boxes
