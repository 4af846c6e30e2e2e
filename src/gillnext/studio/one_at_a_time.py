"""Does one piece of work at a time, in a thread of its own, so that the page stays alive meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from gillnext.runtime.errors import UserError

T = TypeVar("T")
MOST = 16  # pages that wait


class Superseded(Exception):
    """The page has asked anew before this had its turn."""


class Turns:
    """`await turns.take(page, work)` is `work()`. Of a page that asks again only the newest request waits.

    `begin` is called once in the thread: what torch keeps by thread is set there. What runs already is finished.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        self.thread = ThreadPoolExecutor(1, "studio", initializer=begin)
        self.waiting: dict[str, Future[Any]] = {}

    async def take(self, page: str, work: Callable[[], T]) -> T:
        """What `work` returns or raises; `Superseded` where a newer request of the page took its place."""
        if earlier := self.waiting.pop(page, None):
            earlier.cancel()
        if len(self.waiting) >= MOST:
            raise UserError(f"{MOST} pages wait", where="the studio", remedy="close some, or try again later")
        future = self.waiting[page] = self.thread.submit(work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if future.cancelled() and not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise Superseded from None
            raise
        finally:
            if self.waiting.get(page) is future:
                del self.waiting[page]

    def close(self) -> None:
        self.thread.shutdown(wait=False, cancel_futures=True)
