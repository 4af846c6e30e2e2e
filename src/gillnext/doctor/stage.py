"""What a reviewer or a bug report needs: machine, checkout, whether it computes as expected, how long a run takes.

    gillnext doctor                               # one to two minutes, most of it imports and 20 s of measuring
    gillnext doctor --json > doctor.json
    gillnext doctor --seconds 0                   # without the estimate
    gillnext doctor --renew                       # by who keeps a run, on the machine that ran it

Ends with status 1 where a run is certain to fail here, or to compute something else than it should: in portable
arithmetic a training of a second must end with the very weights whose hash is in `expected.json` beside this module.
Whatever else is amiss is reported with a fix.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gillnext.config.arguments import add_config, config
from gillnext.config.model import Config
from gillnext.doctor import facts, tiny
from gillnext.doctor.facts import Finding
from gillnext.runtime import files, training

EXPECTED = Path(__file__).with_name("expected.json")
WIDTH = 13  # of the names' column


def torch_version() -> str:
    """torch's version without its build."""
    return str(torch.__version__).partition("+")[0]


def hashes(cfg: Config) -> dict[str, str]:
    """The tiny training's hash for each number of threads that models of `cfg` train with."""
    found = {}
    for threads in sorted({cfg.run.threads, cfg.base.threads}):
        training.setup(threads, cfg.run.device)
        found[str(threads)] = tiny.train()
    return found


def judge(found: dict[str, str], used: str, known: dict[str, Any]) -> Finding:
    """The hashes `found` in the arithmetic `used` against the `known` ones, which count in portable arithmetic."""

    def line(what: str, fix: str = "", fails: bool = False) -> Finding:
        by_threads = ", ".join(f"{threads}: {value}" for threads, value in found.items())
        return Finding("training", f"hash by threads: {by_threads}; {what}", fix, fails, dict(found))

    if used != "portable":
        return line("not compared, as in fast arithmetic every kind of processor has its own")
    if known.get("arithmetic") != "portable":
        return line("not compared, as none of portable arithmetic is recorded")
    if known["torch"] != torch_version():
        return line(
            f"not compared, as the recorded one is of torch {known['torch']}", "make env: it has the locked torch"
        )
    expected = {threads: value for threads, value in known["hashes"].items() if threads in found}
    wrong = [f"{threads}: {value}" for threads, value in expected.items() if found[threads] != value]
    if wrong:
        fix = "make env; where that does not help, run.arithmetic: fast, with results that agree to rounding only"
        return line(f"EXPECTED {', '.join(wrong)}", fix, fails=True)
    return line("as expected" if expected else "not compared, as none is recorded for so many threads")


def examine(cfg: Config, seconds: float, expected: dict[str, Any]) -> Iterator[Finding]:
    """All findings, as they are made; what is measured is left out where the device is not there."""
    device = True
    for finding in facts.facts(cfg):
        device &= not (finding.name == "device" and finding.fails)
        yield finding
    if device:
        yield judge(hashes(cfg), facts.arithmetic_used(cfg)[0], expected.get("training", {}))
        if seconds:
            from gillnext.doctor import calibration  # imports the models

            yield from calibration.findings(cfg, seconds, expected.get("calibration", {}))


def renew(cfg: Config, seconds: float, path: Path) -> None:
    """Record in `path` this machine's hashes and, unless `seconds` is 0, its step times for the settings' tier.

    `UserError` where others use the cores meanwhile.
    """
    expected = files.read_json(path) if path.exists() else {}
    used = facts.arithmetic_used(cfg)[0]
    expected["training"] = {"arithmetic": used, "torch": torch_version(), "hashes": hashes(cfg)}
    if seconds:
        from gillnext.doctor import calibration

        expected.setdefault("calibration", {})[cfg.run.tier] = calibration.record(cfg, seconds)
    files.write_json(path, expected)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: findings, and whether one of them fails")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long to measure step times (default 20; 0: not)"
    )
    parser.add_argument("--renew", action="store_true", help="record this machine's hashes and step times as expected")


def main(args: argparse.Namespace) -> None:
    cfg = config(args)
    if args.renew:
        renew(cfg, args.seconds, EXPECTED)
        print(EXPECTED)
        return
    findings = []
    for finding in examine(cfg, args.seconds, files.read_json(EXPECTED)):
        findings.append(finding)
        if not args.json:
            print(f"{finding.name:<{WIDTH}} {finding.state}", flush=True)
            if finding.fix:
                print(f"{'':<{WIDTH}} fix: {finding.fix}", flush=True)
    fails = any(finding.fails for finding in findings)
    if args.json:
        json.dump({"ok": not fails, "findings": [vars(f) for f in findings]}, sys.stdout, ensure_ascii=False, indent=1)
        print()
    if fails:
        raise SystemExit(1)
