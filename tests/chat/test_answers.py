"""What GILL says: the LM's own continuation, on an untrained LM."""

import pytest
import torch
from support import eyes as eyes_

from gillnext.chat import answers
from gillnext.chat.answers import Sampling
from gillnext.conversations import Turn
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def talker(tmp_path_factory, tiny_language):
    from gillnext.gill import sequence
    from gillnext.gill.examples import Reading
    from gillnext.gill.model import Gill, Sizes
    from gillnext.gill.talker import Talker
    from gillnext.gill.visual import Eyes
    from gillnext.language import model

    language, tokenizer = model.load(tiny_language)
    seen = Eyes.load(eyes_.save(tmp_path_factory.mktemp("eyes") / "e", "chinese_clip"))
    torch.manual_seed(1)
    gill = Gill(language, Sizes(seen.width, 32, 96, 96, images=3, prefix=2)).eval()
    tokenizer.pad_token = None  # none is needed
    return Talker(gill, seen, Reading(tokenizer, sequence.end_of(tokenizer, tiny_language), 2, 200), "h", {}, {})


TURNS = [Turn("一只猫。"), Turn("还有一棵树。")]


@torch.no_grad()
def test_an_answer_is_the_likeliest_continuation_of_the_next_line(talker, tmp_path):
    """Against the whole text read anew for every token."""
    tokenizer, language = talker.reading.tokenizer, talker.gill.language
    ids = [token for turn in TURNS for token in tokenizer.encode(turn.text + "\n", add_special_tokens=False)]
    said = []
    while len(said) < answers.MOST:
        token = int(language(torch.tensor([[*ids, *said]])).logits[0, -1].argmax())
        if token == talker.reading.end:
            break
        said.append(token)
    expected = tokenizer.decode(said, skip_special_tokens=True).strip().split("\n")[0].strip()
    assert answers.answer(talker, TURNS, tmp_path, Sampling()) == expected and expected


def test_pictures_are_seen_the_last_too_and_missing_ones_told(talker, tmp_path, paint):
    paint(tmp_path / "a.png", (255, 0, 0))
    seen = []
    features = talker.eyes.features

    def counted(pictures, batch=64):
        seen.append(len(pictures))
        return features(pictures, batch)

    talker.eyes.features = counted
    try:
        answers.answer(talker, [*TURNS, Turn("看。", "a.png")], tmp_path, Sampling())
        assert seen == [1]
        with pytest.raises(UserError, match="turn 1"):
            answers.answer(talker, [Turn("看。", "b.png")], tmp_path, Sampling())
    finally:
        talker.eyes.features = features


def test_sampled_answers_are_named_by_seed_and_turn_and_leave_torchs_stream_alone(talker, tmp_path):
    state = torch.random.get_rng_state()

    def say(seed, number, **more):
        return answers.answer(talker, TURNS, tmp_path, Sampling(1.5, seed=seed, **more), number)

    assert say(1, 1) == say(1, 1) and len({say(1, 1), say(2, 1), say(1, 2)}) == 3
    assert torch.equal(torch.random.get_rng_state(), state)
    assert say(1, 1, top_p=1e-9) == answers.answer(talker, TURNS, tmp_path, Sampling())
    assert say(1, 1, opening="一只").startswith("一只")


def test_tokens_are_drawn_among_the_likeliest_with_their_shares():
    logits, generator = torch.tensor([0.5, 0.25, 0.15, 0.1]).log(), torch.Generator().manual_seed(0)

    def shares(**how):
        drawn = [answers.drawn(logits, Sampling(**how), generator) for _ in range(4000)]
        return [drawn.count(i) / 4000 for i in range(4)]

    assert shares(temperature=1.0) == pytest.approx([0.5, 0.25, 0.15, 0.1], abs=0.03)
    assert shares(temperature=1.0, top_p=0.6) == pytest.approx([2 / 3, 1 / 3, 0, 0], abs=0.03)
    squares = [0.25, 0.0625, 0.0225, 0.01]
    assert shares(temperature=0.5) == pytest.approx([s / sum(squares) for s in squares], abs=0.03)
    assert shares(temperature=0.0) == [1, 0, 0, 0]
