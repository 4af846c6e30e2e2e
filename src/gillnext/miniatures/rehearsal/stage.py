"""Rehearse what a lab does: the wukong tier's graph on a release and on given checkpoints, all miniatures.

    gillnext rehearse --config config.yaml config/rehearsal.yaml --models results/demo/models --out /tmp/rehearsal \\
        -- snakemake --cores 2 --configfile config/rehearsal.yaml

Writes into OUT a release in Wukong's form (`release/`), a checkpoint a role (`models/`) and the settings that name both
(`lab.yaml`); then runs the command, with these settings last, while the release's pictures are served on loopback. The
same command goes on where a killed one was: release and checkpoints stay, and so does the server's port.
"""

from __future__ import annotations

import argparse
import dataclasses
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import yaml

from gillnext.config.arguments import add_config
from gillnext.config.arguments import config as read_config
from gillnext.config.model import Config
from gillnext.miniatures.rehearsal import checkpoints
from gillnext.miniatures.world import stage as world
from gillnext.miniatures.world.server import running
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SERVER = "gillnext.miniatures.rehearsal.server"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def prepare(
    config: Config, models: Path, kept: Path, out: Path, base: checkpoints.Base = "kolors",
    annotator: checkpoints.Annotator = "grounding-dino",
) -> Path:  # fmt: skip
    """Release, checkpoints and settings in `out`; what is there stays. Returns the settings' file."""
    release, lab = out / "release", out / "lab.yaml"
    if not (release / "world.json").exists():
        world.make(dataclasses.replace(config, world=dataclasses.replace(config.world, release="")), release)
    given = checkpoints.make(models, kept, out / "models", base, annotator)
    port = files.read_json(out / "port.json") if (out / "port.json").exists() else free_port()
    files.write_json(out / "port.json", port)
    names = str((out / "models" / checkpoints.NAMES).absolute())
    settings = {
        "world": {"release": str((release / "shards").absolute())},
        "download": {"hosts": {config.world.host: f"127.0.0.1:{port}"}},
        "models": {role: str(folder.absolute()) for role, folder in given.items()},
        "annotate": {"names": names} if annotator == "grounding-dino" else {"backend": "vlm"},
        "zero_shot": {"names": names},
    }
    files.write_text(lab, yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))
    return lab


def rehearse(lab: Path, command: list[str]) -> int:
    """Run `command` with the settings' file `lab` of `prepare` as its last argument; returns its exit status."""
    out = lab.parent
    if not command:
        return 0
    with running(out / "release", module=SERVER, port=files.read_json(out / "port.json")):
        return subprocess.run([*command, str(lab.absolute())]).returncode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--models", type=Path, required=True, metavar="DIR", help="results/TIER/models of a finished run"
    )
    parser.add_argument(
        "--kept", type=Path, default=Path("reference/models"), metavar="DIR", help="the kept annotators and evaluator"
    )
    parser.add_argument("--base", choices=get_args(checkpoints.Base), default="kolors", help="class of the base")
    parser.add_argument(
        "--annotator", choices=get_args(checkpoints.Annotator), default="grounding-dino", help="class of the annotator"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of release, checkpoints, settings"
    )
    parser.add_argument("command", nargs="*", metavar="-- COMMAND", help="a command to run with the settings")


def main(args: argparse.Namespace) -> None:
    config = read_config(args)
    if config.run.tier != "rehearsal":
        raise UserError("is no rehearsal", where=f"run.tier: {config.run.tier}", remedy="add config/rehearsal.yaml")
    lab = prepare(config, args.models, args.kept, args.out, args.base, args.annotator)
    if status := rehearse(lab, args.command):
        sys.exit(status)
