"""The arguments that stages share."""

from __future__ import annotations

import argparse
from pathlib import Path

from gillnext.config.load import load
from gillnext.config.model import Config


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE …`: YAML or JSON, later files on top of earlier ones."""
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        default=[Path("config.yaml")],
        metavar="FILE",
        help="settings; later files go on top of earlier ones (default: config.yaml)",
    )


def config(args: argparse.Namespace) -> Config:
    return load(*args.config)


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help=what)
