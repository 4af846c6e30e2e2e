"""The sample stage: batch size, arm and interruption change no picture that they should not."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gillnext import cli, layouts
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.runtime.errors import UserError
from gillnext.sample import stage


@pytest.fixture(scope="module")
def adapters(tmp_path_factory, tiny_base, awake):
    """Folders of an untrained adapter and of one filled with noise."""
    folder = tmp_path_factory.mktemp("adapters")
    unet = GroundedKolorsPipeline.from_folders(tiny_base).unet
    torch.manual_seed(0)
    adapter = SpatialAdapter.for_unet(unet, site="attn2", width=16)
    adapter.save_pretrained(folder / "untrained")
    awake(adapter).save_pretrained(folder / "trained")
    return folder


def sample(tiny, out, arm="attn2", adapter=None, batch=2, rows=None, seed=0):
    cfg = dataclasses.replace(tiny.config, sample=dataclasses.replace(tiny.config.sample, batch=batch))
    stage.sample(cfg, arm, seed, tiny.base, adapter, rows or tiny.layouts[:5], out)
    return pictures(out)


def pictures(out):
    return np.stack([np.asarray(Image.open(p)) for p in sorted(out.glob("*.png"))]).astype(int)


def test_each_layout_gets_its_picture_and_row(tiny, adapters, tmp_path):
    layouts.write(tmp_path / "in.jsonl", tiny.layouts[:3])
    arguments = [
        "sample", "--config", tiny.config_file, "--arm", "attn2", "--seed", 0, "--base", tiny.base, "--adapter",
        adapters / "trained", "--layouts", tmp_path / "in.jsonl", "--out", tmp_path / "out",
    ]  # fmt: skip
    assert cli.main([str(a) for a in arguments]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"00000.png", "00001.png", "00002.png", "layouts.jsonl"}
    assert pictures(tmp_path / "out").shape == (3, 64, 64, 3)
    rows = layouts.read(tmp_path / "out" / "layouts.jsonl")
    assert [row.image_path for row in rows] == ["00000.png", "00001.png", "00002.png"]
    for row, asked in zip(rows, tiny.layouts, strict=False):
        assert (row.id, row.caption, row.names) == (asked.id, asked.caption, asked.names)
        np.testing.assert_allclose(row.boxes, asked.boxes, atol=1e-6)
    assert not (tmp_path / "out.work").exists()


def test_the_batch_size_changes_no_picture(tiny, adapters, tmp_path):
    found = [sample(tiny, tmp_path / str(b), adapter=adapters / "trained", batch=b) for b in (1, 2, 5)]
    # Matrix products of other shapes round otherwise: at most two grey levels of 255.
    assert max(np.abs(found[0] - other).max() for other in found[1:]) <= 2
    assert found[0].std() > 1


def test_arms_are_compared_on_the_same_noise(tiny, adapters, tmp_path):
    base = sample(tiny, tmp_path / "base", "base")
    untrained = sample(tiny, tmp_path / "untrained", adapter=adapters / "untrained")
    trained = sample(tiny, tmp_path / "trained", adapter=adapters / "trained")
    np.testing.assert_array_equal(base, untrained)
    assert np.abs(base - trained).max() > 2


def test_a_seed_has_noise_of_its_own(tiny, tmp_path):
    """It is all that tells apart the pictures of an arm that trains nothing."""
    one, other, again = (sample(tiny, tmp_path / f"{i}", "base", seed=seed) for i, seed in enumerate((0, 1, 0)))
    np.testing.assert_array_equal(one, again)
    assert all(np.abs(a - b).max() > 2 for a, b in zip(one, other, strict=True))


def test_a_killed_run_keeps_its_pictures_and_ends_the_same(tiny, adapters, tmp_path, monkeypatch):
    whole = sample(tiny, tmp_path / "whole", adapter=adapters / "trained")
    drawn, original = [], GroundedKolorsPipeline.draw

    def dying(self, captions, *args, **settings):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(len(captions))
        return original(self, captions, *args, **settings)

    monkeypatch.setattr(GroundedKolorsPipeline, "draw", dying)
    with pytest.raises(KeyboardInterrupt):
        sample(tiny, tmp_path / "killed", adapter=adapters / "trained")
    assert not (tmp_path / "killed").exists()
    half = tmp_path / "killed.work" / ".00004.png.half"  # what a kill in the middle of a write leaves
    half.mkdir()
    (half / "00004.png").write_bytes(b"\x89PNG")
    drawn.clear()
    resumed = sample(tiny, tmp_path / "killed", adapter=adapters / "trained")
    assert drawn == [1]  # four of the five pictures were there
    np.testing.assert_array_equal(resumed, whole)
    assert {p.suffix for p in (tmp_path / "killed").iterdir()} == {".png", ".jsonl"}


def test_pictures_of_another_adapter_are_not_taken_over(tiny, adapters, tmp_path):
    expected = sample(tiny, tmp_path / "fresh", adapter=adapters / "trained")
    work = tmp_path / "out.work"
    work.mkdir()
    (work / "identity.json").write_text(json.dumps("another run"))
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(work / "00000.png")
    np.testing.assert_array_equal(sample(tiny, tmp_path / "out", adapter=adapters / "trained"), expected)


@pytest.mark.parametrize(("arm", "given", "wanted"), [("base", True, "no --adapter"), ("attn2", False, "--adapter")])
def test_an_arm_without_its_adapter_is_refused(arm, given, wanted, tiny, adapters, tmp_path):
    with pytest.raises(UserError, match=f"arm '{arm}' needs {wanted}"):
        sample(tiny, tmp_path / "out", arm, adapters / "trained" if given else None)


def test_a_layout_may_have_more_boxes_than_training_had(tiny, adapters, tmp_path):
    """Eight, the last two where they are felt; the layout beside it in the batch is drawn as it is alone."""
    boxes = tuple((i / 8, 0.1, (i + 1) / 8, 0.9) for i in range(8))
    rows = [layouts.Layout("很多树", ("树",) * n, boxes[:n]) for n in (8, 6, 2)]
    eight, six, _ = found = sample(tiny, tmp_path / "out", adapter=adapters / "trained", rows=rows, batch=3)
    alone = sample(tiny, tmp_path / "six", adapter=adapters / "trained", rows=[*rows[1:2], *rows[1:]], batch=3)
    assert np.abs(found[1:] - alone[1:]).max() <= 2  # rounding
    assert np.abs(eight - alone[0]).max() > 2  # the same noise with six boxes
    assert np.abs(eight - six).max() > 2
