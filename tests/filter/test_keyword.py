"""The keyword pass: place words count, words that only contain one do not."""

import numpy as np
import polars as pl
import pytest

from gillnext.filter.keyword import AT_ONCE, has_term, keyword_pass
from gillnext.filter.lexicon import Lexicon, read_lexicon
from gillnext.miniatures.world import captions, scenes
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("左边是一棵树，右边是一座房子", True),
        ("一只猫在图的左上角", True),
        ("从上到下依次是一条鱼和一只猫", True),
        ("一只猫旁边有一棵树", True),
        ("100元左右", False),
        ("上海迪士尼门票下载", False),
        ("中国加油", False),
        ("购物中心开业", False),
        ("上海外滩的左边", True),
        ("大约50元左右，左边是一棵树", True),
        ("", False),
    ],
)
def test_traps_and_terms(text, kept):
    assert keyword_pass(pl.Series([text])).to_list() == [kept]


def brute(text, lexicon):
    traps = [(i, i + len(t)) for t in lexicon.traps for i in range(len(text)) if text.startswith(t, i)]
    return any(
        text.startswith(t, i) and not any(a <= i and i + len(t) <= b for a, b in traps)
        for t in lexicon.terms
        for i in range(len(text))
    )


@pytest.mark.parametrize(
    "text",
    [
        "门口左右各有一只石狮", "左右两只猫", "画面左右分成两半", "左右对称的一对花瓶", "中间人物是一位老人",
        "上部分是天空", "下部分是草地", "广场中心区有一座喷泉", "三百元左右的灯，左右各挂一盏", "左右两边都是山",
    ],
)  # fmt: skip
def test_left_and_right_of_a_picture_and_its_parts_are_places(text):
    assert keyword_pass(pl.Series([text])).to_list() == [True] and brute(text, read_lexicon())


@pytest.mark.parametrize(
    "text",
    [
        "三百元左右", "五点左右到货", "左右为难的选择", "上海一日游", "中国加油", "软件下载", "新款上衣",
        "里程表维修", "前列腺保健", "没有中间商赚差价", "市中心区房价", "中间件教程", "老板的左右手", "上部队报到",
    ],
)  # fmt: skip
def test_words_that_only_hold_a_place_character_are_no_places(text):
    assert keyword_pass(pl.Series([text])).to_list() == [False] and not brute(text, read_lexicon())


def test_mini_wukong_says_nothing_that_only_real_captions_say():
    """The lexicon's words for these change nothing of the demo's rows, whose texts are all from templates."""
    only_real = ("左右各", "左右两", "左右分", "左右对称", "中心区", "中间人", "上部分", "下部分")
    texts = []
    for i in range(1000):
        rng, scene = seeds.rng("lexicon-test", i), scenes.sample(5, "lexicon-test", i)
        for split in ("train", "world"):
            stated = captions.spatial(scene, rng, split)
            texts += [*(captions.noise(rng, split) for _ in range(10)), captions.weak(scene, rng, split)]
            texts += [stated[0]] if stated else []
    assert [text for text in texts if any(word in text for word in only_real)] == []


def test_pass_agrees_with_brute_force_on_random_text():
    rng = np.random.default_rng(1)
    lexicon = Lexicon(("左", "上面", "旁", "上下"), ("左右", "上面包", "右左右", "旁白"))
    alphabet = list("左右上下面包旁白x")
    texts = ["".join(rng.choice(alphabet, rng.integers(0, 7))) for _ in range(4000)]
    expected = [brute(t, lexicon) for t in texts]
    assert keyword_pass(pl.Series(texts), lexicon).to_list() == expected
    assert [has_term(t, lexicon) for t in texts] == expected
    assert 0.1 < np.mean(expected) < 0.9


def test_pass_agrees_with_brute_force_on_more_words_than_are_searched_for_at_once():
    rng = np.random.default_rng(2)
    words = sorted({"".join(rng.choice(list("左右上下面包旁白"), rng.integers(3, 6))) for _ in range(600)})
    lexicon = Lexicon(tuple(words[::2]), tuple(words[1::2]))
    assert min(len(lexicon.terms), len(lexicon.traps)) > 2 * AT_ONCE
    texts = ["".join(rng.choice(list("左右上下面包旁白"), rng.integers(0, 9))) for _ in range(4000)]
    expected = [brute(t, lexicon) for t in texts]
    assert keyword_pass(pl.Series(texts), lexicon).to_list() == expected
    assert 200 < sum(expected) < 3000


def test_every_spatial_caption_of_both_splits_gets_through():
    texts = []
    for i in range(400):
        rng, scene = seeds.rng("keyword-test", i), scenes.sample(3, "keyword-test", i)
        for split in ("train", "world"):
            if stated := captions.spatial(scene, rng, split):
                texts.append(stated[0])
            texts.append(captions.weak(scene, rng, split))
    assert [t for t, kept in zip(texts, keyword_pass(pl.Series(texts)), strict=True) if not kept] == []


def test_few_captions_that_say_no_place_get_through():
    texts = [captions.noise(seeds.rng("keyword-noise", i), "world") for i in range(2000)]
    assert keyword_pass(pl.Series(texts)).mean() < 0.1


def test_lexicon_refuses_words_outside_its_parts(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("# words\n左边\n[terms]\n右边\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_lexicon(path)
