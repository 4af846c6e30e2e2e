"""Gather a run's record: one tidy table of scores, one of what changed over training, and how they were made.

    gillnext gather --config results/demo/config.json --results results/demo

Writes into the results folder:

- `scores.parquet`: a row a number (`SCORES`). A number of the whole set has `by` ""; of a part, `by` says what kind
  of part it is (image, class, size, overlap, n …) and `at` which one.
- `curves.parquet`: a row a step, arm, seed and series: losses, norms, box fidelity on validation layouts.
- `protocols.json`: how each set was scored, the hashes behind it, and what made it; what the base cannot do, where its
  card says so.
- `pictures.zip`: the pictures that the paper shows, and their layouts.

Everything that tells of a run (tables, claims, figures, verification) reads these, `memory.json` and `config.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from gillnext.config import Config, arguments
from gillnext.record import pictures
from gillnext.record.results import DATA, PLANNER, REAL, VAE, Results, Scored
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

SCORES = {
    "tier": pl.String, "arm": pl.String, "seed": pl.Int32, "split": pl.String, "instrument": pl.String,
    "metric": pl.String, "by": pl.String, "at": pl.String, "value": pl.Float64, "n": pl.Int64, "low": pl.Float64,
    "high": pl.Float64, "protocol": pl.Int32,
}  # fmt: skip
CURVES = {
    "arm": pl.String, "seed": pl.Int32, "series": pl.String, "step": pl.Int64, "value": pl.Float64, "n": pl.Int64,
}  # fmt: skip
# Files of one number a step in an adapter's folder -> the series.
HISTORIES = {"losses": "loss", "gradient_norms": "gradient_norm", "position_net_norms": "position_net_norm"}
Row = tuple[Any, ...]


def sets(config: Config) -> dict[Scored, tuple[str, str]]:
    """Every scored set of a run -> its score file, and the command that makes it."""
    study, found = config.study, {}
    for arm in study.arms:
        for seed in study.seeds_of(arm):
            splits = ["test"] + ["relations"] * (arm in study.end_to_end_arms) + ["swapped"] * (arm in study.swapped)
            for split in splits:
                folder = "scores" if split == "test" else f"scores/{split}"
                found[Scored(arm, seed, split)] = (f"{folder}/{arm}/{seed}.json", f"score --arm {arm} --seed {seed}")
        for split in config.beside:
            of = Scored(arm, study.seeds_of(arm)[0], split)
            found[of] = (f"scores/{split}/{arm}/{of.seed}.json", f"score --arm {arm} --seed {of.seed}")
    found |= {of: (f"scores/ceilings/{of.arm}.json", "ceilings") for of in (REAL, VAE)}
    return found | {PLANNER: ("plans/planner.json", "plan"), DATA: ("scores/data.json", "quality")}


def second_kid(config: Config, root: Path, of: Scored, score: dict[str, Any]) -> dict[str, Any]:
    """The score file of a set with what `gillnext distance` says of the same pictures, where the settings want it."""
    if config.score.second_features == "none" or of.split != "test" or not of.arm:
        return score
    name = f"{of.arm}/{of.seed}" if of.seed is not None else f"ceilings/{of.arm}"
    more = read(root, f"distances/{name}.json", "distance")
    return score | {key: score.get(key, {}) | more[key] for key in ("metrics", "protocol", "hashes")}


def parts(score: dict[str, Any]) -> Iterator[tuple[str, str, str, float, int | None, float | None, float | None]]:
    """(by, at, metric, value, n, low, high) of what a score file holds of the parts of its set."""
    for metric, values in score.get("per_image", {}).items():
        yield from (("image", str(i), metric, value, None, None, None) for i, value in enumerate(values))
    for key, prefix in (("breakdown", ""), ("chance_breakdown", "chance_")):
        for by, groups in score.get(key, {}).items():
            for at, entry in groups.items():
                values = dict(entry) if isinstance(entry, dict) else {"count": entry}
                n, between = values.pop("n", None), values.pop("intervals", {})
                for metric, value in values.items():
                    yield by, at, f"{prefix}{metric}", value, n, *between.get(metric, (None, None))
    yield from (("n", n, "fid", value, int(n), None, None) for n, value in score.get("fid_by_n", {}).items())


def rows(tier: str, of: Scored, score: dict[str, Any], protocol: int) -> Iterator[Row]:
    """The table's rows of one score file."""
    head, counts, between = (tier, *of), score.get("counts", {}), score.get("intervals", {})
    yield *head, "", "n", "", "", float(score["n"]), score["n"], None, None, protocol
    for name, value in score["metrics"].items():
        low, high = between.get(name) or (None, None)
        instrument, metric = of.instrument(name)
        yield *head, instrument, metric, "", "", float(value), counts.get(name, score["n"]), low, high, protocol
    for by, at, metric, value, *others in parts(score):
        yield *head, of.instrument(metric)[0], metric, by, at, float(value), *others, protocol


def read(root: Path, file: str, command: str) -> Any:
    """A JSON file of the run; `UserError` names what makes it."""
    if not (root / file).exists():
        raise UserError("no such score file", where=str(root / file), remedy=f"make it with `gillnext {command}`")
    return files.read_json(root / file)


def known(values: Iterable[float | None]) -> Iterator[float]:
    """A history in which steps without a norm, as fp16 skips some, have the one before; at the beginning the first."""
    values = list(values)
    last = next((value for value in values if value is not None), 0.0)
    for value in values:
        last = last if value is None else float(value)
        yield last


def history(root: Path, arm: str, seed: int) -> Iterator[Row]:
    """Rows of an arm's training: its histories, a step a row, and its curve."""
    for file, series in HISTORIES.items():
        path = f"adapters/{arm}/{seed}/{file}.json"
        if series == "loss" or (root / path).exists():  # norms are from a later version than some kept runs
            values = read(root, path, f"adapter --arm {arm} --seed {seed}")
            yield from ((arm, seed, series, step, v, None) for step, v in enumerate(known(values), 1))
    for point in read(root, f"curves/{arm}/{seed}/curve.json", f"curve --arm {arm} --seed {seed}"):
        values = {key: value for key, value in point.items() if key not in ("step", "n")}
        yield from ((arm, seed, name, point["step"], float(v), point.get("n")) for name, v in values.items())


def training(tier: str, root: Path, arm: str, seed: int) -> Iterator[Row]:
    """What an adapter's folder says of its size, and of its cost on GPUs; nothing where it does not."""
    path = root / f"adapters/{arm}/{seed}/training.json"
    about = files.read_json(path) if path.exists() else {}
    gpu = about.get("gpu", {})
    costs = {"parameters": about.get("parameters"), "step_seconds": gpu.get("seconds"), "gpu_bytes": gpu.get("bytes")}
    for name, value in costs.items():
        if value is not None:
            yield tier, arm, seed, "training", "", name, "", "", float(value), None, None, None, None


def base(config: Config, root: Path) -> dict[str, Any]:
    """What the adapters' folders tell of their base for tables to say: what its own card says that it cannot do."""
    runs = [(arm, seed) for arm in config.study.trained for seed in config.study.seeds_of(arm)]
    paths = [root / f"adapters/{arm}/{seed}/training.json" for arm, seed in runs]
    bases = [files.read_json(path).get("provenance", {}).get("base", {}) for path in paths if path.exists()]
    said = [about["limitation"] for about in bases if "limitation" in about]
    return {"limitation": said[0]} if said else {}


def table(found: Iterable[Row], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(found), schema=schema, orient="row")


def write(frame: pl.DataFrame, path: Path) -> None:
    with files.atomic(path) as temporary:
        frame.write_parquet(temporary, compression="zstd", statistics=False)


def tables(config: Config, root: Path) -> Results:
    """Write the tables of the run in `root` into it; returns them, read."""
    tier, trained = config.run.tier, config.study.trained
    runs = [(arm, seed) for arm in trained for seed in config.study.seeds_of(arm)]
    found: list[Row] = []
    protocols: list[dict[str, Any]] = []  # how sets were scored, each way once
    made = {"memory": {"provenance": read(root, "memory.json", "memory").get("provenance", {})}}
    for of, place in sets(config).items():
        score = second_kid(config, root, of, read(root, *place))
        protocol = score.get("protocol", {})
        protocols += [protocol] if protocol not in protocols else []
        number = protocols.index(protocol)
        made[str(of)] = {"protocol": number, **{key: score.get(key, {}) for key in ("hashes", "provenance")}}
        found += rows(tier, of, score, number)
    found += [row for run in runs for row in training(tier, root, *run)]
    write(table(found, SCORES), root / "scores.parquet")
    write(table((row for run in runs for row in history(root, *run)), CURVES), root / "curves.parquet")
    about = {"base": limits} if (limits := base(config, root)) else {}
    files.write_json(root / "protocols.json", {"protocols": protocols, "made": made, **about})
    return Results(root, config)


def gather(config: Config, root: Path) -> Results:
    """Write the record of the run in `root` into it: the tables, and the pictures that are shown."""
    results = tables(config, root)
    pictures.write(root, results)
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}, written as well")


def main(args: argparse.Namespace) -> None:
    results = gather(arguments.config(args), args.results)
    print(f"{args.results}: {results.scores.height:,} numbers, {results.curves_table.height:,} points over training")
