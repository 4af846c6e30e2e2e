"""Half precision with its scaler, batches that are drawn ahead, averages elsewhere, what a step may hold in memory."""

import dataclasses
import json
import threading

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from gillnext.adapter import train, trainer
from gillnext.adapter.cache import Cache
from gillnext.adapter.loading import Ahead
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.adapter.sharding import shard
from gillnext.runtime import training
from gillnext.runtime.errors import UserError


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps one state a process; each test gets its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def settings(tiny, precision="no", **adapter):
    run = dataclasses.replace(tiny.config.run, precision=precision)
    return dataclasses.replace(tiny.config, run=run, adapter=dataclasses.replace(tiny.config.adapter, **adapter))


def build(tiny, tmp_path, precision="no", arm="attn2", **adapter):
    AcceleratorState._reset_state(reset_partial_state=True)
    cfg = settings(tiny, precision, **adapter)
    pipeline = GroundedKolorsPipeline.from_folders(tiny.base)
    return trainer.Trainer(cfg, cfg.study.arms[arm], 0, pipeline, Cache.load(tiny.cache), tmp_path / "adapter")


def fit(tiny, out, precision="no", **adapter):
    AcceleratorState._reset_state(reset_partial_state=True)
    with sdpa_kernel(SDPBackend.MATH):  # of bf16, torch's kernel for AVX2 fails on a CPU that has AMX
        train.train(settings(tiny, precision, **adapter), "attn2", 0, tiny.base, [tiny.cache], out)
    return load_file(out / "diffusion_pytorch_model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def scaled(monkeypatch, scale, interval=2_000):
    """Losses are scaled by `scale` at first, and by twice as much after `interval` steps without overflow."""
    original = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device: original(device, init_scale=scale, growth_interval=interval)
    )


def test_fp16_trains_as_full_precision_does_and_saves_it(tiny, tmp_path):
    for precision in ("no", "fp16"):
        state = fit(tiny, tmp_path / precision, precision, steps=4)
        assert {v.dtype for v in state.values()} == {torch.float32}
    for name in ("losses", "gradient_norms"):  # norms of scaled gradients would be 65,536 times as large
        exact, half = (json.loads((tmp_path / p / f"{name}.json").read_text()) for p in ("no", "fp16"))
        assert half == pytest.approx(exact, rel=0.02) and half != exact
    stamps = [json.loads((tmp_path / p / "training.json").read_text()) for p in ("no", "fp16")]
    assert "skipped" not in stamps[0] and stamps[1]["skipped"] == 0


def test_the_frozen_weights_are_fp16_and_the_trained_ones_float32(tiny, tmp_path):
    one = build(tiny, tmp_path, "fp16")
    assert {p.dtype for p in one.pipeline.unet.parameters()} == {torch.float16}
    assert {p.dtype for p in one.parameters} == {torch.float32}


def test_a_step_whose_gradients_overflow_is_counted_and_changes_nothing_but_the_scale(tiny, tmp_path, monkeypatch):
    scaled(monkeypatch, 2.0**40)
    one, rows = build(tiny, tmp_path, "fp16", steps=40, ema=0.5), []
    while len(rows) < 40 and (not rows or rows[-1]["skipped"]):
        weights, averages = ([x.detach().clone() for x in group] for group in (one.parameters, one.ema.shadow))
        scale = one.accelerator.scaler.get_scale()
        with sdpa_kernel(SDPBackend.MATH):
            rows.append(one.step(len(rows)))
        kept = all(torch.equal(a, b) for a, b in zip(weights, one.parameters, strict=True))
        assert kept == (rows[-1]["skipped"] == 1)
        assert all(torch.equal(a, b) for a, b in zip(averages, one.ema.shadow, strict=True)) == kept
        assert one.accelerator.scaler.get_scale() == (scale / 2 if kept else scale)
    assert 5 < len(rows) < 40 and one.ema.step == 1
    assert all(row["gradient_norm"] is row["position_net_norm"] is None for row in rows[:-1])
    assert rows[-1]["gradient_norm"] > 0
    assert [row["lr"] for row in rows] == [training.cosine(t, 40, one.lr) for t in range(len(rows))]
    assert {float(state["step"]) for state in one.optimiser.state.values()} == {1.0}


def test_a_run_in_fp16_that_is_cut_off_ends_where_the_whole_one_ends(tiny, tmp_path, monkeypatch):
    """With a scale that overflows now and then, so that what the scaler remembers decides which steps count."""
    scaled(monkeypatch, 2.0**22, interval=2)
    changes = {"steps": 24, "checkpoint_every": 5, "snapshot_every": None}
    whole = fit(tiny, tmp_path / "whole", "fp16", **changes)
    stamp = json.loads((tmp_path / "whole/training.json").read_text())
    assert 2 <= stamp["skipped"] < 20
    step = trainer.Trainer.step

    def dying(self, t):
        if t == 17:
            raise KeyboardInterrupt
        return step(self, t)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.Trainer, "step", dying)
        fit(tiny, tmp_path / "cut", "fp16", **changes)
    state = json.loads((tmp_path / "cut.work/checkpoint/state.json").read_text())
    assert state["step"] == 15 and state["scaler"]["scale"] != 2.0**22
    assert {p.suffix for p in (tmp_path / "cut.work/checkpoint").iterdir()} == {".json", ".safetensors"}
    assert same(fit(tiny, tmp_path / "cut", "fp16", **changes), whole)
    assert json.loads((tmp_path / "cut/training.json").read_text())["skipped"] == stamp["skipped"]
    norms = [json.loads((tmp_path / name / "gradient_norms.json").read_text()) for name in ("whole", "cut")]
    assert norms[0] == norms[1] and norms[0].count(None) == stamp["skipped"]


def test_gradients_that_overflow_at_any_scale_stop_the_run(tiny, tmp_path, monkeypatch):
    scaled(monkeypatch, 2.0**-8)
    one = build(tiny, tmp_path, "fp16")
    backward = trainer.Trainer.backward

    def overflowing(self, batches):
        loss = backward(self, batches)
        self.parameters[0].grad.fill_(float("inf"))
        return loss

    monkeypatch.setattr(trainer.Trainer, "backward", overflowing)
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(FloatingPointError, match="overflow at any scale, at step 2"):
        for t in range(6):
            one.step(t)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("batches")]


def test_batches_are_drawn_ahead_in_order_once_each_and_no_further_than_told():
    drawn, reached = [], [threading.Event() for _ in range(6)]

    def draw(t):
        drawn.append((t, threading.current_thread().name))
        reached[t].set()
        return t * t

    ahead = Ahead(draw, 6, 2)
    assert ahead(0) == 0 and reached[2].wait(10)  # nobody has asked for it
    ahead.thread.submit(lambda: None).result()  # all that was begun has ended
    assert [t for t, _ in drawn] == [0, 1, 2]
    assert [ahead(t) for t in range(1, 6)] == [1, 4, 9, 16, 25]
    assert [t for t, _ in drawn] == list(range(6)) and len({name for _, name in drawn}) == 1
    assert drawn[0][1] != threading.current_thread().name
    ahead.close()
    assert threads() == []


def test_what_drawing_raises_is_raised_at_its_step_and_closing_ends_the_thread():
    def draw(t):
        if t == 2:
            raise OSError("part 7 of the cache is gone")
        return t

    ahead = Ahead(draw, 9, 3)
    assert [ahead(0), ahead(1)] == [0, 1]
    with pytest.raises(OSError, match="part 7"):
        ahead(2)
    ahead.close()
    assert threads() == []


def test_a_training_with_batches_drawn_ahead_is_the_same_to_the_bit(tiny, tmp_path, monkeypatch):
    changes = {"accumulation": 2, "snapshot_every": None}
    whole = fit(tiny, tmp_path / "whole", **changes)
    assert same(fit(tiny, tmp_path / "ahead", prefetch=3, **changes), whole)
    assert threads() == []
    monkeypatch.setattr(trainer.Trainer, "backward", lambda self, batches: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(tiny, tmp_path / "broken", prefetch=3, **changes)
    assert threads() == []


def test_averages_on_the_cpu_are_the_same(tiny, tmp_path):
    whole = fit(tiny, tmp_path / "whole", ema=0.5)
    assert same(fit(tiny, tmp_path / "cpu", ema=0.5, ema_device="cpu"), whole)


def test_an_average_lies_where_it_is_told_and_takes_the_weights_over():
    parameter = torch.nn.Parameter(torch.ones(3, device="meta"))
    assert training.Ema([parameter], 0.5).shadow[0].device.type == "meta"
    here = torch.nn.Parameter(torch.ones(3))
    ema = training.Ema([here], 0.5, "cpu")
    assert ema.shadow[0].device.type == "cpu" and ema.shadow[0].data_ptr() != here.data_ptr()
    here.data.fill_(4.0)
    ema.update([here])
    assert ema.shadow[0].tolist() == pytest.approx([1 + 3 * (1 - 2 / 11)] * 3)


def test_a_parameter_that_is_one_number_cannot_be_divided(tiny, tmp_path):
    one = build(tiny, tmp_path, arm="gated")
    with pytest.raises(UserError, match=r"alpha_attn is one number[\s\S]*sharding: none"):
        shard(one.model, "cpu", 2)


def test_a_training_tells_what_its_steps_cost_on_gpus_and_nothing_on_a_cpu(tiny, tmp_path, monkeypatch):
    """Of a step the median, so that the first, which warms up, tells nothing; of the cards the one that holds most."""
    one = build(tiny, tmp_path)
    one.step(0)
    assert len(one.seconds) == 1 and one.seconds[0] > 0 and one.gpu() == {}
    fit(tiny, tmp_path / "cpu", steps=2)
    assert "gpu" not in json.loads((tmp_path / "cpu/training.json").read_text())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(torch, "tensor", lambda values, device: torch.as_tensor(values))

    class Cards:  # as accelerate's: the values of all processes, one after the other
        device = torch.device("cuda")
        gather = staticmethod(lambda values: torch.cat([values, values + 3, values - 1]))

    one.accelerator, one.seconds = Cards(), [9.0, 0.2, 0.3, 0.25]
    assert one.gpu() == {"gpu": {"seconds": 0.275, "bytes": 5_000_000_003, "name": "a GPU"}}
    one.seconds = []  # a run that was resumed at its end
    assert one.gpu() == {}
