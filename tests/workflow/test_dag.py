"""The graph of every tier: all rules, arms and seeds as the settings say; bad settings are told."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from gillnext.config.load import load
from gillnext.runtime import manifest

ROOT = Path(__file__).parents[2]

STAGES = {
    "world", "heldout", "prior", "classifier", "annotator", "evaluator", "templates", "features", "clip", "vae",
    "text_encoder", "base_on_windows", "base", "filter", "download", "annotate", "planner", "plan", "cache", "adapter",
    "curve", "memory", "sample", "ceilings", "score", "relations", "quality", "gather", "tables", "cost", "claims",
    "figure", "paper", "hashes", "html", "all",
}  # fmt: skip


def test_the_demo_has_every_rule_and_a_job_for_each_arm_and_seed(unchanged):
    jobs, _ = unchanged.jobs()
    assert set(jobs) == STAGES
    assert jobs["adapter"] == jobs["curve"] == 2 * 3  # attn1 and attn2, three seeds; the base has no adapter
    assert jobs["score"] == 2 * 3 + 2  # the base has two seeds of noise
    assert jobs["relations"] == 3  # the reference arm
    assert jobs["sample"] == jobs["score"] + jobs["relations"]
    assert not (unchanged.root / "results").exists()  # a dry run writes nothing


def test_smoke_runs_every_rule(unchanged):
    jobs, output = unchanged.jobs("--configfile", "config/smoke.yaml")
    assert set(jobs) == STAGES and jobs["adapter"] == 2
    assert "results/smoke/" in output and "results/demo/" not in output


def test_the_study_runs_every_arm_and_gives_five_seeds_to_the_headline_contrasts(unchanged):
    jobs, output = unchanged.jobs("--configfile", "config/study.yaml")
    study = load(ROOT / "config.yaml", ROOT / "config/study.yaml").study
    assert set(jobs) == STAGES | {"swapped", "swap"} and "results/study/" in output
    assert jobs["swapped"] == 5 * 2
    headline = {arm for pair in study.headline for arm in pair}
    assert headline == {"attn1", "attn2", "attn1-box", "attn2-box", "attn1-none", "attn2-none"}
    assert study.seeds == [0, 1, 2] and study.headline_seeds == [0, 1, 2, 3, 4]
    others = {name: study.arms[name] for name in study.trained if name not in headline}
    assert all(arm.seeds in (None, 1) for arm in others.values())
    assert jobs["adapter"] == 5 * len(headline) + sum(1 if arm.seeds else 3 for arm in others.values())


def test_gpu_has_the_same_graph(unchanged):
    jobs, _ = unchanged.jobs("--configfile", "config/gpu.yaml")
    assert set(jobs) == STAGES | {"swapped", "swap"}
    study = load(ROOT / "config.yaml", ROOT / "config/gpu.yaml").study
    assert jobs["adapter"] == 5 * 6 + 3 * (len(study.trained) - 6)  # no arm has fewer, for time


def test_given_models_are_taken_instead_of_trained(checkout, given):
    """A folder is taken where it is; what a hub has is fetched once."""
    base, hub = given["base"], "Qwen/Qwen2-VL-7B-Instruct @ main"
    jobs, output = checkout.jobs("--config", "models=" + json.dumps({"base": base, "annotator": hub}), "-p")
    assert (
        set(jobs) == STAGES - {"base", "base_on_windows", "vae", "text_encoder", "annotator"} | {"fetch"}
        and jobs["fetch"] == 1
    )
    assert f"--base {base}" in output and f"--vae {base}/vae" in output
    assert "--role annotator" in output and "--model results/demo/given/annotator" in output


def test_kept_models_are_taken_as_they_were_kept_and_by_no_lab(checkout, given):
    for role in ("base", "image_text"):
        folder = checkout.root / "reference/models" / role
        shutil.copytree(given[role], folder)
        manifest.write(folder, {"role": role})
    kept = ("--config", "models=" + json.dumps({"base": "kept", "image_text": "kept"}))
    jobs, output = checkout.jobs(*kept, "-p")
    assert set(jobs) == STAGES - {"base", "base_on_windows", "vae", "text_encoder", "clip"}
    assert "--base reference/models/base " in output and "--clip reference/models/image_text " in output
    _, settings = released(checkout, given | {"image_text": "kept"}, 256)
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "models.image_text: made here, of drawn scenes alone" in output
    (checkout.root / "reference/models/base/tokenizer.json").write_text("{ }")
    status, output = checkout.snakemake("-n", *kept)
    assert status and "tokenizer.json: not the file that was kept" in output and "Traceback" not in output


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
    made = {"classifier", "annotator", "evaluator", "templates", "features", "clip"}
    made |= {"vae", "text_encoder", "base_on_windows", "base"}
    assert set(jobs) == STAGES - drawn - made | {"fingerprint", "split", "names", "real", "tally", "beside"}
    by_part = ("filter", "download", "annotate", "fingerprint", "cache")
    assert {rule: jobs[rule] for rule in by_part} == dict.fromkeys(by_part, 64)
    assert jobs["adapter"] == 2 * 3 and jobs["planner"] == 1
    assert jobs["beside"] == 3  # people's captions: each arm's first seed
    assert jobs["sample"] == jobs["score"] + jobs["relations"] + jobs["beside"]
    (release / "wukong_100m_77.csv").unlink()
    status, output = checkout.snakemake("-n", "--cores", "2", *settings)
    assert status and "wukong_100m_77.csv" in output


def test_no_job_of_a_release_has_a_file_of_the_drawn_world_among_its_inputs(checkout, given):
    """So an edited noun of the demo redoes no adapter, filter or sample of a release, nor anything else of it."""
    _, settings = released(checkout, given, 2)
    status, graph = checkout.snakemake("--filegraph", "--cores", "2", *settings)
    assert status == 0, graph
    assert {"filter", "annotate", "adapter", "sample", "score"} <= set(re.findall(r">(\w+)</font></b>", graph))
    assert "src/gillnext/miniatures/networks/fcos.py" in graph and "miniatures/world/" not in graph


@pytest.mark.parametrize("name", ["one.yaml", "eight.yaml", "sixtyfour.yaml"])
def test_the_settings_that_the_documentation_shows_make_the_whole_graph(checkout, given, name):
    page = (ROOT / "docs/at-size.md").read_text(encoding="utf-8")
    block = re.search(rf"^    # {name}\n((?:    \S.*\n)+)", page, re.M)[1]
    (checkout.root / name).write_text(re.sub(r"^    ", "", block, flags=re.M))
    _, settings = released(checkout, given, 256)
    jobs, _ = checkout.jobs(*settings, name)
    assert jobs["cache"] == 64 and jobs["adapter"] == 6 and jobs["paper"] == 1


def test_a_benchmarks_layouts_are_drawn_and_scored_by_its_own_names_and_chance_level(checkout, given):
    _, settings = released(checkout, given, 2)
    bench = checkout.root / "bench"
    bench.mkdir()
    named = (*settings, "--config", 'split={"published": "bench"}')
    status, output = checkout.snakemake("-n", *named)
    assert status and "split.published: bench: no test.jsonl in it" in output and "heldout-from" in output
    for name in ("test.jsonl", "names.txt", "prior.safetensors"):
        (bench / name).touch()
    jobs, output = checkout.jobs(*named, "-p")
    assert jobs["beside"] == 2 * 3 and jobs["sample"] == jobs["score"] + jobs["relations"] + jobs["beside"]
    drawn = [line for line in output.splitlines() if "gillnext sample" in line and "/published" in line]
    assert len(drawn) == 3 and all("--layouts bench/test.jsonl" in line for line in drawn)
    scored = [line for line in output.splitlines() if "gillnext score" in line and "scores/published" in line]
    assert len(scored) == 3
    assert all("--names bench/names.txt" in x and "--prior bench/prior.safetensors" in x for x in scored)
    people = [line for line in output.splitlines() if "gillnext score" in line and "scores/people" in line]
    assert len(people) == 3 and all("--prior results/wukong/split/prior.safetensors" in line for line in people)
    status, output = checkout.snakemake("-n", "--config", 'split={"published": "bench"}')
    assert status and "split.published: of a release alone" in output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "labels.csv: no such file"),
        ("bild;name\n", "labels.csv, line 1: another header"),
        ("image,name,x1,y1,x2,y2\na.png,?,,,,\n", "labels.csv, line 2: a.png is not filled in"),
        (
            "image,name,x1,y1,x2,y2\nelsewhere/a.png,,,,,\n",
            "labels.csv, line 2: elsewhere/a.png is no image of this run",
        ),
        ("image,name,x1,y1,x2,y2\n", "labels.csv: no images in it"),
    ],
)
def test_drawn_boxes_that_are_none_are_told_before_anything_begins(checkout, given, text, told):
    _, settings = released(checkout, given, 2)
    if text is not None:
        (checkout.root / "labels.csv").write_text(text)
    status, output = checkout.snakemake("-n", *settings, "--config", 'annotate={"labels": "labels.csv"}')
    assert status and told in output and "remedy" in output and "Traceback" not in output


def test_drawn_boxes_go_to_the_data_scores_and_redo_no_annotation(checkout, given):
    _, settings = released(checkout, given, 2)
    parts, goal = 'world={"parts": 1}', ("--", "results/wukong/layouts/0.jsonl")
    resources = ("--cores", "2", "--resources", "gpu=1")
    status, output = checkout.snakemake(*resources, *settings, "--config", parts, *goal)
    assert status == 0 and checkout.ran() == ["annotate", "download", "filter"], output
    (checkout.root / "labels.csv").write_text("image,name,x1,y1,x2,y2\nresults/wukong/images/0/a.png,,,,,\n")
    labelled = (*settings, "--config", parts, 'annotate={"labels": "labels.csv"}')
    assert "Nothing to be done" in checkout.snakemake(*resources, *labelled, *goal)[1]
    status, output = checkout.snakemake("-n", "-p", *labelled, "--", "results/wukong/scores/data.json")
    assert status == 0 and "gillnext annotate" not in output
    tally = next(line for line in output.splitlines() if "gillnext tally" in line)
    assert "--labels labels.csv" in tally and "--boxes results/wukong/layouts/0.jsonl" in tally


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


def test_an_arm_more_is_a_row_more(checkout, unchanged):
    """In the study at once; in the main job when its subset names it."""
    study = ("--configfile", "config/study.yaml")
    before, main = unchanged.jobs(*study)[0], unchanged.jobs()[0]
    checkout.edit("config.yaml", "    attn1:", "    plain: { site: attn2, bias: none }\n    attn1:")
    after, _ = checkout.jobs(*study)
    assert checkout.jobs()[0] == main
    checkout.edit("config.yaml", "subset: [base,", "subset: [plain, base,")
    chosen, _ = checkout.jobs()
    rows = ("adapter", "curve", "sample", "score")
    assert {rule: chosen[rule] - main[rule] for rule in rows} == dict.fromkeys(rows, 3)
    more = {rule: after[rule] - before[rule] for rule in STAGES if after[rule] != before[rule]}
    assert more == dict.fromkeys(rows, 3)


def test_an_arm_with_anothers_adapters_is_drawn_and_scored_and_trains_nothing(checkout, unchanged):
    before, _ = unchanged.jobs()
    checkout.edit("config.yaml", "subset: [base,", "subset: [attn2-local, base,")
    after, output = checkout.jobs("-p")
    more = {rule: after[rule] - before[rule] for rule in STAGES if after[rule] != before[rule]}
    assert more == {"sample": 3, "score": 3}
    drawn = [line for line in output.splitlines() if "gillnext sample" in line and "--arm attn2-local " in line]
    assert len(drawn) == 3 and "adapters/attn2-local" not in output
    for seed in range(3):
        assert any(f"--seed {seed} " in x and f"--adapter results/demo/adapters/attn2/{seed} " in x for x in drawn)


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


def test_the_workflow_lies_where_its_catalogue_looks_for_it(unchanged):
    """The Snakefile in workflow/ and the one in the root, which includes it, plan the same jobs to the same target."""
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert usage["software-stack-deployment"]["apptainer"] and usage["report"]
    assert (unchanged.root / "config/README.md").is_file()
    own, root = unchanged.jobs("--snakefile", "workflow/Snakefile")[0], unchanged.jobs()[0]
    assert own == root and root["all"] == 1
