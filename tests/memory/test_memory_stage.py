"""The memory stage: three losses held at once or one by one, equal gradients, and the keys of its file."""

import contextlib
import dataclasses
import json
import mmap
import subprocess
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gillnext import cli
from gillnext.adapter import objective
from gillnext.adapter.cache import Cache
from gillnext.config.model import Run
from gillnext.diffusion.objective import training_scheduler
from gillnext.memory import kolors, measure, stage, workloads
from gillnext.memory.workloads import Folders
from gillnext.miniatures import small_unet
from gillnext.runtime.errors import UserError


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
def result(tmp_path_factory, tiny_base, tiny_cache, tiny_language, config_file):
    """The stage's file, by its command."""
    out = tmp_path_factory.mktemp("memory") / "memory.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "ProcessPoolExecutor", Here)
        arguments = ["memory", "--config", config_file, "--base", tiny_base, "--cache", tiny_cache]
        arguments += ["--language", tiny_language, "--out", out]
        assert cli.main([str(a) for a in arguments]) == 0
    return json.loads(out.read_text())


def held(result, mode):
    return result["modes"][mode]["saved_bytes"]


KEYS = {
    "saved_bytes", "peak_bytes", "static_bytes", "peak_rss_bytes", "seconds", "losses", "trained_parameters",
}  # fmt: skip
WORKLOAD = {"modes", "max_gradient_difference", "parameters", "batch", "trace"}


def test_the_file_has_every_mode_and_measure(result):
    whole = {
        "additivity",
        "gill",
        "gill_l2",
        "size",
        "precision",
        "accounting",
        "threads",
        "seed",
        "hashes",
        "provenance",
    }
    assert set(result) == WORKLOAD | whole
    assert set(result["gill"]) == WORKLOAD | {"tasks"}
    assert set(result["modes"]) == {"single", "summed", "split", "accumulated", "checkpointed", "full"}
    assert set(result["gill_l2"]) == WORKLOAD | {"tasks"} and set(result["hashes"]) == {"base", "cache 0", "language"}
    assert set(result["gill"]["modes"]) == set(result["modes"]) - {"full"}
    assert set(result["gill_l2"]["modes"]) == {"single", "summed", "split"}
    for workload in (result, result["gill"], result["gill_l2"]):
        for mode, row in workload["modes"].items():
            chosen = mode == "single" and "tasks" in workload  # by steps before the first that is measured
            assert set(row) == KEYS - ({"peak_rss_bytes"} if chosen else set())
            assert row["losses"] == (1 if mode in ("single", "full") else 3)
            assert row["seconds"] > 0 and row["peak_bytes"] >= row["saved_bytes"] > 0
    adapter, unet = result["parameters"]["adapter"], result["parameters"]["unet"]
    assert result["modes"]["full"]["trained_parameters"] == adapter + unet
    assert result["modes"]["split"]["trained_parameters"] == adapter < unet
    assert result["modes"]["split"]["static_bytes"] >= 4 * (adapter + unet)


def test_gradients_are_equal_to_float_error(result):
    assert set(result["max_gradient_difference"]) == {"split", "accumulated", "checkpointed"}
    assert all(0 <= v < 1e-5 for v in result["max_gradient_difference"].values())
    gill = result["gill"]["max_gradient_difference"]
    assert gill["split"] < 1e-5 and gill["checkpointed"] < 1e-5


def test_a_contrastive_loss_does_not_add_up_over_halves_and_a_denoising_one_does(result):
    assert result["additivity"]["denoising"] < 1e-5 < 0.05 < result["additivity"]["infonce"]
    assert result["gill"]["max_gradient_difference"]["accumulated"] > 1e-3


def test_summed_holds_three_graphs_and_split_one(result):
    assert held(result, "summed") == pytest.approx(3 * held(result, "single"), rel=0.05)
    # Gradients (one adapter in size) are there from the second loss on, and the boxes' null token aside all are alike.
    adapter = 4 * result["parameters"]["adapter"]
    assert held(result, "single") <= held(result, "split") <= held(result, "single") * 1.05 + adapter
    assert held(result, "accumulated") < held(result, "split")


def test_of_gills_losses_summed_holds_the_sum_and_split_the_largest(result):
    tasks, gill = result["gill"]["tasks"], result["gill"]
    assert set(tasks) == {"captioning", "retrieval", "generation"}
    assert held(gill, "single") == pytest.approx(max(tasks.values()), rel=0.05)
    assert held(gill, "summed") == pytest.approx(sum(tasks.values()), rel=0.05)
    gradients = 4 * gill["parameters"]["trained"]
    assert held(gill, "single") <= held(gill, "split") <= held(gill, "single") * 1.05 + gradients
    assert held(gill, "checkpointed") < held(gill, "summed")


def test_gills_own_generation_loss_holds_less_than_the_unet(result):
    assert result["gill_l2"]["tasks"]["generation"] < result["gill"]["tasks"]["generation"]
    assert result["gill_l2"]["tasks"]["captioning"] == result["gill"]["tasks"]["captioning"]
    assert result["gill_l2"]["max_gradient_difference"]["split"] < 1e-5


def test_checkpointing_holds_less_and_full_training_more(result):
    assert held(result, "checkpointed") < held(result, "summed")
    assert held(result, "full") > held(result, "single")


def test_the_trace_of_a_step_peaks_where_the_mode_does(result):
    for workload in (result, result["gill"]):
        assert set(workload["trace"]) == {"summed", "split", "checkpointed"}
        for mode, points in workload["trace"].items():
            places = [x for x, _ in points]
            assert len(points) <= 200 and places == sorted(places) and places[-1] == 1
            assert max(y for _, y in points) == workload["modes"][mode]["peak_bytes"]


def test_the_three_losses_are_caption_and_boxes_boxes_alone_and_caption_alone(tiny):
    cache, scheduler = Cache.load(tiny.cache), training_scheduler(small_unet.SCHEDULE)

    def first(k):
        return objective.draw(cache, scheduler, 2, 0.0, ("memory", k))

    both, boxes, caption = workloads.tasks(first, 3)
    assert both.states.any() and not both.dropped.any()
    assert not boxes.states.any() and not boxes.pooled.any() and not boxes.dropped.any()
    assert caption.states.any() and caption.dropped.all()
    assert not torch.equal(both.noisy, boxes.noisy)
    (single,) = workloads.tasks(first, 1)
    assert torch.equal(single.noisy, both.noisy)


def sized(config, **changes):
    return dataclasses.replace(config, memory=dataclasses.replace(config.memory, size="kolors"), **changes)


def test_kolors_size_asks_for_a_gpu(tiny):
    with pytest.raises(UserError, match=r"memory\.size: kolors") as error:
        stage.report(sized(tiny.config), Folders(tiny.base, (tiny.cache,), tiny.base))
    assert "80 GB" in str(error.value) and "run.device: cuda" in str(error.value)


@pytest.mark.parametrize(("gib", "fits"), [(24, False), (48, False), (79, True)])
def test_kolors_size_asks_for_room_on_the_gpu(monkeypatch, gib, fits):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=gib * 2**30))
    with contextlib.nullcontext() if fits else pytest.raises(UserError, match=f"does not fit cuda:0 .{gib} GiB"):
        kolors.check("cuda:0")


def test_a_batch_of_one_is_refused(tiny):
    config = dataclasses.replace(tiny.config, memory=dataclasses.replace(tiny.config.memory, batch=1))
    with pytest.raises(UserError, match=r"memory\.batch: 1"):
        stage.report(config, Folders(tiny.base, (tiny.cache,), tiny.base))


def test_kolors_frozen_weights_take_two_bytes_each():
    unet = kolors.build(kolors.UNET, "meta", "bf16")
    assert sum(p.numel() * p.element_size() for p in unet.parameters()) == pytest.approx(5.2e9, rel=0.01)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_kolors_work_runs_shrunken(tiny, monkeypatch, precision):
    """Kolors' own configuration with narrower and fewer layers; the batch is Kolors' in shape."""
    small = {
        "sample_size": 16, "block_out_channels": (32, 64, 64), "attention_head_dim": (1, 2, 2), "encoder_hid_dim": 64,
        "transformer_layers_per_block": (1, 1, 1), "cross_attention_dim": 32, "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64 + 6 * 8,
    }  # fmt: skip
    monkeypatch.setattr(kolors, "UNET", kolors.UNET | small)
    monkeypatch.setattr(kolors, "check", lambda device: None)
    config = sized(tiny.config, run=dataclasses.replace(tiny.config.run, precision=precision))
    held, gradients = {}, {}
    for mode in ("single", "split", "summed", "full"):
        work = workloads.unet_at_kolors_size(config, mode, None)
        row = measure.measure(work, mode, 1)
        held[mode], gradients[mode] = row["saved_bytes"], row["gradient"]
        assert work.batch == 1 and np.isfinite(row["gradient"]).all() and row["gradient"].any()
        narrow = precision == "bf16" and mode != "full"
        assert next(work.model.unet.parameters()).dtype == (torch.bfloat16 if narrow else torch.float32)
        assert all(p.dtype == torch.float32 for p in work.trained)
    assert held["single"] <= held["split"] < held["summed"]
    assert np.linalg.norm(gradients["split"] - gradients["summed"]) < 1e-5 * np.linalg.norm(gradients["summed"])


def test_a_kolors_batch_has_kolors_shapes():
    class Shape:
        sample_size, in_channels = kolors.UNET["sample_size"], 4
        encoder_hid_dim, cross_attention_dim = kolors.UNET["encoder_hid_dim"], kolors.UNET["cross_attention_dim"]
        projection_class_embeddings_input_dim = kolors.UNET["projection_class_embeddings_input_dim"]
        addition_time_embed_dim = kolors.UNET["addition_time_embed_dim"]

    batch = kolors.draw(Shape, 1, 0)
    assert batch.noisy.shape == batch.target.shape == (1, 4, 128, 128)
    assert batch.states.shape == (1, 256, 4096) and batch.pooled.shape == (1, 4096)
    assert batch.time_ids[0, 0] == 1024 and batch.real.sum() == 2


def test_resident_memory_sees_what_is_touched():
    before = measure.resident(reset=True)
    with mmap.mmap(-1, 32 << 20) as block:  # new pages, which no allocator has had before
        block.write(b"x" * (32 << 20))
        assert measure.resident() - before > 30 << 20


def test_resident_growth_of_a_modes_first_step_is_that_of_the_graphs_it_holds():
    """Three losses that keep 32 MiB each: at once, or one after the other; each mode in a process of its own."""
    code = """
import sys, torch
from gillnext.memory.measure import measure
from gillnext.memory.step import Work
model = torch.nn.Linear(1, 1)
def loss(index, parts):
    return (torch.ones(1 << 23) * model.weight).square().mean()
work = Work({name: loss for name in "abc"}, model, list(model.parameters()), {}, 1)
print(measure(work, sys.argv[1], 1)["peak_rss_bytes"])
"""
    grown = {
        mode: int(subprocess.run([sys.executable, "-c", code, mode], check=True, capture_output=True, text=True).stdout)
        for mode in ("summed", "split")
    }
    assert grown["summed"] > grown["split"] + (48 << 20)


def test_a_child_that_is_killed_is_told_and_not_waited_for(tiny, tmp_path):
    """A pool of one raises where its process dies; here it dies for want of the module that it should run."""
    from concurrent.futures.process import BrokenProcessPool

    class Dying:
        """Settings; unpickled in the child, they end the child."""

        run = Run()

        def __reduce__(self):
            import os

            return os._exit, (9,)

    with pytest.raises(BrokenProcessPool):
        stage.compare(Dying(), "unet", Folders(tiny.base, (tiny.cache,), tiny.base))
