"""The tables of a release's other held-out sets: against the score files and against resampling by hand."""

import dataclasses
import json

import numpy as np
import pytest
from fake_results import LEVELS, gathered, put, score

from gillnext.record.results import Scored
from gillnext.runtime import seeds
from gillnext.tables import stage
from gillnext.tables.beside import people_table, published_table

BOXES = [1, 2, 3, 4] * 4


@pytest.fixture
def release(results_root, config):
    """The made-up run as one of a release, with people's captions and a benchmark's layouts."""
    config = dataclasses.replace(
        config,
        world=dataclasses.replace(config.world, release="shards"),
        split=dataclasses.replace(config.split, published="bench"),
    )
    boxes = json.loads((results_root / "scores/attn2/0.json").read_text(encoding="utf-8"))["per_image"]["boxes"]
    rng = np.random.default_rng(1)
    for arm, level in LEVELS.items():
        put(results_root / f"scores/people/{arm}/0.json", score(f"{arm}/0", 0.6 * level, rng, boxes))
        put(results_root / f"scores/published/{arm}/0.json", score(f"{arm}/0", 0.5 * level, rng, BOXES))
    return results_root, config


def ends(sums, boxes, metric):
    """Percentiles of sums over boxes in 1,000 resamples of images, one by one."""
    draws = seeds.rng("bootstrap", "beside", metric).integers(len(boxes), size=(1000, len(boxes)))
    return np.quantile([sums[draw].sum() / boxes[draw].sum() for draw in draws], [0.025, 0.975])


def test_peoples_captions_stand_beside_the_naming_ones_with_the_difference_by_image(release):
    results = gathered(*release)
    table = people_table(results)
    rows = {(r["arm"], r["captions"]): r for r in table.records()}
    assert len(rows) == len(table.rows) == 3 * 3 + 2
    files = {of: json.loads((release[0] / f"scores/{of}.json").read_text()) for of in ("attn2/0", "people/attn2/0")}
    named, people = files.values()
    for captions, content in (("named", named), ("people's", people)):
        row, by_image = rows["attn2", captions], content["per_image"]
        assert row["images"] == "16" and int(row["boxes"]) == sum(by_image["boxes"])
        for metric, sums in (("success50", "hits"), ("miou", "iou")):
            assert row[metric] == f"{content['metrics'][metric]:.3f}"
            assert row[f"chance_{metric}"] == f"{content['metrics'][f'chance_{metric}']:.3f}"
            low, high = ends(np.array(by_image[sums]), np.array(by_image["boxes"]), metric)
            assert row[f"{metric}_images"] == f"{low:.3f} to {high:.3f}"
    row, apart = rows["attn2", "people's − named"], people["metrics"]["success50"] - named["metrics"]["success50"]
    assert row["success50"] == f"−{-apart:.3f}" and apart < 0
    hits = np.array(people["per_image"]["hits"]) - np.array(named["per_image"]["hits"])
    low, high = ends(hits, np.array(named["per_image"]["boxes"]), "success50")
    assert row["success50_images"] == f"{low:.3f} to {high:.3f}".replace("-", "−")


def test_a_benchmarks_layouts_are_told_by_its_own_definitions(release):
    table = published_table(gathered(*release))
    assert [r["arm"] for r in table.records()] == list(LEVELS)
    row = {r["arm"]: r for r in table.records()}["attn2"]
    content = json.loads((release[0] / "scores/published/attn2/0.json").read_text(encoding="utf-8"))
    for key in ("o_miou", "miou_overlaybench", "success50", "chance_o_miou"):
        assert row[key] == f"{content['metrics'][key]:.3f}"
    low, high = content["intervals"]["o_miou"]
    assert row["o_miou_images"] == f"{low:.3f} to {high:.3f}" and row["with_pairs"] == "7"
    assert row["images"] == "16" and row["boxes"] == str(sum(BOXES))


def test_a_benchmark_whose_boxes_never_meet_has_no_such_score(release):
    root, config = release
    for arm in LEVELS:
        path = root / f"scores/published/{arm}/0.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["metrics"] = {k: v for k, v in content["metrics"].items() if "o_miou" not in k}
        path.write_text(json.dumps(content | {"counts": {}, "intervals": {}}), encoding="utf-8")
    (row, *_) = published_table(gathered(root, config)).records()
    assert [row[key] for key in ("o_miou", "o_miou_images", "with_pairs", "chance_o_miou")] == ["–"] * 4


def test_a_run_without_them_has_neither_table(results_root, config):
    results = gathered(results_root, config)
    assert people_table(results) is None and published_table(results) is None
    assert {of.split for of in results._values} == {"test", "relations", "planner", "data", "training"}
    stage.tables(config, results_root, results_root / "t")
    assert not {"people", "published"} & set(json.loads((results_root / "t/index.json").read_text()))


def test_of_a_benchmark_no_file_is_asked_for_that_the_settings_do_not_name(release):
    root, config = release
    config = dataclasses.replace(config, split=dataclasses.replace(config.split, published=""))
    results = gathered(root, config)
    assert published_table(results) is None and people_table(results) is not None
    assert results.has(Scored("attn2", 0, "people"), "miou")
