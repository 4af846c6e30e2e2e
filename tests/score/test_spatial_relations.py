"""Spatial relations against plain arithmetic on centres."""

import numpy as np
import pytest

from gillnext.instruments.detections import Detections
from gillnext.layouts import Layout
from gillnext.miniatures.world import captions, scenes
from gillnext.miniatures.world.classes import BY_NAME
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError
from gillnext.score import relations

NAMES = list(BY_NAME)
LEFT, RIGHT = (0.0, 0.1, 0.3, 0.4), (0.6, 0.5, 0.9, 0.9)


def caption(names, rows):
    return Layout("…", names, ((0, 0, 1, 1),) * len(names), extra={"relations": rows})


def seen(*rows):
    labels = np.array([BY_NAME[name].id for name, *_ in rows], dtype=np.int64)
    return Detections(
        np.array([r[1] for r in rows], float).reshape(-1, 4), labels, np.array([r[2] for r in rows], float)
    )


def test_each_relation_is_checked_by_centres():
    both = seen(("猫", LEFT, 0.9), ("树", RIGHT, 0.9))
    layout = caption(("猫", "树"), [[0, "left", 1], [1, "below", 0], [0, "right", 1], [0, "left", None]])
    scores = relations.accuracy([layout], [both], NAMES)
    assert scores["metrics"]["relation_accuracy"] == 3 / 4
    assert scores["metrics"]["all_relations_accuracy"] == 0
    assert scores["breakdown"]["relation"]["left"] == {"n": 2, "relation_accuracy": 1.0}
    assert scores["per_image"] == {"relations": [4], "held": [3]}


def test_missing_object_fails_its_relations_and_is_left_out_of_the_conditional_score():
    layout = caption(("猫", "树"), [[0, "left", 1], [0, "left", None]])
    scores = relations.accuracy([layout], [seen(("猫", LEFT, 0.9))], NAMES)
    assert scores["metrics"]["relation_accuracy"] == 0.5
    assert scores["metrics"]["relation_accuracy_present"] == 1.0
    assert scores["metrics"]["object_recall"] == 0.5
    assert (scores["n_relations"], scores["n_objects"]) == (2, 2)


def test_most_confident_detection_decides():
    layout = caption(("猫", "树"), [[0, "left", 1]])
    unsure = seen(("猫", RIGHT, 0.4), ("猫", LEFT, 0.9), ("树", (0.4, 0.4, 0.6, 0.6), 0.9))
    assert relations.accuracy([layout], [unsure], NAMES)["metrics"]["relation_accuracy"] == 1


@pytest.mark.parametrize("row", [[0, "near", 1], [2, "left", 0], [0, "left", 5], [None, "left", 0], [0, "left"]])
def test_malformed_relation_is_refused_with_its_place(row):
    with pytest.raises(UserError, match="line 1"):
        relations.accuracy([caption(("猫", "树"), [row])], [seen()], NAMES)


def test_captions_without_relations_are_refused():
    with pytest.raises(UserError, match="no caption states a relation"):
        relations.accuracy([caption(("猫",), [])], [seen()], NAMES)


def test_real_scenes_with_true_boxes_hold_all_their_captions_state_and_mirrored_ones_fail():
    layouts, truth, mirrored = [], [], []
    for i in range(60):
        scene = scenes.sample(5, "relations", i)
        stated = captions.spatial(scene, seeds.rng("test", i))
        if stated is None:
            continue
        text, rows = stated
        layouts.append(Layout(text, scene.names, tuple(o.box for o in scene.objects),
                              extra={"relations": [r.to_row() for r in rows]}))  # fmt: skip
        labels, ones = np.array([o.kind.id for o in scene.objects]), np.ones(len(scene.objects))
        truth.append(Detections(scene.boxes, labels, ones))
        mirrored.append(Detections(1 - scene.boxes[:, [2, 3, 0, 1]], labels, ones))
    right = relations.accuracy(layouts, truth, NAMES)
    assert right["metrics"]["relation_accuracy"] == right["metrics"]["all_relations_accuracy"] == 1
    assert relations.accuracy(layouts, mirrored, NAMES)["metrics"]["relation_accuracy"] == 0


def test_brute_arithmetic_agrees_on_random_pictures():
    rng = np.random.default_rng(0)
    names = ("猫", "树", "鱼")
    held = total = 0
    layouts, pictures = [], []
    for _ in range(40):
        rows = [[0, "left", 1], [1, "above", 2], [2, "right", None]]
        corner = rng.uniform(0, 0.5, (3, 2))
        boxes = np.concatenate([corner, corner + 0.3], 1)
        there = rng.random(3) < 0.8
        layouts.append(caption(names, rows))
        pictures.append(seen(*[(n, b, 0.9) for n, b, t in zip(names, boxes, there, strict=True) if t]))
        (ax, _), (bx, by), (cx, cy) = corner + 0.15
        held += int(there[0] and there[1] and ax < bx)
        held += int(there[1] and there[2] and by < cy) + int(there[2] and cx > 0.5)
        total += 3
    assert relations.accuracy(layouts, pictures, NAMES)["metrics"]["relation_accuracy"] == held / total
