"""Training: resumed to the bit, whole under accumulation, fp16's overflow survived, two processes as one."""

import dataclasses
import json
import os
import shutil

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from support import processes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gillnext.frames import train
from gillnext.frames.loading import load
from gillnext.runtime import training
from gillnext.runtime.errors import UserError

FRAMES = 3
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def one_accelerator():
    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def trainer(settings, encoded, tiny_base, tmp_path):
    def make(precision="no", **changes):
        AcceleratorState._reset_state(True)
        cfg = settings(precision=precision, training=changes)
        training.setup(1)
        return train.build(cfg, encoded, tiny_base, FRAMES, tmp_path)

    return make


def state_of(made):
    scaler = made.accelerator.scaler
    moments = [dict(made.optimiser.state[p]) for p in made.parameters]
    return {
        "parameters": [p.detach().clone() for p in made.parameters],
        "moments": [{k: torch.as_tensor(v).clone() for k, v in one.items()} for one in moments],
        "ema": [p.clone() for p in made.ema.shadow],
        "ema_step": made.ema.step,
        "scaler": scaler.state_dict() if scaler else None,
    }


def assert_equal(one, other):
    assert one["ema_step"] == other["ema_step"] and one["scaler"] == other["scaler"]
    for name in ("parameters", "ema"):
        assert all(torch.equal(a, b) for a, b in zip(one[name], other[name], strict=True)), name
    for a, b in zip(one["moments"], other["moments"], strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_training_goes_on_as_if_it_had_not_been_killed(trainer, tmp_path, precision):
    """Weights, moments, averages, schedule and the scaler of fp16's losses."""
    whole = trainer(precision)
    rows = [whole.step(t) for t in range(4)]
    first = trainer(precision)
    for t in range(2):
        first.step(t)
    training.save_state(tmp_path / "checkpoint", 2, identity="a", **first.state())
    second = trainer(precision)
    assert training.load_state(tmp_path / "checkpoint", identity="a", **second.state()) == 2
    assert [second.step(t) for t in (2, 3)] == rows[2:]
    assert_equal(state_of(second), state_of(whole))


def test_a_killed_command_ends_with_the_same_folder(settings, encoded, tiny_base, tmp_path, monkeypatch, capsys):
    cfg = settings(precision="fp16", training={"steps": 5, "checkpoint_every": 2})
    train.train(cfg, encoded, tiny_base, FRAMES, tmp_path / "whole")
    AcceleratorState._reset_state(True)
    step = train.Trainer.step

    def killed(self, t):
        if t == 3:
            raise KeyboardInterrupt
        return step(self, t)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Trainer, "step", killed)
        train.train(cfg, encoded, tiny_base, FRAMES, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    AcceleratorState._reset_state(True)
    train.train(cfg, encoded, tiny_base, FRAMES, tmp_path / "killed")
    assert "resuming at step 2" in capsys.readouterr().out and not (tmp_path / "killed.work").exists()
    for name in ("losses.json", WEIGHTS):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_checkpoint_of_another_model_is_left_alone(settings, encoded, tiny_base, tmp_path):
    """One of three frames has another first convolution than one of two: it begins anew, and ends as it would have."""
    cfg = settings(training={"steps": 2, "checkpoint_every": 1})
    train.train(cfg, encoded, tiny_base, 2, tmp_path / "two")
    made = train.build(cfg, encoded, tiny_base, FRAMES, tmp_path)
    made.step(0)
    training.save_state(tmp_path / "other.work/checkpoint", 1, identity="of three frames", **made.state())
    AcceleratorState._reset_state(True)
    train.train(cfg, encoded, tiny_base, 2, tmp_path / "other")
    one, other = (load_file(tmp_path / name / WEIGHTS) for name in ("two", "other"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_micro_batches_add_up_to_the_batch(trainer, encoded, tiny_base):
    """Gradients of two micro-batches of two are the mean of what each alone gives, the last ones of an epoch as well:
    six clips in batches of four run on into the next epoch.
    """
    made = trainer(batch=4, accumulation=2, drop=0.0)
    made.backward(1)  # samples 8 to 15: the end of the second epoch and the beginning of the third
    found = [p.grad.clone() for p in made.parameters]
    made.wrapped.zero_grad(set_to_none=True)
    total = [torch.zeros_like(p) for p in made.parameters]
    for part in range(2):
        batch = made.examples.of(1, part)
        assert len(batch.noisy) == 4
        loss = made.model(batch)
        for sum_, grad in zip(total, torch.autograd.grad(loss, made.parameters), strict=True):
            sum_ += grad / 2
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, total, strict=True))


def test_an_overflow_in_fp16_changes_nothing_but_the_scale(trainer):
    made = trainer("fp16")
    assert made.accelerator.scaler is not None
    made.step(0)
    before = state_of(made)
    made.accelerator.scaler._scale.fill_(2.0**40)
    row = made.step(1)
    after = state_of(made)
    assert row["skipped"] == 1 and row["loss_scale"] == 2.0**39
    for name in ("parameters", "ema"):
        assert all(torch.equal(a, b) for a, b in zip(before[name], after[name], strict=True))
    made.accelerator.scaler._scale.fill_(2.0**10)
    assert made.step(2)["skipped"] == 0
    assert all(torch.isfinite(p).all() for p in made.parameters)
    assert any(not torch.equal(a, b) for a, b in zip(before["parameters"], made.parameters, strict=True))


def test_bf16_trains_float32_weights(trainer):
    made = trainer("bf16")
    before = [p.detach().clone() for p in made.parameters]
    made.step(0)
    assert all(p.dtype == torch.float32 for p in made.parameters)
    assert any(not torch.equal(a, b) for a, b in zip(before, made.parameters, strict=True))


def test_recomputed_activations_give_the_same_gradients(trainer):
    gradients = []
    for recomputed in (False, True):
        made = trainer(gradient_checkpointing=recomputed)
        made.backward(0)
        gradients.append([p.grad.clone() for p in made.parameters])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_the_gradient_reaches_the_weights_of_every_frame(trainer):
    made = trainer(drop=0.0)
    made.backward(0)
    channels = made.pipeline.unet.conv_in.weight.grad.abs().sum((0, 2, 3))
    assert channels.shape == (4 + 4 * FRAMES,) and (channels > 0).all()


def test_a_training_leaves_a_pipeline_scalars_and_pictures(settings, encoded, tiny_base, tmp_path):
    cfg = settings(training={"validate_every": 2})
    train.train(cfg, encoded, tiny_base, FRAMES, tmp_path / "out")
    about = json.loads((tmp_path / "out/training.json").read_text())
    assert about["frames"] == FRAMES and about["channels"] == 16 and about["steps"] == 4 and about["clips"] == 6
    assert load(tmp_path / "out").frames == FRAMES
    (events,) = (tmp_path / "out").rglob("events*")
    found = EventAccumulator(str(events), size_guidance={"images": 0})
    found.Reload()
    assert {"loss", "gradient_norm", "lr", "validation_error"} <= set(found.Tags()["scalars"])
    assert [one.step for one in found.Scalars("loss")] == [1, 2, 3, 4]
    assert found.Tags()["images"] and len(json.loads((tmp_path / "out/losses.json").read_text())["loss"]) == 4


def test_what_is_saved_is_the_averaged_weights(settings, encoded, tiny_base, tmp_path):
    cfg = settings(training={"steps": 2})
    train.train(cfg, encoded, tiny_base, FRAMES, tmp_path / "out")
    AcceleratorState._reset_state(True)
    made = train.build(cfg, encoded, tiny_base, FRAMES, tmp_path)
    for t in range(2):
        made.step(t)
    made.averaged()
    saved = load_file(tmp_path / "out" / WEIGHTS)
    for name, value in made.pipeline.unet.state_dict().items():
        assert torch.equal(value, saved[name]), name


def test_two_processes_train_as_one(settings, encoded, tiny_base, tmp_path):
    """By the variable and a spawning launcher, over Gloo, from the command line."""
    cfg = settings(training={"steps": 3, "drop": 0.2})
    (tmp_path / "cfg.json").write_text(json.dumps(dataclasses.asdict(cfg)))
    words = ["gillnext", "pix2pix", "--config", tmp_path / "cfg.json", "--latents", encoded, "--base", tiny_base]
    for count in (1, 2):
        status, told = processes.start(
            [*words, "--frames", str(FRAMES), "--out", tmp_path / str(count)], VIDEO_TRAIN_PROCESSES=str(count)
        )
        assert status == 0, told
    about = json.loads((tmp_path / "2/training.json").read_text())
    assert about["processes"] == 2
    losses = [json.loads((tmp_path / f"{n}/losses.json").read_text())["loss"] for n in (1, 2)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)
    one, two = (load_file(tmp_path / str(n) / WEIGHTS) for n in (1, 2))
    # Adam divides by the root of squared gradients: where these are nearly zero, rounding decides a step's sign.
    apart = sum(float((one[key] - two[key]).abs().sum()) for key in one)
    begun = load(tiny_base, FRAMES).unet.state_dict()
    moved = sum(float((one[key] - value).abs().sum()) for key, value in begun.items())
    assert apart < 0.02 * moved


def test_processes_that_make_no_sense_are_told(monkeypatch):
    from gillnext.frames import launch

    assert launch.processes(None) == 1
    monkeypatch.setenv(launch.VARIABLE, "two")
    with pytest.raises(UserError, match="'two' is no number"):
        launch.processes(None)
    assert launch.processes(3) == 3
    with pytest.raises(UserError, match="0 processes"):
        launch.processes(0)


def test_wandb_is_asked_for_by_name_and_told_where_it_is_not_installed(trainer):
    with pytest.raises(UserError, match="Weights & Biases is not installed"):
        trainer(tracker="wandb")


def test_frames_that_clips_do_not_have_and_other_latents_are_told(settings, encoded, tiny_base, editor, tmp_path):
    with pytest.raises(UserError, match="21 frames of clips that have 20"):
        train.build(settings(), encoded, tiny_base, 21, tmp_path)
    other = shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((other / "unet/config.json").read_text())
    (other / "unet/config.json").write_text(json.dumps(config | {"sample_size": 32}))
    with pytest.raises(UserError, match="the latents are another base's"):
        train.build(settings(), encoded, other, 2, tmp_path)


def test_published_weights_are_trained_further(settings, data, clips_folder, editor, tmp_path, monkeypatch):
    """A folder of diffusers' own script is grown and trained, on latents of its own autoencoder. Before the first step
    it draws what it drew of one frame: nothing of what it knows is lost by growing.
    """
    from gillnext.frames import latents, text

    monkeypatch.setattr(text, "unread", lambda tokenizer, said: False)  # its letters are Latin, the clips' are not
    latents.build(settings(), data, clips_folder, editor, tmp_path / "latents")
    made = train.build(settings(), tmp_path / "latents", editor, 20, tmp_path)
    rows = latents.Latents(tmp_path / "latents", "val")
    frames = rows.of(0, 0, 1)[0][None].expand(1, 20, -1, -1, -1)
    asked = {"steps": 2, "text_guidance": 3.0, "image_guidance": 1.5}
    states, nothing = rows.texts(rows.number[:1]), rows.texts(torch.tensor([-1]))
    found = made.pipeline.draw(frames, states, nothing, [("a",)], **asked)
    expected = load(editor).draw(frames[:, :1], states, nothing, [("a",)], **asked)
    assert torch.allclose(found, expected, atol=1e-4)
    assert made.step(0)["loss"] > 0 and os.path.exists(tmp_path / "latents/latents.json")
