"""Draw on a page in the browser: a sentence, boxes under the mouse, the picture with and without the adapter.

    gillnext studio
    gillnext studio --adapter reference/models/draw/adapter results/demo/adapters/attn1/0
    gillnext studio --base Kolors-diffusers --adapter results/wukong/adapters/attn2/0

Prints the page's address and serves it, on this machine alone, until Ctrl-C. Models are those of `gillnext draw`; the
page offers every adapter that --adapter names as an arm, else the one that `gillnext draw` would take.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.sample.painter import Painter, add_models, places, settings, steps_of
from gillnext.studio.server import HOST, Studio, serve


def name_of(adapter: Path) -> str:
    """Arm and seed, as the adapter's own record tells them; else its folder."""
    record = adapter / "training.json"
    training = files.read_json(record) if record.is_file() else {}
    return f"{training['arm']}, seed {training['seed']}" if "arm" in training and "seed" in training else str(adapter)


def named(adapters: Sequence[Path]) -> dict[str, Path]:
    """Adapters by a name of their own, in their order."""
    found: dict[str, Path] = {}
    for adapter in adapters:
        name = name_of(adapter)
        found[f"{name} ({adapter})" if name in found else name] = adapter
    return found


async def run(studio: Studio, port: int, browser: bool) -> None:
    """Serve the studio until the process is told to end."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)

    def announce(address: str) -> None:
        print(f"{address}\nCtrl-C ends it", flush=True)
        if browser:
            webbrowser.open(address)

    await serve(studio, port, announce, stop)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help=f"on {HOST} (default: a free one)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument(
        "--adapter", type=Path, nargs="+", action="extend", default=[], metavar="FOLDER",
        help="adapters to choose from on the page (default: that of the results)",
    )  # fmt: skip
    add_models(parser, ("base", "planner"))


def main(args: argparse.Namespace) -> None:
    cfg = settings(args.config, args.results)
    first = args.adapter[0] if args.adapter else None
    found = places(cfg, args.results, {"base": args.base, "planner": args.planner, "adapter": first}, planned=False)
    arms = named(args.adapter or [found["adapter"]])
    painter = Painter(cfg, found["base"], found["planner"])
    for adapter in arms.values():
        painter.pipeline(adapter)  # refused before anything is served
    studio = Studio(painter, arms, steps_of(cfg, args), cfg.sample.guidance)
    try:
        asyncio.run(run(studio, args.port, args.open))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen: {error}", where=f"{HOST}:{args.port}", remedy="choose another --port"
        ) from error
