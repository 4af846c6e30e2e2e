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


def test_a_steps_texts_depend_on_the_step_alone(told):
    found = [p for row in conversations.read(told / "train.jsonl") for p in language.passages(row)]
    one, other = (language.Texts(found, DRAWN, 3, 6) for _ in range(2))
    assert one.of(5) == other.of(5) != one.of(6)
    kinds = {passage.text + "\n": passage.kind for passage in found}
    before = [kinds.get(a) for step in range(60) for a, _ in one.of(step)]
    assert {"story", "dialogue", "caption", None} == set(before)


def test_the_loss_is_that_of_what_follows_and_a_share_of_what_it_follows(trained):
    network, tokenizer = model.load(trained)
    texts = [
        ("从前有一只猫。\n", "①猫"),
        ("", "一只猫和一棵树"),
        ("问：有鱼吗？答：没有鱼。\n猫的右边有一棵树。\n", "共一样。"),
    ]
    later, before = [], []
    for a, b in texts:
        ids = [*tokenizer(a).input_ids, *tokenizer(b).input_ids, tokenizer.eos_token_id]
        with torch.no_grad():
            surprise = -F.log_softmax(network(torch.tensor([ids])).logits[0], -1)
        for i in range(1, len(ids)):
            (later if i >= len(tokenizer(a).input_ids) else before).append(float(surprise[i - 1, ids[i]]))
    wanted = np.mean(later) + language.READING * np.mean(before)
    with torch.no_grad():
        assert float(language.loss_of(network, tokenizer, texts)) == pytest.approx(wanted, rel=1e-5)


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
    assert notes["texts"] == {"story": 30, "dialogue": 4, "caption": 10}


def test_training_twice_gives_the_same_weights(trained, told, tmp_path):
    language.train(SETTINGS, told, tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert not (tmp_path / "again.work").exists()
