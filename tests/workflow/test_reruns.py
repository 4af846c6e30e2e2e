"""What a second call, an edit, a failure and a kill redo, with stages that only write their outputs."""

import json
import os
import signal
import time
from pathlib import Path

import machine
import pytest

DATA = ["annotate", "annotator", "classifier", "download", "filter", "quality", "world"]
TARGET = ["--cores", "2", "--configfile", "config/smoke.yaml", "--", "results/smoke/scores/data.json"]


def test_a_second_call_does_nothing_and_an_edit_redoes_what_depends_on_it(checkout):
    status, output = checkout.snakemake(*TARGET)
    assert status == 0, output
    assert checkout.ran() == DATA

    for path in [*checkout.root.glob("src/**/*.py"), checkout.root / "config.yaml"]:
        path.touch()  # as a fresh checkout by git does
    checkout.edit("src/gillnext/config/model.py", '"""Every setting', '"""All settings')
    assert "Nothing to be done" in checkout.snakemake(*TARGET)[1]
    assert checkout.ran() == []

    with open(checkout.root / "src/gillnext/annotate/stage.py", "a") as source:
        source.write("\n# edited\n")
    assert checkout.snakemake(*TARGET)[0] == 0
    assert checkout.ran() == ["annotate", "quality"]

    with open(checkout.root / "src/gillnext/filter/lexicon.txt", "a") as lexicon:
        lexicon.write("# edited\n")
    assert checkout.snakemake(*TARGET)[0] == 0
    assert checkout.ran() == ["annotate", "classifier", "download", "filter", "quality"]  # both read the words

    with open(checkout.root / "config/smoke.yaml", "a") as config:
        config.write("download: { per_host: 8 }\n")
    assert "Nothing to be done" in checkout.snakemake(*TARGET)[1]
    checkout.edit("config/smoke.yaml", "per_host: 8", "retries: 1")
    assert checkout.snakemake(*TARGET)[0] == 0
    assert checkout.ran() == ["annotate", "download", "quality"]


def test_another_number_of_seeds_redoes_no_seed_that_is_there(checkout):
    target = ["--cores", "2", "--configfile", "config/smoke.yaml", "--", "results/smoke/adapters/attn2/0"]
    assert checkout.snakemake(*target)[0] == 0 and "adapter" in checkout.ran()
    row = "attn2: { site: attn2, bias: fourier }"
    checkout.edit("config.yaml", row, row.replace(" }", ", seeds: 1 }"))
    assert "Nothing to be done" in checkout.snakemake(*target)[1]
    checkout.edit("config.yaml", row.replace(" }", ", seeds: 1 }"), row.replace(" }", ", times_adapter_steps: 2 }"))
    assert checkout.snakemake(*target)[0] == 0
    assert checkout.ran() == ["adapter"]


def test_a_failed_stage_shows_its_message_and_the_same_command_goes_on(checkout):
    status, output = checkout.snakemake(*TARGET, FAKE_FAILURE="annotate")
    assert status != 0
    assert "annotate: shard 3, row 7: a broken quote" in output
    assert "annotate" in checkout.ran()
    assert checkout.snakemake(*TARGET)[0] == 0
    assert checkout.ran() == ["annotate", "quality"]


def test_one_run_at_a_time_and_a_killed_one_needs_no_unlocking(checkout):
    first = checkout.start(*TARGET, FAKE_SECONDS="5")
    lock = checkout.root / "results/smoke/.lock"
    while not (lock.exists() and lock.read_text()) and first.poll() is None:
        time.sleep(0.1)
    status, output = checkout.snakemake(*TARGET)
    assert status != 0 and f"another run (process {first.pid})" in output
    first.send_signal(signal.SIGKILL)
    first.wait()
    status, output = checkout.snakemake(*TARGET)
    assert status == 0, output
    assert "Nothing to be done" in checkout.snakemake(*TARGET)[1]


def test_another_number_of_test_pictures_redoes_what_draws_them_alone(checkout):
    target = ["--cores", "2", "--configfile", "config/smoke.yaml"]
    adapters = [*target, "--", "results/smoke/adapters/attn2/0", "results/smoke/samples/attn2/0/test"]
    assert checkout.snakemake(*adapters)[0] == 0
    checkout.ran()
    size = "sample: { test: "
    text = (checkout.root / "config/smoke.yaml").read_text()
    assert size in text
    checkout.edit("config/smoke.yaml", size, f"{size}1")
    assert checkout.snakemake(*adapters)[0] == 0
    assert checkout.ran() == ["heldout", "sample"]
    with open(checkout.root / "src/gillnext/planner/model.py", "a") as source:
        source.write("\n# edited\n")
    with open(checkout.root / "src/gillnext/score/precision.py", "a") as source:
        source.write("\n# edited\n")
    assert "Nothing to be done" in checkout.snakemake(*adapters)[1]


def test_a_job_of_more_gpus_than_the_machine_has_is_refused_before_any_runs(checkout):
    """Several jobs at a time take GPUs of their own; two actors on one GPU are what no waiting mends."""
    (checkout.root / "gpus.yaml").write_text("run: {device: cuda}\nray: {actors: 2}\n")
    (checkout.root / "bin").mkdir(exist_ok=True)
    machine.program(checkout.root / "bin", "nvidia-smi", "#!/bin/sh\necho GPU-11111111-aaaa; echo GPU-22222222-bbbb\n")
    path = os.pathsep.join([str(checkout.root / "bin"), os.environ["PATH"]])
    settings = ["--cores", "8", "--resources", "gpu=4", "--configfile", "config/smoke.yaml", "gpus.yaml"]
    target = ["--", "results/smoke/filtered/0.parquet"]
    status, output = checkout.snakemake(*settings, *target, PATH=path, CUDA_VISIBLE_DEVICES="1")
    assert status != 0 and "filter: 2 GPUs" in output and "remedy: ray.actors: 1 at most" in output
    assert checkout.ran() == []
    assert checkout.snakemake(*settings, *target, PATH=path)[0] == 0
    assert checkout.ran() == ["classifier", "filter", "world"]


def test_another_number_of_actors_redoes_no_part(checkout):
    """So that some parts can be done by one device and others by three, for the claim that three are faster."""
    settings = ["--cores", "8", "--configfile", "config/smoke.yaml", "ray.yaml", "--", "results/smoke/filtered/0.json"]
    (checkout.root / "ray.yaml").write_text("ray: {actors: 1}\n")
    assert checkout.snakemake(*settings)[0] == 0 and "filter" in checkout.ran()
    (checkout.root / "ray.yaml").write_text("ray: {actors: 3}\n")
    assert "Nothing to be done" in checkout.snakemake(*settings)[1]


@pytest.mark.parametrize("role", ["classifier", "base"])
def test_a_model_that_is_not_there_is_told_before_anything_runs(checkout, role):
    (checkout.root / "lab.yaml").write_text(f"models: {{{role}: /models/Qwen2-VL-7B-Instrct}}\n")
    status, output = checkout.snakemake("-n", "--cores", "2", "--configfile", "config/smoke.yaml", "lab.yaml")
    assert status != 0 and f"models.{role}: /models/Qwen2-VL-7B-Instrct: no such folder" in output


def test_a_checkpoint_that_is_not_whole_is_told_before_anything_runs(checkout, given):
    """As every fault of one: tests/roles/test_checkpoints.py has the others."""
    (Path(given["evaluator"]) / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    (checkout.root / "lab.json").write_text(json.dumps({"models": given}))
    status, output = checkout.snakemake("-n", "--cores", "2", "--configfile", "config/smoke.yaml", "lab.json")
    assert status != 0 and "a pointer of Git LFS" in output and given["evaluator"] in output


def edit(checkout, module):
    """A comment more in a module: another code."""
    with open(checkout.root / "src/gillnext" / module, "a") as source:
        source.write("\n# edited\n")


def test_another_judge_or_sampler_retrains_nothing(checkout):
    """Training knows neither: the curve is measured anew on the adapters that are there."""
    results = "results/smoke"
    target = ["--cores", "2", "--configfile", "config/smoke.yaml", "--", f"{results}/curves/attn2/0"]
    assert checkout.snakemake(*target)[0] == 0
    assert {"adapter", "curve", "evaluator"} <= set(checkout.ran())
    for module in ("score/boxes.py", "sample/stage.py", "curve/stage.py", "instruments/evaluators.py"):
        edit(checkout, module)
        assert checkout.snakemake(*target)[0] == 0
        ran = set(checkout.ran())
        assert "curve" in ran and not ran & {"adapter", "base", "cache", "annotate"}, module
    edit(checkout, "miniatures/networks/fcos.py")
    assert checkout.snakemake(*target)[0] == 0
    assert checkout.ran() == ["curve", "evaluator"]


def test_an_edited_noun_of_the_drawn_world_redoes_nothing_of_a_release(checkout, given):
    release = checkout.root / "data" / "wukong_release"
    release.mkdir(parents=True)
    for i in range(2):
        (release / f"wukong_100m_{i}.csv").write_text("url,caption\n")
    lab = {"world": {"release": "data/wukong_release", "shards": 2, "parts": 1}, "models": given}
    (checkout.root / "lab.json").write_text(json.dumps(lab))
    target = ["--cores", "2", "--resources", "gpu=1", "--configfile", "config/wukong.yaml", "lab.json", "--", "data"]
    status, output = checkout.snakemake(*target)
    assert status == 0, output
    assert checkout.ran() == ["annotate", "download", "filter"]
    checkout.edit("src/gillnext/miniatures/world/classes.py", '"棵"', '"株"')
    assert "Nothing to be done" in checkout.snakemake(*target)[1]
    edit(checkout, "filter/stage.py")
    assert checkout.snakemake(*target)[0] == 0
    assert checkout.ran() == ["annotate", "download", "filter"]
