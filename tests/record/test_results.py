"""The record of a run: every number of the score files, where the queries find it; what is missing is told."""

import json
import zipfile

import numpy as np
import polars as pl
import pytest
from PIL import Image

from gillnext.record import gather, pictures
from gillnext.record.results import DATA, PLANNER, REAL, Results, Scored, made_in, made_on
from gillnext.runtime import files
from gillnext.runtime.errors import UserError


def test_a_score_without_an_arithmetic_was_made_before_there_was_another():
    assert made_in({}) == made_in({"code": "x"}) == "fast"
    assert made_on({}) == "In fast arithmetic."


def test_arithmetic_processor_and_library_are_named():
    stamp = {"arithmetic": "portable", "processor": "Abacus 7", "libc": "glibc 2.36"}
    assert made_on(stamp) == "In portable arithmetic on Abacus 7, glibc 2.36."


@pytest.fixture
def results(results_root, config):
    return Results(results_root, config)


def score_of(root, name):
    return json.loads((root / name).read_text(encoding="utf-8"))


def test_every_number_of_a_score_file_is_found_as_it_was_written(results, results_root):
    for of, name in ((Scored("attn1", 2), "scores/attn1/2.json"), (REAL, "scores/ceilings/real.json"),
                     (PLANNER, "plans/planner.json"), (DATA, "scores/data.json"),
                     (Scored("attn2", 0, "relations"), "scores/relations/attn2/0.json")):  # fmt: skip
        score = score_of(results_root, name)
        assert {key: value.value for key, value in results.metrics(of).items()} == score["metrics"]
        assert list(results.metrics(of)) == list(score["metrics"]) and results.size(of) == score["n"]
        assert {key: value.n for key, value in results.metrics(of).items()} == {
            key: score.get("counts", {}).get(key, score["n"]) for key in score["metrics"]
        }
        assert results.protocol(of) == score["protocol"]


def test_the_parts_of_a_set_are_found_by_kind(results, results_root):
    of, score = Scored("attn2", 1), score_of(results_root, "scores/attn2/1.json")
    for name, values in score["per_image"].items():
        assert results.per_image(of, name).tolist() == values
    for kind, groups in score["breakdown"].items():
        found = results.groups(of, kind, "success50")
        assert {at: part[:2] for at, part in found.items()} == {
            at: (g["success50"], g["n"]) for at, g in groups.items()
        }
    assert {at: part.value for at, part in results.groups(of, "n", "fid").items()} == score["fid_by_n"]
    assert results.groups(of, "depth", "chance_miou")["back"] == (0.1, 45, None, None)
    back = score["breakdown"]["depth"]["back"]
    assert results.groups(of, "depth", "miou")["back"] == (back["miou"], back["n"], *back["intervals"]["miou"])
    assert results.groups(PLANNER, "class", "success50") == {}


def test_intervals_go_with_their_numbers(results_root, config):
    path = results_root / "scores/data.json"
    score = score_of(results_root, "scores/data.json") | {"intervals": {"filter_recall": [0.9, 0.97]}}
    files.write_json(path, score)
    found = gather.tables(config, results_root).metrics(DATA)
    assert found["filter_recall"].ends == (0.9, 0.97) and found["filter_precision"].ends == ()


def test_what_an_evaluator_said_stands_with_the_instrument_that_it_is(results):
    rows = results.scores.filter(
        (pl.col("arm") == "attn2") & (pl.col("seed") == 0) & (pl.col("split") == "test") & (pl.col("by") == "")
    )
    found = {(i, m): v for i, m, v in rows.select("instrument", "metric", "value").iter_rows()}
    assert found["second evaluator", "success50"] == results.metric(Scored("attn2", 0), "rules_success50")
    assert found["evaluator", "success50"] == results.metric(Scored("attn2", 0), "success50")
    assert {i for i, m in found if m in ("kid", "fid")} == {"features"}
    assert {i for i, m in found if m in ("cmmd", "clip_score")} == {"image-text"}
    assert set(results.scores["tier"]) == {"demo"}


def test_trainings_are_found_step_by_step(results, results_root):
    losses = score_of(results_root, "adapters/attn1/2/losses.json")
    assert results.history("attn1", 2, "loss") == losses
    assert results.histories("attn1", "position_net_norm") == [[1.5, 0.9 + 0.1 * seed] for seed in range(3)]
    curve = score_of(results_root, "curves/attn2/0/curve.json")
    assert results.curves("attn2")[0] == [(point["step"], point["success50"]) for point in curve]
    assert results.metric(Scored("attn1", 0, "training"), "parameters") == 365_465


def test_a_step_that_fp16_skipped_has_the_norm_before_it():
    assert list(gather.known([None, None, 2.0, None, 3])) == [2.0, 2.0, 2.0, 2.0, 3.0]
    assert list(gather.known([1.5, 0.25])) == [1.5, 0.25] and list(gather.known([])) == []


def test_the_same_files_give_the_same_bytes(results_root, config):
    names = ("scores.parquet", "curves.parquet", "protocols.json", pictures.NAME)
    before = [(results_root / name).read_bytes() for name in names]
    gather.gather(config, results_root)
    assert [(results_root / name).read_bytes() for name in names] == before


def test_what_is_missing_is_told_with_what_makes_it(results_root, config, results):
    with pytest.raises(UserError, match=r"no scores of other/0"):
        results.metric(Scored("other", 0), "kid")
    with pytest.raises(UserError, match=r"attn2/0.*'beauty' is missing"):
        results.metric(Scored("attn2", 0), "beauty")
    with pytest.raises(UserError, match="gillnext gather"):
        Results(results_root / "scores", config).seeds("attn2", "kid")
    (results_root / "scores/attn2/1.json").unlink()
    with pytest.raises(UserError, match=r"attn2/1\.json.*\n.*gillnext score --arm attn2 --seed 1"):
        gather.tables(config, results_root)


def test_only_what_the_paper_shows_is_in_the_archive(results_root, results):
    """Eight rows of the grid, for three arms and the real images, and the reference arm's eight with the lowest IoU."""
    score = score_of(results_root, "scores/attn2/0.json")["per_image"]
    means = [iou / n for iou, n in zip(score["iou"], score["boxes"], strict=True)]
    lowest = sorted(range(len(means)), key=lambda i: (means[i], i))[:8]
    with zipfile.ZipFile(results_root / pictures.NAME) as archive:
        names = [name.split("/") for name in archive.namelist() if name.endswith(".png")]
    found = {arm: {int(n[-1][:5]) for n in names if n[1] == arm} for arm in ("base", "attn1", "attn2", "real")}
    grid = found["base"]
    assert len(grid) == 8 and found["attn1"] == found["real"] == grid and found["attn2"] == grid | set(lowest)
    assert {n[2] for n in names if n[0] == "samples"} == {"0"}
    shown = pictures.Pictures(results)
    for of in (Scored("attn1", 0), REAL):
        index = min(grid)
        there = results_root / pictures.folder(of) / f"{index:05d}.png"
        assert np.array_equal(shown.image(of, index), np.asarray(Image.open(there)))
    assert len(shown.layout(min(grid)).names) >= 2


def test_the_first_layouts_with_several_objects_are_chosen_filled_up_with_the_first_others():
    assert pictures.chosen(np.array([1, 2, 3, 1, 2]), 2) == [1, 2]
    assert pictures.chosen(np.array([1, 2, 3, 1, 2]), 4) == [0, 1, 2, 4]
    assert pictures.chosen(np.array([1, 2, 1, 3, 1]), 3) == [0, 1, 3]
    assert pictures.chosen(np.array([2, 1, 2]), 2) == [0, 2]


def test_the_worst_are_those_of_the_lowest_mean_overlap_and_have_boxes():
    assert pictures.worst(np.array([2, 0, 1, 1]), np.array([0.4, 0, 0.1, 0.9]), 3) == [2, 0, 3]


def test_the_paces_of_data_stages_are_found_by_stage(results_root, config):
    path, paces = results_root / "scores/data.json", {"10": (3, 300, 20.0), "9": (1, 90, 18.0)}
    parts = {part: dict(zip(("devices", "items", "seconds"), pace, strict=True)) for part, pace in paces.items()}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"breakdown": {"annotation_pace": parts}}))
    found = gather.tables(config, results_root)
    assert sorted(found.paces("annotation")) == [(1, 90, 18.0), (3, 300, 20.0)]
    assert [pace.rate for pace in found.paces("annotation")] == [15.0, 5.0] and found.paces("filter") == []


def test_what_trainings_cost_on_gpus_is_found_by_seed_where_they_tell(results_root, config):
    assert gather.tables(config, results_root).trained("attn2", "step_seconds") == {}
    path = results_root / "adapters/attn2/1/training.json"
    path.write_text(json.dumps({"parameters": 7, "gpu": {"seconds": 0.25, "bytes": 2**34, "name": "a GPU"}}))
    found = gather.tables(config, results_root)
    assert found.trained("attn2", "step_seconds") == {1: 0.25} and found.trained("attn2", "gpu_bytes") == {1: 2.0**34}
    assert found.trained("attn1", "gpu_bytes") == {} and found.trained("attn2", "parameters")[1] == 7
