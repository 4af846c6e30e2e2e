"""The language model of conversations: what it is taught, its loss and scores against plain loops, its folder."""

import json
import math
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gillnext import conversations
from gillnext.config.load import from_dict
from gillnext.conversations import text_of
from gillnext.language import model
from gillnext.layouts import Layout
from gillnext.miniatures import language, retelling
from gillnext.miniatures.retelling import Retelling
from gillnext.miniatures.world import conversations as stage
from gillnext.miniatures.world.objects import DRAWN
from gillnext.runtime import seeds

SIZES = {"captions": 4, "stories": 6, "dialogues": 4, "val": 3, "test": 1, "gallery": 1}
LANGUAGE = {"hidden": 32, "layers": 2, "heads": 2, "corpus": 6, "steps": 3, "batch": 6}
SETTINGS = from_dict({"run": {"seed": 3, "threads": 1}, "gill": {"conversations": SIZES, "language_model": LANGUAGE}})
SHOWN = Layout("", ("猫", "树", "鱼"), ((0.0, 0.0, 0.3, 0.3), (0.4, 0.1, 0.7, 0.9), (0.5, 0.7, 1.0, 1.0)))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("told") / "conversations"
    stage.run(SETTINGS, folder)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, told):
    out = tmp_path_factory.mktemp("language") / "language"
    language.train(SETTINGS, told, out)
    return out


def test_every_form_says_what_is_there():
    forms = Retelling(DRAWN.kinds).forms
    assert set(forms) == set(retelling.SHARES) and sum(retelling.SHARES.values()) == pytest.approx(1)
    say = {name: [form(SHOWN, seeds.rng(name, i)) for i in range(30)] for name, form in forms.items()}
    assert set(say["listed"]) == {"①猫②树③鱼"}
    assert set(say["captioned"]) == {"画里有一只猫、一棵树和一条鱼。"}
    assert set(say["placed"]) == {"猫左上、树中、鱼右下。"}
    assert set(say["counted"]) == {"共三样。"}
    assert set(say["numbered"]) == {"第一样是猫。", "第二样是树。", "第三样是鱼。"}
    for text in say["checked"]:
        for name, there in re.findall("([^，。]+?)(没有|有)", text):
            assert (name in SHOWN.names) == (there == "有")
    assert len(set(say["checked"])) > 5


def test_a_list_is_read_as_it_was_written():
    for names in (("猫",), ("猫", "树", "房子", "雨伞")):
        assert retelling.read(retelling.listed(names)) == names
    assert retelling.read("①猫②树\n画里") == ("猫", "树")
    assert retelling.read("") == ()


def test_a_passage_ends_with_each_picture(told):
    for row in conversations.read(told / "train.jsonl"):
        found = list(language.passages(row))
        assert len(found) == {"story": 5, "dialogue": 1, "caption": 1}[row.kind]
        assert found[-1].text == text_of(row.turns)
        for passage in found:
            places = [passage.text.index(name) for name in passage.shown.names]
            assert places == sorted(places), "names come in the order of mention"


def kinds_of(told):
    """Texts of the training conversations by kind, as `language.train` reads them."""
    found: dict = {kind: [] for kind in language.SHARES}
    for row in conversations.read(told / "train.jsonl"):
        found[row.kind].append(language.Text(tuple(turn.text for turn in row.turns), language.shown_by(row)))
    return found


def test_what_is_there_after_a_turn_is_what_has_been_said(told):
    for row in conversations.read(told / "train.jsonl"):
        shown, last = language.shown_by(row), row.turns[-1].layout
        assert len(shown) == len(row.turns) and set(shown[-1].names) == set(last.names)
        for k, layout in enumerate(shown, 1):
            text = text_of(row.turns[:k])
            assert all(name in text for name in layout.names)
            truth = row.turns[k - 1].layout or last
            boxes = dict(zip(truth.names, truth.boxes, strict=True))
            assert all(boxes[n] == box for n, box in zip(layout.names, layout.boxes, strict=True))
            if row.kind == "dialogue":  # nothing that is there and has been named is missing
                assert set(layout.names) == {name for name in last.names if name in text}


def test_a_steps_texts_depend_on_the_step_alone(told):
    one, other = (language.Texts(kinds_of(told), DRAWN, 3, 6) for _ in range(2))
    assert one.of(5) == other.of(5) != one.of(6)
    texts = [text for step in range(60) for text in one.of(step)]
    assert all(len(text.turns) == len(text.shown) and text.shown[-1].names for text in texts)
    assert {len(text.turns) for text in texts} >= {1, 2, 3, 4, 5, 10}
    assert any(not text.after for text in texts) and all(text.after for text in texts if len(text.turns) > 1)


def test_a_text_is_encoded_turn_by_turn(trained):
    _, tokenizer = model.load(trained)
    text = language.Text(("从前有一只猫。", "猫的右边有一棵树。"), (SHOWN, SHOWN), "①猫②树")
    found, whole = language.encode(tokenizer, text), tokenizer("从前有一只猫。\n猫的右边有一棵树。\n①猫②树").input_ids
    assert found.tokens == [*whole, tokenizer.eos_token_id]
    assert tokenizer.decode(found.tokens[: found.read]) == "从前有一只猫。\n猫的右边有一棵树。\n"
    assert [tokenizer.decode(found.tokens[: end + 1]) for end in found.ends] == [
        "从前有一只猫。", "从前有一只猫。\n猫的右边有一棵树。",
    ]  # fmt: skip


def test_the_loss_is_that_of_words_and_of_what_is_there_after_each_turn(trained):
    network, tokenizer = model.load(trained)
    heads = language.Heads(network.config.hidden_size, DRAWN.names)
    nothing, cat = Layout("", (), ()), Layout("", ("猫",), ((0.7, 0.0, 0.9, 0.2),))
    texts = [
        language.Text(("从前有一只猫。",), (cat,), "①猫"),
        language.Text(("一只猫、一棵树和一条鱼",), (SHOWN,)),
        language.Text(("问：有鱼吗？答：没有鱼。", "问：还有什么？答：猫。"), (nothing, cat), "共一样。"),
    ]
    later, before, there, thirds = [], [], [], []
    for text in texts:
        tokens, read, ends = language.encode(tokenizer, text)
        with torch.no_grad():
            found = network(torch.tensor([tokens]), output_hidden_states=True)
            surprise = -F.log_softmax(found.logits[0], -1)
            states = found.hidden_states[-1][0, ends]
        for i in range(1, len(tokens)):
            (later if i >= read else before).append(float(surprise[i - 1, tokens[i]]))
        for state, layout in zip(states, text.shown, strict=True):
            for i, name in enumerate(DRAWN.names):
                chance = torch.sigmoid(heads.there(state)[i]).item()
                there.append(-math.log(chance if name in layout.names else 1 - chance))
                if name in layout.names:
                    x1, y1, x2, y2 = layout.boxes[layout.names.index(name)]
                    each = heads.thirds(state).view(2, 3, len(DRAWN.names))[:, :, i].log_softmax(-1)
                    for axis, centre in enumerate(((x1 + x2) / 2, (y1 + y2) / 2)):
                        thirds.append(-each[axis, int(3 * centre)].item())
    wanted = np.mean(later) + language.READING * np.mean(before)
    wanted += language.THERE * np.mean(there) + language.THIRDS * np.mean(thirds)
    with torch.no_grad():
        assert float(language.loss_of(network, heads, tokenizer, texts)) == pytest.approx(wanted, rel=1e-4)


def test_perplexity_and_lists_agree_with_plain_loops(trained, told):
    network, tokenizer = model.load(trained)
    texts = [text_of(row.turns) for row in conversations.read(told / "val.jsonl")]
    surprise, answers = [], []
    for text in texts:
        ids = tokenizer(text).input_ids
        with torch.no_grad():
            logits = F.log_softmax(network(torch.tensor([ids])).logits[0], -1)
        surprise += [-float(logits[i - 1, ids[i]]) for i in range(1, len(ids))]
        ids = list(tokenizer(text + "\n①").input_ids)
        asked = len(ids)
        while len(ids) < asked + 24 and ids[-1] != tokenizer.eos_token_id:
            with torch.no_grad():
                ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
        answers.append(retelling.read(tokenizer.decode(ids[asked:], skip_special_tokens=True)))
    value, count = language.perplexity(network, tokenizer, texts)
    assert count == len(surprise) and value == pytest.approx(math.exp(np.mean(surprise)), rel=1e-4)
    assert language.retold(network, tokenizer, texts) == answers


def test_scores_are_shares_of_exact_sets(trained, told, monkeypatch):
    network, tokenizer = model.load(trained)
    rows = conversations.read(told / "val.jsonl")
    truth = {p.text: p.shown.names for row in rows for p in language.passages(row)}
    monkeypatch.setattr(language, "retold", lambda network, tokenizer, texts: [truth[text][::-1] for text in texts])
    found = language.scores(network, tokenizer, rows)
    assert found["story"]["exact_set"] == found["story"]["exact_set_after_each_picture"] == 1
    assert found["story"]["n"] == found["dialogue"]["n"] == 3 and found["story"]["pictures"] == 15
    ends = [set(row.turns[-1].layout.names) for row in rows if row.kind == "story"]
    assert found["story"]["chance"] == np.mean([a == b for a, b in zip(ends, [ends[-1], *ends], strict=False)])
    monkeypatch.setattr(language, "retold", lambda network, tokenizer, texts: [(*truth[t], "龙") for t in texts])
    assert language.scores(network, tokenizer, rows)["dialogue"]["exact_set"] == 0


def test_the_folder_holds_a_qwen2_and_tells_what_it_was_scored_on(trained):
    network, tokenizer = model.load(trained)
    assert type(network).__name__ == "Qwen2ForCausalLM"
    assert all(len(tokenizer(name).input_ids) == 1 for name in (*DRAWN.names, *retelling.MARKS[:4]))
    notes = json.loads((trained / "language.json").read_text())
    assert notes["validation"]["story"]["n"] == 3 and notes["validation"]["perplexity"]["tokens"] > 100
    assert notes["texts"] == {"story": 6, "dialogue": 4, "caption": 10}


def test_training_twice_gives_the_same_weights(trained, told, tmp_path):
    language.train(SETTINGS, told, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert not (tmp_path / "again.work").exists()
