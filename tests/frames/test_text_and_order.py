"""Instructions that are too long or in another language; the order of samples, what is left out, augmentation."""

from collections import Counter

import numpy as np
import pytest
import torch
from diffusers.pipelines.kolors import ChatGLMTokenizer
from PIL import Image

from gillnext.diffusion.objective import training_scheduler
from gillnext.frames import augment, latents, text
from gillnext.frames.augment import Augmentation
from gillnext.frames.examples import Examples, dropped, order
from gillnext.frames.latents import Latents
from gillnext.frames.loading import load
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def chinese(tiny_base):
    return ChatGLMTokenizer.from_pretrained(tiny_base / "tokenizer")


def test_a_language_that_the_text_encoder_cannot_read_is_told(chinese, editor):
    assert not text.unread(chinese, "让猫接着移动") and text.unread(chinese, "move the cat")
    english = load(editor).tokenizer
    assert not text.unread(english, "move the cat") and text.unread(english, "让猫接着移动")
    told = text.heard(chinese, ["用雨伞盖住苹果", "cover it"])
    assert (told.texts, told.cut, told.unread) == (2, 0, 1)
    assert "1 of 2 instructions are in a language that the text encoder cannot read" in told.told()
    with pytest.raises(UserError, match="knows no word of 'cover it'"):
        text.refuse_unread(chinese, "cover it")


def test_instructions_that_are_cut_off_are_counted(chinese, editor):
    limit = text.length(chinese)
    long = "猫" * (limit + 1)
    assert text.heard(chinese, [long, "猫"]).told() == [
        f"1 of 2 instructions have more than {limit} tokens; the rest is cut off"
    ]
    assert text.heard(load(editor).tokenizer, ["a b c d e f g h i j k l m n o p", "a"]).cut == 1


def test_a_dataset_that_the_base_cannot_read_is_refused(settings, data, clips_folder, editor, tmp_path):
    with pytest.raises(UserError, match="in a language that the text encoder cannot read"):
        latents.build(settings(), data, clips_folder, editor, tmp_path / "out")


def test_samples_go_through_epochs_and_no_batch_is_partial():
    seen = torch.cat([order(first, 4, 7, 0) for first in range(0, 56, 4)])
    assert len(seen) == 56
    for epoch in range(8):
        assert sorted(seen[7 * epoch : 7 * (epoch + 1)].tolist()) == list(range(7))
    assert not torch.equal(seen[:7], seen[7:14])
    assert torch.equal(order(9, 30, 7, 0), seen[9:39])


def test_a_third_of_what_is_left_out_is_the_instruction_the_frames_and_both():
    texts, frames = dropped(60_000, 0.05, torch.Generator().manual_seed(0))
    counts = Counter(zip(texts.tolist(), frames.tolist(), strict=True))
    expected = {(True, False): 0.05, (True, True): 0.05, (False, True): 0.05, (False, False): 0.85}
    for kind, share in expected.items():
        assert counts[kind] / 60_000 == pytest.approx(share, abs=4 * (share * (1 - share) / 60_000) ** 0.5)


@pytest.fixture(scope="module")
def examples(encoded, tiny_base):
    def make(batch=4, accumulation=1, drop=0.0, frames=20):
        scheduler = training_scheduler(load(tiny_base, words=False).scheduler.config)
        return Examples(Latents(encoded, "train"), scheduler, frames, batch, accumulation, drop, 5)

    return make


def test_what_is_left_out_is_zero_latents_and_the_empty_instruction(examples, encoded):
    states = Latents(encoded, "train").states
    batch = examples(batch=64, drop=1 / 3).of(0)
    blind = ~batch.frames.flatten(1).any(1)
    silent = (batch.states == states[-1]).flatten(1).all(1)
    assert 0 < blind.sum() < 64 and 0 < silent.sum() < 64 and (blind | silent).all() and (blind & silent).any()


def test_processes_share_a_batch_and_lose_nothing_of_it(examples):
    whole = examples(drop=0.2).of(3)
    for index in range(2):
        part = examples(drop=0.2).of(3, share=(index, 2))
        for name in ("noisy", "target", "timesteps", "frames", "states", "pooled"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[index::2]), name


def test_the_target_is_what_takes_the_noise_off(examples, encoded):
    """v-prediction: α·z − σ·v is the clean latent, of the clip in the order of its epoch."""
    made = examples()
    batch, rows = made.of(0), Latents(encoded, "train")
    kept = made.scheduler.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    clean = kept.sqrt() * batch.noisy - (1 - kept).sqrt() * batch.target
    for i, clip in enumerate(order(0, 4, 6, 5).tolist()):
        frames, target = rows.of(clip, 0, 20)
        assert torch.allclose(clean[i], target, atol=1e-4) and torch.equal(batch.frames[i], frames)
    assert torch.equal(examples(frames=1).of(0).frames, batch.frames[:, -1:])


def test_frames_and_target_are_augmented_together():
    """A mark stays at one place in all of them, and equal pictures stay equal."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[20:30, 8:18] = 255
    for k in range(20):
        one = augment.draw(0.5, 0.5, "clip", k)
        found = one([Image.fromarray(pixels)] * 5, 64)
        assert (found == found[0]).all()
    flips = [augment.draw(0.5, 0.5, "clip", k).flipped for k in range(200)]
    assert 70 < sum(flips) < 130
    mirrored = Augmentation(flipped=True)([Image.fromarray(pixels)] * 2, 64)
    assert np.array_equal(mirrored[1], pixels[:, ::-1])
    assert np.array_equal(Augmentation()([Image.fromarray(pixels)], 64)[0], pixels)


def test_a_window_is_part_of_the_picture_and_of_at_least_its_share():
    for k in range(50):
        x, y, share = augment.draw(0.6, 0.0, k).window
        assert 0.6 <= share <= 1 and min(x, y) >= 0 and max(x, y) + share <= 1 + 1e-9
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    found = Augmentation((0.25, 0.5, 0.5))([Image.fromarray(pixels)], 32)[0]
    assert np.array_equal(found, pixels[32:64, 16:48])


def test_each_training_clip_is_encoded_as_it_is_augmented(settings, data, clips_folder, tiny_base, tmp_path):
    """Of two versions of a clip each is what the autoencoder makes of the pictures that were augmented so."""
    from gillnext.frames import rows
    from gillnext.frames.pipeline import modes, scale

    cfg = settings(variants=2, crop=0.7)
    latents.build(cfg, data, clips_folder, tiny_base, tmp_path / "out")
    found, pipeline = Latents(tmp_path / "out", "train"), load(tiny_base)
    assert found.versions == 2 and Latents(tmp_path / "out", "test").versions == 1
    row = rows.load(data)["train"][2]
    images = rows.pictures(row, clips_folder / "train")
    for k, version in enumerate(latents.versions_of(cfg, "train", row["input_frames"][-1])):
        expected = modes(pipeline.vae, version(images, 64))
        frames, target = found.of(2, k, 20)
        assert torch.allclose(frames, expected[:-1], atol=1e-5)
        assert torch.allclose(target, scale(pipeline.vae, expected[-1]), atol=1e-5)


def test_a_killed_encoding_goes_on_at_the_first_shard_that_is_not_there(
    settings, data, clips_folder, tiny_base, encoded, tmp_path, monkeypatch
):
    whole, seen = latents._split, []

    def killed(cfg, pipeline, found, folder, split, work):
        if split == "val" and not seen:
            seen.append((work / "train-00000.safetensors").stat().st_mtime_ns)
            raise KeyboardInterrupt
        whole(cfg, pipeline, found, folder, split, work)
        if split == "train" and seen:
            assert (work / "train-00000.safetensors").stat().st_mtime_ns == seen[0]

    monkeypatch.setattr(latents, "_split", killed)
    with pytest.raises(KeyboardInterrupt):
        latents.build(settings(), data, clips_folder, tiny_base, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    latents.build(settings(), data, clips_folder, tiny_base, tmp_path / "out")
    assert not (tmp_path / "out.work").exists()
    for split in ("train", "val", "test"):
        for name in ("frames", "target"):
            one, other = (Latents(place, split).shards[0][name] for place in (tmp_path / "out", encoded))
            assert torch.equal(one, other)
