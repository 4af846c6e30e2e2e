"""The keyword pass: place words count, words that only contain one do not."""

import time

import numpy as np
import polars as pl
import pytest

from gillnext.filter.keyword import has_term, keyword_pass
from gillnext.filter.lexicon import Lexicon, read_lexicon
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError
from gillnext.world import captions, scenes


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


def test_pass_agrees_with_brute_force_on_random_text():
    rng = np.random.default_rng(1)
    lexicon = Lexicon(("左", "上面", "旁", "上下"), ("左右", "上面包", "右左右", "旁白"))
    alphabet = list("左右上下面包旁白x")
    texts = ["".join(rng.choice(alphabet, rng.integers(0, 7))) for _ in range(4000)]
    expected = [brute(t, lexicon) for t in texts]
    assert keyword_pass(pl.Series(texts), lexicon).to_list() == expected
    assert [has_term(t, lexicon) for t in texts] == expected
    assert 0.1 < np.mean(expected) < 0.9


def test_every_spatial_caption_of_both_splits_gets_through():
    texts = []
    for i in range(400):
        rng, scene = seeds.rng("keyword-test", i), scenes.sample(3, "keyword-test", i)
        for split in ("train", "world"):
            if stated := captions.spatial(scene, rng, split):
                texts.append(stated[0])
            texts.append(captions.weak(scene, rng, split))
    assert [t for t, kept in zip(texts, keyword_pass(pl.Series(texts)), strict=True) if not kept] == []


def test_a_hundred_thousand_captions_take_less_than_a_second():
    texts = [captions.noise(seeds.rng("keyword-speed", i), "world") for i in range(2000)] * 50
    began = time.perf_counter()
    kept = keyword_pass(pl.Series(texts))
    assert time.perf_counter() - began < 1
    assert kept.mean() < 0.1


def test_lexicon_refuses_words_outside_its_parts(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("# words\n左边\n[terms]\n右边\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_lexicon(path)
