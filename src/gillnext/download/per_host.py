"""Chooses the row that is fetched next: in the table's order, without hosts that have all the requests they may have.

So the workers never all wait for one slow host while rows of other hosts could be fetched.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable

Turn = tuple[int, str]  # a row's index and its host


class Turns:
    """Hands every row to one worker: `turn = first()`, and once that row is done `turn = after(host)`, until None."""

    def __init__(self, rows: Iterable[Turn], per_host: int) -> None:
        """At most `per_host` rows of a host are with workers at a time; 0: any number."""
        self.rows, self.per_host = iter(rows), per_host
        self.asked: Counter[str] = Counter()
        self.passed_over: defaultdict[str, deque[int]] = defaultdict(deque)

    def first(self) -> Turn | None:
        """The first row whose host has a place. None where there is no such row: workers at the hosts do the rest."""
        for index, host in self.rows:
            if not self.per_host or self.asked[host] < self.per_host:
                self.asked[host] += 1
                return index, host
            self.passed_over[host].append(index)
        return None

    def after(self, host: str) -> Turn | None:
        """The next row for the worker that leaves a place at `host`: one that was passed over there has it first."""
        if self.passed_over[host]:
            return self.passed_over[host].popleft(), host
        self.asked[host] -= 1
        return self.first()
