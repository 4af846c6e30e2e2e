"""The table of what a GPU measured, from small made-up files; and what a run writes without them."""

import json
import re
from pathlib import Path

import fake_gpu
import pytest
from fake_gpu import written
from fake_results import gathered
from table_files import rows_of

from gillnext.record import gpu
from gillnext.tables import stage
from gillnext.tables.gpu import gpu_table, quoted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def measured(tmp_path):
    return gpu.read(written(tmp_path / "gpu", fake_gpu.kolors(), fake_gpu.language()))


def test_every_figure_has_its_unit_batch_and_n(measured):
    records = {(r["what"], r["batch"]): r for r in gpu_table(measured).records()}
    step = records["training, attn2", "8"]
    assert (step["rate"], step["unit"], step["gigabytes"], step["n"]) == ("16.00", "samples/s", "60.0", "6")
    assert (step["share_of_peak"], step["busy"]) == ("20.0", "–")
    annotation = records["annotation", "32"]
    assert (annotation["rate"], annotation["unit"], annotation["busy"], annotation["n"]) == (
        "10.00",
        "pictures/s",
        "97",
        "2",
    )
    assert records["annotation, one by one", "1"]["rate"] == "0.50"
    assert records["filter, shared prefix", "64"]["unit"] == "captions/s"
    assert records["decoding", "1"]["rate"] == "0.125" and records["decoding", "1"]["unit"] == "s/picture"


def test_a_measurement_that_did_not_end_has_no_row_and_batches_are_in_order(measured):
    trained = [(r["what"], r["batch"]) for r in gpu_table(measured).records() if r["part"] == "training"]
    assert trained == [
        ("training, attn2", "2"), ("training, attn2", "8"), ("training, full", "2"),
        ("training, attn2, recomputed", "2"),
    ]  # fmt: skip


def test_runs_that_took_very_different_times_are_told(measured):
    (told,) = [note for note in gpu_table(measured).notes if note.startswith("Of unlike runs")]
    assert told == "Of unlike runs: filter, shared prefix, batch 64 (1.00 to 1.60 s)."


def test_what_the_text_quotes_is_of_the_largest_batch_and_the_fastest_answers(measured):
    told = quoted(measured)
    assert told["gpu.device"] == fake_gpu.DEVICE and told["gpu.batch"] == "8" and told["gpu.samples"] == "16.0"
    assert (told["gpu.annotation"], told["gpu.annotation.times"]) == ("10.0", "20")  # not the first token alone
    assert (told["gpu.filter"], told["gpu.filter.times"]) == ("600", "12")


def test_a_run_has_the_table_where_the_files_are_given(results_root, config, tmp_path):
    given = written(tmp_path / "gpu", fake_gpu.kolors(), fake_gpu.language())
    gathered(results_root, config)
    stage.tables(config, results_root, tmp_path / "without")
    stage.tables(config, results_root, tmp_path / "with", gpu=given)
    names = [json.loads((tmp_path / of / "index.json").read_text()) for of in ("without", "with")]
    assert set(names[1]) - set(names[0]) == {"gpu"} and rows_of(tmp_path / "with/gpu.csv")
    assert "gpu.device" not in json.loads((tmp_path / "without/numbers.json").read_text())
    assert (tmp_path / "without/main.csv").read_bytes() == (tmp_path / "with/main.csv").read_bytes()


def test_the_files_in_the_repository_are_whole(tmp_path):
    """Of one device, and with every number that the paper quotes."""
    found = gpu.read(ROOT / f"reference/measured/{name}.json" for name in ("kolors", "language"))
    assert gpu_table(found).rows and {f"gpu.{key}" for key in ("samples", "filter", "annotation")} <= set(quoted(found))


def test_the_hours_that_the_documentation_has_are_rows_over_measured_rates():
    """Of each line of docs/at-size.md with a rate; the adapter's with activations kept is of as many samples."""
    page = (ROOT / "docs/at-size.md").read_text(encoding="utf-8")
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]
    rows = {
        cells[0]: float(re.sub(r"[^0-9]", "", cells[1])) for cells in found if len(cells) == 8 and cells[1][0].isdigit()
    }
    told = [cells for cells in found if len(cells) == 5 and re.match(r"[\d.]+ \w+/s", cells[1])]
    assert len(told) == 7
    for name, measured, _, _, hours in told:
        seconds = rows[name.split(", activations")[0]] / float(measured.split()[0])
        assert float(hours) == pytest.approx(seconds / 3600, rel=0.05), name


def test_the_rates_that_the_documentation_has_are_the_files():
    files = {
        name: json.loads((ROOT / f"reference/measured/{name}.json").read_text()) for name in ("kolors", "language")
    }
    trained, figures = files["kolors"]["training"], files["language"]["figures"]
    drawn = files["kolors"]["sampling"]["attn2, batch 4"]["seconds_per_image"]
    drawn += files["kolors"]["decoding"]["batch 4"]["seconds_per_image"]
    rates = {
        f"{figures['filter, batch 64, shared prefix']['captions_per_second']:.0f} captions/s, 64",
        f"{figures['annotation, batch 64']['images_per_second']:.1f} pictures/s, 64",
        f"{figures['zero-shot, float32, batch 32']['images_per_second']:.1f} pictures/s, 32",
        f"{figures['planner, LoRA, batch 8']['layouts_per_second']:.1f} layouts/s, 8",
        f"{trained['attn2, batch 8, recomputed']['samples_per_second']:.2f} samples/s, 8",
        f"{trained['attn2, batch 8']['samples_per_second']:.1f} samples/s, 8", f"{1 / drawn:.3f} pictures/s, 4",
    }  # fmt: skip
    page = (ROOT / "docs/at-size.md").read_text(encoding="utf-8")
    assert {rate for rate in rates if f"| {rate} a batch" not in page} == set()
