"""Runs a model on several devices: one Ray actor a device. A free actor gets the next batch; a dead one is replaced.

    with Workers(partial(load, folder), config) as workers:
        for batch, answer in workers.map(batches):
            …

`make()` runs where the model is to live and returns a function of a batch. With `ray.actors: 0` the model lives in this
process, and Ray is not started. Answers come in the order in which they are ready, each with its batch.

An actor is replaced when it dies, when its model raises an error, or when a batch takes it longer than `ray.timeout`;
where its node is lost, as soon as there is room elsewhere. Its batches go to other actors. After two such failures a
batch is split in halves, and again after every further one. A single item that still fails gets the answer None.
`ray.restarts` limits the replacements. Those that a batch cost do not count if other batches were answered meanwhile.

A `UserError` ends the job at once. So does any error while the first model is made.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Generic, TypeVar

from gillnext.config.model import Config
from gillnext.runtime import cluster
from gillnext.runtime.errors import UserError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Model = Callable[[Sequence[Item]], Answer]

QUEUE = 2  # batches that an actor has: one that it works on, one that waits, so that it is never idle
DEATHS = 2  # of actors over a batch, before it is cut in halves
POLL = 1.0  # seconds between two looks at the clock


def on_actors(config: Config) -> Config:
    """The settings as an actor sees them: of a machine's GPUs it has one, which is its first whatever its number."""
    if not config.ray.actors or not config.run.device.startswith("cuda"):
        return config
    return replace(config, run=replace(config.run, device="cuda"))


class Actor:
    """What runs on a device: the model, and who and where it is."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.error: Exception | None = None
        try:
            self.model = make()
        except Exception as error:  # reported by `place`: an error here would look like a death
            self.error = error

    def place(self) -> str:
        """Node and device, for the counts; raises what has kept the model from being made."""
        import ray

        if self.error:
            raise self.error
        context = ray.get_runtime_context()
        gpus = context.get_accelerator_ids().get("GPU", [])
        return f"{context.get_node_id()[:6]}{''.join(f'/cuda:{gpu}' for gpu in gpus)}/{os.getpid()}"

    def answer(self, batch: Sequence[Any]) -> Any:
        return self.model(batch)


@dataclass
class _Task(Generic[Item]):
    """A batch on its way, and how many actors have died over it."""

    batch: Sequence[Item]
    deaths: int = 0


@dataclass(eq=False)
class _Hand:  # compared by identity
    """An actor as the driver sees it; `tasks` are its batches by their references, the oldest first."""

    handle: Any
    starting: Any  # reference to the place; None once the actor is there
    place: str = "not yet placed"
    tasks: dict[Any, _Task[Any]] = field(default_factory=dict)
    since: float = 0.0  # when the oldest of them came to be the oldest

    def takes(self, task: _Task[Any]) -> bool:
        """Whether a batch fits in its queue. One over which an actor has died is alone: an actor's last answer may be
        lost with it, and the next death must be laid to the right batch.
        """
        suspect = task.deaths or any(other.deaths for other in self.tasks.values())
        return not self.tasks or (len(self.tasks) < QUEUE and not suspect)


class Workers(Generic[Item, Answer]):
    """Copies of a model on the devices that `config.ray` names; a context manager."""

    def __init__(self, make: Callable[[], Model[Item, Answer]], config: Config) -> None:
        self.make, self.config, self.settings = make, config, config.ray
        self.counts: Counter[str] = Counter()  # items done, by place
        self.seconds = 0.0  # in which they were, from when the first model was there
        self.hands: list[_Hand] = []
        self.replaced = 0
        self.forgiven = 0  # of these, those up to an item that was set aside, the model being well otherwise
        self.proven = False  # whether an answer has come since then
        self.model: Model[Item, Answer] | None = None
        self.ours = False  # whether the Ray that runs was started here
        self.heard = 0.0  # when an actor last answered

    def __enter__(self) -> Workers[Item, Answer]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.hands:
            return
        import ray

        for hand in self.hands:
            ray.kill(hand.handle)
        if self.ours:
            ray.shutdown()

    def map(self, batches: Iterable[Sequence[Item]]) -> Iterator[tuple[Sequence[Item], Answer | None]]:
        """(batch, answer) as answers come; a batch that was cut in halves comes as its parts."""
        waiting = deque(_Task(batch) for batch in batches if len(batch))
        if not waiting:
            return
        if not self.settings.actors:
            yield from self._here(waiting)
            return
        self._start()
        self.heard, began = time.monotonic(), 0.0
        while waiting or any(hand.tasks for hand in self.hands):
            self._hand_out(waiting)
            if not began and any(hand.starting is None for hand in self.hands):
                began = time.monotonic()
            yield from self._collect(waiting)
        self.seconds += time.monotonic() - began

    def _here(self, waiting: deque[_Task[Item]]) -> Iterator[tuple[Sequence[Item], Answer]]:
        if self.model is None:
            self.model = self.make()
        began = time.monotonic()
        for task in waiting:
            yield task.batch, self.model(task.batch)
            self.counts["here"] += len(task.batch)
        self.seconds += time.monotonic() - began

    @property
    def pace(self) -> dict[str, dict[str, float]]:
        """Of GPUs, as a part of a job's counts: how many shared the items of this process, and in how many seconds they
        did them, without the loading of the first model. Nothing of a CPU, where counts are the same in every run.
        """
        if not self.config.run.device.startswith("cuda") or not self.seconds:
            return {}
        devices, items = max(self.settings.actors, 1), self.counts.total()
        return {"pace": {"devices": devices, "items": items, "seconds": round(self.seconds, 6)}}

    # With Ray

    def _start(self) -> None:
        if self.hands:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        if not ray.is_initialized():
            self.ours = True
            cluster.connect(self.config)
        self.hands = [self._hand() for _ in range(self.settings.actors)]

    def _hand(self) -> _Hand:
        import ray

        on_device = ray.remote(
            num_cpus=max(self.config.run.threads, 1),
            num_gpus=int(self.config.run.device != "cpu"),
            runtime_env=cluster.runtime_env(started_here=self.ours and not self.settings.address),
        )
        handle: Any = on_device(Actor).remote(self.make)
        return _Hand(handle, handle.place.remote())

    def _hand_out(self, waiting: deque[_Task[Item]]) -> None:
        """Fill the queue of every actor that is there, the emptiest first."""
        while waiting:
            fit = [hand for hand in self.hands if hand.starting is None and hand.takes(waiting[0])]
            if not fit:
                return
            hand = min(fit, key=lambda h: len(h.tasks))
            if not hand.tasks:
                hand.since = time.monotonic()
            task = waiting.popleft()
            hand.tasks[hand.handle.answer.remote(task.batch)] = task

    def _collect(self, waiting: deque[_Task[Item]]) -> Iterator[tuple[Sequence[Item], Answer | None]]:
        """Wait for answers for a while; yields those that came, and the items that no actor lives through."""
        import ray
        from ray.exceptions import RayError

        flying = {ref: hand for hand in self.hands for ref in hand.tasks}
        flying |= {hand.starting: hand for hand in self.hands if hand.starting is not None}
        if ray.wait(list(flying), num_returns=1, timeout=POLL)[0]:  # all that are ready, not the first in the list
            ready, _ = ray.wait(list(flying), num_returns=len(flying), timeout=0)
        else:
            ready = []
        for ref in ready:
            hand, self.heard = flying[ref], time.monotonic()
            if hand not in self.hands:  # replaced a moment ago
                continue
            try:
                answer = ray.get(ref)
            except RayError as error:
                yield from self._failed(hand, ref, error, waiting)
                continue
            hand.since = self.heard
            if ref == hand.starting:
                hand.starting, hand.place = None, answer
                continue
            task = hand.tasks.pop(ref)
            self.counts[hand.place] += len(task.batch)
            self.proven = True
            yield task.batch, answer
        now = time.monotonic()
        for hand in list(self.hands):
            if hand.tasks and now - hand.since > self.settings.timeout:
                ray.kill(hand.handle)
                yield from self._died(hand, waiting, f"took longer than {self.settings.timeout:g} s over a batch")
        if now - self.heard > self.settings.start_timeout and not any(hand.tasks for hand in self.hands):
            raise UserError(
                f"no actor has started or answered for {self.settings.start_timeout:g} s",
                where="ray.start_timeout",
                remedy="ask for as many actors as the cluster has devices (`ray status` tells); "
                "an environment on its nodes lies in a folder without spaces",
            )

    def _failed(
        self, hand: _Hand, ref: Any, error: Exception, waiting: deque[_Task[Item]]
    ) -> Iterator[tuple[Sequence[Item], None]]:
        """An actor has died, or its model has raised: it is replaced as it may be of no more use (a CUDA error)."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        if isinstance(error, RayActorError):
            yield from self._died(hand, waiting, f"died ({' '.join(str(error).split())[-300:]})")
            return
        cause: Any = error.cause if isinstance(error, RayTaskError) else error
        if isinstance(cause, UserError):
            raise cause from None
        if ref == hand.starting and not self.replaced:  # no model could be made: no batch is to blame
            raise error from None
        ray.kill(hand.handle)
        if ref in hand.tasks:  # the batch that raised is to blame, be it the oldest or not
            hand.tasks = {ref: hand.tasks[ref]} | hand.tasks
        reason = " ".join(str(cause).split())
        yield from self._died(hand, waiting, f"raised {type(cause).__name__}: {reason[:300]}")

    def _died(self, hand: _Hand, waiting: deque[_Task[Item]], how: str) -> Iterator[tuple[Sequence[Item], None]]:
        """Replace an actor and take its batches back. Its death counts against the batch that it was working on, not
        against the one that waited.
        """
        self.replaced += 1
        if self.replaced - self.forgiven > self.settings.restarts:
            raise UserError(
                f"{self.replaced} actors were lost; the last, at {hand.place}, {how}",
                where="ray.restarts",
                remedy="see the logs of Ray and of the system for why; finished work is kept, the same command goes on",
            )
        print(f"ray: the actor at {hand.place} {how}; another takes its place", file=sys.stderr, flush=True)
        tasks = list(hand.tasks.values())
        self.hands[self.hands.index(hand)] = self._hand()
        waiting.extendleft(reversed(tasks[1:]))
        for at in tasks[:1]:
            at.deaths += 1
            if at.deaths < DEATHS:
                waiting.appendleft(at)
            elif len(at.batch) > 1:
                half = len(at.batch) // 2
                waiting.extendleft([_Task(part, DEATHS - 1) for part in (at.batch[half:], at.batch[:half])])
            else:
                if self.proven:  # it was the item's fault
                    self.forgiven, self.proven = self.replaced, False
                yield at.batch, None
