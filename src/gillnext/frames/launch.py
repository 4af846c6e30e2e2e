"""Start a training's processes from Python, each a fresh interpreter, as accelerate's `notebook_launcher` does by
forking.

    VIDEO_TRAIN_PROCESSES=2 gillnext pix2pix …        # or --processes 2

Processes are spawned: one that is forked of a process in which CUDA has started cannot use it. Under `accelerate
launch` the processes are there already, and nothing is started.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from gillnext.runtime.errors import UserError

VARIABLE = "VIDEO_TRAIN_PROCESSES"


def processes(asked: int | None) -> int:
    """How many processes: what is asked for, else what the environment says, else one."""
    said = asked if asked is not None else os.environ.get(VARIABLE, "1")
    where = "--processes" if asked is not None else VARIABLE
    try:
        count = int(said)
    except ValueError as error:
        raise UserError(f"{said!r} is no number", where=where, remedy="how many processes train, 1 or more") from error
    if count < 1:
        raise UserError(f"{count} processes", where=where, remedy="1 or more")
    return count


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _child(rank: int, count: int, port: int, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    function(*arguments)


def start(function: Callable[..., None], arguments: Sequence[Any], count: int) -> None:
    """Call `function(*arguments)` in `count` processes that accelerate joins; here where one is enough, or where a
    launcher has started them. A process that fails ends the others and raises.
    """
    if count == 1 or "RANK" in os.environ:
        function(*arguments)
        return
    from torch.multiprocessing.spawn import ProcessRaisedException, spawn

    try:
        spawn(_child, (count, _port(), function, arguments), nprocs=count, join=True)
    except ProcessRaisedException as error:
        if "UserError: " in str(error):
            what = str(error).split("UserError: ")[-1].strip()
            raise UserError(what, where=f"one of {count} processes") from error
        raise
