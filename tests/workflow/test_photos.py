"""A world of cut-outs in the workflow: what its folder is an input of, and what a folder that is not there says."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cutout_folder

TARGET = ["--cores", "2", "--configfile", "config/foundations-photos.yaml", "--", "models"]
MAKES_SCENES = [
    "annotator", "base", "base_on_windows", "classifier", "clip", "evaluator", "features", "second_evaluator",
    "text_encoder", "vae",
]  # fmt: skip


def test_a_changed_picture_redoes_what_makes_scenes_and_nothing_of_the_drawn_world(checkout):
    folder = checkout.root / "build/photos"
    cutout_folder.make(folder)
    status, output = checkout.snakemake(*TARGET)
    assert status == 0, output
    assert checkout.ran() == MAKES_SCENES

    cutout_folder.picture(folder / "cow.png", 7)
    assert checkout.snakemake(*TARGET)[0] == 0
    assert checkout.ran() == MAKES_SCENES

    drawn = ["--cores", "2", "--configfile", "config/smoke.yaml", "--", "results/smoke/models/vae"]
    assert checkout.snakemake(*drawn)[0] == 0 and checkout.ran() == ["vae"]
    cutout_folder.picture(folder / "cow.png", 5)
    assert "Nothing to be done" in checkout.snakemake(*drawn)[1]


def test_a_folder_that_is_not_there_is_told_with_what_to_do(checkout):
    status, output = checkout.snakemake("-n", *TARGET)
    assert status != 0 and "build/photos: no objects.csv there" in output and "make build/photos" in output


def test_the_tier_takes_its_foundations_from_their_run(checkout, given):
    cutout_folder.make(checkout.root / "build/photos")
    made = checkout.root / "results/foundations-photos/models"
    made.mkdir(parents=True)
    named = {"image_text": "clip"}
    for role, path in given.items():
        if role != "planner":
            Path(path).rename(made / named.get(role, role))
    jobs, _ = checkout.jobs("--configfile", "config/photos.yaml")
    assert not set(MAKES_SCENES) & set(jobs) and jobs["adapter"] == 18 and jobs["world"] == 1


def test_the_smoke_tier_of_emoji_makes_every_model_of_its_own_folder(checkout):
    tier = ["--configfile", "config/smoke.yaml", "config/emoji.yaml"]
    status, output = checkout.snakemake("-n", "--cores", "2", *tier)
    assert status != 0 and "build/emoji: no objects.csv there" in output and "or build/emoji/objects.csv" in output
    cutout_folder.make(checkout.root / "build/emoji")
    jobs, _ = checkout.jobs(*tier)
    assert set(MAKES_SCENES) < set(jobs) and jobs["adapter"] == 2 and jobs["paper"] == 1
