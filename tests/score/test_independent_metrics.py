"""The metrics against other implementations: written out here, torchmetrics' own, or torch-fidelity's.

Where a definition is easily got nearly right, the nearly right one is computed as well and must differ.
"""

import json

import numpy as np
import pytest
import torch

from gillnext.boxes import iou
from gillnext.instruments.detections import Detections
from gillnext.miniatures.world import prior, scenes
from gillnext.score import boxes, chance, fid_kid, precision, text
from gillnext.score.boxes import Requested

THRESHOLDS = np.arange(10) * 0.05 + 0.5


def scattered(seed, images=25, classes=3):
    """Requests with detections around them: some tight, some loose, doubled, misnamed, or of nothing."""
    rng = np.random.default_rng(seed)
    wanted, found = [], []
    for _ in range(images):
        n = int(rng.integers(1, 5))
        corner, side = rng.uniform(0, 0.5, (n, 2)), rng.uniform(0.2, 0.45, (n, 2))
        truth, labels = np.concatenate([corner, corner + side], 1), rng.integers(0, classes, n)
        near = np.repeat(truth, 2, 0) + rng.normal(0, 0.04, (2 * n, 4))
        named = np.where(rng.random(2 * n) < 0.85, np.repeat(labels, 2), rng.integers(0, classes, 2 * n))
        kept = rng.random(2 * n) < 0.7
        stray = np.array([[0.02, 0.03, 0.3, 0.35]])
        answers = np.concatenate([near[kept], stray])
        wanted.append(Requested(labels, truth))
        found.append(Detections(answers, np.append(named[kept], 0), rng.random(len(answers))))
    return wanted, found


def hits_of(wanted, found, label, threshold):
    """Whether each detection of a class, by falling score, is a hit; greedy as COCO's, one truth each."""
    ranked = sorted(
        ((s, i, box) for i, f in enumerate(found) for box, k, s in zip(f.boxes, f.labels, f.scores, strict=True)
         if k == label),
        key=lambda row: -row[0],
    )  # fmt: skip
    free = [[box for box, k in zip(w.boxes, w.labels, strict=True) if k == label] for w in wanted]
    hits = []
    for _, image, box in ranked:
        overlaps = [float(iou(box[None], truth[None])[0, 0]) for truth in free[image]]
        best = int(np.argmax(overlaps)) if overlaps else -1
        hits.append(bool(overlaps) and overlaps[best] >= threshold)
        if hits[-1]:
            free[image].pop(best)
    return hits


def brute_ap(wanted, found, thresholds, interpolate=True):
    """COCO's AP: at 101 recalls, the best precision at that recall or beyond; mean over classes and thresholds."""
    values = []
    for label in sorted({int(k) for w in wanted for k in w.labels}):
        total = sum(int((w.labels == label).sum()) for w in wanted)
        for threshold in thresholds:
            right = wrong = 0
            curve = []
            for hit in hits_of(wanted, found, label, threshold):
                right, wrong = right + hit, wrong + (not hit)
                curve.append((right / total, right / (right + wrong)))
            points = []
            for recall in np.linspace(0, 1, 101):
                beyond = [p for r, p in curve if r >= recall - 1e-12]
                points.append((max(beyond) if interpolate else beyond[0]) if beyond else 0.0)
            values.append(sum(points) / len(points))
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_cocos_written_out(seed):
    wanted, found = scattered(seed)
    ours = precision.average_precision(wanted, found)
    assert ours["ap"] == pytest.approx(brute_ap(wanted, found, THRESHOLDS), abs=1e-9)
    assert ours["ap50"] == pytest.approx(brute_ap(wanted, found, [0.5]), abs=1e-9)
    assert abs(ours["ap"] - brute_ap(wanted, found, THRESHOLDS, interpolate=False)) > 1e-3
    assert abs(ours["ap"] - brute_ap(wanted, found, THRESHOLDS[:-1])) > 1e-3


def test_average_precision_is_pycocotools_own_on_files_in_pixels(tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    wanted, found = scattered(9)

    def row(image, label, box):
        x1, y1, x2, y2 = (64 * float(v) for v in box)
        return {"image_id": image + 1, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}

    truth = [row(i, k, b) for i, w in enumerate(wanted) for k, b in zip(w.labels, w.boxes, strict=True)]
    truth = [r | {"id": n, "iscrowd": 0, "area": r["bbox"][2] * r["bbox"][3]} for n, r in enumerate(truth, 1)]
    answers = [
        row(i, k, b) | {"score": float(s)}
        for i, f in enumerate(found)
        for k, b, s in zip(f.labels, f.boxes, f.scores, strict=True)
    ]
    content = {
        "info": {}, "annotations": truth, "images": [{"id": i + 1} for i in range(len(wanted))],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(3)],
    }  # fmt: skip
    for name, value in (("truth", content), ("answers", answers)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    coco = COCO(str(tmp_path / "truth.json"))
    result = COCOeval(coco, coco.loadRes(str(tmp_path / "answers.json")), "bbox")
    result.evaluate()
    result.accumulate()
    result.summarize()
    ours = precision.average_precision(wanted, found)
    assert (ours["ap"], ours["ap50"]) == pytest.approx(tuple(result.stats[:2]), abs=1e-9)


def test_assignment_beats_taking_the_best_pair_first():
    # The best pair, 1–a, leaves 2–b with nothing; the best sum crosses.
    want = Requested(np.array([0, 0]), np.array([[0.0, 0, 0.4, 0.4], [0.1, 0, 0.5, 0.4]]))
    have = Detections(np.array([[0.02, 0, 0.42, 0.4], [0.0, 0, 0.25, 0.4]]), np.zeros(2, int), np.ones(2))
    table = iou(want.boxes, have.boxes)
    greedy = table[0, 0] + table[1, 1]
    assert table[0, 0] == table.max() and table[0, 1] + table[1, 0] > greedy + 0.05
    assert boxes.assign(want, have).tolist() == pytest.approx([table[0, 1], table[1, 0]])


class AsItIs(torch.nn.Module):
    """Features in place of images, for torchmetrics."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, features):
        return features


def features_of(seed, count, width=8):
    rng = np.random.default_rng(seed)
    return rng.normal(seed / 3, 1, (count, width)) @ rng.normal(size=(width, width))


def test_fid_is_torchmetrics_own_on_the_same_features():
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = features_of(1, 90), features_of(2, 70)
    metric = FrechetInceptionDistance(feature=AsItIs(8)).set_dtype(torch.float64)
    metric.update(torch.from_numpy(b), real=True)
    metric.update(torch.from_numpy(a), real=False)
    assert fid_kid.fid(a, b) == pytest.approx(metric.compute().item(), rel=1e-6)
    # Covariances divided by n in place of n − 1 would be seen.
    scaled = a.mean(0) + (a - a.mean(0)) * np.sqrt(89 / 90)
    assert abs(fid_kid.fid(scaled, b) / fid_kid.fid(a, b) - 1) > 1e-5


def test_fid_is_torch_fidelitys_on_the_same_features():
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    a, b = features_of(3, 90), features_of(4, 70)
    theirs = (fid_features_to_statistics(torch.from_numpy(features)) for features in (a, b))
    expected = fid_statistics_to_metric(*theirs, verbose=False)[KEY_METRIC_FID]
    assert fid_kid.fid(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_kid_is_torchmetrics_own_on_all_images_at_once():
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = features_of(1, 60), features_of(2, 60)
    metric = KernelInceptionDistance(feature=AsItIs(8), subsets=1, subset_size=60).set_dtype(torch.float64)
    metric.update(torch.from_numpy(b), real=True)
    metric.update(torch.from_numpy(a), real=False)
    assert fid_kid.kid(a, b)[0] == pytest.approx(metric.compute()[0].item(), rel=1e-5)


def test_clip_score_cuts_the_mean_off_at_zero_and_not_each_image():
    class Signed(torch.nn.Module):
        config = object()

        def get_image_features(self, pixels):
            return pixels.mean((1, 2, 3))[:, None] * torch.ones(1, 2)

        def get_text_features(self, ids, mask):
            return torch.ones(len(ids), 2)

    def processor(text=None, images=None, **_):
        if images is not None:
            return {"pixel_values": torch.stack([i.float() - 128 for i in images])}
        return {"input_ids": torch.zeros(len(text), 2), "attention_mask": torch.ones(len(text), 2)}

    dark, light = np.zeros((1, 8, 8, 3), np.uint8), np.full((3, 8, 8, 3), 255, np.uint8)
    score = text.clip_score([(np.concatenate([dark, light]), ["树"] * 4)], lambda: (Signed(), processor))
    assert score == pytest.approx(100 * (3 - 1) / 4)  # each image cut off would give 75


def test_chance_level_follows_the_prior_and_not_the_request():
    # Whatever the truth was, a detection everywhere has the IoU of its box with the prior's: the boxes' own area.
    want = [Requested(np.array([3]), np.array([[0.1, 0.1, 0.5, 0.5]]))] * 200
    whole = [Detections(np.array([[0.0, 0, 1, 1]]), np.array([3]), np.ones(1))] * 200
    known = prior.make(1, len(want))
    drawn = [known.redraw(w, d, i).boxes[0] for d in range(chance.REDRAWS) for i, w in enumerate(want)]
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in drawn]
    assert chance.level(known.redrawn(want), whole)["chance_miou"] == pytest.approx(np.mean(areas))
    assert scenes.SIDES[0] ** 2 < np.mean(areas) < scenes.SIDES[1] ** 2
