"""The Ray that actors live on: the cluster that `ray.address` names, or one that is started here."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from typing import Any

from gillnext.config.model import Config
from gillnext.runtime import arithmetic
from gillnext.runtime.errors import UserError

CONNECT = 10.0  # seconds in which a cluster must answer
SOCKET = "session_2026-01-31_23-59-59_123456_{pid}/sockets/plasma_store"  # the longest name in Ray's folder
LONGEST = 107  # bytes of a socket's path
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}


def connect(config: Config) -> None:
    """Join the cluster of `ray.address`, or start one of this machine; a `UserError` where that cannot be done."""
    if config.ray.address:
        _join(config.ray.address)
    else:
        _start(config.ray.actors * max(config.run.threads, 1))


def runtime_env(started_here: bool) -> dict[str, Any]:
    """What an actor's process is started with: the arithmetic's variables, and the interpreter.

    A shell starts it, and Ray does not quote the interpreter's path, which may hold a space. That is this process's
    where Ray was started here; the nodes of a cluster have interpreters of their own.
    """
    environment: dict[str, Any] = {"env_vars": arithmetic.variables(arithmetic.current())}
    return environment | ({"py_executable": shlex.quote(sys.executable)} if started_here else {})


def short_folder() -> str | None:
    """A folder for Ray's sockets and logs where paths in its own, of `RAY_TMPDIR` or `TMPDIR`, are too long."""
    own = f"{os.environ.get('RAY_TMPDIR') or os.environ.get('TMPDIR') or '/tmp'}/ray"
    fits = len(os.fsencode(f"{own}/{SOCKET.format(pid=os.getpid())}")) <= LONGEST
    return None if fits else "/tmp/ray"


def _join(address: str) -> None:
    import ray

    try:
        host, _, port = address.rpartition(":")
        if host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), CONNECT).close()
        ray.init(address=address, **QUIET)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            where=f"ray.address: {address}",
            remedy="start one with `ray start --head`, or leave ray.address empty",
        ) from error


def _start(cpus: int) -> None:
    import ray

    here: dict[str, Any] = {"num_cpus": cpus, "_node_ip_address": "127.0.0.1", "_temp_dir": short_folder()}
    try:
        # "local": without an address Ray would join a cluster that runs here, or the one that RAY_ADDRESS names.
        ray.init(address="local", include_dashboard=False, **here, **QUIET)
    except OSError as error:
        raise UserError(
            f"Ray does not start: {error}",
            where="ray.actors",
            remedy="name another folder for its sockets and logs, of a short path: export RAY_TMPDIR=/tmp",
        ) from error
