"""Serve Mini-Wukong's pictures and faults on loopback, in the foreground (Ctrl-C ends it), or for one command.

    gillnext serve --world results/demo/world --port 8000
    gillnext serve --world results/demo/world -- gillnext download --table … --images … --out …

Prints its address once it listens; the paths are those of the shards' URLs. A command is given the world's host with
its address (`--host`) and what names the pictures behind it (`--source`), and the server ends with it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from gillnext.miniatures.world.server import Site, manifest, running, serve
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError


async def _serve(site: Site, port: int, until_stdin_closes: bool) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    if until_stdin_closes:

        def ended() -> None:
            if not os.read(sys.stdin.fileno(), 1):
                stop.set()

        loop.add_reader(sys.stdin.fileno(), ended)
    await serve(site, port, lambda address: print(f"http://{address}", flush=True), stop)


def source_of(world: Path) -> str:
    """What names the world's pictures: its settings, and the code that draws them."""
    return provenance.fingerprint(files.sha256(world / "world.json"), code=["gillnext.miniatures.world.serve"])


def serving(world: Path, command: list[str]) -> int:
    """Run `command` while the world is served; returns its exit status."""
    host = str(manifest(world)["world"]["host"])
    with running(world) as address:
        return subprocess.run([*command, "--host", f"{host}={address}", "--source", source_of(world)]).returncode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", type=Path, required=True, help="folder that `gillnext world` wrote")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    parser.add_argument("command", nargs="*", metavar="-- COMMAND", help="a command to serve the world for")


def main(args: argparse.Namespace, kind: type[Site] = Site) -> None:
    if args.command:
        if status := serving(args.world, args.command):
            sys.exit(status)
        return
    try:
        asyncio.run(_serve(kind(args.world), args.port, args.until_stdin_closes))
    except OSError as error:
        raise UserError(
            f"cannot listen: {error}", where=f"127.0.0.1:{args.port}", remedy="choose another --port"
        ) from error


def alone(kind: type[Site] = Site) -> None:
    """The command in a process of its own, without the other stages, for a site of this kind."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    main(parser.parse_args(), kind)


if __name__ == "__main__":  # how `server.running` starts it
    alone()
