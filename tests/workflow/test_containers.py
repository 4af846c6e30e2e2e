"""Runs with --use-singularity: every job in the image of these locks, nothing of the host's, results of their own."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DATA = ["annotate", "annotator", "classifier", "download", "filter", "quality", "world"]
CONTAINED = ["--use-singularity", "--configfile", "config/smoke.yaml"]
TARGET = ["--cores", "2", *CONTAINED, "--", "results/smoke-container/scores/data.json"]
ON_HOST = ["--cores", "2", "--configfile", "config/smoke.yaml", "--", "results/smoke/scores/data.json"]


def test_every_job_runs_in_the_image_and_nothing_of_a_host_run_is_redone_or_mixed(contained):
    status, output = contained.snakemake(*TARGET)
    assert status == 0, output
    assert contained.ran() == DATA
    assert len(contained.apptainer("build")) == 1 and len(contained.apptainer("exec")) == len(DATA)
    assert os.listdir(contained.root / "results").count("smoke") == 0

    assert contained.snakemake(*ON_HOST)[0] == 0
    assert contained.ran() == DATA and len(contained.apptainer("exec")) == len(DATA)
    for target in (TARGET, ON_HOST):
        assert "Nothing to be done" in contained.snakemake(*target)[1]


def test_jobs_see_nothing_of_the_host_and_keep_caches_in_the_results(contained):
    foreign = {
        "LC_ALL": "zh_CN.GB18030", "HF_HOME": "/host/hf", "HF_TOKEN": "secret", "XDG_CACHE_HOME": "/host/cache",
        "PYTHONUSERBASE": "/host/user", "PYTHONSTARTUP": "/host/start.py", "LD_PRELOAD_OF_HOST": "x",
        "APPTAINERENV_HF_ENDPOINT": "/host/hub",
    }  # fmt: skip
    status, output = contained.snakemake(*TARGET, **foreign, CUDA_VISIBLE_DEVICES="1")
    assert status == 0, output
    caches = str(contained.root / "results/smoke-container/.cache")
    seen = contained.environments()
    assert len(seen) == len(DATA)
    for environment in seen:
        leaked = {k: v for k, v in environment.items() if v in foreign.values()}
        assert leaked == {}
        assert environment["CUDA_VISIBLE_DEVICES"] == "1"  # a choice of the user's or the cluster's
        assert environment["PYTHONPATH"] == str(contained.root / "src")
        folders = [environment[k] for k in ("HF_HOME", "TORCH_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME")]
        assert all(folder.startswith(caches) for folder in folders)
        about = json.loads((contained.root / environment["GILLNEXT_IMAGE"]).read_text())
        assert re.fullmatch("[0-9a-f]{64}", about["sha256"])
        assert environment["GILLNEXT_INPUTS"] == about["inputs"]


def test_what_the_settings_name_outside_the_checkout_is_bound_to_be_read(contained, tmp_path, given):
    outside = [tmp_path / "release", Path(given["classifier"]), tmp_path / "words.txt"]
    outside[0].mkdir()
    outside[2].touch()
    for i in range(2):
        (outside[0] / f"wukong_100m_{i}.csv").touch()
    (contained.root / "inside.txt").touch()
    overlay = tmp_path / "lab.yaml"
    overlay.write_text(
        f"world: {{ release: {outside[0]}, shards: 2, parts: 1 }}\n"
        f"models: {{ classifier: {outside[1]}, annotator: Qwen/a-hub-id @ main }}\n"
        f"filter: {{ lexicon: {outside[2]} }}\nannotate: {{ vocabulary: inside.txt }}\n"
    )
    target = ["--cores", "2", *CONTAINED, str(overlay), "--", "results/smoke-container/layouts/0.jsonl"]
    status, output = contained.snakemake(*target, APPTAINER_BIND="/scratch")
    assert status == 0, output
    expected = ",".join(["/scratch", *(f"{path}:{path}:ro" for path in outside)])
    assert set(contained.apptainer("bind")) == {f"bind {expected}"}


@pytest.mark.parametrize("changed", ["envs/pipeline.txt", "containers/pipeline.def", "containers/packages.txt"])
def test_a_changed_lock_or_definition_builds_again_and_redoes_all(contained, changed):
    assert contained.snakemake(*TARGET)[0] == 0
    contained.ran()
    with open(contained.root / changed, "a") as file:
        file.write("# another\n")
    status, output = contained.snakemake(*TARGET)
    assert status == 0, output
    assert contained.ran() == DATA
    assert len(contained.apptainer("build")) == 2


def test_an_image_that_is_there_is_linked_not_built(contained):
    assert contained.snakemake(*TARGET)[0] == 0
    shutil.rmtree(contained.root / "results")
    assert contained.snakemake(*TARGET)[0] == 0
    assert len(contained.apptainer("build")) == 1


def test_a_job_in_the_image_can_read_the_workflow_where_the_image_lies_outside(contained, tmp_path):
    images = tmp_path / "images"
    assert contained.snakemake(*TARGET, GILLNEXT_IMAGES=str(images))[0] == 0
    (about,) = (contained.root / "results").glob("pipeline-*.sif.json")
    images.rename(tmp_path / "not in the container")
    inside = [argument for argument in TARGET if argument != "--use-singularity"]
    status, output = contained.snakemake("--summary", *inside, GILLNEXT_IMAGE=str(about))
    assert status == 0, output
    assert "results/smoke-container/scores/data.json" in output


def test_a_checkout_elsewhere_is_not_written_to(contained, tmp_path):
    def files():
        return {p: p.stat().st_mtime_ns for p in contained.root.rglob("*") if "__pycache__" not in p.parts}

    before = files()
    elsewhere = tmp_path / "some where"
    elsewhere.mkdir()
    images = str(tmp_path / "images")
    options = ["--snakefile", contained.root / "Snakefile", "--configfile", contained.root / "config/smoke.yaml"]
    profile = ["--workflow-profile", contained.root / "profiles/default"]
    target = ["--cores", "2", "--use-singularity", "--", "results/smoke-container/scores/data.json"]
    for run in (target, target):
        status, output = contained.snakemake(
            *options, *profile, "--directory", elsewhere, *run, cwd=tmp_path, GILLNEXT_IMAGES=images
        )
        assert status == 0, output
    assert contained.ran() == DATA
    assert files() == before
    assert (elsewhere / "results/smoke-container/scores/data.json").exists()


def test_the_gpu_profile_passes_gpus_in(contained):
    status, output = contained.snakemake("--profile", "profiles/gpu", *TARGET)
    assert status == 0, output
    assert all(" --nv " in call for call in contained.apptainer("exec"))


def test_without_apptainer_the_remedy_is_told_before_anything_runs(contained):
    contained.lack()
    status, output = contained.snakemake(*TARGET)
    assert status != 0 and "Traceback" not in output
    assert "no apptainer" in output and "containers/install-apptainer.sh" in output and "make paper" in output
    assert contained.ran() == []
    assert contained.snakemake("-n", *ON_HOST)[0] == 0  # the host's way is still open


@pytest.mark.parametrize("name", ["a:b", "a,b", "a'b"])
def test_a_path_that_cannot_be_bound_is_told(contained, tmp_path, name):
    contained.root = contained.root.rename(tmp_path / name)
    status, output = contained.snakemake("-n", *TARGET)
    assert status != 0 and "Traceback" not in output
    assert f"{tmp_path / name}: Apptainer cannot bind" in output and "remedy: move it" in output


def test_an_image_of_other_locks_is_refused(contained):
    assert contained.snakemake(*TARGET, FAKE_INPUTS="0123456789abcdef")[0] == 0  # as a copy under a wrong name is
    shutil.rmtree(contained.root / "results")
    status, output = contained.snakemake(*TARGET)
    assert status != 0
    assert "was built from locks 0123456789abcdef" in output and "remedy: remove" in output


def test_only_the_rule_that_builds_the_image_has_none():
    without = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for comment, rule, body in re.findall(r"( *# [^\n]*)?\n *rule (\w+):\n(.*?)(?=\n *rule |\Z)", text, re.S):
            if re.search(r"container:\s+None", body):
                without[rule] = comment.strip()
    assert without == {"image": "# Without a container: it builds what the others run in."}


def test_the_slurm_profile_names_rules(contained):
    jobs, _ = contained.jobs("--use-singularity", "--configfile", "config/study.yaml")
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.yaml").read_text())
    assert set(profile["set-resources"]) <= set(jobs)
    assert all(needs["runtime"] > 0 for needs in profile["set-resources"].values())


def test_the_hosts_lock_has_the_versions_of_the_pipelines():
    def versions(name):
        lock = (ROOT / "envs" / name).read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.M))

    host, pipeline = versions("host.txt"), versions("pipeline.txt")
    assert host["snakemake"] == pipeline["snakemake"]
    assert {name: v for name, v in host.items() if pipeline.get(name, v) != v} == {}
    assert set(host) - set(pipeline) <= {n for n in host if "slurm" in n or n in {"numpy", "pandas", "throttler"}}
