"""The graph of every tier: all rules, arms and seeds as the settings say; bad settings are told."""

import json
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


def test_given_models_are_taken_instead_of_trained(checkout, given):
    """A folder is taken where it is; what a hub has is fetched once."""
    base, hub = given["base"], "Qwen/Qwen2-VL-7B-Instruct @ main"
    jobs, output = checkout.jobs("--config", "models=" + json.dumps({"base": base, "annotator": hub}), "-p")
    assert set(jobs) == STAGES - {"base", "windows", "vae", "text", "annotator"} | {"fetch"} and jobs["fetch"] == 1
    assert f"--base {base}" in output and f"--vae {base}/vae" in output
    assert "--role annotator" in output and "--model results/demo/given/annotator" in output


def test_the_wukong_tier_without_shards_is_refused(checkout):
    status, output = checkout.snakemake("-n", "--configfile", "config/wukong.yaml")
    assert status and "world.release" in output and "docs/wukong.md" in output and "Traceback" not in output


def released(checkout, given, shards):
    """The options of a run on a release of this many shards, by the given checkpoints."""
    release = checkout.root / "data" / "wukong_release"
    release.mkdir(parents=True)
    for i in range(shards):
        (release / f"wukong_100m_{i}.csv").touch()
    lab = {"world": {"release": "data/wukong_release", "shards": shards}, "models": given}
    (checkout.root / "lab.json").write_text(json.dumps(lab))
    return release, ("--configfile", "config/wukong.yaml", "lab.json")


def test_real_shards_go_from_their_files_to_the_paper(checkout, given):
    """256 files of the release's own names, in 64 jobs a stage; nothing is drawn, and of models the planner and the
    adapters alone are trained.
    """
    release, settings = released(checkout, given, 256)
    jobs, _ = checkout.jobs(*settings)
    drawn = {"world", "heldout", "prior", "quality", "ceilings"}
    made = {"classifier", "annotator", "evaluator", "templates", "features", "clip", "vae", "text", "windows", "base"}
    assert set(jobs) == STAGES - drawn - made | {"fingerprint", "split", "names", "real", "tally"}
    by_part = ("filter", "download", "annotate", "fingerprint", "cache")
    assert {rule: jobs[rule] for rule in by_part} == dict.fromkeys(by_part, 64)
    assert jobs["adapter"] == 2 * 3 and jobs["planner"] == 1
    (release / "wukong_100m_77.csv").unlink()
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "wukong_100m_77.csv" in output


def test_what_only_a_lab_can_give_has_to_be_given(checkout, given):
    del given["image_text"]
    _, settings = released(checkout, given, 256)
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "models.image_text: made here, of drawn scenes alone" in output


def test_who_writes_the_boxes_does_not_judge_by_them(checkout, given):
    given["annotator"] = given["evaluator"]
    _, settings = released(checkout, given, 256)
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "models.evaluator" in output and "annotator's own family" in output


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


def test_a_training_of_several_processes_is_started_by_accelerate_and_asks_for_what_they_take(checkout):
    message = '    message:\n        "adapter: training arm {wildcards.arm}, seed {wildcards.seed}"\n'
    checkout.edit("workflow/rules/adapter.smk", message, "")  # Snakemake prints it in place of threads and resources

    def printed(*settings):
        smoke = ("-n", "-p", "--cores", "8", "--configfile", "config/smoke.yaml", "--config")
        status, output = checkout.snakemake(*smoke, *settings)
        return status, output.split("rule adapter:")[-1].split("\n\n")[0]

    status, job = printed('adapter={"processes": 2}', 'run={"device": "cuda", "threads": 2}')
    assert status == 0 and "threads: 4\n" in job and "gpu=2" in job
    assert "accelerate.commands.launch" in job and "--num_processes 2" in job
    assert " --no_python gillnext adapter --config results/smoke/config.json --arm attn" in job
    status, job = printed('adapter={"processes": 2, "nodes": 2}')
    assert status == 0 and all(asked in job for asked in ("nodes=2", "tasks=2", "mpi=srun"))
    assert "srun --nodes 2" in job and '--machine_rank "$SLURM_NODEID"' in job
    status, job = printed('adapter={"processes": 3}')
    assert status and "a batch of" in job and "for 3 processes" in job and "Traceback" not in job
