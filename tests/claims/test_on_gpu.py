"""Second verdicts by what a GPU measured, on made-up files: both sides of each bar, and where none is given."""

import csv
import json
from pathlib import Path

import fake_gpu
import pytest
from fake_gpu import mode, steps, written
from fake_results import gathered, put

from gillnext.claims import on_gpu
from gillnext.claims.stage import claims, judge_all, read_claims
from gillnext.claims.verdicts import Word
from gillnext.record import gpu
from gillnext.runtime.errors import UserError

SOURCE = Path(__file__).parents[2] / "reference" / "claims.yaml"
CLAIMS = {claim.id: claim for claim in read_claims(SOURCE)}
WHERE = "one NVIDIA X, random weights"


def judged(tmp_path, claim, kolors=None, language=None):
    """The verdict of a claim by these files."""
    given = written(tmp_path, kolors or fake_gpu.kolors(), language or fake_gpu.language())
    rule = CLAIMS[claim].rule | CLAIMS[claim].on_gpu
    return on_gpu.RULES[rule["kind"]](rule, gpu.read(given))


def trained(**changes):
    found = fake_gpu.kolors()
    found["training"] |= changes
    return found


def test_what_gill_saves_is_not_decided_by_three_unet_forwards(tmp_path):
    verdict = judged(tmp_path, "C3")
    assert verdict.word == Word.MEASURED and "GILL's own losses, which decide, were not run" in verdict.reason
    assert verdict.measured == "bytes held, three UNet forwards −66.7% (30.0 → 10.0 GB)"
    without = fake_gpu.kolors()
    del without["memory"]["modes"]["split"]
    assert judged(tmp_path, "C3", without).word == Word.NOT_RUN


@pytest.mark.parametrize(
    ("seconds", "slowest", "gigabytes", "word"),
    [
        (0.46, 0.47, 10, Word.REPRODUCED),  # 1.15 times as long, half the bytes
        (0.60, 0.61, 10, Word.CONTRADICTED),  # 1.5 times as long
        (0.46, 0.47, 13, Word.CONTRADICTED),  # a third of the bytes saved
        (0.46, 0.60, 10, Word.NOT_SHOWN),  # the slowest step says another thing than the median
    ],
)
def test_recomputation_is_held_against_both_bytes_and_time(tmp_path, seconds, slowest, gigabytes, word):
    again = {"attn2, batch 2, recomputed": steps(seconds, gigabytes, 2, slowest, recomputed=True)}
    verdict = judged(tmp_path, "C5", trained(**again))
    assert verdict.word == word and "no interval" in verdict.reason and "n 6 steps" in verdict.reason
    assert verdict.measured.startswith("batch 2: memory −") and "batch 8" not in verdict.measured


def test_recomputation_without_a_pair_of_trainings_is_not_tested(tmp_path):
    without = fake_gpu.kolors()
    del without["training"]["attn2, batch 2, recomputed"]
    assert judged(tmp_path, "C5", without).word == Word.NOT_RUN


@pytest.mark.parametrize(("adapter", "word"), [(124_000_000, Word.REPRODUCED), (125_000_000, Word.CONTRADICTED)])
def test_the_adapters_size_is_a_count(tmp_path, adapter, word):
    found = fake_gpu.kolors()
    found["memory"]["parameters"]["adapter"] = adapter
    assert judged(tmp_path, "C9", found).word == word
    found["training"]["gated, batch 1"] = steps(1.0, 40, trained_parameters=1_600_000_000)
    assert judged(tmp_path, "C9", found).measured.endswith("GLIGEN's own block, an arm of its own, 64%")


@pytest.mark.parametrize(
    ("seconds", "slowest", "gigabytes", "word"),
    [
        (0.9, 0.95, 60, Word.REPRODUCED),  # 2.25 times as fast, two thirds of the bytes saved
        (0.7, 0.75, 60, Word.CONTRADICTED),
        (0.9, 0.95, 45, Word.CONTRADICTED),  # 20 of 45 GB: −56%
        (0.78, 0.90, 60, Word.NOT_SHOWN),  # 1.95 by the medians, 2.25 by the slowest step
    ],
)
def test_an_adapter_is_held_against_the_whole_unet_in_one_process(tmp_path, seconds, slowest, gigabytes, word):
    full = {"full, batch 2": steps(seconds, gigabytes, 2, slowest, tflop_per_sample=21.0)}
    verdict = judged(tmp_path, "C10", trained(**full))
    assert verdict.word == word
    assert "attn2 against full, batch 2" in verdict.reason and "by operations 1.50×" in verdict.reason


@pytest.mark.parametrize(
    ("rate", "busy", "word"),
    [
        (5.5, 0.96, Word.MEASURED),  # the rate on three cards is not measured: never reproduced
        (4.5, 0.96, Word.CONTRADICTED),
        (5.5, 0.95, Word.CONTRADICTED),
    ],
)
def test_annotation_is_held_against_the_rate_and_how_busy_the_card_is(tmp_path, rate, busy, word):
    verdict = judged(tmp_path, "C14", language=fake_gpu.language(rate, busy))
    assert verdict.word == word and "3 cards were not there" in verdict.reason
    assert verdict.measured == f"{rate} images/s ({rate} to {rate}; n 2 runs); GPU busy {100 * busy:.0f}% of the time"


@pytest.mark.parametrize(("peak", "word"), [(15.3, Word.REPRODUCED), (17.1, Word.CONTRADICTED), (16.0, Word.NOT_SHOWN)])
def test_training_memory_is_the_sum_of_what_is_held(tmp_path, peak, word):
    """5 GB of weights, the peak, and three copies of 50 million numbers of four bytes: 0.6 GB; wanted ≤ 21 GB."""
    found = fake_gpu.kolors()
    found["memory"]["modes"]["split"] = mode(10, peak=peak)
    verdict = judged(tmp_path, "C19", found)
    assert verdict.word == word and verdict.measured == f"split {peak + 5.6:.1f} GB; checkpointed 11.6 GB"


# Beside the run's own verdict


def test_a_second_verdict_names_the_device_and_changes_no_first_one(results_root, config, tmp_path):
    given = written(tmp_path / "gpu", fake_gpu.kolors(), fake_gpu.language())
    gathered(results_root, config)
    plain = claims(config, SOURCE, results_root, tmp_path / "plain")
    records = claims(config, SOURCE, results_root, tmp_path / "both", given)
    second = {r["id"]: r["on_gpu"] for r in records if "on_gpu" in r}
    assert list(second) == ["C3", "C5", "C9", "C10", "C14", "C19"]
    assert second["C9"]["verdict"] == f"reproduced on {WHERE}" and "miniature" not in second["C9"]["verdict"]
    assert [{k: v for k, v in r.items() if k != "on_gpu"} for r in records] == plain
    counts = [json.loads((tmp_path / of / "claims.json").read_text())["counts"] for of in ("plain", "both")]
    assert counts[0] == counts[1]
    rows = list(csv.DictReader((tmp_path / "both/claims.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 19 + 6 and [r["verdict"] for r in rows if r["id"] == "C9"][1] == f"reproduced on {WHERE}"


def test_a_run_of_that_size_has_its_own_verdict_alone(results_root, config, tmp_path):
    measured = gpu.read(written(tmp_path, fake_gpu.kolors(), fake_gpu.language()))
    memory = json.loads((results_root / "memory.json").read_text(encoding="utf-8"))
    put(results_root / "memory.json", memory | {"size": "kolors", "precision": "bf16"})
    records = judge_all(list(CLAIMS.values()), gathered(results_root, config), measured)
    assert [r["id"] for r in records if "on_gpu" in r] == ["C14"]  # it has annotated on no GPU


def test_a_claim_that_names_no_rule_for_the_gpu_is_refused(tmp_path):
    text = SOURCE.read_text(encoding="utf-8").replace("on_gpu: { kind: total }", "on_gpu: { kind: totla }")
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="on_gpu names no rule") as error:
        read_claims(tmp_path / "claims.yaml")
    assert "C19" in str(error.value)


def test_files_of_toys_of_two_devices_or_one_alone_are_refused(tmp_path):
    toy = written(tmp_path / "toy", fake_gpu.kolors() | {"toy": True}, fake_gpu.language())
    with pytest.raises(UserError, match="toy"):
        gpu.read(toy)
    other = written(tmp_path / "other", fake_gpu.kolors(), fake_gpu.language() | {"device": "NVIDIA Y"})
    with pytest.raises(UserError, match="NVIDIA Y"):
        gpu.read(other)
    with pytest.raises(UserError, match=r"language\.json"):
        gpu.read(other[:1])
    assert gpu.read([]) is None
