"""Conversations as tokens: pictures in their places, the oldest turns cut first."""

import pytest
import torch
from support import small_qwen

from gillnext.conversations import Turn, text_of
from gillnext.gill import sequence
from gillnext.gill.sequence import WORD
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer

TURNS = [Turn("一只猫。", "a.png"), Turn("一棵树。"), Turn("两朵花。", "b.png"), Turn("画吧。", "c.png")]


@pytest.fixture(scope="module")
def tokenizer():
    """A character a token."""
    return train_tokenizer([text_of(TURNS)] * 2)


def decoded(tokenizer, passage):
    """The passage's text, with a letter for each picture's slot: A for its own first picture."""
    return "".join(
        tokenizer.decode([token]) if slot == WORD else chr(ord("A") + slot // 2)
        for token, slot in zip(passage.ids, passage.slots, strict=True)
    )


def test_a_picture_stands_after_its_turns_text_and_the_last_is_never_shown(tokenizer):
    row = sequence.passage(tokenizer, TURNS, [True, False, True, True], 2, 100)
    assert decoded(tokenizer, row) == "一只猫。AA\n一棵树。\n两朵花。BB\n画吧。"
    assert row.shown == (0, 2) and row.cut == 0


def test_the_oldest_turns_are_cut_with_their_pictures(tokenizer):
    row = sequence.passage(tokenizer, TURNS, [True, False, True, True], 2, 15)
    assert decoded(tokenizer, row) == "一棵树。\n两朵花。AA\n画吧。"
    assert row.shown == (2,) and row.cut == 1


def test_of_a_turn_that_is_too_long_alone_the_end_is_read(tokenizer):
    row = sequence.passage(tokenizer, [Turn("一只猫。"), Turn("两朵花画吧。")], [False, False], 2, 3)
    assert decoded(tokenizer, row) == "画吧。" and row.cut == 2


def test_fifty_turns_are_read_whole_or_cut_and_never_longer_than_the_limit(tokenizer):
    turns = [Turn(f"问：有几个？答：{i}个。", "a.png") for i in range(50)]
    whole = sequence.passage(tokenizer, turns, [True] * 50, 4, 10_000)
    assert whole.cut == 0 and len(whole.shown) == 49
    assert max(whole.slots) == 49 * 4 - 1
    short = sequence.passage(tokenizer, turns, [True] * 50, 4, 200)
    assert len(short.ids) <= 200 and short.cut > 30
    assert short.shown == tuple(range(short.cut, 49))
    assert whole.ids[-len(short.ids) :] == short.ids


def test_without_pictures_the_tokens_are_those_of_the_whole_text(tokenizer):
    """Also where a published tokenizer joins a sentence's stop and the line's end to one token."""
    joined = small_qwen.tokenizer([text_of(TURNS)] * 50)
    for some in (tokenizer, joined):
        row = sequence.passage(some, TURNS, [False] * 4, 2, 100)
        assert row.ids == some.encode(text_of(TURNS), add_special_tokens=False)
    assert any(joined.decode([token]) == "。\n" for token in row.ids)


def test_rows_of_a_batch_name_their_own_pictures(tokenizer):
    rows = [sequence.passage(tokenizer, TURNS, shown, 2, 100) for shown in ([True, False, True, True], [False] * 4)]
    rows.append(sequence.passage(tokenizer, TURNS[:2], [True, False], 2, 100))
    texts = sequence.collate(rows, torch.arange(9.0).reshape(3, 3), 2)
    assert [sorted(set(row.tolist()) - {WORD}) for row in texts.slots] == [[0, 1, 2, 3], [], [4, 5]]
    assert texts.mask.sum(1).tolist() == [len(row.ids) for row in rows]
    part = texts.part(0, 2)
    assert torch.equal(part.slots, texts.slots[::2]) and part.pictures is texts.pictures


def test_the_limit_is_the_smaller_of_the_settings_and_the_lms_positions(tiny_language):
    language, _ = model.load(tiny_language)
    assert sequence.limit(language, 8, 500) == 500
    assert sequence.limit(language, 8, 5_000) == language.config.max_position_embeddings - 8
