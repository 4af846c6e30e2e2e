"""The grammar of a plan as an automaton over bytes, and which tokens of any byte-level tokenizer it allows.

plan := object{1, most} END;  object := <obj> name </obj><box>[ x1 , y1 , x2 , y2 ]</box>

with 0 ≤ x1 < x2 ≤ 1000 and likewise y. Required names come first, in any order, each as often as it is given; then the
plan may end or place further ones. Every state can be completed, so a model that may only choose allowed tokens always
ends in a plan. Where there is no name, the plan is empty.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gillnext.layouts import MAX_BOXES
from gillnext.planner import format as plan_format

_LITERALS = {0: plan_format.OPEN, 2: plan_format.MIDDLE, 4: ",", 6: ",", 8: ",", 10: plan_format.CLOSE}
_BYTES = {i: text.encode() for i, text in _LITERALS.items()}
_NAME, _X1, _Y1, _X2, _Y2 = 1, 3, 5, 7, 9


class State(NamedTuple):
    """Where a plan stands: objects finished, required names placed (a bit each), the part of the next object that is
    being written, its bytes so far, and the box's low corner."""

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


class Grammar:
    """Plans of at most `most` objects: the first `most` of the `required` names, then any of the `further` ones.

    With `mixed`, further ones may stand between the required ones as well, while there is room for those that are left.
    """

    def __init__(
        self, required: Sequence[str], further: Iterable[str] = (), most: int = MAX_BOXES, mixed: bool = False
    ) -> None:
        self.required = tuple(n.encode() for n in required)[:most]
        self.further = frozenset(n.encode() for n in further)
        self.most, self.mixed = most, mixed
        self.all = (1 << len(self.required)) - 1
        self._beginnings = frozenset(n[:i] for n in self.further for i in range(1, len(n) + 1))

    @property
    def longest(self) -> int:
        """Upper bound of a plan's length in bytes, and so in tokens."""
        name = max(map(len, (*self.required, *self.further)), default=0)
        return self.most * (name + sum(map(len, _BYTES.values())) + 4 * 4)

    def complete(self, state: State) -> bool:
        """Whether a plan may end here."""
        enough = state.done >= 1 or not (self.required or self.further)
        return enough and state.part == 0 and not state.text and state.placed == self.all

    def _left(self, state: State) -> list[bytes]:
        """The required names that are not placed yet."""
        return [n for i, n in enumerate(self.required) if not state.placed >> i & 1]

    def _further_may_come(self, state: State, left: Sequence[bytes]) -> bool:
        return not left or (self.mixed and state.done + len(left) < self.most)

    def _name_may_start(self, state: State, text: bytes) -> bool:
        left = self._left(state)
        named = self._further_may_come(state, left) and text in self._beginnings
        return named or any(n.startswith(text) for n in left)

    def _name_may_end(self, state: State) -> bool:
        left = self._left(state)
        return state.text in left or (self._further_may_come(state, left) and state.text in self.further)

    def advance(self, state: State, byte: int) -> State | None:
        """The state after one more byte, or None where the grammar has no place for it."""
        text = state.text + bytes([byte])
        if state.part in _BYTES:
            literal = _BYTES[state.part]
            full = state.done >= self.most or (state.part == 0 and not self._left(state) and not self.further)
            if full or not literal.startswith(text):
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
        if state.part == _NAME and state.placed != self.all:
            own = (i for i, n in enumerate(self.required) if n == state.text and not state.placed >> i & 1)
            first = next(own, None)  # None: a further name
            return following if first is None else following._replace(placed=state.placed | 1 << first)
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
    """The token ids that a grammar allows in a state, for one tokenizer's tokens; remembered by state.

    Tokens are kept sorted, so that all with the same beginning stand together and are refused together: of 150,000
    tokens a state looks at some hundreds.
    """

    def __init__(self, tokens: Sequence[bytes], end: int) -> None:
        self.tokens, self.end = tokens, end
        self._order = sorted((i for i, token in enumerate(tokens) if token), key=tokens.__getitem__)
        self._sorted = [tokens[i] for i in self._order]
        close = plan_format.CLOSE.encode()  # a token may hold it and the beginning of the next object
        self.beyond = any(close in token and not token.endswith(close) for token in tokens)
        self._known: dict[tuple[tuple[bytes, ...], frozenset[bytes], int, bool, State], list[int]] = {}

    def allowed(self, grammar: Grammar, state: State) -> list[int]:
        """Token ids after which the plan can still be completed; END where it may end."""
        key = (grammar.required, grammar.further, grammar.most, grammar.mixed, state)
        if _NAME < state.part < 10 and not self.beyond:  # inside a box nothing depends on the other objects
            key = ((), frozenset(), 0, False, state._replace(done=0, placed=0))
        if key not in self._known:
            ids = list(self._walk(grammar, state, 0, len(self._sorted), 0))
            self._known[key] = ids + ([self.end] if grammar.complete(state) else [])
        return self._known[key]

    def _walk(self, grammar: Grammar, state: State, low: int, high: int, depth: int) -> Iterator[int]:
        """Ids of those of the sorted tokens [low, high) that may come; `depth` bytes that all share led here."""
        while low < high and len(self._sorted[low]) == depth:
            yield self._order[low]
            low += 1
        while low < high:
            byte = self._sorted[low][depth]
            beginning = self._sorted[low][:depth]
            end = high if byte == 255 else bisect_left(self._sorted, beginning + bytes([byte + 1]), low, high)
            following = grammar.advance(state, byte)
            if following is not None:
                yield from self._walk(grammar, following, low, end, depth + 1)
            low = end
