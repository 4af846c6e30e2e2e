"""Captions that the classifier is trained on: split "train" only, harder ones more often than they are on the web.

Some are of photographs (`photo_captions`) and not of the drawn world. Some have traditional characters, as far as the
lexicon knows them. Of the drawn world's a share is corrupted: characters that are no place word, no object and no
punctuation are replaced by random ones or left out. What is left to learn from is how place words and objects stand to
each other, which holds for sentence templates that the training captions do not have.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from gillnext.filter.keyword import has_term
from gillnext.filter.lexicon import read_lexicon
from gillnext.language.words import alternation
from gillnext.miniatures.photo_captions import photo
from gillnext.miniatures.world import captions, noise
from gillnext.miniatures.world.kinds import Kind
from gillnext.miniatures.world.objects import DRAWN, Objects
from gillnext.miniatures.world.scenes import Scene
from gillnext.miniatures.world.words import WORDS
from gillnext.runtime import seeds

SHARES = {"strong": 0.36, "weak": 0.22, "none": 0.42}
HARD = 0.75  # share of "none" that gets through the keyword pass
PHOTOS = 0.2  # share of captions of photographs
TRADITIONAL = 0.15  # share of captions with traditional characters
NAMING = 0.12  # share of "none" that names objects and no places
CORRUPTED = 0.7  # share of captions that are corrupted
REPLACED, DROPPED = 0.55, 0.15  # shares of their free characters
FUNCTION = "的了是在有和不就也还都着被把从到向往与及这那个很又只可能会要为对里中给让跟比"


@cache
def _fixed(kinds: tuple[Kind, ...]) -> re.Pattern[str]:
    """What corruption leaves alone: place words, object phrases, and all that is not a Chinese character."""
    words = [*read_lexicon().terms, *(c.phrase for c in kinds), *(c.name for c in kinds)]
    return re.compile(f"({alternation(words)}|从|到|[^\u4e00-\u9fff])")


@cache
def _characters() -> str:
    """Characters that replace others: those of the filler words, and as many function words."""
    filler = sorted({c for words in WORDS["train"].values() for w in words for c in w if "\u4e00" <= c <= "\u9fff"})
    return "".join(filler) + FUNCTION * max(len(filler) // len(FUNCTION), 1)


def corrupt(text: str, rng: np.random.Generator, kinds: tuple[Kind, ...] = DRAWN.kinds) -> str:
    """The caption with some of its free characters replaced or left out."""
    pieces = []
    for i, piece in enumerate(_fixed(kinds).split(text)):
        if i % 2:
            pieces.append(piece)
            continue
        for character in piece:
            draw = rng.random()
            if draw < REPLACED:
                pieces.append(_characters()[int(rng.integers(len(_characters())))])
            elif draw > REPLACED + DROPPED:
                pieces.append(character)
    return "".join(pieces)


def traditional(text: str, rng: np.random.Generator) -> str:
    """The caption, with each character that the lexicon knows variants of as one of these or as it is."""
    variants = read_lexicon().variants
    return "".join(str(rng.choice(list(variants[c]))) if c in variants else c for c in text)


def _none(rng: np.random.Generator, scene: Scene, kinds: tuple[Kind, ...]) -> str:
    draw = rng.random()
    if draw < NAMING:
        return captions.naming(scene, rng)
    text = noise.noise(rng, "train", kinds)
    while draw < NAMING + HARD and not has_term(text, read_lexicon()):
        text = noise.noise(rng, "train", kinds)
    return text


def _clean(rng: np.random.Generator, scene: Scene, kinds: tuple[Kind, ...]) -> tuple[str, str]:
    label = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    if label == "strong" and (stated := captions.spatial(scene, rng, "train")):
        return stated[0], label
    if label == "weak":
        return captions.weak(scene, rng, "train"), label
    return _none(rng, scene, kinds), "none"


def example(seed: int, index: int, objects: Objects = DRAWN) -> tuple[str, str]:
    """Caption `index` of the stream "classifier" and its label."""
    rng = seeds.rng("classifier-caption", seed, index)
    if rng.random() < PHOTOS:
        # Not corrupted: its objects are no known ones, and tell places from other senses.
        text, label = photo(rng, objects.kinds)
    else:
        text, label = _clean(rng, objects.sample(seed, "classifier", index), objects.kinds)
        text = corrupt(text, rng, objects.kinds) if rng.random() < CORRUPTED else text
    return (traditional(text, rng) if rng.random() < TRADITIONAL else text), label


def examples(seed: int, count: int, objects: Objects = DRAWN) -> tuple[list[str], list[str]]:
    """The first `count` captions and their labels."""
    pairs = [example(seed, i, objects) for i in range(count)]
    return [c for c, _ in pairs], [label for _, label in pairs]
