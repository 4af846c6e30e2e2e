"""Adapter training: the objective, equal gradients, exact resume after a kill, refusals, precision and TensorBoard."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from PIL import Image
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from gillnext import cli, layouts
from gillnext.adapter import buckets, objective, snapshots, train
from gillnext.adapter.cache import Cache
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.adapter.processors import Ungrounded
from gillnext.config.model import Arm
from gillnext.diffusion import chatglm
from gillnext.diffusion.objective import target, training_scheduler
from gillnext.miniatures import small_unet
from gillnext.miniatures.networks.small_chatglm import LENGTH
from gillnext.runtime.errors import UserError


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps one state a process; each test gets its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    PartialState._reset_state()


def settings(tiny, run=None, **adapter):
    return dataclasses.replace(
        tiny.config,
        run=dataclasses.replace(tiny.config.run, **(run or {})),
        adapter=dataclasses.replace(tiny.config.adapter, **adapter),
    )


def trainer(tiny, tmp_path, arm="attn2", seed=0, **adapter):
    AcceleratorState._reset_state(reset_partial_state=True)
    cfg = settings(tiny, **adapter)
    pipeline = GroundedKolorsPipeline.from_folders(tiny.base)
    return train.Trainer(cfg, cfg.study.arms[arm], seed, pipeline, Cache.load(tiny.cache), tmp_path / "adapter")


def fit(tiny, out, cfg=None, arm="attn2", seed=0):
    AcceleratorState._reset_state(reset_partial_state=True)
    train.train(cfg or tiny.config, arm, seed, tiny.base, [tiny.cache], out)
    return load_file(out / "diffusion_pytorch_model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_base, tiny_cache, tiny_config):
    """A run that nothing has interrupted."""
    from types import SimpleNamespace

    out = tmp_path_factory.mktemp("whole") / "adapter"
    tiny = SimpleNamespace(base=tiny_base, cache=tiny_cache, config=tiny_config)
    return out, fit(tiny, out)


def test_a_run_leaves_the_adapter_and_its_records_and_nothing_else(whole, tiny):
    out, _ = whole
    assert {p.name for p in out.iterdir()} == {
        "config.json", "diffusion_pytorch_model.safetensors", "processors.txt", "losses.json",
        "gradient_norms.json", "position_net_norms.json", "training.json", "tensorboard", "README.md",
    }  # fmt: skip
    assert not out.with_name("adapter.work").exists()
    losses = json.loads((out / "losses.json").read_text())
    assert len(losses) == tiny.config.adapter.steps and all(0 < v < 10 for v in losses)
    assert "7 layers injected at attn2, bias fourier" in (out / "processors.txt").read_text()
    adapter = SpatialAdapter.from_pretrained(out)
    stamp = json.loads((out / "training.json").read_text())
    assert stamp["parameters"] == sum(p.numel() for p in adapter.parameters())


@pytest.mark.parametrize("clip_norm", [1e9, 1e-3])
def test_the_norms_are_those_before_clipping(clip_norm, tiny, tmp_path):
    """Against the gradient of the same batch's loss, taken by hand; the position net is the MLP of the tokens."""
    here = trainer(tiny, tmp_path, clip_norm=clip_norm)
    torch.manual_seed(1)
    for layer in here.adapter.layers.values():  # values that are not zero, so that the MLP has a gradient
        torch.nn.init.normal_(layer.to_v.weight, std=0.1)
    batch = here.micro_batches(0)
    wanted = torch.autograd.grad(here.loss(batch[0]), list(here.adapter.parameters()))
    squares = {
        name: float(g.square().sum()) for (name, _), g in zip(here.adapter.named_parameters(), wanted, strict=True)
    }
    found = here.step(0)
    assert found["gradient_norm"] == pytest.approx(sum(squares.values()) ** 0.5, rel=1e-4)
    position = sum(square for name, square in squares.items() if name.startswith("mlp."))
    assert position > 0 and found["position_net_norm"] == pytest.approx(position**0.5, rel=1e-4)


KILLED = """
    import os, signal, sys
    from gillnext import cli
    from gillnext.adapter.train import Trainer

    whole_step = Trainer.step

    def step(self, t):
        if t == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole_step(self, t)

    Trainer.step = step
    cli.main(sys.argv[1:])
"""


def test_a_killed_run_ends_where_the_whole_one_ends(whole, tiny, tmp_path, capsys):
    out = tmp_path / "killed"
    command = [
        "adapter", "--config", tiny.config_file, "--arm", "attn2", "--seed", 0, "--base", tiny.base,
        "--cache", tiny.cache, "--out", out,
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), *map(str, command)], capture_output=True, text=True
    )
    assert run.returncode == -9, run.stderr
    assert not out.exists() and (tmp_path / "killed.work" / "checkpoint").exists()
    assert cli.main([str(c) for c in command]) == 0
    assert "resuming at step 4" in capsys.readouterr().out
    assert same(load_file(out / "diffusion_pytorch_model.safetensors"), whole[1])
    assert (out / "losses.json").read_text() == (whole[0] / "losses.json").read_text()


def test_another_seed_gives_another_adapter_and_the_same_seed_the_same(whole, tiny, tmp_path):
    assert same(fit(tiny, tmp_path / "again"), whole[1])
    cfg = settings(tiny, run={"seed": 8})
    assert not same(fit(tiny, tmp_path / "other", cfg), whole[1])
    assert not same(fit(tiny, tmp_path / "training seed", seed=1), whole[1])


def test_the_training_seed_tells_apart_both_the_first_weights_and_the_batches(tiny, tmp_path):
    runs = [trainer(tiny, tmp_path, seed=seed) for seed in (0, 0, 1)]
    weights = [dict(run.adapter.named_parameters()) for run in runs]
    noisy = [run.micro_batches(0)[0].noisy for run in runs]
    assert same(weights[0], weights[1]) and not same(weights[0], weights[2])
    assert torch.equal(noisy[0], noisy[1]) and not torch.equal(noisy[0], noisy[2])


def test_what_another_seed_left_behind_is_not_taken_up(tiny, tmp_path, monkeypatch):
    """Killed at seed 0, then the same folder at seed 1: as if nothing had been there."""
    step = train.Trainer.step

    def dying(self, t):
        if t == 5:
            raise KeyboardInterrupt
        return step(self, t)

    with monkeypatch.context() as patched:
        patched.setattr(train.Trainer, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny, tmp_path / "a")
    assert (tmp_path / "a.work" / "checkpoint").exists()
    assert same(fit(tiny, tmp_path / "a", seed=1), fit(tiny, tmp_path / "b", seed=1))


def test_a_cut_off_run_goes_on_with_the_same_files_and_settings_alone(tiny, tmp_path):
    copied = tmp_path / "cache"
    shutil.copytree(tiny.cache, copied)

    def identity(**adapter):
        cfg = settings(tiny, **adapter)
        return train._identity(cfg, cfg.study.arms["attn2"], 0, tiny.base, copied)

    first = identity()
    assert identity(timeout=9.0, prefetch=4) == first  # a longer patience, after it was too short
    assert identity(batch=4) != first
    os.utime(copied / "cache.json", ns=(1, 1))
    assert identity() != first


def test_the_weights_that_are_saved_are_the_averaged_ones(tiny, tmp_path, monkeypatch):
    """m ← d·m + (1 − d)·w after every step, d = min(ema, (1 + t)/(10 + t)), from the raw weights of each."""
    step, raw = train.Trainer.step, []

    def watched(self, t):
        if not raw:
            raw.append([p.detach().double().clone() for p in self.parameters])
        found = step(self, t)
        raw.append([p.detach().double().clone() for p in self.parameters])
        watched.names = [name for name, _ in self.adapter.named_parameters()]
        return found

    monkeypatch.setattr(train.Trainer, "step", watched)
    saved = fit(tiny, tmp_path / "a", settings(tiny, steps=4, ema=0.3))
    mean = raw[0]
    for t, weights in enumerate(raw[1:], 1):
        decay = min(0.3, (1 + t) / (10 + t))
        mean = [decay * m + (1 - decay) * w for m, w in zip(mean, weights, strict=True)]
    moved = False
    for name, value, last in zip(watched.names, mean, raw[-1], strict=True):
        torch.testing.assert_close(saved[name].double(), value, atol=1e-6, rtol=1e-5)
        moved = moved or not torch.allclose(saved[name].double(), last, atol=1e-6)
    assert moved  # from the last step's own


def test_a_dropped_sample_is_trained_as_one_without_boxes(tiny, tmp_path, awake):
    here = trainer(tiny, tmp_path)
    awake(here.adapter, 0.1)
    batch = here.micro_batches(0)[0]
    count, real = len(batch), torch.ones_like(batch.real)

    def loss(**changes):
        with torch.no_grad():
            return float(here.model(dataclasses.replace(batch, **{"real": real, **changes})))

    kept, dropped = (loss(dropped=torch.full((count,), value)) for value in (False, True))
    assert dropped == pytest.approx(loss(dropped=torch.full((count,), False), real=~real), rel=1e-6)
    assert dropped != pytest.approx(kept, rel=1e-4)


def test_a_batch_that_processes_cannot_share_equally_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Accelerator, "num_processes", 3)
    with pytest.raises(UserError, match="a batch of 4 for 3 processes"):
        trainer(tiny, tmp_path, batch=4)


def gradients(tiny, tmp_path, awake, **adapter):
    one = trainer(tiny, tmp_path, accumulation=3, **adapter)
    awake(one.adapter, 0.1)
    loss = one.backward(one.micro_batches(0))
    return loss, torch.cat([p.grad.flatten() for p in one.parameters])


def test_split_summed_and_checkpointed_backward_have_equal_gradients(tiny, tmp_path, awake):
    loss, summed = gradients(tiny, tmp_path, awake, backward="summed")
    for other in ({"backward": "split"}, {"backward": "summed", "gradient_checkpointing": True}):
        other_loss, found = gradients(tiny, tmp_path, awake, **other)
        assert other_loss.item() == pytest.approx(loss.item(), rel=1e-6)
        assert ((found - summed).norm() / summed.norm()).item() < 1e-5


def test_training_is_refused_where_the_adapter_is_not_in_the_unet(tiny, tmp_path):
    one = trainer(tiny, tmp_path)
    one.adapter.remove(one.pipeline.unet)
    with pytest.raises(UserError, match="the gradient does not reach any parameter"):
        one.step(0)


def test_training_is_refused_where_one_listed_layer_is_not_in_the_unet(tiny, tmp_path):
    one = trainer(tiny, tmp_path)
    name = "mid_block.attentions.0.transformer_blocks.0.attn2"
    (place,) = (place for place in one.pipeline.unet.injection.places if place.name == name)
    place.layer, place.processor = None, Ungrounded()
    place.attn.set_processor(place.processor)
    with pytest.raises(UserError, match=f"does not reach layers.{name.replace('.', '-')}"):
        one.step(0)


@pytest.mark.parametrize("name", ["base", "atn2"])
def test_an_arm_without_adapter_is_refused(name, tiny):
    with pytest.raises(UserError, match="one of attn1, attn2, gated"):
        train.arm_of(tiny.config, name)


@pytest.mark.parametrize("arm", ["attn1", "gated"])
def test_every_site_trains(arm, tiny, tmp_path):
    one = trainer(tiny, tmp_path, arm)
    before = [p.detach().clone() for p in one.parameters]
    frozen = {k: v.clone() for k, v in one.pipeline.unet.state_dict().items()}
    assert all(np.isfinite(v) for t in range(2) for v in one.step(t).values())
    assert all(not torch.equal(p, old) for p, old in zip(one.parameters, before, strict=True) if old.any())
    assert same(frozen, one.pipeline.unet.state_dict())


def test_an_arms_own_steps_and_rate_win(tiny, tmp_path):
    pipeline = GroundedKolorsPipeline.from_folders(tiny.base)
    arm = Arm(site="attn2", steps=3, lr=0.25)
    one = train.Trainer(tiny.config, arm, 0, pipeline, Cache.load(tiny.cache), tmp_path / "adapter")
    assert (one.steps, one.lr) == (3, 0.25)


def test_bf16_trains_and_saves_full_precision(tiny, tmp_path):
    for precision in ("no", "bf16"):
        with sdpa_kernel(SDPBackend.MATH):  # of bf16, torch's kernel for AVX2 fails on a CPU that has AMX
            state = fit(tiny, tmp_path / precision, settings(tiny, run={"precision": precision}, steps=2))
        assert {v.dtype for v in state.values()} == {torch.float32}
    exact, rounded = (json.loads((tmp_path / p / "losses.json").read_text()) for p in ("no", "bf16"))
    assert rounded == pytest.approx(exact, rel=0.02) and rounded != exact


@pytest.mark.parametrize(("unet_lr", "kind"), [(0.0, torch.bfloat16), (1e-4, torch.float32)])
def test_frozen_weights_have_the_precision_of_the_run_and_trained_ones_float32(tiny, tmp_path, unet_lr, kind):
    cfg = settings(tiny, run={"precision": "bf16"})
    pipeline = GroundedKolorsPipeline.from_folders(tiny.base)
    one = train.Trainer(cfg, Arm(unet_lr=unet_lr), 0, pipeline, Cache.load(tiny.cache), tmp_path / "adapter")
    assert {p.dtype for p in pipeline.unet.parameters()} == {kind}
    assert {p.dtype for p in one.parameters} == {torch.float32}


def test_tensorboard_has_every_step(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tiny, tmp_path / "a", settings(tiny, steps=4))
    (folder,) = {p.parent for p in (tmp_path / "a" / "tensorboard").rglob("events.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"loss", "gradient_norm", "lr"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("loss")] == [1, 2, 3, 4]
    losses = json.loads((tmp_path / "a" / "losses.json").read_text())
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(losses, abs=1e-5)


@pytest.mark.parametrize(
    ("total", "taken"), [(4, [2]), (20, [2, 4, 10]), (7, [2, 4, 6]), (3, [2])],
    ids=["as most", "longer", "a little longer", "shorter"],
)  # fmt: skip
def test_an_arm_that_trains_longer_has_the_others_snapshots_and_then_rarer_ones(total, taken):
    assert snapshots.due(2, 4, total) == taken
    assert snapshots.due(None, 4, total) == []


def test_a_snapshot_holds_the_weights_that_a_training_of_so_many_steps_averages(tiny, tmp_path):
    """Where the learning rate is the same at every step, a training that ends there leaves the same weights."""
    flat = {"lr": 0.0, "steps": 3, "ema": 0.5}
    with_snapshots = fit(tiny, tmp_path / "a", settings(tiny, snapshot_every=1, **flat))
    assert sorted(snapshots.read(tmp_path / "a")) == [1, 2, 3]
    assert snapshots.read(tmp_path / "a")[3] == tmp_path / "a"
    assert same(with_snapshots, fit(tiny, tmp_path / "b", settings(tiny, **flat)))
    assert snapshots.read(tmp_path / "b") == {}


def test_snapshots_are_averaged_weights_and_do_not_touch_the_training(tiny, tmp_path):
    cfg = settings(tiny, steps=3, snapshot_every=1, ema=0.5)
    last = fit(tiny, tmp_path / "a", cfg)
    assert same(last, fit(tiny, tmp_path / "b", settings(tiny, steps=3, ema=0.5)))
    here = trainer(tiny, tmp_path, steps=3, ema=0.5)
    average = [p.detach().clone() for p in here.parameters]
    for step in (1, 2):
        here.step(step - 1)
        decay = min(0.5, (1 + step) / (10 + step))  # the usual ramp
        average = [decay * mean + (1 - decay) * p.detach() for mean, p in zip(average, here.parameters, strict=True)]
        kept = load_file(snapshots.place(tmp_path / "a", step) / "diffusion_pytorch_model.safetensors")
        expected = {name: mean for (name, _), mean in zip(here.adapter.named_parameters(), average, strict=True)}
        assert kept.keys() == expected.keys()
        for name, value in kept.items():
            torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5)


def velocity(latents, noise, steps):
    """v = α·ε − σ·x₀ with the scaled-linear schedule, in float64."""
    schedule = small_unet.SCHEDULE
    root = torch.linspace(schedule["beta_start"] ** 0.5, schedule["beta_end"] ** 0.5, 1000, dtype=torch.float64)
    product = (1 - root**2).cumprod(0)[steps][:, None, None, None]
    alpha, sigma = product.sqrt(), (1 - product).sqrt()
    return alpha * noise - sigma * latents, alpha * latents + sigma * noise


def test_the_target_is_the_velocity_and_the_noisy_latents_follow_the_schedule(tiny):
    cache, scheduler = Cache.load(tiny.cache), training_scheduler(small_unet.SCHEDULE)
    batch = objective.draw(cache, scheduler, 6, 0.5, (1, 2, 3, 0))
    again = objective.draw(cache, scheduler, 6, 0.5, (1, 2, 3, 0))
    assert all(torch.equal(getattr(batch, k), getattr(again, k)) for k in vars(batch))
    assert not torch.equal(batch.noisy, objective.draw(cache, scheduler, 6, 0.5, (1, 2, 4, 0)).noisy)
    rows = cache.read(range(len(cache)))
    matches = (batch.pooled[:, None] == rows.pooled[None]).all(-1)
    latents = rows.latents[matches.int().argmax(1)]
    # x_t and v determine x_0 and ε: α·x_t − σ·v = x_0 and σ·x_t + α·v = ε.
    product = scheduler.alphas_cumprod.double()[batch.timesteps][:, None, None, None]
    noise = (1 - product).sqrt() * batch.noisy + product.sqrt() * batch.target
    v, noisy = velocity(latents.double(), noise, batch.timesteps)
    torch.testing.assert_close(batch.target.double(), v, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(batch.noisy.double(), noisy, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("joint", [False, True])
def test_a_dropped_sample_keeps_its_caption_unless_both_are_dropped(joint, tiny, tiny_pipeline):
    cache, scheduler = Cache.load(tiny.cache), training_scheduler(small_unet.SCHEDULE)
    batch = objective.draw(cache, scheduler, 40, 0.5, (1,), drop_caption=joint)
    states, pooled = chatglm.states(tiny_pipeline.tokenizer, tiny_pipeline.text_encoder, [""], batch.states.shape[1])
    empty_B = (batch.states == states).all(-1).all(-1) & (batch.pooled == pooled).all(-1)
    assert 10 < batch.dropped.sum() < 30
    assert torch.equal(empty_B, batch.dropped & joint)


def test_noise_prediction_bases_get_the_noise_as_target():
    scheduler = training_scheduler(small_unet.SCHEDULE | {"prediction_type": "epsilon"})
    latents, noise = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2)
    assert torch.equal(target(scheduler, latents, noise, torch.tensor([1, 2])), noise)
    with pytest.raises(ValueError, match="'sample' is not supported"):
        training_scheduler(small_unet.SCHEDULE | {"prediction_type": "sample"})


def test_the_processes_shares_of_a_batch_make_the_batch(tiny):
    batch = objective.draw(Cache.load(tiny.cache), training_scheduler(small_unet.SCHEDULE), 6, 0.5, (0,))
    parts = [batch.part(i, 3) for i in range(3)]
    assert [len(p) for p in parts] == [2, 2, 2]
    for name, value in vars(batch).items():
        assert torch.equal(torch.stack([getattr(p, name) for p in parts], 1).flatten(0, 1), value)


def test_the_cache_holds_what_the_pipeline_would_encode(tiny, tiny_pipeline):
    from gillnext.miniatures import vae

    cache, row = Cache.load(tiny.cache), tiny.layouts[2]
    assert len(cache) == len(tiny.layouts)
    cached = cache.read([2])
    pictures = np.stack([np.asarray(Image.open(row.image_path))])
    torch.testing.assert_close(cached.latents, vae.encode(tiny_pipeline.vae, pictures), atol=1e-4, rtol=1e-4)
    embeds, _, pooled, _ = tiny_pipeline.encode_prompt(
        row.caption,
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
        max_sequence_length=LENGTH,
    )
    torch.testing.assert_close(cached.states, embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(cached.pooled, pooled, atol=1e-5, rtol=1e-4)
    assert cached.real.sum() == len(row.boxes)
    torch.testing.assert_close(cached.boxes[0, : len(row.boxes)], torch.tensor(row.boxes), atol=1e-6, rtol=0)


def test_an_image_that_cannot_be_read_is_named(tiny, tmp_path):
    from gillnext.adapter import encode

    missing = dataclasses.replace(tiny.layouts[0], image_path=str(tmp_path / "gone.png"))
    with pytest.raises(UserError, match=r"tiny-0.*gone\.png: cannot read the image"):
        encode.build(tiny.config, tiny.base, [missing], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_image_is_upright_as_it_was_for_the_annotator(tmp_path):
    from gillnext.adapter import encode

    stored, tags = Image.new("RGB", (8, 8), (255, 255, 255)), Image.Exif()
    stored.paste((0, 0, 0), (6, 0, 8, 8))
    tags[0x0112] = 6  # what is stored on the left belongs on top
    stored.save(tmp_path / "a.png", exif=tags)
    seen = encode.load_image(layouts.Layout("", (), (), image_path=str(tmp_path / "a.png")), buckets.square(8))
    assert seen[:6].min() == 255 and seen[6:].max() == 0


def test_an_arm_that_trains_the_unet_saves_it_and_samples_with_it(tiny, tmp_path):
    """Both learning rates act, the base's own folder stays as it was, and the saved UNet is the one that draws."""
    arms = tiny.config.study.arms | {"full": Arm(site="attn2", unet_lr=1e-3)}
    cfg = dataclasses.replace(tiny.config, study=dataclasses.replace(tiny.config.study, arms=arms))
    before = GroundedKolorsPipeline.from_folders(tiny.base).unet.state_dict()
    fit(tiny, tmp_path / "full", cfg, "full")
    loaded = GroundedKolorsPipeline.from_folders(tiny.base, tmp_path / "full").unet.state_dict()
    assert loaded.keys() == before.keys()
    moved = [(loaded[k] - before[k]).abs().max().item() for k in before]
    assert 1e-4 < max(moved) < 6 * 1e-3 * 1.01  # AdamW moves a weight by at most about the rate a step
    assert np.mean([m > 0 for m in moved]) > 0.99
    stamp = json.loads((tmp_path / "full" / "training.json").read_text())
    assert stamp["parameters"] > sum(p.numel() for p in before.values())
    frozen = GroundedKolorsPipeline.from_folders(tiny.base).unet.state_dict()
    assert same(frozen, before)
