"""Tables of strata and of definitions: there where the record has them, with its numbers, and not where it has none."""

import itertools
import json
import shutil

import pytest
from fake_results import SETTINGS, gathered
from table_files import edit, rows_of

from gillnext.config.load import from_dict
from gillnext.score.strata import KINDS
from gillnext.statistics import estimate
from gillnext.tables.protocols import DEFINITIONS, protocols_table
from gillnext.tables.stage import tables
from gillnext.tables.strata import strata_table


def scores(root, name):
    return json.loads((root / f"scores/{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def written(results_root, config, tmp_path):
    tables(config, results_root, tmp_path / "tables")
    return tmp_path / "tables"


def test_every_stratum_has_its_row_with_n_chance_arms_and_ceilings(written, results_root):
    rows = {(row["kind"], row["part"], row["metric"]): row for row in rows_of(written / "strata.csv")}
    parts = [(kind, part) for kind in KINDS for part in KINDS[kind].parts if part != "> 0.1"]  # no box overlaps so far
    expected = {(*part, metric) for part, metric in itertools.product(parts, ("success@0.5", "mIoU"))}
    assert rows.keys() == expected | {("overlap", "the overlap itself", "O-mIoU")}
    row, files = rows["depth", "front", "mIoU"], [scores(results_root, f"attn2/{seed}") for seed in range(3)]
    whole = estimate([file["breakdown"]["depth"]["front"]["miou"] for file in files])
    assert (row["attn2"], row["attn2_ci95"]) == (f"{whole.mean:.3f}", f"{whole.half:.3f}")
    assert (row["n"], row["chance"], row["chance_ci95"]) == ("9", "0.100", "0.000")
    real = scores(results_root, "ceilings/real")["breakdown"]["depth"]["front"]
    assert row["real"] == f"{real['miou']:.3f}"
    assert row["real_images"] == " to ".join(f"{end:.3f}" for end in real["intervals"]["miou"])
    inside = rows["overlap", "the overlap itself", "O-mIoU"]
    assert (inside["n"], inside["chance"], inside["vae"]) == ("7", "0.010", "0.194")
    assert inside["vae_images"] == "0.097 to 0.291"


def test_definitions_stand_side_by_side_with_their_spread(written):
    rows = {row["arm"]: row for row in rows_of(written / "protocols.csv")}
    assert list(rows) == ["base", "attn1", "attn2", "real images", "real, via VAE"]
    for kind, names in DEFINITIONS.items():
        for row in rows.values():
            values = [float(row[key]) for key in names]
            assert float(row[f"{kind.lower()}_spread"]) == pytest.approx(max(values) - min(values), abs=0.0011)
    notes = " ".join(json.loads((written / "protocols.json").read_text())["notes"])
    assert all(cited in notes for cited in ("2402.05408", "2509.16691", "2509.19282", "2301.07093", "2402.03290"))
    assert "mIoU: all definitions put all 3 pairs of arms in the same order." in notes


def test_arms_that_change_places_by_another_definition_are_counted_and_named(results_root, config):
    for seed in range(3):  # attn1 far above by MIGC's, as it is below by the others
        edit(results_root / f"scores/attn1/{seed}.json", lambda score: score["metrics"].update(miou=0.5, miou_migc=0.9))
    notes = protocols_table(gathered(results_root, config)).notes
    assert (
        "mIoU: the definitions disagree on the order of 1 of 3 pairs of arms; told apart both ways by the seeds: "
        "attn1 and attn2."
    ) in notes


def test_a_record_without_them_has_neither_table(results_root, config):
    def older(score):
        score.pop("chance_breakdown", None)
        for name in ("o_miou", "miou_migc"):
            score["metrics"].pop(name, None)

    for path in (results_root / "scores").rglob("*.json"):
        edit(path, older)
    results = gathered(results_root, config)
    assert strata_table(results) is protocols_table(results) is None


def test_layouts_that_never_overlap_have_no_row_of_overlaps(results_root, config):
    for path in (results_root / "scores").rglob("*.json"):
        edit(path, lambda score: (score["metrics"].pop("o_miou", None), score["metrics"].pop("chance_o_miou", None)))
    assert "O-mIoU" not in {row[2].text for row in strata_table(gathered(results_root, config)).rows}


def test_an_arm_with_anothers_adapters_has_its_strata_and_no_training(results_root, tmp_path):
    shutil.copytree(results_root / "scores/attn1", results_root / "scores/local")
    arms = SETTINGS["study"]["arms"] | {"local": {"adapter": "attn1", "local": 0.5}}
    config = from_dict(SETTINGS | {"study": SETTINGS["study"] | {"arms": arms}})
    gathered(results_root, config)
    tables(config, results_root, tmp_path / "t")
    rows = rows_of(tmp_path / "t/strata.csv")
    assert rows and all(row["local"] == row["attn1"] != row["attn2"] for row in rows if row["kind"] == "overlap")
    main = {row["arm"]: row for row in rows_of(tmp_path / "t/main.csv")}
    told = ("site", "bias", "seeds", "success50")
    assert [main["local"][key] for key in told] == [main["attn1"][key] for key in told]
    assert (main["attn1"]["parameters"], main["local"]["parameters"]) == ("365465", "–")
    assert "local" not in [row["arm"] for row in rows_of(tmp_path / "t/onset.csv")]
