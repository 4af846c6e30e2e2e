"""A claim in another world: by the same rule on that world's record, beside the first verdict, never in its place."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from fake_results import build

from gillnext.claims.stage import claims
from gillnext.claims.verdicts import Verdict, Word
from gillnext.claims.worlds import agreement, read
from gillnext.record import gather
from gillnext.runtime.errors import UserError

SOURCE = Path(__file__).parents[2] / "reference/claims.yaml"


@pytest.fixture
def photographs(tmp_path, config):
    """A kept run of another world, with the settings that a run writes; its numbers are the first one's."""
    world = dataclasses.replace(config.world, objects="somewhere/cut-outs")
    theirs = dataclasses.replace(config, world=world)
    root = build(tmp_path / "another world")
    gather.gather(theirs, root)
    (root / "config.json").write_text(json.dumps(dataclasses.asdict(theirs)), encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("own", "other", "together"),
    [
        (Word.REPRODUCED, Word.REPRODUCED, "reproduced in both worlds"),
        (Word.CONTRADICTED, Word.CONTRADICTED, "contradicted in both worlds"),
        (Word.REPRODUCED, Word.CONTRADICTED, "the worlds disagree"),
        (Word.NOT_SHOWN, Word.CONTRADICTED, "contradicted in one world"),
        (Word.REPRODUCED, Word.NOT_RUN, "reproduced in one world"),
        (Word.NOT_SHOWN, Word.NOT_SHOWN, "decided in neither world"),
    ],
)
def test_two_words_say_one_thing_together(own, other, together):
    assert agreement(Verdict(own), Verdict(other)) == together


def test_the_other_worlds_verdicts_stand_below_and_change_no_first_one(results_root, config, photographs, tmp_path):
    plain = claims(config, SOURCE, results_root, tmp_path / "plain")
    both = claims(config, SOURCE, results_root, tmp_path / "both", other=photographs)
    assert [{k: v for k, v in r.items() if k != "other_world"} for r in both] == plain
    there = {r["id"]: r["other_world"] for r in both if "other_world" in r}
    assert set(there) == {r["id"] for r in plain if r["power"] == "decide"}
    for record in plain:  # equal records: equal words, and what is decided is so in both
        if record["id"] in there:
            assert there[record["id"]]["word"] == record["word"]
            decided = record["word"] in ("reproduced", "contradicted")
            assert there[record["id"]]["together"].endswith("both worlds" if decided else "neither world")
    counts = [json.loads((tmp_path / of / "claims.json").read_text())["counts"] for of in ("plain", "both")]
    assert counts[0] == counts[1]
    rows = list(csv.DictReader((tmp_path / "both/claims.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(plain) + len(there)
    assert any(row["verdict"].endswith("among photographs") for row in rows)


def test_another_record_gets_another_verdict(results_root, config, photographs, tmp_path):
    """Every success of the other world is set to chance: what asks for placement falls there alone."""
    import polars as pl

    path = photographs / "scores.parquet"
    scores = pl.read_parquet(path)
    low = pl.when(pl.col("metric") == "success50").then(0.05).otherwise(pl.col("value")).alias("value")
    scores.with_columns(low).write_parquet(path)
    records = {r["id"]: r for r in claims(config, SOURCE, results_root, tmp_path / "out", other=photographs)}
    assert records["C16"]["other_world"]["word"] == "contradicted"
    own = records["C16"]["word"]
    assert records["C16"]["other_world"]["together"] == (
        "contradicted in both worlds" if own == "contradicted" else "the worlds disagree"
    )


def test_a_run_of_the_same_world_is_refused(results_root, config, photographs, tmp_path):
    (photographs / "config.json").write_text(json.dumps(dataclasses.asdict(config)), encoding="utf-8")
    with pytest.raises(UserError, match="another world"):
        read(photographs, config)
