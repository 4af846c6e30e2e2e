"""Gives every claim of the design notes its verdict, from the scores that a run has.

    gillnext claims --claims reference/claims.yaml --results results/demo --out results/demo/claims

Writes `claims.json` and `claims.csv` (and `claims.tex`). The words: reproduced or contradicted (in
miniature, where it is the demo), measured, by construction, not shown, not testable here, not tested in
this run. A claim that the demo world makes true or false by construction is never “reproduced”.

With `--gpu kolors.json language.json`, files of `reference/measured`, claims about Kolors' real size get a second
verdict, by what these hold (`claims/on_gpu.py`), unless the run itself is of that size. With `--other-world`, the
folder of a kept run whose pictures show other objects, every claim that is decided in miniature is judged there too
(`claims/worlds.py`)."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gillnext.claims import on_gpu, worlds
from gillnext.claims.rules import RULES
from gillnext.claims.verdicts import MINIATURE_TIERS, Verdict, Word, in_print
from gillnext.config import Config, arguments
from gillnext.config.load import read_yaml
from gillnext.record.gpu import Gpu, read
from gillnext.record.results import Results
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.tables.table import NOTHING, Column, Table, text, to_csv, to_tex

KEYS = {"id", "claim", "source", "claimed", "test", "in_miniature", "at_size", "rule", "doubt", "on_gpu"}
SECOND = ("on_gpu", "other_world")  # verdicts below a claim's own
POWERS = ("decide", "measure", "construct", "none")


@dataclass(frozen=True)
class Claim:
    """One entry of claims.yaml."""

    id: str
    claim: str
    source: str
    claimed: str
    test: str
    in_miniature: str
    at_size: str
    rule: dict[str, Any]
    doubt: str = ""
    on_gpu: dict[str, Any] | None = None

    def power(self, tier: str) -> str:
        """What this tier can do with the claim."""
        return self.in_miniature if tier in MINIATURE_TIERS else self.at_size


def read_claims(path: Path) -> list[Claim]:
    """The claims of a YAML file; an unknown key, power or rule is an error that names the claim."""
    claims, entries = [], read_yaml(path).get("claims")
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("rule", {}), dict):
            remedy = "write {id: …, rule: {kind: …}, …}"
            raise UserError("not a mapping, or its rule is none", where=f"{path}: entry {index + 1}", remedy=remedy)
        where = f"{path}: {entry.get('id', f'entry {index + 1}')}"
        if unknown := set(entry) - KEYS:
            raise UserError(
                f"unknown key {sorted(unknown)[0]!r}", where=where, remedy=f"keys: {', '.join(sorted(KEYS))}"
            )
        if absent := KEYS - {"doubt", "on_gpu"} - set(entry):
            raise UserError(f"key {sorted(absent)[0]!r} is missing", where=where, remedy="add it")
        if entry["rule"].get("kind") not in RULES:
            raise UserError(f"no rule {entry['rule'].get('kind')!r}", where=where, remedy=f"one of {', '.join(RULES)}")
        there = entry.get("on_gpu")
        if there is not None and (not isinstance(there, dict) or there.get("kind") not in on_gpu.RULES):
            remedy = f"write on_gpu: {{ kind: … }}, one of {', '.join(on_gpu.RULES)}"
            raise UserError("on_gpu names no rule", where=where, remedy=remedy)
        powers = (entry["in_miniature"], entry["at_size"])
        if wrong := [power for power in powers if power not in POWERS]:
            raise UserError(f"{wrong[0]!r} is no power", where=where, remedy=f"one of {', '.join(POWERS)}")
        if "none" in powers and "needs" not in entry["rule"]:
            raise UserError("the rule has no 'needs'", where=where, remedy="say what a tier without power lacks")
        claims.append(Claim(**entry))
    if not claims:
        raise UserError("no claims in it", where=str(path), remedy="write claims: [{id: C1, …}, …]")
    return claims


def judge(claim: Claim, results: Results) -> Verdict:
    """The rule's verdict, weakened to what this tier can say at all."""
    power = claim.power(results.config.run.tier)
    if power == "none":
        return Verdict(Word.NOT_HERE, reason=f"needs {claim.rule['needs']}")
    verdict = RULES[claim.rule["kind"]](claim.rule, results)
    if verdict.word in (Word.NOT_RUN, Word.NOT_HERE) or power == "decide":
        return verdict
    word = Word.CONSTRUCTION if power == "construct" else Word.MEASURED
    return Verdict(word, verdict.measured, verdict.reason, verdict.numbers)


def judge_on_gpu(claim: Claim, own: Verdict, results: Results, gpu: Gpu | None) -> dict[str, str] | None:
    """The second verdict of a claim, as a record that names the device; None where there is none to give."""
    if gpu is None or claim.on_gpu is None:
        return None
    verdict = on_gpu.second(claim.rule | claim.on_gpu, own, results, gpu)
    if verdict is None:
        return None
    found = {"where": gpu.where, "measured": verdict.measured, "verdict": f"{verdict.word} on {gpu.where}"}
    return found | {"word": str(verdict.word), "reason": verdict.reason}


def judge_there(claim: Claim, own: Verdict, power: str, other: worlds.Other | None) -> dict[str, str] | None:
    """The verdict of another world, as a record; None of a claim that a miniature cannot decide."""
    if other is None or power != "decide":
        return None
    return worlds.second(own, judge(claim, other.results), other.world)


def judge_all(
    claims: list[Claim], results: Results, gpu: Gpu | None = None, other: worlds.Other | None = None
) -> list[dict[str, Any]]:
    """One record a claim: what was claimed, what was measured, the verdict and its reason; under `on_gpu` and
    `other_world` the second verdicts, where there are some.
    """
    tier, records = results.config.run.tier, []
    for claim in claims:
        verdict, power = judge(claim, results), claim.power(tier)
        stated = {key: getattr(claim, key) for key in ("id", "claim", "source", "claimed", "test")}
        found: dict[str, Any] = {
            "measured": verdict.measured,
            "verdict": in_print(verdict.word, tier),
            "word": str(verdict.word),
        }
        found |= {"power": power, "reason": verdict.reason, "doubt": " ".join(claim.doubt.split())}
        if there := judge_on_gpu(claim, verdict, results, gpu):
            found |= {"on_gpu": there}
        if there := judge_there(claim, verdict, power, other):
            found |= {"other_world": there}
        records.append(stated | found)
    return records


def claims_table(records: list[dict[str, Any]]) -> Table:
    """A row a claim, and below it one for each of its second verdicts."""
    keys = ("id", "claim", "claimed", "measured", "verdict", "reason", "source")
    columns = [Column(key, key, left=True) for key in keys]
    verdicts = [record | more for record in records for more in ({}, *(record[key] for key in SECOND if key in record))]
    rows = [[text(str(record[key]) or NOTHING) for key in keys] for record in verdicts]
    return Table("claims", "The design notes' claims", columns, rows)


def claims(
    config: Config, source: Path, root: Path, out: Path, gpu: Sequence[Path] = (), other: Path | None = None
) -> list[dict[str, Any]]:
    """Judge the claims in `source` by the score files in `root`; write and return the records.

    `gpu`: the files of what was measured on a GPU at Kolors' size. `other`: the folder of a kept run of another world.
    """
    beside = worlds.read(other, config) if other else None
    records = judge_all(read_claims(source), Results(root, config), read(gpu), beside)
    table, seeds = claims_table(records), config.study.seeds_of(config.study.reference)
    counts = Counter(record["verdict"] for record in records)
    with files.atomic(out) as folder:
        folder.mkdir()
        about = {"tier": config.run.tier, "seeds": list(seeds), "claims": records, "counts": dict(counts)}
        files.write_json(folder / "claims.json", about)
        files.write_text(folder / "claims.csv", to_csv(table))
        files.write_text(folder / "claims.tex", to_tex(table))
    return records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--claims", type=Path, required=True, metavar="FILE", help="reference/claims.yaml")
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER", help="results/{tier}")
    parser.add_argument("--gpu", type=Path, nargs="+", default=[], metavar="FILE", help="kolors.json and language.json")
    parser.add_argument(
        "--other-world", type=Path, metavar="FOLDER", help="a kept run whose pictures show other objects"
    )
    arguments.add_out(parser, "folder of claims.json and claims.csv")


def main(args: argparse.Namespace) -> None:
    for record in claims(arguments.config(args), args.claims, args.results, args.out, args.gpu, args.other_world):
        for verdict in (record, *(record.get(key) for key in SECOND)):
            if verdict:
                measured = f": {verdict['measured']}" if verdict["measured"] else ""
                print(f"{record['id']:>4}  {verdict['verdict']:<26} {record['claim']}{measured}")
