"""The grammar of a plan as an automaton over bytes, and which tokens of any byte-level tokenizer it allows.

plan := object{1, most} END;  object := <obj> name </obj><box>[ x1 , y1 , x2 , y2 ]</box>

with 0 ≤ x1 < x2 ≤ 1000 and likewise y. A name is one of the given nouns, or, where none is given, 1–`MAX_FREE` Chinese
characters. Every given noun is placed once before one of them may be placed again and before the plan may end. Every
state can be completed, so a model that may only choose allowed tokens always ends in a plan.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from gillnext.layouts import MAX_BOXES
from gillnext.planner import format as plan_format

MAX_FREE = 8  # characters of a free name
_LITERALS = {0: plan_format.OPEN, 2: plan_format.MIDDLE, 4: ",", 6: ",", 8: ",", 10: plan_format.CLOSE}
_BYTES = {i: text.encode() for i, text in _LITERALS.items()}
_NAME, _X1, _Y1, _X2, _Y2 = 1, 3, 5, 7, 9


class State(NamedTuple):
    """Where a plan stands: objects finished, nouns placed (a bit each), the part of the next object that is being
    written, its bytes so far, and the box's low corner."""

    done: int = 0
    placed: int = 0
    part: int = 0
    text: bytes = b""
    x1: int = -1
    y1: int = -1


@functools.cache
def _by_prefix() -> dict[bytes, list[int]]:
    table: dict[bytes, list[int]] = defaultdict(list)
    for value in range(1001):
        written = plan_format.number(value).encode()
        for end in range(len(written) + 1):
            table[written[:end]].append(value)
    return table


@functools.lru_cache(maxsize=200_000)
def _reachable(prefix: bytes, low: int, high: int) -> bool:
    """Whether some number in [low, high] is written with this prefix."""
    return any(low <= v <= high for v in _by_prefix().get(prefix, ()))


def _bounds(state: State) -> tuple[int, int]:
    if state.part in (_X1, _Y1):
        return 0, 999
    return (state.x1 if state.part == _X2 else state.y1) + 1, 1000


def _whole(text: bytes, low: int, high: int) -> bool:
    """Whether `text` is a number in [low, high] as it is written, and not only the beginning of one."""
    return len(text) >= 3 and low <= int(text) <= high and plan_format.number(int(text)).encode() == text


def _chinese(text: bytes) -> bool:
    """Whether `text` starts a UTF-8 string of at most MAX_FREE characters of U+4E00–U+9FFF."""
    if len(text) > 3 * MAX_FREE:
        return False
    for start in range(0, len(text), 3):
        piece = text[start : start + 3]
        if not 0xE4 <= piece[0] <= 0xE9 or any(not 0x80 <= b <= 0xBF for b in piece[1:]):
            return False
        if piece[0] == 0xE4 and len(piece) > 1 and piece[1] < 0xB8:
            return False
    return True


class Grammar:
    """Plans of at most `most` objects whose names are among `nouns` (any Chinese words where it is empty)."""

    def __init__(self, nouns: Sequence[str] = (), most: int = MAX_BOXES) -> None:
        self.nouns = tuple(n.encode() for n in nouns)[:most]
        self.most = most
        self.all = (1 << len(self.nouns)) - 1

    @property
    def longest(self) -> int:
        """Upper bound of a plan's length in bytes, and so in tokens."""
        name = max((len(n) for n in self.nouns), default=3 * MAX_FREE)
        return self.most * (name + sum(map(len, _BYTES.values())) + 4 * 4)

    def complete(self, state: State) -> bool:
        """Whether a plan may end here."""
        return state.done >= 1 and state.part == 0 and not state.text and state.placed == self.all

    def _open(self, state: State) -> list[bytes]:
        """The nouns that may be placed next: those not placed yet, or all again."""
        left = [n for i, n in enumerate(self.nouns) if not state.placed >> i & 1]
        return left or list(self.nouns)

    def _name_may_start(self, state: State, text: bytes) -> bool:
        return any(n.startswith(text) for n in self._open(state)) if self.nouns else _chinese(text)

    def _name_may_end(self, state: State) -> bool:
        if self.nouns:
            return state.text in self._open(state)
        return bool(state.text) and len(state.text) % 3 == 0

    def advance(self, state: State, byte: int) -> State | None:
        """The state after one more byte, or None where the grammar has no place for it."""
        text = state.text + bytes([byte])
        if state.part in _BYTES:
            literal = _BYTES[state.part]
            if not literal.startswith(text) or state.done >= self.most:
                return None
            if text != literal:
                return state._replace(text=text)
            return State(state.done + 1, state.placed) if state.part == 10 else self._next(state)
        if state.part == _NAME:
            if self._name_may_start(state, text):
                return state._replace(text=text)
            ended = self._name_may_end(state)
        else:
            bounds = _bounds(state)
            if _reachable(text, *bounds):
                return state._replace(text=text)
            ended = _whole(state.text, *bounds)
        return self.advance(self._next(state), byte) if ended else None

    def _next(self, state: State) -> State:
        following = state._replace(part=state.part + 1, text=b"")
        if state.part == _NAME and self.nouns:
            return following._replace(placed=state.placed | 1 << self.nouns.index(state.text))
        if state.part == _X1:
            return following._replace(x1=int(state.text))
        return following._replace(y1=int(state.text)) if state.part == _Y1 else following

    def walk(self, state: State, text: bytes) -> State | None:
        """The state after all bytes of a token."""
        current: State | None = state
        for byte in text:
            if current is None:
                return None
            current = self.advance(current, byte)
        return current


class TokenTable:
    """The token ids that a grammar allows in a state, for one tokenizer's tokens; remembered by state."""

    def __init__(self, tokens: Sequence[bytes], end: int) -> None:
        self.tokens, self.end = tokens, end
        self.first: dict[int, list[int]] = defaultdict(list)
        for i, token in enumerate(tokens):
            if token:
                self.first[token[0]].append(i)
        self._known: dict[tuple[tuple[bytes, ...], int, State], list[int]] = {}

    def allowed(self, grammar: Grammar, state: State) -> list[int]:
        """Token ids after which the plan can still be completed; END where it may end."""
        key = (grammar.nouns, grammar.most, state)
        if key not in self._known:
            starts = [b for b in self.first if grammar.advance(state, b) is not None]
            ids = [i for b in starts for i in self.first[b] if grammar.walk(state, self.tokens[i]) is not None]
            self._known[key] = ids + ([self.end] if grammar.complete(state) else [])
        return self._known[key]
