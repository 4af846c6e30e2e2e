"""A run against a kept one: itself passes, like runs mostly pass, a shifted arm fails and is named."""

import csv
import json
import shutil
from pathlib import Path

import fake_results
import numpy as np
import pytest
from scipy import stats

from gillnext.claims.verdicts import Number
from gillnext.cli import main
from gillnext.config.load import load
from gillnext.runtime.errors import UserError
from gillnext.tables.collect import Results
from gillnext.verify import measured
from gillnext.verify.keep import keep
from gillnext.verify.stage import FAIL, NEITHER, PASS, UNDECIDED, allowed, spreads_of, verify
from gillnext.verify.tolerance import FLOORS, compare

ROOT = Path(__file__).parents[2]
CLAIMS = ROOT / "reference" / "claims.yaml"


@pytest.fixture
def again(results_root, kept_run, tmp_path):
    """Verifies the run, after a change, against what was kept of it: rows by id or part, and the notes."""

    def run():
        rows, notes = verify(results_root, kept_run, CLAIMS, tmp_path / "verify")
        return {row.id or row.what.split(":")[0]: row for row in rows}, " ".join(notes)

    return run


PLANNER = {
    "validity_unconstrained": 0.97, "validity_constrained": 1.0, "spatial_accuracy": 0.93, "count_accuracy": 0.98,
    "miou": 0.41, "random_spatial_accuracy": 0.48, "retrieval_spatial_accuracy": 0.81,
}  # fmt: skip


def edit(path, change):
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_a_run_agrees_with_itself(again, tmp_path):
    rows, notes = again()
    assert {row.result for row in rows.values()} == {PASS, NEITHER}
    assert {i for i, row in rows.items() if row.result == NEITHER} == {
        "C6", "C7", "C8", "C13", "C14", "C17", "C19",
    }  # fmt: skip
    assert "Settings" not in notes and "Not compared" not in notes
    table = list(csv.DictReader((tmp_path / "verify/verify.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["id"] for row in table][:2] == ["C1", "C2"] and table[0]["result"] == PASS
    assert {p.suffix for p in (tmp_path / "verify").iterdir()} == {".csv", ".json", ".tex"}


def test_a_shifted_arm_fails_and_is_named(results_root, again):
    fake_results.redraw(results_root, 1, shifts={"attn2": -0.3})
    rows, _ = again()
    assert rows["C16"].result == rows["arm attn2"].result == FAIL
    assert rows["arm attn1"].result == rows["arm base"].result == rows["planner"].result == PASS
    assert "attn2, success@0.5: 0.5" in rows["C16"].why and "kept 0.8" in rows["C16"].why


def test_runs_with_seeds_of_their_own_mostly_pass(results_root, kept_run, again):
    """Rows whose scores are drawn anew, in 25 pairs of a kept run and another: a claim of two numbers, each outside
    with 5%, fails at most 6 times but for one study in a hundred (binomial, 0.0975).

    The pairs are independent; runs against one kept run are not, and fail together where its seeds lie close.
    """
    results = {row: [] for row in ("C1", "C2", "C16", "arm base", "arm attn1", "arm attn2")}
    for pair in range(25):
        fake_results.redraw(results_root, 1000 + pair)
        keep(results_root, kept_run)
        fake_results.redraw(results_root, pair)
        rows, _ = again()
        for row, found in results.items():
            found.append(rows[row].result)
    assert {row: found.count(FAIL) for row, found in results.items() if found.count(FAIL) > 6} == {}


def test_exact_counts_and_single_shares_have_tolerances_of_their_own(results_root, again):
    edit(results_root / "memory.json", lambda m: m["parameters"].update(adapter=260_001))
    edit(results_root / "memory.json", lambda m: m["modes"]["split"].update(saved_bytes=40_100_000))  # a quarter of 1%
    edit(results_root / "scores/data.json", lambda s: s["metrics"].update(annotation_miou=0.80))
    rows, _ = again()
    assert rows["C9"].result == FAIL and "260,001, kept 260,000 ± 0" in rows["C9"].why
    assert rows["C3"].result == PASS
    assert rows["C15"].result == FAIL and "mean IoU: 0.8, kept 0.86 ± 0.015" in rows["C15"].why


def test_a_claim_that_the_seeds_of_one_run_alone_decide_is_undecided(results_root, kept_run, again):
    """Seeds about the claim's level of 0.90 tell nothing; seeds close together above it do, at about the same mean."""

    def succeed(values):
        for seed, value in enumerate(values):
            path = results_root / f"scores/attn2/{seed}.json"
            edit(path, lambda score, value=value: score["metrics"].update(success50=value))

    succeed([0.88, 0.93, 0.87])
    keep(results_root, kept_run)
    succeed([0.92, 0.921, 0.919])
    row = again()[0]["C16"]
    assert row.result == UNDECIDED and all(number.within for number in row.numbers)
    assert row.why == "reproduced in miniature here, not shown in the kept run"


def test_opposite_verdicts_fail_although_the_numbers_agree(results_root, kept_run, again):
    """C3 is reproduced from a reduction of 0.61 on: 0.611 in the kept run and 0.609 here, bytes within 1%."""

    def hold(split):
        edit(results_root / "memory.json", lambda m: m["modes"]["summed"].update(saved_bytes=100_000_000))
        edit(results_root / "memory.json", lambda m: m["modes"]["split"].update(saved_bytes=split))

    hold(38_900_000)
    keep(results_root, kept_run)
    hold(39_100_000)
    row = again()[0]["C3"]
    assert row.result == FAIL and all(number.within for number in row.numbers)
    assert row.why == "contradicted in miniature here, reproduced in miniature in the kept run"


def test_arms_that_one_run_lacks_are_named_and_the_others_compared(results_root, again):
    edit(results_root / "config.json", lambda c: c["study"]["arms"].pop("attn1"))
    edit(results_root / "config.json", lambda c: c["study"]["arms"].update(more={"site": "both"}))
    for kind in ("scores", "adapters"):
        shutil.copytree(results_root / kind / "attn2", results_root / kind / "more")
    rows, notes = again()
    assert "arm attn1: in the kept run only" in notes and "arm more: in this run only" in notes
    assert rows["C1"].result == rows["C2"].result == NEITHER and "this run: no arm" in rows["C1"].why
    assert rows["C16"].result == PASS and "arm attn1" not in rows and "arm more" not in rows


def test_other_settings_are_told(results_root, again):
    edit(results_root / "config.json", lambda c: c["adapter"].update(steps=7))
    rows, notes = again()
    assert "adapter.steps: 7 here, 400 kept" in notes and rows["C16"].result == PASS


@pytest.mark.parametrize("gone", [["miou"], None], ids=["one", "all"])
@pytest.mark.parametrize("kept", [False, True])
def test_numbers_that_one_run_lacks_are_named_and_no_pass(results_root, kept_run, again, gone, kept):
    def drop(score):
        score["metrics"] = {k: v for k, v in score["metrics"].items() if gone and k not in gone}

    edit(results_root / "plans/planner.json", drop)
    if kept:
        keep(results_root, kept_run)
        edit(results_root / "plans/planner.json", lambda s: s["metrics"].update(PLANNER))
    row = again()[0]["planner"]
    assert row.result == NEITHER
    assert row.why.startswith("the kept run has no planner" if kept else "this run has no planner")
    assert "planner, mIoU" in row.why and ("planner, validity constrained" in row.why) == (gone is None)


def test_another_tier_is_refused(results_root, again):
    edit(results_root / "config.json", lambda c: c["run"].update(tier="smoke"))
    with pytest.raises(UserError, match="tier 'smoke'"):
        again()


@pytest.mark.parametrize(("strict", "status"), [([], 0), (["--strict"], 1)])
def test_only_strict_ends_with_a_failure(results_root, kept_run, tmp_path, capsys, strict, status):
    fake_results.redraw(results_root, 1, shifts={"attn2": -0.3})
    options = ["--results", results_root, "--reference", kept_run, "--out", tmp_path / "v", "--claims", CLAIMS, *strict]
    try:
        ended = main(["verify", *map(str, options)])
    except SystemExit as error:
        ended = error.code
    assert ended == status
    assert "C16  FAIL" in capsys.readouterr().out and (tmp_path / "v/verify.json").exists()


@pytest.mark.parametrize(("kept", "new"), [(3, 3), (5, 3), (3, 1)])
def test_new_means_lie_within_the_tolerance_95_times_in_100(kept, new):
    """The prediction interval, for normal seeds; 4,000 draws know the share to 0.0035 (one standard error)."""
    rng, inside = np.random.default_rng(kept + 10 * new), []
    for _ in range(4000):
        one, two = (Number("x", "gradient_norm", tuple(rng.normal(0, 1, n))) for n in (new, kept))
        found = compare(one, two)
        inside.append(found.within if found.basis == "seeds" else found.tolerance >= abs(found.value - found.kept))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.014)


def test_the_floor_holds_where_the_seeds_agree_by_chance():
    same = Number("x", "success50", (0.8, 0.8, 0.8))
    near, far = (Number("x", "success50", (0.8 + d,) * 3) for d in (0.009, 0.011))
    assert compare(near, same).within and not compare(far, same).within
    assert compare(near, same).basis == "floor" and compare(same, same).seeds == (3, 3)
    assert FLOORS["parameters"].at(5.0) == 0.0


def test_one_kept_seed_leaves_the_floor_alone():
    found = compare(Number("x", "kid", (0.02, 0.03)), Number("x", "kid", (0.02,)))
    assert found.basis == "floor" and not found.within and found.tolerance == pytest.approx(5e-4 + 0.05 * 0.02)


def test_one_kept_seed_borrows_the_spread_of_the_other_arms():
    """t(0.975, 2)·s·√(1 + 1/2) with s = 1 of three seeds: scipy's own quantile."""
    arms = [[Number("a", "kid", (9.0, 10.0, 11.0))], [Number("b", "kid", (50.0,))]]
    found = compare(Number("b", "kid", (52.0, 56.0)), arms[1][0], spreads_of(arms)["kid"])
    assert found.tolerance == pytest.approx(stats.t.ppf(0.975, 2) * 1.5**0.5)
    assert found.basis == "other arms' seeds" and found.within


def test_a_single_value_with_a_standard_error_is_held_to_it():
    kept = Number("ceiling", "kid", (0.2,), 512, 2.5)
    assert compare(Number("ceiling", "kid", (6.9,)), kept).within
    far = compare(Number("ceiling", "kid", (7.3,)), kept)
    assert not far.within and far.basis == "standard error"


@pytest.mark.parametrize("tier", ["demo", "study"])
def test_a_kept_run_whose_arms_are_drawn_anew_within_their_spread_passes(tier, tmp_path):
    """Our own kept files, every arm's scores moved as other seeds would move them: most arms pass, and all ceilings."""
    reference, here = ROOT / "reference" / tier, tmp_path / "here"
    shutil.copytree(reference, here)
    results, rng = Results(reference, load(reference / "config.json")), np.random.default_rng(3)
    found = measured.groups(results, list(results.config.study.arms))
    common = spreads_of(numbers for group, numbers in found.items() if group.startswith(measured.ARM))
    for arm in results.config.study.arms:
        own = {m: s for m, s in spreads_of([found[measured.ARM + arm]]).items() if s.freedom}
        for seed in results.config.study.seeds_of(arm):
            moves = {m: float(rng.normal(0, s.deviation)) for m, s in (common | own).items()}
            edit(here / results.score(arm, seed)[0], lambda score, by=moves: shift(score["metrics"], by))
    edit(here / "scores/ceilings/real.json", lambda score: shift(score["metrics"], {"kid": score["metrics"]["kid_se"]}))
    rows, _ = verify(here, reference, CLAIMS, tmp_path / "verify")
    arms = [row.result for row in rows if row.what.startswith(measured.ARM)]
    assert arms.count(FAIL) <= 0.2 * len(arms)
    assert next(row for row in rows if row.what.startswith("ceilings")).result == PASS


def shift(metrics, moves):
    metrics.update({name: metrics[name] + by for name, by in moves.items() if name in metrics})


def test_how_many_may_lie_outside():
    # 1 − 0.95^n and so on: of one number none may, of 20 three (P(≤ 2) = 0.925, P(≤ 3) = 0.984).
    assert [allowed(n) for n in (0, 1, 20)] == [0, 0, 3]
