"""The box evaluator: training smoke, folder, detections, and the scores of its validation."""

import numpy as np
import pytest
import torch

from gillnext.config.load import from_dict
from gillnext.instruments.detections import Detections
from gillnext.miniatures import degrade, detectors, evaluator
from gillnext.miniatures.networks.fcos import Evaluator
from gillnext.miniatures.supervision import box_class_maps, split
from gillnext.miniatures.world import corpus

SETTINGS = from_dict({"evaluator": {"corpus": 24, "steps": 5, "batch": 4}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluator") / "evaluator"
    evaluator.train(SETTINGS, out)
    return out


@pytest.fixture(scope="module")
def data():
    return corpus.make(5, "tiny", 6)


def test_training_twice_gives_the_same_weights(folder, tmp_path):
    evaluator.train(SETTINGS, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_saved_again_it_detects_the_same(folder, tmp_path, data):
    model = Evaluator.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    again = Evaluator.from_pretrained(tmp_path / "copy")
    for a, b in zip(model.detect(data.images, 4), again.detect(data.images, 4), strict=True):
        assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores)


def test_detections_are_unit_boxes_of_known_classes_by_falling_score(folder, data):
    torch.manual_seed(0)
    model = Evaluator.from_pretrained(folder)
    model.network.score_thresh = 0.0
    found = model.detect(np.repeat(np.repeat(data.images, 2, 1), 2, 2), batch=5)
    assert len(found) == len(data.images) and any(len(d.scores) for d in found)
    for d in found:
        assert d.boxes.shape == (len(d.labels), 4) and ((d.boxes >= 0) & (d.boxes <= 1)).all()
        assert (d.boxes[:, :2] < d.boxes[:, 2:]).all() and set(d.labels) <= set(range(12))
        assert (np.diff(d.scores) <= 0).all()


def test_it_learns_to_fit_one_picture(data):
    """Forty steps on a single scene are enough to find its objects: targets and boxes are in one frame."""
    from gillnext.config.miniatures import Detector

    one = split(data, 1)[0]
    torch.manual_seed(0)
    model = Evaluator([str(i) for i in range(12)], 64, 64)
    plain = lambda images, rng: degrade.degrade(images, rng, jpegs=0, blurs=0, noisy=False)  # noqa: E731
    settings = Detector(corpus=1, steps=40, batch=2, lr=4e-3)
    detectors.train(model, one, settings, plain, "one", 0, None)
    assert detectors.validate(model, one)["miou"] > 0.7


def test_the_best_of_a_class_is_the_highest_score_above_the_threshold():
    boxes = np.arange(12.0).reshape(3, 4) / 12
    found = Detections(boxes, np.array([1, 0, 1]), np.array([0.3, 0.9, 0.6]))
    box, score = found.best(1)
    assert np.array_equal(box, boxes[2]) and score == 0.6
    assert found.best(1, 0.7) is None and found.best(2) is None


def test_a_missing_object_counts_zero_in_validation(data):
    class Half:
        """Finds the first object of every scene exactly, and no other."""

        def detect(self, images, batch):
            firsts = [scene.objects[0] for scene in data.scenes]
            return [Detections(np.array([o.box]), np.array([o.kind.id]), np.array([0.9])) for o in firsts]

    total = sum(len(scene.objects) for scene in data.scenes)
    scores = detectors.validate(Half(), data)
    assert scores["n"] == total
    assert scores["miou"] == scores["success50"] == pytest.approx(len(data.scenes) / total)


def test_cells_are_labelled_by_the_object_at_their_centre(data):
    labels = box_class_maps(data, 8).numpy()
    for grid, scene in zip(labels, data.scenes, strict=True):
        for r in range(8):
            for c in range(8):
                x, y = (c + 0.5) / 8, (r + 0.5) / 8
                there = [o.kind.id + 1 for o in scene.objects if o.box[0] < x < o.box[2] and o.box[1] < y < o.box[3]]
                assert grid[r, c] == (there[-1] if there else 0)
