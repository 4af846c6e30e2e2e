"""Greedy decoding of plans in batches, with or without the grammar.

Letters: B captions, T tokens, V vocabulary.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedTokenizerBase

from gillnext.language import batching
from gillnext.language.lengths import by_length
from gillnext.language.tokenizer import token_bytes
from gillnext.language.words import alternation
from gillnext.layouts import MAX_BOXES
from gillnext.planner import format as plan_format
from gillnext.planner import prompts
from gillnext.planner.counts import stated
from gillnext.planner.grammar import Grammar, State, TokenTable

_PIECE = re.compile(r"[A-Za-z]+|[^\W\d_]")  # a word in Latin letters, or one letter or character of any other writing


@functools.lru_cache(maxsize=16)
def _pattern(vocabulary: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(alternation(vocabulary))


def nouns_in(caption: str, vocabulary: Sequence[str]) -> list[str]:
    """The known nouns of a caption in the order of mention, each once; a longer noun hides those inside it."""
    if not vocabulary:
        return []
    pattern = _pattern(tuple(vocabulary))
    return list(dict.fromkeys(pattern.findall(caption)))


def spans(caption: str) -> list[str]:
    """All parts of a caption that can name an object: unbroken, of letters alone, no Latin word cut."""
    pieces = [match.span() for match in _PIECE.finditer(caption)]
    found = []
    for i, (start, end) in enumerate(pieces):
        for first, last in [(start, end), *pieces[i + 1 :]]:
            if first > end or last - start > plan_format.MAX_NAME:
                break
            end = last
            found.append(caption[start:end])
    return found


def grammar_of(caption: str, vocabulary: Sequence[str], most: int, unlisted: bool = False) -> Grammar:
    """Plans that name what the caption does: its known nouns, as often as it counts them, else spans of it.

    Of more than `most`, each noun comes once before any comes again. With `unlisted`, spans of the caption may stand
    among its known nouns.
    """
    nouns = nouns_in(caption, vocabulary)
    if not nouns:
        return Grammar((), spans(caption), most)
    counts = stated(caption, nouns)
    required = [noun for copy in range(most) for noun in nouns if copy < counts.get(noun, 1)]
    further = [noun for noun in (*nouns, *(spans(caption) if unlisted else ())) if noun not in counts]
    return Grammar(required, further, most, mixed=unlisted)


class GrammarProcessor(LogitsProcessor):
    """Leaves each row only the tokens that its own grammar allows next."""

    def __init__(self, table: TokenTable, grammars: Sequence[Grammar]) -> None:
        self.table, self.grammars = table, grammars
        self.states: list[State | None] = [State() for _ in grammars]
        self.started = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`input_ids` (B, T), `scores` (B, V); the scores with −∞ where the grammar forbids a token."""
        places: list[int] = []  # in the scores as one row: one copy to a GPU, and one lookup, for all rows
        for row, last in enumerate(input_ids[:, -1].tolist()):
            state, grammar = self.states[row], self.grammars[row]
            if self.started and state is not None:
                state = None if last == self.table.end else grammar.walk(state, self.table.tokens[last])
                self.states[row] = state
            ids = [self.table.end] if state is None else self.table.allowed(grammar, state)
            places += [row * scores.shape[1] + token for token in ids]
        self.started = True
        where = torch.tensor(places, device=scores.device)
        masked = scores.new_full((scores.numel(),), -torch.inf)
        masked[where] = scores.reshape(-1)[where]
        return masked.view(scores.shape)


def _texts(tokenizer: PreTrainedTokenizerBase, tokens_BT: Tensor) -> list[str]:
    texts = tokenizer.batch_decode(tokens_BT, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return [text.split(str(tokenizer.eos_token))[0] for text in texts]


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    captions: Sequence[str],
    *,
    vocabulary: Sequence[str] = (),
    constrained: bool = True,
    most: int = MAX_BOXES,
    unlisted: bool = False,
    batch: int = 128,
) -> list[str]:
    """The model's answers, greedy, in the order of `captions`; with the grammar each of them is a plan."""
    table = TokenTable(token_bytes(tokenizer), tokenizer.eos_token_id) if constrained else None
    room = 32 if len(tokenizer(plan_format.OPEN, add_special_tokens=False).input_ids) == 1 else 64  # tokens an object
    asked = [prompts.tokens(c, tokenizer) for c in captions]
    answers = [""] * len(captions)
    for rows in by_length([len(p) for p in asked], batch):
        grammars = [grammar_of(captions[i], vocabulary, most, unlisted) for i in rows]
        processors = LogitsProcessorList([GrammarProcessor(table, grammars)] if table else [])
        given = batching.inputs([asked[i] for i in rows], tokenizer.pad_token_id, model.device)
        tokens_BT = model.generate(
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            do_sample=False,
            max_new_tokens=(max(g.longest for g in grammars) + 1) if table else room * most,
            logits_processor=processors,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        for i, text in zip(rows, _texts(tokenizer, tokens_BT[:, given["input_ids"].shape[1] :]), strict=True):
            answers[i] = text
    return answers
