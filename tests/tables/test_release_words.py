"""What tables of a release say: no truth where there is none, boxes by hand where there are, evaluators as they are."""

import dataclasses
import json

import pytest
from fake_results import gathered, put

from gillnext.claims.rules import second_evaluator
from gillnext.miniatures.networks.templates import TemplateDetector
from gillnext.record.results import NOTHING_LEARNED
from gillnext.tables import build, stage
from gillnext.tables.contrasts import contrasts_table
from gillnext.tables.evaluators import evaluators_table

KEPT = {"download_alive": 0.7, "annotation_found": 0.75}
HAND = {"annotation_precision": 0.81, "annotation_recall": 0.62, "annotation_miou_all": 0.55, "annotation_labelled": 40}


@pytest.fixture
def release(results_root, config):
    study = dataclasses.replace(config.study, headline=[["attn2", "attn1"]])
    world, models = dataclasses.replace(config.world, release="shards"), config.models
    models = dataclasses.replace(models, evaluator="m/dino", second_evaluator="m/owl", features="m/dinov2")
    config = dataclasses.replace(config, world=world, models=models, study=study)
    for path in results_root.glob("scores/*/*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["protocol"] |= {"evaluator": "Grounding DINO (small)", "rules": "OWLv2 (base)"}
        put(path, content)
    for arm in ("base", "attn1", "attn2"):
        content = json.loads((results_root / f"scores/{arm}/0.json").read_text(encoding="utf-8"))
        put(results_root / f"scores/people/{arm}/0.json", content)
    return results_root, config


def data(root, config, metrics, intervals):
    counts = dict.fromkeys(metrics, 90)
    content = {"n": 400, "metrics": metrics, "counts": counts, "intervals": intervals, "protocol": {}}
    put(root / "scores/data.json", content)
    table = build.data_table(gathered(root, config))
    return table, {r["metric"]: r for r in table.records()}


def test_without_drawn_boxes_the_data_table_says_that_there_is_no_truth(release):
    table, rows = data(*release, KEPT, {"download_alive": [0.5, 0.85]})
    assert "no truth" in table.title
    for name in ("precision at IoU 0.5", "recall at IoU 0.5", "mean IoU, missing ones as 0"):
        row = rows[f"annotation: {name}"]
        assert (row["value"], row["ci95"], row["n"]) == ("no truth", "–", "–")
    assert rows["annotation: objects found"]["value"] == "0.750"


def test_with_drawn_boxes_the_annotators_scores_stand_with_interval_and_number(release):
    table, rows = data(*release, KEPT | HAND, {"annotation_precision": [0.7, 0.9]})
    row = rows["annotation: precision at IoU 0.5"]
    assert (row["value"], row["ci95"], row["n"]) == ("0.810", "0.700 to 0.900", "90")
    assert rows["annotation: recall at IoU 0.5"]["value"] == "0.620"
    assert rows["annotation: mean IoU, missing ones as 0"]["value"] == "0.550"
    assert rows["annotation: images with boxes drawn by hand"]["value"] == "40"
    text = " ".join([table.title, *table.notes, *(cell.text for row in table.rows for cell in row)])
    assert "no truth" not in text and "40 images" in text


def test_given_evaluators_are_called_by_what_ran_and_no_table_speaks_of_the_templates(release, tmp_path):
    root, config = release
    put(root / "scores/data.json", {"n": 400, "metrics": KEPT, "counts": {}, "protocol": {}})
    results = gathered(root, config)
    assert "First: Grounding DINO (small). Second: OWLv2 (base)." in evaluators_table(results).notes
    stage.tables(config, root, tmp_path / "tables")
    tables = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "tables").glob("*.json")]
    told = [one for one in tables if isinstance(one, dict) and "columns" in one]
    assert {"people", "evaluators", "contrasts", "relations"} <= {one["name"] for one in told}
    for one in told:
        text = " ".join([one["title"], *one["notes"], *(column["title"] for column in one["columns"])])
        assert not any(word in text for word in ("rules", "learn", "own feature network", "templates")), one["name"]
    assert "the same by the second" in [c.title for c in contrasts_table(results).columns]


def test_what_the_base_cannot_do_by_its_card_stands_in_tables_and_text(results_root, config, tmp_path):
    stage.tables(config, gathered(results_root, config).root, tmp_path / "silent")
    path = results_root / "adapters/attn2/1/training.json"
    told = {"provenance": {"base": {"limitation": "it draws squares alone"}}}
    put(path, json.loads(path.read_text(encoding="utf-8")) | told)
    stage.tables(config, gathered(results_root, config).root, tmp_path / "told")
    for name, said in (("silent", False), ("told", True)):
        table, numbers = (json.loads((tmp_path / name / f).read_text()) for f in ("main.json", "numbers.json"))
        assert ("The base, by its own card: it draws squares alone." in table["notes"]) is said
        assert (numbers.get("models.base.limitation") == "it draws squares alone") is said


def test_templates_in_a_named_folder_learn_nothing_too(results_root, config):
    """By the protocol of what ran, in tables and claims alike; the settings only say where the model lay."""
    models = dataclasses.replace(config.models, second_evaluator="a/folder")
    results = gathered(results_root, dataclasses.replace(config, models=models))
    assert results.second_learns_nothing and second_evaluator(results) == "the evaluator that learns nothing"
    assert "Rules: templates of colour and shape, nothing learned." in evaluators_table(results).notes
    assert NOTHING_LEARNED in TemplateDetector.description


def test_the_demos_evaluators_are_the_learned_one_and_the_rules(results_root, config):
    titles = [column.title for column in evaluators_table(gathered(results_root, config)).columns]
    assert "success@0.5, learned" in titles and "success@0.5, rules" in titles
