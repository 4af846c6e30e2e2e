"""The graph of every tier: all rules, arms and seeds as the settings say; bad settings are told."""

from pathlib import Path

import pytest

from gillnext.config.load import load

ROOT = Path(__file__).parents[2]

STAGES = {
    "world", "heldout", "prior", "classifier", "annotator", "evaluator", "templates", "features", "clip", "vae", "text",
    "windows", "base", "filter", "download", "annotate", "planner", "plan", "cache", "adapter", "curve", "memory",
    "sample", "ceilings", "score", "relations", "quality", "gather", "tables", "cost", "claims", "figure", "paper",
    "hashes", "html", "all",
}  # fmt: skip


def test_the_demo_has_every_rule_and_a_job_for_each_arm_and_seed(checkout):
    jobs, _ = checkout.jobs()
    assert set(jobs) == STAGES
    assert jobs["adapter"] == jobs["curve"] == 2 * 3  # attn1 and attn2, three seeds; the base has no adapter
    assert jobs["score"] == 2 * 3 + 2  # the base has two seeds of noise
    assert jobs["relations"] == 3  # the reference arm
    assert jobs["sample"] == jobs["score"] + jobs["relations"]
    assert not (checkout.root / "results").exists()  # a dry run writes nothing


def test_smoke_runs_every_rule(checkout):
    jobs, output = checkout.jobs("--configfile", "config/smoke.yaml")
    assert set(jobs) == STAGES and jobs["adapter"] == 2
    assert "results/smoke/" in output and "results/demo/" not in output


def test_the_study_runs_every_arm_and_gives_five_seeds_to_the_headline_contrasts(checkout):
    jobs, output = checkout.jobs("--configfile", "config/study.yaml")
    study = load(ROOT / "config.yaml", ROOT / "config/study.yaml").study
    assert set(jobs) == STAGES | {"swapped", "swap"} and "results/study/" in output
    assert jobs["swapped"] == 5 * 2
    headline = {arm for pair in study.headline for arm in pair}
    assert headline == {"attn1", "attn2", "attn1-box", "attn2-box", "attn1-none", "attn2-none"}
    assert study.seeds == [0, 1, 2] and study.headline_seeds == [0, 1, 2, 3, 4]
    others = {name: arm for name, arm in study.arms.items() if arm.site != "none" and name not in headline}
    assert all(arm.seeds in (None, 1) for arm in others.values())
    assert jobs["adapter"] == 5 * len(headline) + sum(1 if arm.seeds else 3 for arm in others.values())


def test_gpu_has_the_same_graph(checkout):
    jobs, _ = checkout.jobs("--configfile", "config/gpu.yaml")
    assert set(jobs) == STAGES | {"swapped", "swap"}
    study = load(ROOT / "config.yaml", ROOT / "config/gpu.yaml").study
    trained = [arm for arm in study.arms.values() if arm.site != "none"]
    assert jobs["adapter"] == 5 * 6 + 3 * (len(trained) - 6)  # no arm has fewer, for time


def test_given_models_are_taken_instead_of_trained(checkout):
    given = ('filter={"model": "Qwen/Qwen2.5-7B-Instruct"}', 'annotate={"model": "Qwen/Qwen2-VL-7B-Instruct"}')
    jobs, _ = checkout.jobs("--config", *given)
    assert set(jobs) == STAGES - {"classifier", "annotator"}


def test_the_wukong_tier_without_shards_is_refused(checkout):
    status, output = checkout.snakemake("-n", "--configfile", "config/wukong.yaml")
    assert status and "world.release" in output and "docs/wukong.md" in output and "Traceback" not in output


def test_real_shards_go_from_their_files_to_layouts(checkout):
    """256 files of the release's own names, in 64 jobs a stage; nothing is drawn, nothing else is trained."""
    release = checkout.root / "data" / "wukong_release"
    release.mkdir(parents=True)
    for i in range(256):
        (release / f"wukong_100m_{i}.csv").touch()
    settings = ("--configfile", "config/wukong.yaml", "--config", 'world={"release": "data/wukong_release"}')
    jobs, output = checkout.jobs(*settings)
    assert jobs == {"filter": 64, "download": 64, "annotate": 64, "data": 1}
    (release / "wukong_100m_77.csv").unlink()
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "wukong_100m_77.csv" in output


def test_an_arm_more_is_a_row_more(checkout):
    """In the study at once; in the main job when its subset names it."""
    study = ("--configfile", "config/study.yaml")
    before, main = checkout.jobs(*study)[0], checkout.jobs()[0]
    checkout.edit("config.yaml", "    attn1:", "    plain: { site: attn2, bias: none }\n    attn1:")
    after, _ = checkout.jobs(*study)
    assert checkout.jobs()[0] == main
    checkout.edit("config.yaml", "subset: [base,", "subset: [plain, base,")
    chosen, _ = checkout.jobs()
    rows = ("adapter", "curve", "sample", "score")
    assert {rule: chosen[rule] - main[rule] for rule in rows} == dict.fromkeys(rows, 3)
    more = {rule: after[rule] - before[rule] for rule in STAGES if after[rule] != before[rule]}
    assert more == dict.fromkeys(rows, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("adapter: { stepps: 10 }", ["config.yaml", "adapter.stepps", "did you mean 'steps'"]),
        ("vae: { steps: many }", ["config.yaml", "vae.steps", "expected integer"]),
        ("annotate: { backend: yolo }", ["config.yaml", "annotate.backend", "'yolo'"]),
    ],
)
def test_a_wrong_setting_is_told_with_file_key_and_remedy(checkout, line, message):
    with open(checkout.root / "config.yaml", "a") as config:
        config.write(line + "\n")
    status, output = checkout.snakemake("-n")
    assert status != 0
    assert all(part in output for part in message), output
    assert "Traceback" not in output


def test_settings_on_the_command_line_are_checked_too(checkout):
    status, output = checkout.snakemake("-n", "--config", "worlds=3")
    assert status != 0 and "worlds: unknown key" in output and "did you mean 'world'?" in output
