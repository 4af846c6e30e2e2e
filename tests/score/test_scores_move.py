"""What is done to real pictures moves each score the way that it must. The rule-based evaluator looks at them."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from gillnext.layouts import Layout
from gillnext.miniatures import templates
from gillnext.miniatures.world import captions, prior, scenes
from gillnext.score import boxes, chance, cmmd, fid_kid, relations
from gillnext.score.boxes import Requested

COUNT, SEED = 160, 33
DETECTOR = templates.make()
SCENES = [scenes.sample(SEED, "val", i) for i in range(COUNT)]
WANTED = [Requested(np.array([o.kind.id for o in scene.objects]), scene.boxes) for scene in SCENES]


@pytest.fixture(scope="module")
def pictures():
    return np.stack([scenes.render(scene) for scene in SCENES])


@pytest.fixture(scope="module")
def found(pictures):
    return DETECTOR.detect(pictures)


def metrics(wanted, found):
    return boxes.fidelity(wanted, found, DETECTOR.classes)["metrics"]


def network(pixels):
    """48 plain features: the mean colours of a 4 × 4 grid."""
    return torch.nn.functional.adaptive_avg_pool2d(pixels, 4).flatten(1) / 64


def edges(pixels):
    """Six plain features that blur changes: the mean step between neighbours, each colour and direction."""
    return torch.cat([(pixels.diff(dim=d).abs()).mean((2, 3)) for d in (2, 3)], 1)


def test_boxes_of_other_pictures_score_as_nothing(found):
    right, wrong = metrics(WANTED, found), metrics(WANTED, found[1:] + found[:1])
    assert right["success50"] > 0.97
    assert wrong["success50"] < 0.05 and wrong["miou"] < 0.1


def test_boxes_of_other_pictures_with_the_right_classes_score_at_the_chance_level(found):
    # The requests' classes stay, their boxes are those of another picture with as many objects: the prior again.
    by_count = {n: [w.boxes for w in WANTED if len(w.boxes) == n] for n in range(1, 5)}
    turn = {n: iter(rows[1:] + rows[:1]) for n, rows in by_count.items()}
    moved = [Requested(w.labels, next(turn[len(w.boxes)])) for w in WANTED]
    level = chance.level(prior.make(SEED, COUNT).redrawn(WANTED), found)
    assert metrics(moved, found)["miou"] == pytest.approx(level["chance_miou"], abs=0.04)
    assert metrics(moved, found)["success50"] == pytest.approx(level["chance_success50"], abs=0.05)


def test_classes_swapped_within_a_picture_stand_in_the_right_place_under_the_wrong_name(found):
    several = [i for i, w in enumerate(WANTED) if len(w.labels) > 1]
    swapped = [Requested(np.roll(WANTED[i].labels, 1), WANTED[i].boxes) for i in several]
    scores, kept = metrics(swapped, [found[i] for i in several]), metrics(WANTED, found)
    assert scores["success50"] < 0.02
    assert scores["wrong_class"] > 0.95
    assert kept["wrong_class"] < 0.02


def test_boxes_shifted_step_by_step_lose_iou_step_by_step(found):
    values = []
    for shift in (0, 0.05, 0.1, 0.2):
        moved = [Requested(w.labels, w.boxes + np.array([shift, 0, shift, 0])) for w in WANTED]
        values.append(metrics(moved, found)["miou"])
    assert all(a > b + 0.05 for a, b in pairwise(values))


def test_pictures_that_lack_every_second_object_score_about_half():
    several = [s for s in SCENES if len(s.objects) == 2]
    halved = [dataclasses.replace(s, objects=s.objects[:1]) for s in several]
    wanted = [Requested(np.array([o.kind.id for o in s.objects]), s.boxes) for s in several]
    scores = metrics(wanted, DETECTOR.detect(np.stack([scenes.render(s) for s in halved])))
    assert scores["success50"] == pytest.approx(0.5, abs=0.02)
    assert scores["miou"] == pytest.approx(0.5, abs=0.05)


def test_the_blurrier_the_pictures_the_worse_each_score(pictures, found):
    few, real = pictures[:80], pictures[80:]
    against = fid_kid.features_of_images(real, edges)
    rows = [[metrics(WANTED[:80], found[:80])["miou"]]]
    rows[0] += _distances(few, against)
    for sigma in (2, 4):
        blurred = np.stack([ndimage.gaussian_filter(p, (sigma, sigma, 0)) for p in few])
        rows.append([metrics(WANTED[:80], DETECTOR.detect(blurred))["miou"], *_distances(blurred, against)])
    miou, fid, kid, distance = zip(*rows, strict=True)
    assert miou[0] > miou[1] > miou[2] and miou[2] < 0.3
    for values in (fid, kid, distance):
        assert values[0] < values[1] < values[2]


def _distances(pictures, against):
    features = fid_kid.features_of_images(pictures, edges)
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (features, against)]
    return fid_kid.fid(features, against), fid_kid.kid(features, against)[0], cmmd.cmmd(*unit)


def test_half_the_samples_leave_the_means_and_kid_and_raise_fid(pictures, found):
    # Means move by their sampling error, an unbiased distance by its own; FID, which is biased, goes up.
    whole, half = metrics(WANTED, found), metrics(WANTED[::2], found[::2])
    assert half["success50"] == pytest.approx(whole["success50"], abs=0.03)
    assert half["miou"] == pytest.approx(whole["miou"], abs=0.02)
    reference = np.stack([scenes.render(scenes.sample(SEED, "other", i)) for i in range(400)])
    a, b = (fid_kid.features_of_images(x, network) for x in (pictures, reference))
    assert fid_kid.fid(a[::2], b) > 1.3 * fid_kid.fid(a, b)
    (kid, error), (half_kid, half_error) = fid_kid.kid(a, b), fid_kid.kid(a[::2], b)
    assert abs(half_kid - kid) < 3 * np.hypot(error, half_error)


def test_relations_fail_in_mirrored_pictures(pictures):
    right_way, mirrored, layouts = [], [], []
    for i, scene in enumerate(SCENES[:60]):
        stated = captions.spatial(scene, np.random.default_rng(i))
        if stated is None or any(r.to_row()[1] in ("above", "below") for r in stated[1]):
            continue
        extra = {"relations": [r.to_row() for r in stated[1]]}
        layouts.append(captioned(scene, stated[0], extra))
        right_way.append(pictures[i])
        mirrored.append(pictures[i][:, ::-1])
    scores = [
        relations.accuracy(layouts, DETECTOR.detect(np.stack(p)), DETECTOR.classes)["metrics"]
        for p in (right_way, mirrored)
    ]
    assert scores[0]["relation_accuracy"] > 0.95
    assert scores[1]["relation_accuracy"] < 0.05


def captioned(scene, caption, extra):
    return Layout(caption, scene.names, tuple(o.box for o in scene.objects), extra=extra)
