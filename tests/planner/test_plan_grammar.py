"""Constrained decoding: whatever the model, every answer is a plan."""

import itertools
from collections import Counter

import numpy as np
import pytest
import small_qwen
import torch

from gillnext.adapter.grounding import pad
from gillnext.language.model import build
from gillnext.language.tokenizer import token_bytes, train_tokenizer
from gillnext.layouts import MAX_BOXES
from gillnext.planner import format as plan_format
from gillnext.planner.decode import generate, nouns_in, spans
from gillnext.planner.grammar import Grammar, State, TokenTable
from gillnext.planner.model import Planner

NOUNS = ["猫", "房子", "树", "树木"]
CAPTIONS = ["左边是一棵树，右边是一座房子", "森林里的树木", "什么也没有的一句话", "a cat", "", "猫，房子，树，树木"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([*CAPTIONS, "0123456789[],<>objbox/"], 700, [*plan_format.tokens(), *NOUNS])


def accepts(grammar, text):
    state = grammar.walk(State(), text.encode())
    return state is not None and grammar.complete(state)


def test_grammar_accepts_written_plans_and_the_parser_accepts_what_it_accepts():
    grammar = Grammar(["猫", "树"], most=3)
    assert accepts(grammar, plan_format.write(["猫", "树"], [(0, 0, 1, 1), (0.1, 0.2, 0.3, 0.4)]))
    for bad in (
        "猫",
        "<obj>猫</obj>",
        plan_format.write(["猫"], [(0, 0, 1, 1)]),
        plan_format.write(["船"], [(0, 0, 1, 1)]),
    ):
        assert not accepts(grammar, bad)
    one = Grammar(["猫"], most=2)
    for numbers in itertools.product(["000", "001", "999", "1000", "1001", "5"], repeat=4):
        text = f"<obj>猫</obj><box>[{','.join(numbers)}]</box>"
        if accepts(one, text):
            assert plan_format.parse(text).valid
        elif all(len(n) >= 3 for n in numbers):
            assert not plan_format.parse(text).valid


def test_any_random_walk_of_allowed_bytes_ends_in_a_plan():
    rng = np.random.default_rng(0)
    for nouns, further in (
        ([], ["狗", "小狗"]), (["猫"], ["猫"]), (["树", "树木", "猫"], []), (["a", "ab", "abc"], ["ab"]),
        (["猫", "猫", "树"], ["树"]), (["猫"] * 5, []),
    ):  # fmt: skip
        grammar = Grammar(nouns, further, 4)
        for _ in range(60):
            state, text = State(), b""
            while True:
                choices = [(b, s) for b in range(256) if (s := grammar.advance(state, b)) is not None]
                if grammar.complete(state) and (not choices or rng.random() < 0.2):
                    break
                assert choices, (state, text)
                byte, state = choices[int(rng.integers(len(choices)))]
                text += bytes([byte])
            parsed = plan_format.parse(text.decode())
            assert parsed.valid
            more = Counter(parsed.names) - Counter(nouns[:4])
            assert not Counter(nouns[:4]) - Counter(parsed.names) and set(more) <= set(further)
            assert len(text) <= grammar.longest


def test_further_names_stand_between_required_ones_while_there_is_room():
    rng, orders = np.random.default_rng(1), set()
    grammar = Grammar(["猫", "猫", "树"], ["狗", "树", "树木"], 4, mixed=True)
    for _ in range(40):
        state, text = State(), b""
        while True:
            choices = [(b, s) for b in range(256) if (s := grammar.advance(state, b)) is not None]
            if grammar.complete(state) and (not choices or rng.random() < 0.3):
                break
            byte, state = choices[int(rng.integers(len(choices)))]
            text += bytes([byte])
        parsed = plan_format.parse(text.decode())
        assert parsed.valid and len(parsed.names) <= 4
        more = Counter(parsed.names) - Counter(["猫", "猫", "树"])
        assert not Counter(["猫", "猫", "树"]) - Counter(parsed.names) and set(more) <= {"狗", "树", "树木"}
        orders.add(parsed.names)
    assert any(names[0] == "狗" for names in orders) and any(names[2] == "树木" for names in orders)


def test_a_planner_whose_list_is_not_all_there_is_names_other_parts_of_a_caption(tokenizer):
    named = set()
    for seed in range(8):
        network = build(tokenizer, hidden=32, layers=1, heads=2, name="open", seed=seed).eval()
        (layout,) = Planner(network, tokenizer, NOUNS, unlisted=True, most=3).plan(["森林里的三只狗和树木"])
        assert (
            "树木" in layout.names
            and set(layout.names) <= set(spans("森林里的三只狗和树木"))
            and len(layout.names) <= 3
        )
        named |= set(layout.names)
    assert named > {"树木"}


def test_allowed_tokens_of_a_given_tokenizer_are_those_that_a_walk_accepts():
    texts = [*CAPTIONS, plan_format.write(NOUNS, [(0.1, 0.2, 0.3, 1.0)] * 4)] * 3
    tokens = token_bytes(small_qwen.tokenizer(texts))
    assert any(len(token) > 3 and b"<" in token for token in tokens)  # tokens that reach over a plan's parts
    table, rng = TokenTable(tokens, -1), np.random.default_rng(0)
    for grammar in (Grammar(["树"], ["树", "树木"], 2), Grammar(["树", "猫"], ["房子"], 3, mixed=True)):
        for _ in range(5):
            state = State()
            while ids := [i for i in table.allowed(grammar, state) if i >= 0]:
                expected = {i for i, raw in enumerate(tokens) if raw and grammar.walk(state, raw) is not None}
                assert set(ids) == expected and len(ids) == len(set(ids))
                state = grammar.walk(state, tokens[ids[int(rng.integers(len(ids)))]])


@pytest.mark.parametrize("seed", range(6))
def test_untrained_model_always_answers_with_a_plan(tokenizer, seed):
    network = build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=seed).eval()
    with torch.no_grad():
        network.model.embed_tokens.weight.mul_(20)  # far from uniform
    planner = Planner(network, tokenizer, NOUNS)
    for caption, answer in zip(CAPTIONS, planner.answer(CAPTIONS), strict=True):
        parsed = plan_format.parse(answer)
        assert parsed.valid or (caption, answer) == ("", ""), answer
        assert bool(caption) <= len(parsed.names) <= MAX_BOXES
        assert all(name in caption for name in parsed.names)
        if nouns := nouns_in(caption, NOUNS):
            assert set(parsed.names) == set(nouns)
    layouts = planner.plan(CAPTIONS)
    assert [x.caption for x in layouts] == CAPTIONS


def test_of_more_things_than_can_be_drawn_the_first_are_planned(tokenizer):
    nouns = ["树", "房子", "汽车", "猫", "花", "鱼", "船"]
    network = build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=0).eval()
    (layout,) = Planner(network, tokenizer, nouns).plan(["、".join(nouns)])
    assert set(layout.names) == set(nouns[:MAX_BOXES]) and len(layout.names) == MAX_BOXES
    pad([layout.boxes])  # as many as the adapter has slots for


@pytest.mark.parametrize(
    ("caption", "counts"),
    [
        ("三只猫", {"猫": 3}),
        ("左边是一只猫，右边是一只猫", {"猫": 2}),
        ("一对猫和一棵树", {"猫": 2, "树": 1}),
        ("七只猫", {"猫": MAX_BOXES}),
        ("五只猫和三棵树", {"猫": 3, "树": 3}),
    ],
)
def test_a_count_of_the_caption_is_the_number_of_boxes(tokenizer, caption, counts):
    network = build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=0).eval()
    (layout,) = Planner(network, tokenizer, NOUNS).plan([caption])
    assert Counter(layout.names) == counts


@pytest.mark.parametrize("caption", ["沙发前面有一只狗", "a cat left of a tree", "，。🐱", "Ａ区的café"])
def test_without_a_known_noun_names_are_parts_of_the_caption(tokenizer, caption):
    network = build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=1).eval()
    (layout,) = Planner(network, tokenizer, NOUNS).plan([caption])
    assert set(layout.names) <= set(spans(caption)) and bool(layout.names) == (caption != "，。🐱")


def test_spans_are_the_unbroken_parts_of_letters_and_cut_no_latin_word():
    caption = "红T恤，a cat 和" + "猫" * 20
    inside = {caption[i:j] for i in range(len(caption)) for j in range(i + 1, i + 1 + plan_format.MAX_NAME)}
    letters = {part for part in inside if part.isalpha() and plan_format.is_name(part)}
    assert set(spans(caption)) == letters - {"c", "ca", "at", "t"}


def test_untrained_model_without_the_grammar_does_not_but_nothing_raises(tokenizer):
    network = build(tokenizer, hidden=32, layers=1, heads=2, name="random", seed=0).eval()
    answers = Planner(network, tokenizer, NOUNS).answer(CAPTIONS, constrained=False)
    assert not any(plan_format.parse(a).valid for a in answers)


def test_answers_do_not_depend_on_the_batch(tokenizer):
    network = build(tokenizer, hidden=32, layers=2, heads=2, name="batch", seed=3).eval()
    alone = generate(network, tokenizer, CAPTIONS, vocabulary=NOUNS, batch=1, most=3)
    assert generate(network, tokenizer, CAPTIONS, vocabulary=NOUNS, batch=6, most=3) == alone


def test_allowed_tokens_are_those_that_a_walk_accepts(tokenizer):
    table = TokenTable(token_bytes(tokenizer), tokenizer.eos_token_id)
    grammar = Grammar(["树", "树木"], ["树", "树木"], 2)
    text = ""
    for step in ["<obj>", "树", "</obj><box>[", "100", ",100"]:
        text += step
        state = grammar.walk(State(), text.encode())
        expected = {
            i for i, raw in enumerate(token_bytes(tokenizer)) if raw and grammar.walk(State(), text.encode() + raw)
        }
        assert set(table.allowed(grammar, state)) == expected
    assert table.allowed(grammar, State(done=2, placed=3)) == [tokenizer.eos_token_id]


def test_nouns_are_found_in_order_and_longest_first():
    assert nouns_in("房子旁边的树木，树，猫和树", NOUNS) == ["房子", "树木", "树", "猫"]
    assert nouns_in("天空", NOUNS) == []
    assert nouns_in("树", []) == []
