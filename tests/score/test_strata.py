"""Strata of requested boxes against their definitions in plain Python, and each stratum's score box by box."""

import itertools

import numpy as np
import pytest
from test_box_fidelity import found, random_boxes, wanted

from gillnext.instruments.detections import Detections
from gillnext.miniatures.world import prior, scenes
from gillnext.score import boxes, chance
from gillnext.score.boxes import Requested
from gillnext.score.strata import KINDS
from gillnext.statistics import RESAMPLES

CLASSES = ["树", "猫", "鱼"]


def common(a, b):
    """Area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def by_hand(layout):
    """Kind -> the part of each box of a list of boxes, None where it is in none; from the words of the definitions."""
    found = {kind: [] for kind in KINDS}
    for i, box in enumerate(layout):
        width, height = box[2] - box[0], box[3] - box[1]
        side = (width * height) ** 0.5
        found["size"].append("small" if side < 0.34 else "medium" if side < 0.42 else "large")
        found["number"].append("few" if len(layout) <= 2 else "many")
        near = min(box[0], box[1], 1 - box[2], 1 - box[3])
        found["position"].append("edge" if near < 0.05 else "centre")
        found["aspect"].append("tall" if height >= 1.1 * width else "wide" if width >= 1.1 * height else "square")
        shared = {j: common(box, other) for j, other in enumerate(layout) if j != i}
        most = max([s / (area(box) + area(layout[j]) - s) for j, s in shared.items()], default=0)
        bounds = [("none", 0), ("≤ 0.01", 0.01), ("≤ 0.1", 0.1), ("> 0.1", 1)]
        found["overlap"].append(next(part for part, bound in bounds if most <= bound))
        over, under = (any(shared[j] > 0 for j in others) for others in (range(i), range(i + 1, len(layout))))
        found["depth"].append("between" if over and under else "front" if over else "back" if under else None)
    return found


def layouts(count=300):
    """Layouts of one to five boxes that overlap more or less, and some of the drawn world's."""
    rng = np.random.default_rng(7)
    made = [random_boxes(rng, int(rng.integers(1, 6))) for _ in range(count)]
    return made + [scenes.sample(5, "test", i).boxes for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_box_is_in_the_part_that_the_words_say(kind):
    seen = set()
    for layout in layouts():
        place = KINDS[kind].place(layout)
        names = [None if p < 0 else KINDS[kind].parts[p] for p in place]
        assert names == by_hand(layout.tolist())[kind]
        seen |= set(names)
    assert seen >= set(KINDS[kind].parts)  # no part goes untested


A, UNDER, FAR = (0.1, 0.1, 0.5, 0.5), (0.4, 0.4, 0.7, 0.8), (0.7, 0.1, 0.97, 0.3)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overlap", ["≤ 0.1", "≤ 0.1", "none"]),
        ("depth", ["back", "front", None]),
        ("position", ["centre", "centre", "edge"]),
        ("number", ["many", "many", "many"]),
        ("aspect", ["square", "tall", "wide"]),
        ("size", ["medium", "medium", "small"]),
    ],
)
def test_a_layout_worked_out_by_hand(kind, expected):
    # A and UNDER share 0.1 × 0.1 of 0.16 + 0.12 − 0.01: IoU 0.037. FAR comes within 0.03 of the right border.
    place = KINDS[kind].place(np.array([A, UNDER, FAR]))
    assert [None if p < 0 else KINDS[kind].parts[p] for p in place] == expected


def test_a_layout_without_boxes_has_no_parts():
    assert all(len(kind.place(np.zeros((0, 4)))) == 0 for kind in KINDS.values())


def scored(seed, images=40):
    """Requests, detections near them, and the IoU of each box."""
    rng, want, have = np.random.default_rng(seed), [], []
    for _ in range(images):
        count = int(rng.integers(1, 5))
        layout, labels = (
            random_boxes(rng, count),
            rng.permutation(3)[:count] if count < 4 else rng.integers(0, 3, count),
        )
        want.append(Requested(labels, layout))
        moved = (layout + rng.normal(0, 0.05, layout.shape)).clip(0, 1)
        kept = rng.random(count) < 0.8
        have.append(Detections(moved[kept], labels[kept], np.full(int(kept.sum()), 0.9)))
    return want, have, [boxes.assign(w, h) for w, h in zip(want, have, strict=True)]


@pytest.mark.parametrize("seed", range(3))
def test_a_parts_score_is_the_mean_of_its_boxes_picked_one_by_one(seed):
    want, _, ious = scored(seed)
    rows = {}
    for w, values in zip(want, ious, strict=True):
        named = by_hand(w.boxes.tolist())
        named["objects"] = [str(len(w.labels))] * len(w.labels)
        named["class"] = [CLASSES[k] for k in w.labels]
        for kind, parts in named.items():
            for part, value in zip(parts, values, strict=True):
                if part is not None:
                    rows.setdefault((kind, part), []).append(float(value))
    breakdown = boxes.breakdown(want, ious, CLASSES, intervals=False)
    found = {(kind, part): row for kind, parts in breakdown.items() for part, row in parts.items()}
    assert found.keys() == rows.keys()
    for key, values in rows.items():
        success = sum(v >= 0.5 for v in values) / len(values)
        expected = {"n": len(values), "miou": sum(values) / len(values), "success50": success}
        assert found[key] == pytest.approx(expected, abs=1e-6)


def test_a_parts_interval_is_that_of_whole_images_drawn_anew():
    """Another generator, images one by one: ends agree to what 1,000 resamples know of a 2.5% quantile."""
    want, _, ious = scored(1)
    edge = [[v for v, p in zip(i, by_hand(w.boxes.tolist())["position"], strict=True) if p == "edge"]
            for w, i in zip(want, ious, strict=True)]  # fmt: skip
    rng, means = np.random.default_rng(3), []
    for _ in range(4 * RESAMPLES):
        drawn = [edge[i] for i in rng.integers(len(edge), size=len(edge))]
        every = list(itertools.chain.from_iterable(drawn))
        means.append(sum(every) / len(every))
    low, high = np.quantile(means, [0.025, 0.975])
    row = boxes.breakdown(want, ious, CLASSES)["position"]["edge"]
    assert row["intervals"]["miou"] == pytest.approx([low, high], abs=0.15 * (high - low))
    assert low < row["miou"] < high


def test_a_part_of_one_image_has_the_interval_of_that_image():
    """Resamples that do not draw it count as nothing, not as zero."""
    want = [wanted((0, A)), wanted((1, FAR)), wanted((1, FAR))]
    have = [found((0, A, 0.9)), found(), found()]
    ious = [boxes.assign(w, h) for w, h in zip(want, have, strict=True)]
    row = boxes.breakdown(want, ious, CLASSES)["size"]["medium"]
    assert row == {"n": 1, "miou": 1.0, "success50": 1.0, "intervals": {"miou": [1.0, 1.0], "success50": [1.0, 1.0]}}


def test_chance_of_a_part_is_of_the_redrawn_boxes_that_are_of_it():
    """Not of the boxes that were redrawn for its requests: all requests are small, and the redrawn ones are not."""
    content = [scenes.sample(3, "test", i) for i in range(60)]
    small = [Requested(np.array([o.kind.id % 3 for o in s.objects]), s.boxes * 0.3) for s in content]
    have = [Detections(s.boxes, w.labels, np.ones(len(w.labels))) for s, w in zip(content, small, strict=True)]
    redrawn, values = prior.make(1, 60).redrawn(small), {}
    for one in redrawn:
        for w, h in zip(one, have, strict=True):
            for part, value in zip(by_hand(w.boxes.tolist())["size"], boxes.assign(w, h), strict=True):
                values.setdefault(part, []).append(value)
    level = chance.by_part(redrawn, have, CLASSES)["size"]
    assert set(level) == {"small", "medium", "large"}
    for part, row in level.items():
        assert row["n"] == len(values[part])
        assert row["miou"] == pytest.approx(np.mean(values[part]), abs=1e-6)
    assert sum(row["n"] for row in level.values()) == 5 * sum(len(w.labels) for w in small)


def test_pictures_that_know_nothing_of_their_boxes_score_the_chance_level_of_each_part():
    """What the chance level of a part stands for: the truth of other scenes with as many objects, part by part."""
    content = [scenes.sample(4, "test", i) for i in range(1500)]
    pairs = [(w, h) for w, h in itertools.pairwise(content) if len(w.objects) == len(h.objects)]
    want = [Requested(np.arange(len(w.objects)), w.boxes) for w, _ in pairs]
    have = [Detections(h.boxes, np.arange(len(h.objects)), np.ones(len(h.objects))) for _, h in pairs]
    names = [str(k) for k in range(4)]
    level = chance.by_part(prior.make(2, len(want)).redrawn(want), have, names)
    met = boxes.breakdown(want, [boxes.assign(w, h) for w, h in zip(want, have, strict=True)], names)
    level, met = level["size"], met["size"]
    for part in ("small", "medium", "large"):
        assert level[part]["miou"] == pytest.approx(met[part]["miou"], abs=0.02)
    assert level["large"]["miou"] > level["small"]["miou"] + 0.04  # one level for all would be wrong
