"""Every kind of stage at toy size, in one process: what a processor makes of the same inputs, as hashes of values.

    python tests/processors/chain.py --run results/smoke --out build/processors/native [--stages short]
    qemu-x86_64 -cpu EPYC-Milan .venv/bin/python tests/processors/chain.py …  # on another processor, emulated

Inputs are those of a finished smoke run, cut to a few rows, so that no stage waits for another and a difference is
the stage's own; trainings take a step or two, at the demo's widths. Scenes that a stage draws for itself are a handful.
Left out are stages that start other programs, which an emulator would run on the real processor: download asks a
server, memory measures processes; and what follows the tables, which computes nothing.
Prints one line a stage and writes `hashes.json`. Two processors agree where these are equal in `stages`. A chain that
was ended goes on after the last stage in `hashes.json`, where code, run and processor are the same.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gillnext import cli
from gillnext.runtime import arithmetic, files, machine, provenance

SCENES = 6  # that a stage draws for itself, at most
SHORT = ("world", "heldout", "classifier", "base_on_windows", "tables")

TOY = {
    "run": {"tier": "smoke", "arithmetic": "portable"},
    "world": {"rows": 60, "shards": 1, "parts": 1},
    "classifier": {"corpus": 8, "steps": 2, "batch": 4},
    "annotator": {"corpus": 4, "steps": 1, "batch": 2},
    "evaluator": {"corpus": 4, "steps": 1, "batch": 2},
    "features": {"corpus": 4, "steps": 1, "batch": 2},
    "clip": {"corpus": 4, "steps": 1, "batch": 2},
    "vae": {"corpus": 2, "steps": 1, "batch": 1},
    "text_encoder": {"corpus": 40, "steps": 2, "batch": 2},
    "base": {"corpus": 2, "window_steps": 1, "window_batch": 1, "steps": 1, "batch": 1, "threads": 1},
    "planner": {"steps": 2, "batch": 2, "test": 2},
    "adapter": {"steps": 2, "batch": 1, "checkpoint_every": 0, "snapshot_every": 1},
    "curve": {"images": 1},
    "sample": {"test": 1, "val": 1, "relations": 1, "steps": 2, "batch": 1},
    "study": {"seeds": [0]},
}


def few(source: Path, out: Path, count: int) -> Path:
    """The first rows of a JSONL file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(source, encoding="utf-8") as lines:
        out.write_text("".join(itertools.islice(lines, count)), encoding="utf-8")
    return out


def few_pictures(source: Path, out: Path, count: int = 4) -> Path:
    """The first pictures of a folder of samples, as many as KID needs, with their layouts."""
    few(source / "layouts.jsonl", out / "layouts.jsonl", count)
    for path in sorted(source.glob("*.png"))[:count]:
        shutil.copy(path, out)
    for path in source.glob("*.json"):
        shutil.copy(path, out)
    return out


def draw_few() -> None:
    """Stages that draw scenes for themselves draw a handful."""
    from gillnext.miniatures.world import corpus

    def capped(draw: Callable) -> Callable:
        return lambda seed, stream, count, *objects: draw(seed, stream, min(count, SCENES), *objects)

    corpus.describe, corpus.make = capped(corpus.describe), capped(corpus.make)


class Chain:
    """The stages' command lines: inputs from the run in `root`, outputs in `out`."""

    NAMES = (
        "world", "heldout", "prior", "templates", "classifier", "annotator", "evaluator", "features", "clip", "vae",
        "text_encoder", "filter", "annotate", "base_on_windows", "base", "planner", "plan", "cache", "adapter", "curve",
        "sample", "score", "tables",
    )  # fmt: skip

    def __init__(self, root: Path, out: Path) -> None:
        self.root, self.out = root, out
        files.write_text(out / "toy.yaml", yaml.safe_dump(TOY))
        self.config = ["--config", "config.yaml", str(out / "toy.yaml")]

    def model(self, name: str) -> str:
        return str(self.root / "models" / name)

    def rows(self, name: str, count: int = 2) -> str:
        """A few rows of one of the run's JSONL files."""
        return str(few(self.root / name, self.out / "inputs" / name, count))

    def made(self, name: str) -> str:
        return str(self.out / name)

    def commands(self) -> dict[str, tuple[list[str], list[str]]]:
        """Stage -> (what its command line adds to --config, its outputs), in an order in which windows come before
        the base.
        """
        model, made, root = self.model, self.made, self.root
        trained = {
            name: (["--out", made(name)], [name])
            for name in ("classifier", "annotator", "evaluator", "features", "clip", "vae", "text_encoder")
        }
        scorers = ["--evaluator", model("evaluator"), "--second-evaluator", model("templates")]
        scorers += ["--prior", str(root / "world/heldout/prior.safetensors")]
        scorers += ["--features", model("features"), "--clip", model("clip")]
        adapter, layouts = str(root / "adapters/attn2/0"), self.rows("layouts/0.jsonl", 8)
        on_base = ["--vae", model("vae"), "--text-encoder", model("text_encoder"), "--out"]
        arm = ["--arm", "attn2", "--seed", "0"]
        drawn = [*arm, "--base", model("base")]
        shards = [str(path) for path in sorted((self.out / "world/shards").glob("*.csv"))]
        plans = self.rows("world/heldout/relations.jsonl")
        val, test = self.rows("world/heldout/val.jsonl", 1), self.rows("world/heldout/test.jsonl", 1)
        pictures = str(few_pictures(root / "samples/attn2/0/test", self.out / "inputs/pictures"))
        reference = str(root / "reference")
        return {
            "world": (["--out", made("world")], ["world/world.json", "world/shards", "world/truth"]),
            "heldout": (["--split", "val", "--count", "1", "--out", made("val.jsonl")], ["val.jsonl"]),
            "prior": (["--out", made("prior.safetensors")], ["prior.safetensors"]),
            "templates": (["--out", made("templates")], ["templates"]),
            **trained,
            "filter": (
                ["--shards", *shards, "--model", model("classifier"), "--out", made("filtered.parquet")],
                ["filtered.parquet"],
            ),
            "annotate": (
                ["--index", self.rows("index/0.jsonl"), "--model", model("annotator"), "--out", made("found.jsonl")],
                ["found.jsonl"],
            ),
            "base_on_windows": ([*on_base, made("base_on_windows")], ["base_on_windows"]),
            "base": ([*on_base, made("base"), "--windows", made("base_on_windows")], ["base/unet"]),
            "planner": (["--layouts", layouts, "--out", made("planner")], ["planner"]),
            "plan": (
                ["--planner", model("planner"), "--layouts", plans, "--train", layouts, "--out", made("plans")],
                ["plans"],
            ),
            "cache": (
                ["--base", model("base"), "--layouts", self.rows("layouts/0.jsonl"), "--out", made("cache")],
                ["cache"],
            ),
            "adapter": (
                [*drawn, "--cache", str(root / "cache"), "--out", made("adapter")],
                ["adapter"],
            ),
            "curve": (
                [*drawn, "--adapter", made("adapter"), "--val", val, *scorers[:2], "--out", made("curve")],
                ["curve"],
            ),
            "sample": (
                [*drawn, "--adapter", adapter, "--layouts", test, "--out", made("samples/attn2/0/test")],
                ["samples/attn2/0/test"],
            ),
            "score": (
                [*arm, "--samples", pictures, *scorers, "--reference", reference, "--out", made("score.json")],
                ["score.json"],
            ),
            "tables": (["--results", str(root), "--out", made("tables")], ["tables/main.json", "tables/numbers.json"]),
        }


def load_numpy_without(feature: str) -> None:
    """NumPy reads what it shall do without when it is loaded, and never again."""
    usual = os.environ["NPY_DISABLE_CPU_FEATURES"]
    os.environ["NPY_DISABLE_CPU_FEATURES"] = f"{usual} {feature}"
    importlib.import_module("numpy")
    os.environ["NPY_DISABLE_CPU_FEATURES"] = usual


def named(stages: list[str]) -> list[str]:
    """The stages of the chain that "all", "short" or names mean, in its order."""
    known = Chain.NAMES
    if unknown := [name for name in stages if name not in ("all", "short", *known)]:
        raise SystemExit(f"no stage {unknown[0]} in the chain: one of {', '.join(known)}, short or all")
    return {"all": list(known), "short": list(SHORT)}.get(stages[0], [name for name in known if name in stages])


def about(root: Path, stages: list[str]) -> dict[str, Any]:
    """What decides or explains the values: the machine, the code, the run that inputs are of, the stages."""
    code = [provenance.code_hash(), files.sha256(Path(__file__))[:16]]
    here = {"processor": machine.processor(), "isa": machine.isa(), "libc": machine.libc()}
    return here | {"code": code, "run": files.sha256(root / "hashes.json")[:16], "chain": stages}


def ended(out: Path, known: dict[str, Any]) -> dict[str, str]:
    """The stages that ended in an earlier call of the same chain; of another, the folder is emptied."""
    path = out / "hashes.json"
    before = files.read_json(path) if path.exists() else {}
    if {key: before.get(key) for key in known} == known:
        return before["stages"]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    return {}


def run(chain: Chain, stages: list[str], hashes: dict[str, str], known: dict[str, Any]) -> None:
    """Write the hash of the values that each stage makes, as it ends, after those at hand."""
    from gillnext.verify.values import of_output

    for name in [name for name in stages if name not in hashes]:
        began = time.monotonic()
        extra, outputs = chain.commands()[name]
        own = {"tables": ["--config", str(chain.root / "config.json")], "templates": []}.get(name, chain.config)
        if status := cli.main([name, *own, *extra]):
            raise SystemExit(f"{name} ended with status {status}")
        hashes[name] = of_output(chain.out, outputs)
        files.write_json(chain.out / "hashes.json", {**known, "stages": hashes})
        print(f"{name:<11} {hashes[name][:16]}  {time.monotonic() - began:6.1f} s", flush=True)


def arguments(description: str | None, out: str) -> argparse.Namespace:
    """What the command line says; `out` tells of the folder that is written."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="results folder of a finished smoke run")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--stages", nargs="+", default=["all"], help="stages by name, short, or all (the default)")
    parser.add_argument("--without-numpy-avx2", action="store_true", help="without NumPy's kernels for AVX2")
    return parser.parse_args()


def main() -> None:
    args = arguments(__doc__, "folder for what the stages make")
    arithmetic.begin("portable")
    if args.without_numpy_avx2:
        load_numpy_without("X86_V3")
    stages = named(args.stages)
    known = about(args.run, stages)
    hashes = ended(args.out, known)
    print(f"{known['processor']}: {' '.join(stages)}" + f"; {len(hashes)} ended before" * bool(hashes), flush=True)
    draw_few()
    run(Chain(args.run, args.out), stages, hashes, known)


if __name__ == "__main__":
    sys.exit(main())
