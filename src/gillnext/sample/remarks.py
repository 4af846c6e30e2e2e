"""What a person should be told of a caption and the layout that is drawn: words never read, objects that are not there.

A run whose annotator looks for a list of names (`annotate.backend: detector`) has a closed vocabulary: its planner's
names, and the characters that its planner's tokenizer keeps whole, which are those of its captions. With a
vision-language annotator the vocabulary is open, and no word counts as unknown.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from gillnext import boxes
from gillnext.config.model import Config
from gillnext.language.words import alternation
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.planner.counts import counts_in, stated
from gillnext.planner.decode import nouns_in
from gillnext.planner.model import Planner

NEAR = 0.5  # IoU of two boxes from which their objects cover each other


def closed(cfg: Config, planner: Planner) -> bool:
    """Whether a run's planner has a closed vocabulary."""
    named = cfg.annotate.backend != "vlm" and bool(cfg.annotate.vocabulary or cfg.annotate.names)
    return (named or cfg.annotate.backend == "detector") and bool(planner.nouns)


def listed(words: Sequence[str], most: int = 20) -> str:
    """Words in one line, the first `most` of them."""
    return "、".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def unread(caption: str, tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> list[str]:
    """Runs of characters that a tokenizer of a run's own captions has never read, but for `names` and counts.

    Of Latin letters, which any byte-level tokenizer holds, none counts as read.
    """
    known = [*names, *(count.words for count in counts_in(caption, names))]
    rest = re.sub(alternation(known), " ", caption) if known else caption

    def new(character: str) -> bool:
        if character.isascii():
            return character.isalpha()
        return unicodedata.category(character)[0] in "LS" and len(tokenizer.tokenize(character)) > 1

    runs = ("".join(run) for is_new, run in itertools.groupby(rest, new) if is_new)
    return list(dict.fromkeys(runs))


def of_words(layout: Layout, planner: Planner) -> list[str]:
    """What of a layout the models of a closed vocabulary have never seen, with the names that they know."""
    remarks = []
    if words := unread(layout.caption, planner.tokenizer, planner.nouns):
        remarks.append(f"no caption in training had {listed(words)}")
    if strangers := [name for name in dict.fromkeys(layout.names) if name not in planner.nouns]:
        remarks.append(f"no box in training was called {listed(strangers)}")
    return [*remarks, f"these models know {listed(planner.nouns)}"] if remarks else []


def of_plan(layout: Layout, names: Sequence[str]) -> list[str]:
    """How a planned layout differs from what its caption asks for; `names` are the planner's."""
    placed, remarks = Counter(layout.names), []
    wanted = list(dict.fromkeys([*nouns_in(layout.caption, names), *layout.names]))
    counts = stated(layout.caption, wanted)
    for name in wanted:
        asked = counts.get(name, 1)
        if placed[name] < asked or (name in counts and placed[name] > asked):
            remarks.append(
                f"the caption names {asked} {name}; {placed[name]} drawn (a picture has {MAX_BOXES} at most)"
            )
    for count in counts_in(layout.caption, wanted):
        if not count.name and count.number > 1:
            remarks.append(f"{count.words}: no known name follows this count; it is not drawn")
    places = np.array(layout.boxes)
    overlaps = boxes.iou(places, places)
    pairs = itertools.combinations(range(len(layout.names)), 2)
    covered = [f"{layout.names[i]} and {layout.names[j]}" for i, j in pairs if overlaps[i, j] >= NEAR]
    remarks += [f"{pair} are planned on each other; boxes of your own can part them" for pair in dict.fromkeys(covered)]
    return remarks
