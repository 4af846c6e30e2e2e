"""Collects score files into result tables: means with intervals over seeds, ceilings, chance levels, bars.

    gillnext tables --config config.yaml --results results/demo --out results/demo/tables

Writes every table of `TABLES` that the run holds, and the bars, as `NAME.{csv,tex,json}`, their names to `index.json`,
and the numbers that the paper's text quotes, formatted, to `numbers.{json,tex}`. The same score files (and for the bars
the same whole runs) give the same bytes; nothing here is a time of this run. What was measured on a GPU (`--gpu`) is a
table of its own, and so is what moves a score (`--variance`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from gillnext.config import Config, arguments
from gillnext.config.model import Arm
from gillnext.record.gpu import read as read_gpu
from gillnext.record.results import DATA, PLANNER, REAL, VAE, Results, made_in
from gillnext.roles.sources import MADE
from gillnext.runtime import files
from gillnext.tables import build
from gillnext.tables.bars import bars_table
from gillnext.tables.beside import first, people_table, published_table
from gillnext.tables.binding import binding_table
from gillnext.tables.build import MAIN
from gillnext.tables.contrasts import contrasts_table
from gillnext.tables.evaluators import evaluators_table
from gillnext.tables.gpu import gpu_table, quoted
from gillnext.tables.memory import memory_modes, memory_table, reduction, workloads
from gillnext.tables.onset import onset_table
from gillnext.tables.protocols import protocols_table
from gillnext.tables.runs import read as read_runs
from gillnext.tables.strata import strata_table
from gillnext.tables.table import Table, decimals, number, numbers_tex, scientific
from gillnext.tables.table import write as write_tables
from gillnext.tables.variance import variance_table

QUOTED = {key: digits for key, (_, digits) in MAIN.items()} | {"rules_success50": 3}  # of an arm, with decimals


def numbers(results: Results) -> dict[str, str]:
    """key → formatted text of every number that the paper's prose may quote.

    `arm.{arm}.{metric}`, and the same under `reference.` and `base.`; `ceiling.{real,vae}.…`; `chance.…`;
    `contrast.{first}.{second}.…` and `onset.{arm}.…`, the cells of these tables; `planner.…`; `data.…`; `memory.…`;
    `models.ROLE`, `models.base.limitation` (its card's); `study.…`; `relations.…`; `run.arithmetic`; `people.…` and
    `published.…` of a release. Those of `gpu.…` stand beside them (`tables/gpu.py`)."""
    config = results.config
    out = _study(results)
    named = {f"arm.{arm}": arm for arm in config.study.arms} | {"reference": results.reference, "base": results.base}
    for name, arm in named.items():
        metrics = QUOTED.items() if arm is not None else ()
        out |= {f"{name}.{key}": number(results.over_seeds(str(arm), key), d).text for key, d in metrics}
    for key in ("success50", "miou"):
        out[f"chance.{key}"] = number(results.over_seeds(results.reference, f"chance_{key}")).text
    for key in ("success50", "miou", "rules_success50"):
        for of in (REAL, VAE):
            out[f"ceiling.{of.arm}.{key}"] = number(results.metric(of, key)).text
    for key in build.RELATIONS:
        out[f"relations.{key}"] = number(results.over_seeds(results.reference, key, "relations")).text
    for of in (PLANNER, DATA):
        for key, value in results.metrics(of).items():
            out[f"{of.split}.{key}"] = number(value.value).text
    out |= _beside(results) | _cutouts(results)
    out["run.arithmetic"] = made_in(results.memory.get("provenance", {}))
    out |= {f"models.{role}": model_name(value) for role, value in asdict(config.models).items()}
    out |= {"models.base.limitation": results.base_limitation} if results.base_limitation else {}
    return out | _rows(contrasts_table(results), "contrast") | _rows(onset_table(results), "onset") | _memory(results)


def _beside(results: Results) -> dict[str, str]:
    """What the reference arm's first seed has on the sets beside the test set, where it has drawn them."""
    named, people, published = (first(results, results.reference, split) for split in ("test", "people", "published"))
    sets = {"people": people, "people.named": named} if results.has(people, "miou") else {}
    sets |= {"published": published} if results.has(published, "o_miou") else {}
    return {
        f"{name}.{key}": number(results.metric(of, key)).text
        for name, of in sets.items()
        for key in ("success50", "miou", "o_miou")
        if results.has(of, key)
    }


def model_name(model: str) -> str:
    """A role's model in print: what the settings say, of a folder its name alone."""
    return model if model == MADE or "@" in model else Path(model).name


def _rows(table: Table | None, prefix: str) -> dict[str, str]:
    """Every cell of a table by the name of its row and its column; a contrast a − b is a.b."""
    rows = table.rows if table else []
    return {
        f"{prefix}.{name.text.replace(' − ', '.')}.{column.key}": cell.text
        for name, *cells in rows
        for column, cell in zip(table.columns[1:] if table else [], cells, strict=True)
    }


def _cutouts(results: Results) -> dict[str, str]:
    """`cutouts.…`: how many cut-outs scenes are made of, of what medium, how many kinds, how many held out, by whom."""
    if results.config.world.release or results.config.world.drawn:
        return {}
    protocol = results.protocol(DATA)
    keys = {"all": "cutouts", "heldout": "cutouts_held_out"}
    keys |= {key: f"cutouts_{key}" for key in ("medium", "kinds", "by")}
    return {f"cutouts.{key}": str(protocol[name]) for key, name in keys.items()} | {
        "cutouts.pixels": str(results.config.world.size)
    }


def _study(results: Results) -> dict[str, str]:
    config = results.config
    seeds = config.study.seeds_of(results.reference)
    first, end_to_end = results.first(), results.first("relations")
    spatial = config.world.strong_share + config.world.weak_share
    ways = {name: (arm.coordinates, arm.frequencies) for name, arm in config.study.arms.items()}
    recoded = [name for name, way in ways.items() if way != (Arm().coordinates, Arm().frequencies)]
    longest = config.study.longest
    biasless = [longest[site, "none"] for site in ("attn1", "attn2") if (site, "none") in longest]
    return {
        "study.tier": config.run.tier,
        "study.scenes": "release" if config.world.release else "drawn" if config.world.drawn else "photos",
        "study.reference": results.reference,
        "study.seeds": str(len(seeds)),
        "study.arms": str(len(config.study.arms)),
        "study.headline_arms": ", ".join(dict.fromkeys(arm for pair in config.study.headline for arm in pair)),
        "study.shown_arms": ", ".join(config.study.shown_arms),
        "study.all_arms": ", ".join(config.study.arms),
        "study.coordinate_arms": ", ".join(recoded),
        "study.biasless_arms": ", ".join(biasless),
        "study.test_images": f"{results.size(first):,}",
        "study.relation_captions": f"{results.size(end_to_end):,}",
        "study.adapter_steps": f"{config.adapter.steps:,}",
        "study.base_steps": f"{config.base.steps:,}",
        "study.vae_steps": f"{config.vae.steps:,}",
        "study.rows": f"{config.world.rows:,}",
        "study.shards": str(config.world.shards),
        "study.spatial_share": f"{decimals(100 * spatial, 1)}%",
        "study.sample_steps": str(config.sample.steps),
        "study.guidance": f"{config.sample.guidance:g}",
        "study.guided_steps": str(config.guided.steps),
        "study.seed_words": results.seed_words(),
        "study.planner_captions": f"{results.size(PLANNER):,}",
    }


def _memory(results: Results) -> dict[str, str]:
    memory, out = results.memory, {}
    memory_modes(results)  # tells what is missing
    for workload, part in workloads(memory).items():
        prefix, modes = "memory" if workload == "unet" else f"memory.{workload}", part["modes"]
        for mode, values in modes.items():
            out[f"{prefix}.{mode}.saved_mib"] = decimals(values["saved_bytes"] / 2**20, 2)
            out[f"{prefix}.{mode}.reduction"] = f"{decimals(100 * reduction(modes, mode), 1)}%"
        for mode, value in part.get("max_gradient_difference", {}).items():
            out[f"{prefix}.{mode}.gradient_difference"] = scientific(float(value)).text
    for loss, value in memory.get("additivity", {}).items():
        out[f"memory.additivity.{loss}"] = scientific(float(value)).text
    return out


TABLES: tuple[Callable[[Results], Table | None], ...] = (
    build.main_table, contrasts_table, build.intervals_table, evaluators_table, protocols_table, strata_table,
    people_table, published_table, onset_table, binding_table, build.relations_table, build.planner_table,
    build.data_table, memory_table,
)  # fmt: skip


def tables(
    config: Config,
    root: Path,
    out: Path,
    runs: Path | None = None,
    gpu: Sequence[Path] = (),
    variance: Path | None = None,
) -> None:
    """Read `root` (results/{tier}) and write the tables into the folder `out`, whole or not at all.

    `runs`: the table of the tier's whole runs, which bars are held against. `gpu`: the files of what was measured on a
    GPU at Kolors' size. `variance`: the file of how far scores move with seed and noise.
    """
    results, measured = Results(root, config), read_gpu(gpu)
    made = [*(make(results) for make in TABLES), gpu_table(measured), variance_table(variance)]
    built = [table for table in made if table is not None]
    built.append(bars_table(results, read_runs(runs)))
    quotable = numbers(results) | quoted(measured)
    with files.atomic(out) as folder:
        folder.mkdir()
        write_tables(folder, built)
        files.write_json(folder / "numbers.json", quotable)
        files.write_text(folder / "numbers.tex", numbers_tex(quotable))
        files.write_json(folder / "index.json", [table.name for table in built])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="reference/runs/{tier}.csv: whole runs of the tier")
    parser.add_argument("--gpu", type=Path, nargs="+", default=[], metavar="FILE", help="kolors.json and language.json")
    parser.add_argument("--variance", type=Path, metavar="FILE", help="reference/measured/variance.json")
    arguments.add_out(parser, "folder of the tables")


def main(args: argparse.Namespace) -> None:
    tables(arguments.config(args), args.results, args.out, args.runs, args.gpu, args.variance)
    print(args.out)
