"""Training: nothing of the language model changes, ways of the backward pass agree, a killed run ends the same."""

import dataclasses
import json
import os
import shutil

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from support import eyes as some_eyes
from support import processes, small_qwen
from transformers import AutoTokenizer

from gillnext.adapter.trainer import arm_of, build_adapter
from gillnext.conversations import Conversation, Turn, read, write
from gillnext.gill import examples, folder, train
from gillnext.gill.train import Given
from gillnext.language import model
from gillnext.runtime import launch, seeds
from gillnext.runtime.errors import UserError


def tensors(out):
    return load_file(out / folder.WEIGHTS)


def difference(one, other):
    return float((one - other).norm() / other.norm())


def test_no_row_of_the_language_models_embedding_changes_by_a_bit(trainer, tiny_language):
    made = trainer()
    before = {name: p.clone() for name, p in made.gill.trainable_parameters().items()}
    for t in range(3):
        made.step(t)
        norms = made.gill.image_RH.norm(dim=1)
        words = made.gill.language.get_input_embeddings().weight
        assert norms.tolist() == pytest.approx([words.norm(dim=1).mean().item()] * len(norms), rel=1e-5)
    untouched, _ = model.load(tiny_language)
    for name, value in untouched.state_dict().items():
        assert torch.equal(made.gill.language.state_dict()[name], value), name
    for name, p in made.gill.trainable_parameters().items():
        assert not torch.equal(p, before[name]), name
    assert not torch.allclose(made.gill.image_RH, before["image_RH"], atol=1e-3)


def test_a_training_writes_what_it_trained_and_what_it_was_trained_with(trained, given, settings):
    about = folder.about(trained)
    assert set(tensors(trained)) >= {"image_RH", "prefix.queries_KM", "find_text.weight", "logit_scale"}
    assert not any(name.startswith(("language", "denoiser")) for name in tensors(trained))
    assert set(about["hashes"]) == {"conversations", "language", "eyes", "base"}
    assert about["counts"] == {
        "conversations": 8, "without_captioned_picture": 1, "turns": 4 + 9 + 1, "pictures": 6, "captions": 6,
        "turns_cut": 0,
    }  # fmt: skip
    assert about["parameters"] == sum(value.numel() for value in tensors(trained).values())
    history = json.loads((trained / "losses.json").read_text())
    assert set(history) == {"captioning", "retrieval", "generation", "gradient_norm"}
    assert all(len(values) == settings().gill.steps for values in history.values())
    assert not trained.with_name("gill.work").exists()


def test_training_lowers_every_loss(settings, given, alone, tmp_path):
    train.train(settings(steps=40, checkpoint_every=0), given, tmp_path / "gill")
    history = json.loads((tmp_path / "gill/losses.json").read_text())
    for name in ("captioning", "retrieval", "generation"):
        assert sum(history[name][-8:]) < 0.9 * sum(history[name][:8]), name


def gradient(trainer, mode):
    made = trainer(backward=mode)
    batch, _ = made.examples.draw(4, (0, 0))
    values = made.backward(batch)
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in made.gill.trainable_parameters().values()]
    return torch.cat([p.flatten() for p in found]).double(), values


def test_split_and_summed_give_one_gradient_and_accumulated_differs_by_the_negatives_of_retrieval(trainer, alone):
    summed, values = gradient(trainer, "summed")
    split, same = gradient(trainer, "split")
    halves, other = gradient(trainer, "accumulated")
    assert difference(split, summed) < 1e-5 and same == pytest.approx(values)
    assert difference(halves, summed) > 1e-3
    assert other["retrieval"] < values["retrieval"]  # of fewer negatives
    for name in ("captioning", "generation"):
        assert other[name] == pytest.approx(values[name], rel=1e-5)


def test_halves_add_up_where_nothing_is_contrasted(trainer, settings):
    weights = dataclasses.replace(settings().gill.weights, retrieval=0.0)

    def without(backward):
        return trainer(backward=backward, weights=weights)

    summed, values = gradient(without, "summed")
    halves, _ = gradient(without, "accumulated")
    assert set(values) == {"captioning", "generation"}
    assert difference(halves, summed) < 1e-5


def test_weights_scale_the_gradient_and_not_the_losses_that_are_told(trainer, settings):
    weights = settings().gill.weights
    plain, values = gradient(trainer, "split")
    twice = dataclasses.replace(weights, **{name: 2 * value for name, value in vars(weights).items()})
    doubled, told = gradient(lambda **given: trainer(weights=twice, **given), "split")
    assert difference(doubled, 2 * plain) < 1e-5 and told == pytest.approx(values)


class Killed(BaseException):
    """As of a signal: nothing catches it."""


def test_a_killed_run_resumes_to_the_same_bits(settings, given, trained, alone, tmp_path, monkeypatch, capsys):
    whole_step = train.Trainer.step

    def step(self, t):
        if t == 3:
            raise Killed
        return whole_step(self, t)

    out = tmp_path / "gill"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train.Trainer, "step", step)
        train.train(settings(), given, out)
    assert not out.exists() and (tmp_path / "gill.work/checkpoint").exists()
    AcceleratorState._reset_state(reset_partial_state=True)
    train.train(settings(), given, out)
    assert "resuming at step 2" in capsys.readouterr().out
    for name, value in tensors(trained).items():
        assert torch.equal(tensors(out)[name], value), name
    assert (out / "losses.json").read_bytes() == (trained / "losses.json").read_bytes()


def test_two_processes_end_where_one_ends(settings, given, trained, tmp_path):
    cfg = settings()
    words = launch.words(dataclasses.replace(cfg, adapter=dataclasses.replace(cfg.adapter, processes=2)))
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(cfg)))
    words += ["gillnext", "gill", "--config", tmp_path / "config.json", "--out", tmp_path / "two"]
    for name in ("conversations", "language", "eyes", "base"):
        words += [f"--{name}", getattr(given, name)]
    status, output = processes.start(words)
    assert status == 0, output
    one, two = (json.loads((out / "losses.json").read_text()) for out in (trained, tmp_path / "two"))
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-4), name
    assert folder.about(tmp_path / "two")["processes"] == 2
    for name, value in tensors(trained).items():
        torch.testing.assert_close(tensors(tmp_path / "two")[name], value, atol=1e-3, rtol=0, msg=name)


def test_which_pictures_and_turns_a_step_sees_depends_on_the_step_alone(trainer):
    corpus = trainer().examples
    batches = [corpus.draw(4, (0, t))[0] for t in range(12)]
    again, _ = corpus.draw(4, (0, 5))
    assert torch.equal(again.texts.ids, batches[5].texts.ids) and torch.equal(again.features, batches[5].features)
    shown = [0 if batch.texts.pictures is None else len(batch.texts.pictures) for batch in batches]
    assert 0 in shown and max(shown) > 0  # an earlier picture is shown by chance, in each step anew
    halves = [corpus.draw(4, (0, 5), (i, 2))[0] for i in range(2)]
    for i, half in enumerate(halves):
        assert torch.equal(half.features, again.features[i::2]) and torch.equal(half.states, again.states[i::2])
        assert torch.equal(half.named, again.named[i::2]) and len(half.captions) == len(half.named) == 4
    named = {tuple(row.flatten()[:3].tolist()) for batch in batches for row in batch.named}
    assert len(named) == len(corpus.features)  # pictures of any turn are captioned


def test_rows_of_a_batch_are_of_different_conversations_and_of_like_length(given):
    rows = [
        Conversation(
            f"{i}", "caption", (Turn("好" * (1 + i), "pictures/0.png", read(given.conversations)[0].turns[0].layout),)
        )
        for i in range(64)
    ]
    corpus = examples.Corpus(rows, given.conversations)
    seen = set()
    for t in range(60):
        pick = corpus.pick(seeds.rng("test", t), 4)
        assert len(set(pick)) == 4
        seen.update(pick)
        lengths = [len(corpus.turns(i)[-1].text) for i in pick]
        assert lengths == sorted(lengths) and max(lengths) - min(lengths) < 50
    assert len(seen) > 60


def test_a_caption_ends_where_the_language_model_ends_a_text(trainer):
    made = trainer()
    batch, _ = made.examples.draw(4, (0, 0))
    last = batch.captions.mask.sum(1) - 1
    assert batch.captions.ids[torch.arange(8), last].tolist() == [made.examples.reading.end] * 8


def test_what_cannot_be_trained_is_told(settings, given, trainer, tmp_path, alone):
    with pytest.raises(UserError, match="fp16"):
        train.train(settings(precision="fp16"), given, tmp_path / "gill")
    with pytest.raises(UserError, match="denoising"):
        train.train(settings(generation="denoising"), given, tmp_path / "gill")
    with pytest.raises(UserError, match="heads"):
        train.train(settings(mapper_width=30), given, tmp_path / "gill")
    with pytest.raises(UserError, match="halves"):
        trainer(batch=3)
    with pytest.raises(UserError, match="10 conversations out of 8"):
        trainer(batch=10).step(0)


def test_a_missing_picture_is_told_with_its_row_and_turn(settings, given, alone, tmp_path):
    shutil.copytree(given.conversations.parent, tmp_path / "data")
    (tmp_path / "data/pictures/2.png").unlink()
    lacking = dataclasses.replace(given, conversations=tmp_path / "data/train.jsonl")
    with pytest.raises(UserError, match=r"row 3, turn 1: .*pictures/2\.png"):
        train.train(settings(), lacking, tmp_path / "gill")


def test_without_a_captioned_picture_there_is_nothing_to_learn(given, tmp_path):
    write(tmp_path / "train.jsonl", [Conversation("a", "dialogue", (Turn("你好。"),))])
    with pytest.raises(UserError, match="no conversation with a captioned picture"):
        examples.Corpus(read(tmp_path / "train.jsonl"), tmp_path / "train.jsonl")


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_published_classes_train_in_half_precision(settings, given, alone, tmp_path, kind, padded):
    """Qwen2.5's class, with and without a pad token, with eyes of each class; what is trained is float32."""
    language = small_qwen.save(tmp_path / "qwen", [c.turns[0].text for c in read(given.conversations)])
    assert AutoTokenizer.from_pretrained(language).pad_token is not None
    if not padded:
        assert AutoTokenizer.from_pretrained(small_qwen.without_pad(language)).pad_token is None
    eyes = some_eyes.save(tmp_path / kind, kind)
    other = Given(given.conversations, language, eyes, given.base)
    train.train(settings(precision="bf16", steps=2, features="pooled"), other, tmp_path / "gill")
    assert folder.about(tmp_path / "gill")["sizes"]["cells"] == 0
    assert all(value.dtype == torch.float32 for value in tensors(tmp_path / "gill").values())
    assert folder.about(tmp_path / "gill")["precision"] == "bf16"


def test_generation_may_be_trained_through_the_unet_and_the_adapter(
    settings, given, alone, tiny_config, tiny_pipeline, awake, tmp_path
):
    adapter = awake(build_adapter(tiny_config, arm_of(tiny_config, "attn2"), tiny_pipeline.unet, 0), 0.05)
    adapter.save_pretrained(tmp_path / "adapter")
    through = dataclasses.replace(given, adapter=tmp_path / "adapter")
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)
        out = tmp_path / precision
        train.train(settings(precision=precision, generation="denoising"), through, out)
        before = load_file(tmp_path / "adapter/diffusion_pytorch_model.safetensors")
        after = load_file(out / "adapter/diffusion_pytorch_model.safetensors")
        assert before.keys() == after.keys()
        assert any(not torch.equal(after[name], value) for name, value in before.items())
        assert not any(name.startswith("denoiser") for name in tensors(out))


def test_the_work_folder_keeps_what_was_encoded(settings, given, alone, tmp_path, monkeypatch):
    """A run that was killed while it trained encodes nothing again."""
    from gillnext.gill.visual import Eyes

    def stop(self, t):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(train.Trainer, "step", stop)
        train.train(settings(), given, tmp_path / "gill")
    kept = sorted(path.name for path in (tmp_path / "gill.work").glob("*.safetensors"))
    assert len(kept) == 2
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(Eyes, "features", None)
    train.train(settings(), given, tmp_path / "gill")
    assert os.listdir(tmp_path / "gill")
