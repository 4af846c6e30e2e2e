"""Pools of the base model: windows hold their object and tell what they show; timesteps follow their distribution."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from scipy.special import logit
from scipy.stats import norm

from gillnext.diffusion import chatglm, objective
from gillnext.miniatures import base, base_on_windows, small_unet, training_samples, vae
from gillnext.miniatures.class_map import ClassMapHead
from gillnext.miniatures.networks.small_chatglm import LENGTH
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime import seeds, training

CELLS, SIDE = 16, 8


def encode(captions):
    """A stand-in for the text encoder that can be read back: the caption's own code points."""
    pooled = torch.tensor([[float(sum(map(ord, caption))), float(len(caption))] for caption in captions])
    return pooled[:, None], pooled


@pytest.fixture(scope="module")
def data():
    return corpus.make(20260, "base", 40)


@pytest.fixture(scope="module")
def latents():
    return torch.arange(40 * CELLS * CELLS, dtype=torch.float32).reshape(40, 1, CELLS, CELLS)


@pytest.mark.parametrize("low, high", [(0.0, 5.0), (3.2, 9.9), (11.1, 16.0), (2.5, 10.5), (4.0, 12.0), (0.2, 8.1)])
def test_a_window_starts_where_it_holds_the_interval(low, high):
    holding = [a for a in range(CELLS - SIDE + 1) if a <= low and high <= a + SIDE]
    found = list(training_samples.starts(low, high, SIDE, CELLS))
    if holding:
        assert found == holding
    else:  # none holds it whole: the one that loses least
        lost = [max(a - low, 0) + max(high - a - SIDE, 0) for a in range(CELLS - SIDE + 1)]
        assert len(found) == 1 and lost[found[0]] == pytest.approx(min(lost))


def test_every_object_has_a_window_that_shows_and_names_it(data, latents):
    found = training_samples.windows(data, latents, 20260, encode)
    objects = [(i, thing) for i, scene in enumerate(data.scenes) for thing in scene.objects]
    assert len(found) == len(objects) and found.latents.shape[1:] == (1, SIDE, SIDE)
    for n, (picture, thing) in enumerate(objects):
        top, left = np.unravel_index(int(found.latents[n, 0, 0, 0]) - picture * CELLS * CELLS, (CELLS, CELLS))
        assert torch.equal(found.latents[n], latents[picture, :, top : top + SIDE, left : left + SIDE])
        assert found.time_ids[n].tolist() == [64, 64, top * 4, left * 4, 32, 32]
        x1, y1, x2, y2 = np.asarray(thing.box) * CELLS
        assert left - 0.5 <= x1 and x2 <= left + SIDE + 0.5 and top - 0.5 <= y1 and y2 <= top + SIDE + 0.5


def test_a_window_names_what_it_shows_more_than_half_of(data):
    """Counted on a fine raster of each box."""
    fine = 20
    for i, scene in enumerate(data.scenes):
        for k in range(len(scene.objects)):
            (top, left), caption = training_samples.window(scene, k, SIDE, CELLS, np.random.default_rng(i))
            for thing in scene.objects:
                raster = np.zeros((CELLS * fine, CELLS * fine))
                x1, y1, x2, y2 = (round(v * CELLS * fine) for v in thing.box)
                raster[y1:y2, x1:x2] = 1
                inside = raster[top * fine : (top + SIDE) * fine, left * fine : (left + SIDE) * fine].sum()
                share = inside / raster.sum()
                if abs(share - training_samples.SHOWN) > 0.02:
                    assert (thing.kind.phrase in caption) == (share > training_samples.SHOWN), (caption, share)
            named = {c.phrase for c in CLASSES if c.phrase in caption}
            assert named <= {thing.kind.phrase for thing in scene.objects}


def test_a_window_shows_no_more_of_the_others_than_any_that_holds_the_object(data):
    for i, scene in enumerate(data.scenes):
        x1, y1, x2, y2 = np.asarray(scene.objects[0].box) * CELLS
        corner, _ = training_samples.window(scene, 0, SIDE, CELLS, np.random.default_rng(i))
        seen = training_samples.visible(scene, corner, SIDE, CELLS)[1:].sum()
        for top in range(CELLS - SIDE + 1):
            for left in range(CELLS - SIDE + 1):
                if left <= x1 and x2 <= left + SIDE and top <= y1 and y2 <= top + SIDE:
                    assert seen <= training_samples.visible(scene, (top, left), SIDE, CELLS)[1:].sum() + 1e-9


def test_captions_keep_their_own_states(data, latents):
    captions = training_samples.picture_captions(data.scenes, data.captions, 20260)
    found = training_samples.pictures(data.scenes, latents, captions, encode)
    states, pooled = encode([*captions, ""])
    assert torch.equal(found.states[found.caption], states[:-1]) and torch.equal(
        found.pooled[found.caption], pooled[:-1]
    )
    assert torch.equal(found.pooled[-1], pooled[-1])
    assert len(found.states) == len(set(captions)) + 1
    assert sum(a != b for a, b in zip(captions, data.captions, strict=True)) > 0


def test_timesteps_are_half_uniform_and_half_logit_normal():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([objective.timesteps(16, 1000, generator) for _ in range(4000)]).double().numpy()
    assert drawn.min() >= 0 and drawn.max() <= 999
    for t in (50, 200, 500, 650, 800, 950):
        expected = 0.5 * t / 1000 + 0.5 * norm.cdf(logit(t / 1000) - objective.CENTRE)
        assert (drawn < t).mean() == pytest.approx(expected, abs=0.004)


def test_a_batch_covers_the_timesteps():
    """Stratified: of 16 timesteps, the share below 500 hardly varies; of independent ones it would by 0.12."""
    generator = torch.Generator().manual_seed(1)
    shares = [(objective.timesteps(16, 1000, generator) < 500).double().mean().item() for _ in range(300)]
    assert np.std(shares) < 0.05


def test_one_timestep_can_be_drawn():
    assert objective.timesteps(1, 1000, torch.Generator().manual_seed(2)).shape == (1,)


def test_the_windows_are_learned_before_the_pictures(tiny_config, tiny_base, tmp_path, monkeypatch):
    """Both phases run, in this order, on latents of their own size."""
    seen = []
    forward = small_unet.UNet2DConditionModel.forward

    def spy(self, x, *args, **kwargs):
        seen.append(tuple(x.shape))
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(small_unet.UNet2DConditionModel, "forward", spy)
    base_on_windows.train(tiny_config, tiny_base / "vae", tiny_base, tmp_path / "windows")
    base.train(tiny_config, tiny_base / "vae", tiny_base, tmp_path / "windows", tmp_path / "base")
    assert seen == [(6, 4, 8, 8)] * 2 + [(4, 4, 16, 16)] * 3


def weights(folder):
    return load_file(next((folder / "unet").glob("*.safetensors")))


def both(cfg, start, out):
    """Both stages, to out/windows and out/base."""
    base_on_windows.train(cfg, start / "vae", start, out / "windows")
    base.train(cfg, start / "vae", start, out / "windows", out / "base")


def test_pictures_go_on_from_what_the_windows_left(tiny_config, tiny_base, tmp_path, monkeypatch):
    """The UNet and the head as windows left them, to the bit, and the latents of the same pictures."""
    seen = {}
    train = small_unet.train

    def look(cfg, name, network, head, found, **settings):
        if name == "base":
            state = {k: v.clone() for k, v in network.state_dict().items()}
            seen.update(state, latents=found.latents, logits=head.logits.weight.detach().clone())
        return train(cfg, name, network, head, found, **settings)

    monkeypatch.setattr(small_unet, "train", look)
    both(tiny_config, tiny_base, tmp_path)
    left = weights(tmp_path / "windows")
    assert left and all(torch.equal(seen[k], left[k]) for k in left)
    assert torch.equal(seen["logits"], load_file(tmp_path / "windows" / "head.safetensors")["logits.weight"])
    images = corpus.make(tiny_config.run.seed, "base", tiny_config.base.corpus).images
    assert torch.equal(seen["latents"], vae.encode(AutoencoderKL.from_pretrained(tiny_base / "vae"), images))


def test_both_stages_in_a_row_are_one_network_trained_twice(tiny_config, tiny_base, tmp_path):
    """Against the same two trainings in one process, with nothing saved between them."""
    both(tiny_config, tiny_base, tmp_path)
    cfg, seed = tiny_config.base, tiny_config.run.seed
    torch.manual_seed(seeds.key("base", seed))
    network = small_unet.build_unet(cfg.channels).to(memory_format=torch.channels_last)
    head = ClassMapHead(network)
    made = corpus.make(seed, "base", cfg.corpus)
    found = vae.encode(AutoencoderKL.from_pretrained(tiny_base / "vae").eval(), made.images)
    captions = training_samples.picture_captions(made.scenes, made.captions, seed)
    read = partial(chatglm.states, *chatglm.load(tiny_base), length=LENGTH)
    for name, samples, batch, steps, ema in (
        ("base-windows", training_samples.windows(made, found, seed, read), cfg.window_batch, cfg.window_steps, 0.0),
        ("base", training_samples.pictures(made.scenes, found, captions, read), cfg.batch, cfg.steps, cfg.ema),
    ):
        loss = partial(small_unet.Batches(tiny_config, name, samples, batch).loss, network, head)
        parameters = [*network.parameters(), *head.parameters()]
        training.train(name, parameters, loss, steps=steps, lr=cfg.lr, ema_decay=ema)
    saved = weights(tmp_path / "base")
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("stage", ["base-windows", "base"])
def test_a_stage_that_is_cut_off_ends_in_the_same_weights(tiny_config, tiny_base, tmp_path, monkeypatch, stage):
    both(tiny_config, tiny_base, tmp_path / "whole")
    often = training.train.__kwdefaults__ | {"checkpoint_every": 1}
    monkeypatch.setattr(training.train, "__kwdefaults__", often)
    loss, seen = small_unet.Batches.loss, []

    def cut_off(self, unet, head, step):
        if (self.name, step) == (stage, 1):
            raise KeyboardInterrupt
        return loss(self, unet, head, step)

    def look(self, unet, head, step):
        seen.append((self.name, step))
        return loss(self, unet, head, step)

    monkeypatch.setattr(small_unet.Batches, "loss", cut_off)
    with pytest.raises(KeyboardInterrupt):
        both(tiny_config, tiny_base, tmp_path / "cut")
    monkeypatch.setattr(small_unet.Batches, "loss", look)
    if stage == "base-windows":
        both(tiny_config, tiny_base, tmp_path / "cut")
    else:
        base.train(tiny_config, tiny_base / "vae", tiny_base, tmp_path / "cut/windows", tmp_path / "cut/base")
    assert seen[0] == (stage, 1)  # taken up where it was cut off
    whole, cut = (weights(tmp_path / name / "base") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[k], cut[k]) for k in whole)
