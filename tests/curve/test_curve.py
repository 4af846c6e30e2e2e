"""The curve of box fidelity: a point a snapshot, by pictures that the snapshot itself has drawn."""

import dataclasses
import json

import numpy as np
import pytest

from gillnext import layouts
from gillnext.adapter import snapshots
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.adapter.trainer import build_adapter
from gillnext.curve import stage
from gillnext.instruments.detections import Detections
from gillnext.miniatures.world.classes import BY_NAME
from gillnext.runtime import files
from gillnext.score.boxes import requested


class Obliging:
    """Finds what the first layout asks for in every picture."""

    description = "obliging"

    def __init__(self, first):
        self.classes = list(BY_NAME)
        self.first = requested(first, self.classes)

    def detect(self, images, batch):
        assert images.dtype == np.uint8 and images.shape[1:] == (64, 64, 3)
        labels = self.first.labels
        return [Detections(self.first.boxes, labels, np.full(len(labels), 0.9)) for _ in images]


@pytest.fixture
def cfg(tiny_config):
    return dataclasses.replace(tiny_config, curve=dataclasses.replace(tiny_config.curve, images=3))


@pytest.fixture
def trained(tmp_path, cfg, tiny_pipeline, awake):
    """The folder of an adapter with snapshots after 2 and 4 of 6 steps, each with weights of its own."""
    folder = tmp_path / "adapter"
    for step, place in ((6, folder), (2, snapshots.place(folder, 2)), (4, snapshots.place(folder, 4))):
        adapter = build_adapter(cfg, cfg.study.arms["attn2"], tiny_pipeline.unet, step)
        awake(adapter, 0.05 * step).save_pretrained(place)
    files.write_json(folder / "training.json", {"steps": 6})
    return folder


@pytest.fixture
def measure(tmp_path, monkeypatch, cfg, tiny_base, tiny_layouts, trained):
    monkeypatch.setattr(stage.models, "evaluator", lambda folder, cfg, names: Obliging(tiny_layouts[0]))
    layouts.write(tmp_path / "val.jsonl", [tiny_layouts[0]] * 3 + tiny_layouts[1:2])
    files.write_text(tmp_path / "evaluator", "any")

    def run(out="curve"):
        return stage.measure(
            cfg, "attn2", 0, tiny_base, trained, tmp_path / "val.jsonl", tmp_path / "evaluator", tmp_path / out
        )

    return run


def test_every_snapshot_and_the_adapter_itself_are_a_point(measure, tmp_path):
    points = measure()
    assert json.loads((tmp_path / "curve" / "curve.json").read_text()) == points
    assert [(p["step"], p["n"]) for p in points] == [(2, 3), (4, 3), (6, 3)]
    assert all(p["miou"] == pytest.approx(1) and p["success50"] == 1 for p in points)
    assert not (tmp_path / "curve.work").exists()


def test_pictures_are_those_of_the_snapshot_and_of_the_curves_own_noise(cfg, tiny_base, tiny_layouts, trained):
    rows = tiny_layouts[:3]
    folder = snapshots.place(trained, 4)
    drawn = stage.draw(cfg, "attn2", tiny_base, folder, rows)
    pipeline = GroundedKolorsPipeline.from_folders(tiny_base)
    pipeline.attach(SpatialAdapter.from_pretrained(folder).eval())
    for i, row in enumerate(rows):
        image, _ = pipeline.draw(
            [row.caption],
            [row],
            keys=[("curve", cfg.run.seed, i)],
            steps=cfg.sample.steps,
            guidance=cfg.sample.guidance,
        )
        assert np.abs(drawn[i].astype(int) - (image[0] * 255).round()).max() <= 1
    assert (np.stack(drawn) != np.stack(stage.draw(cfg, "attn2", tiny_base, trained, rows))).any()


def test_tensorboard_has_points_and_pictures(measure, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    points = measure()
    events = EventAccumulator(str(tmp_path / "curve" / "tensorboard"))
    events.Reload()
    scalars = events.Scalars("validation/success50")
    assert [(e.step, e.value) for e in scalars] == [(p["step"], pytest.approx(p["success50"])) for p in points]
    assert any(tag.startswith("validation/pictures") for tag in events.Tags()["images"])


def test_a_killed_run_keeps_its_points(measure, tmp_path, monkeypatch):
    whole, real = measure("whole"), stage.draw
    drawn = []

    def twice(cfg, arm, base, adapter, rows):
        drawn.append(adapter.name)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return real(cfg, arm, base, adapter, rows)

    monkeypatch.setattr(stage, "draw", twice)
    with pytest.raises(KeyboardInterrupt):
        measure()
    assert measure() == whole
    assert drawn == ["000002", "000004", "000004", "adapter"]


def test_an_adapter_without_snapshots_has_an_empty_curve(cfg, tiny_base, tmp_path, measure, trained):
    import shutil

    shutil.rmtree(trained / "snapshots")
    assert measure() == [] and json.loads((tmp_path / "curve" / "curve.json").read_text()) == []
