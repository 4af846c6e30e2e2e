"""A trained Gill in a dialogue: what it reads, sees and says."""

import json
import shutil

import pytest
import torch
from support import small_qwen

from gillnext.conversations import Turn, read
from gillnext.gill import train
from gillnext.gill.talker import Talker
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def talker(trained, given):
    return Talker.load(trained, given.language, given.eyes)


@pytest.fixture(scope="module")
def stories(given):
    return [row.turns for row in read(given.conversations)]


def test_what_is_read_has_these_shapes_and_units(talker, stories, given, trained):
    found = talker.read(stories, given.conversations.parent)
    assert found.images.shape == (9, 3, 32) and found.states.shape == (9, 32, 96) and found.pooled.shape == (9, 96)
    assert found.embeddings.norm(dim=1).tolist() == pytest.approx([1.0] * 9)
    assert found.cut == (0,) * 9
    states, pooled = talker.mapped(found.images)
    assert torch.equal(states, found.states) and torch.equal(pooled, found.pooled)
    assert set(talker.made_with) == {"conversations", "language", "eyes", "base"} and len(talker.hash) == 64


def test_a_batch_changes_no_row(talker, stories, given):
    root = given.conversations.parent
    together = talker.read(stories, [root] * len(stories))
    for i, turns in enumerate(stories):
        alone = talker.read([turns], root, batch=1)
        for name in ("images", "embeddings", "states", "pooled"):
            assert torch.allclose(getattr(alone, name)[0], getattr(together, name)[i], atol=1e-4), (i, name)


def test_earlier_pictures_are_seen_and_the_last_turns_is_not(talker, given):
    root = given.conversations.parent
    first, last = Turn("一只猫。", "pictures/0.png"), Turn("一棵树。", "pictures/1.png")
    shown, other, none, asked = (
        talker.read([turns], root).images
        for turns in (
            [first, last],
            [Turn("一只猫。", "pictures/2.png"), last],
            [Turn("一只猫。"), last],
            [first, Turn("一棵树。", "pictures/3.png")],
        )
    )
    assert not torch.allclose(shown, other, atol=1e-3) and not torch.allclose(shown, none, atol=1e-3)
    assert torch.equal(shown, asked)
    assert torch.equal(talker.read([[first, last]], root, pictures=False).images, none)


def test_pictures_are_seen_as_files_and_as_arrays(talker, tiny_scenes, given):
    root = given.conversations.parent
    files = [root / f"pictures/{i}.png" for i in range(4)]
    found = talker.see(files)
    assert found.norm(dim=1).tolist() == pytest.approx([1.0] * 4)
    assert torch.allclose(talker.see(list(tiny_scenes.images[:4]), batch=3), found, atol=1e-5)


@torch.no_grad()
def test_a_caption_is_the_likeliest_token_again_and_again(talker, given):
    file = given.conversations.parent / "pictures/1.png"
    gill, tokenizer = talker.gill, talker.reading.tokenizer
    rows, said = gill.seen(talker.eyes.features([file]))[0], []
    for _ in range(6):
        logits = gill.language(inputs_embeds=rows[None]).logits[0, -1]
        said.append(int(logits.argmax()))
        if said[-1] == talker.reading.end:
            break
        rows = torch.cat([rows, gill.language.get_input_embeddings().weight[said[-1:]]])
    assert talker.caption([file], most=6) == [tokenizer.decode(said, skip_special_tokens=True)]
    assert len(talker.caption([file] * 3, most=6, batch=2)) == 3


def test_another_language_model_or_other_eyes_are_refused(trained, given, tmp_path):
    other = small_qwen.save(tmp_path / "qwen", ["一只猫"])
    with pytest.raises(UserError, match="not the language"):
        Talker.load(trained, other, given.eyes)
    with pytest.raises(UserError, match="not the eyes"):
        Talker.load(trained, given.language, other)
    with pytest.raises(UserError, match="no trained GILL"):
        Talker.load(tmp_path, given.language, given.eyes)


def test_a_folder_whose_tensors_are_of_other_sizes_is_told(trained, given, tmp_path):
    shutil.copytree(trained, tmp_path / "gill")
    about = json.loads((tmp_path / "gill/gill.json").read_text())
    about["sizes"]["prefix"] += 1
    (tmp_path / "gill/gill.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="do not fit"):
        Talker.load(tmp_path / "gill", given.language, given.eyes)


def test_a_dialogue_of_fifty_turns_is_read_and_what_was_cut_is_told(talker, given):
    turns = [Turn(f"问：有几只猫和几棵树在这里？答：有{i}只猫和{i}棵树。", "pictures/0.png") for i in range(50)]
    found = talker.read([turns, turns[-3:]], given.conversations.parent)
    assert found.cut[0] > 0 and found.cut[1] == 0
    assert found.images.isfinite().all()
    shorter = talker.read([turns[found.cut[0] :]], given.conversations.parent)
    assert torch.allclose(shorter.images[0], found.images[0], atol=1e-4) and shorter.cut == (0,)


def test_a_missing_picture_is_told_and_only_where_it_is_shown(talker, given):
    turns = [Turn("一只猫。", "nothing.png"), Turn("一棵树。", "nothing.png")]
    with pytest.raises(UserError, match=r"conversation 2, turn 1: .*nothing\.png"):
        talker.read([turns[1:], turns], given.conversations.parent)
    assert talker.read([turns], given.conversations.parent, pictures=False).images.isfinite().all()


def test_a_language_model_without_a_pad_token_talks(settings, given, stories, tmp_path, alone):
    language = small_qwen.save(tmp_path / "qwen", [turns[0].text for turns in stories])
    small_qwen.without_pad(language)
    other = train.Given(given.conversations, language, given.eyes, given.base)
    train.train(settings(steps=2), other, tmp_path / "gill")
    for dtype, atol in ((None, 1e-4), (torch.bfloat16, 0.2)):
        talker = Talker.load(tmp_path / "gill", language, given.eyes, dtype=dtype)
        found = talker.read(stories, given.conversations.parent)
        alone_ = talker.read(stories[:1], given.conversations.parent)
        assert torch.allclose(found.embeddings[0], alone_.embeddings[0], atol=atol)
        assert all(isinstance(text, str) for text in talker.caption([given.conversations.parent / "pictures/1.png"]))
