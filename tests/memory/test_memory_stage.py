"""The memory stage: three losses held at once or one by one, equal gradients, and the keys of its file."""

import json
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from gillnext import cli
from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.foundations import base
from gillnext.memory import stage


class Here:
    """Stands in for the pool of one fresh process: runs at once, in this one."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done


@pytest.fixture(scope="module")
def result(tmp_path_factory, tiny_base, tiny_cache, config_file):
    """The stage's file, by its command."""
    out = tmp_path_factory.mktemp("memory") / "memory.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "ProcessPoolExecutor", Here)
        arguments = ["memory", "--config", config_file, "--base", tiny_base, "--cache", tiny_cache, "--out", out]
        assert cli.main([str(a) for a in arguments]) == 0
    return json.loads(out.read_text())


def held(result, mode):
    return result["modes"][mode]["saved_bytes"]


def test_the_file_has_every_mode_and_measure(result):
    assert set(result) == {"modes", "max_gradient_difference", "parameters", "batch", "threads", "provenance"}
    assert set(result["modes"]) == {"single", "summed", "split", "checkpointed", "full"}
    for mode, row in result["modes"].items():
        assert set(row) == {"saved_bytes", "peak_bytes", "peak_rss_bytes", "seconds", "losses", "trained_parameters"}
        assert row["losses"] == (1 if mode in ("single", "full") else 3)
        assert row["seconds"] > 0 and row["peak_bytes"] >= row["saved_bytes"] > 0
    adapter, unet = result["parameters"]["adapter"], result["parameters"]["unet"]
    assert result["modes"]["full"]["trained_parameters"] == adapter + unet
    assert result["modes"]["split"]["trained_parameters"] == adapter < unet


def test_gradients_are_equal_to_float_error(result):
    assert set(result["max_gradient_difference"]) == {"split", "checkpointed"}
    assert all(0 <= v < 1e-5 for v in result["max_gradient_difference"].values())


def test_summed_holds_three_graphs_and_split_one(result):
    assert held(result, "summed") == pytest.approx(3 * held(result, "single"), rel=0.05)
    # Gradients (one adapter in size) are there from the second loss on, and the boxes' null token aside all are alike.
    adapter = 4 * result["parameters"]["adapter"]
    assert held(result, "single") <= held(result, "split") <= held(result, "single") * 1.05 + adapter


def test_checkpointing_holds_less_and_full_training_more(result):
    assert held(result, "checkpointed") < held(result, "summed")
    assert held(result, "full") > held(result, "single")


def test_the_three_losses_are_caption_and_boxes_boxes_alone_and_caption_alone(tiny):
    cache, scheduler = Cache.load(tiny.cache), objective.scheduler_of(base.SCHEDULE)
    both, boxes, caption = stage.tasks(tiny.config, cache, scheduler, 64, 3)
    assert both.states.any() and not both.dropped.any()
    assert not boxes.states.any() and not boxes.pooled.any() and not boxes.dropped.any()
    assert caption.states.any() and caption.dropped.all()
    assert not torch.equal(both.noisy, boxes.noisy)
    (single,) = stage.tasks(tiny.config, cache, scheduler, 64, 1)
    assert torch.equal(single.noisy, both.noisy)


def test_resident_memory_sees_what_is_touched():
    before = stage.resident(reset=True)
    block = np.ones(32 << 20, np.uint8)
    assert stage.resident() - before > 30 << 20
    del block


def test_a_child_that_is_killed_is_told_and_not_waited_for(tiny, tmp_path):
    """A pool of one raises where its process dies; here it dies for want of the module that it should run."""
    from concurrent.futures.process import BrokenProcessPool

    class Dying:
        """Unpickled in the child, it ends the child."""

        def __reduce__(self):
            import os

            return os._exit, (9,)

    with pytest.raises(BrokenProcessPool):
        stage.compare(Dying(), tiny.base, tiny.cache)
