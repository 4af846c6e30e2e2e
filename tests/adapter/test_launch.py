"""Trainings of several processes on the CPU, by the words that the rule puts before its command: the same losses and
weights as one process, on one node, on two, and with the UNet's training divided.
"""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from gillnext.adapter import train
from gillnext.config.model import Arm
from gillnext.runtime import launch

UNET_LR = 1e-3


@pytest.fixture(scope="module")
def settings(tiny_config):
    """The tiny settings with changes of `adapter`, and an arm `full` that trains the UNet."""
    arms = tiny_config.study.arms | {"full": Arm(unet_lr=UNET_LR)}
    study = dataclasses.replace(tiny_config.study, arms=arms)

    def make(device="cpu", **adapter):
        run = dataclasses.replace(tiny_config.run, device=device)
        adapter = dataclasses.replace(tiny_config.adapter, **adapter)
        return dataclasses.replace(tiny_config, run=run, study=study, adapter=adapter)

    return make


def command(tiny, cfg, out, arm):
    """The rule's command with these settings."""
    out.parent.mkdir(exist_ok=True)
    file = out.with_suffix(".settings.json")
    file.write_text(json.dumps(dataclasses.asdict(cfg)))
    return [
        *launch.words(cfg), "gillnext", "adapter", "--config", file, "--arm", arm, "--seed", "0", "--base", tiny.base,
        "--cache", tiny.cache, "--out", out,
    ]  # fmt: skip


def start(words, **environment):
    """The command's exit status and output; `python` and `gillnext` are this environment's, as in the workflow."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment
    run = subprocess.run(
        [str(word) for word in words], env=os.environ | environment, capture_output=True, text=True, timeout=250
    )
    return run.returncode, run.stdout + run.stderr


@pytest.fixture(scope="module")
def alone(settings, tmp_path_factory, tiny_base, tiny_cache):
    """The folder that one process leaves, by arm."""

    def fit(arm):
        out = tmp_path_factory.mktemp("alone") / "adapter"
        AcceleratorState._reset_state(reset_partial_state=True)
        train.train(settings(), arm, 0, tiny_base, [tiny_cache], out)
        AcceleratorState._reset_state(reset_partial_state=True)
        return out

    return fit


def tensors(out):
    """Every tensor that a training leaves, by file and name."""
    files = sorted(out.rglob("*.safetensors"))
    return {f"{file.relative_to(out)}: {k}": v for file in files for k, v in load_file(file).items()}


def check_same(found, expected):
    """The same but for rounding, which Adam's first steps magnify where a gradient is tiny."""
    for name in ("losses", "gradient_norms"):
        values = [json.loads((out / f"{name}.json").read_text()) for out in (found, expected)]
        assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert json.loads((found / "training.json").read_text())["processes"] == 2
    two = tensors(found)
    for name, value in tensors(expected).items():
        torch.testing.assert_close(two[name], value, atol=1e-3, rtol=0)
    assert not found.with_name(found.name + ".work").exists()


def test_two_processes_end_where_one_ends(tiny, settings, alone, tmp_path):
    status, output = start(command(tiny, settings(processes=2, prefetch=2), tmp_path / "two", "attn2"))
    assert status == 0, output
    check_same(tmp_path / "two", alone("attn2"))


SRUN = """#!{python}
import os, subprocess, sys
words = sys.argv[sys.argv.index("bash"):]
count = int(sys.argv[sys.argv.index("--ntasks") + 1])
steps = [
    subprocess.Popen(words, env=os.environ | {{"SLURM_NODEID": str(i), "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}})
    for i in range(count)
]
sys.exit(max(step.wait() for step in steps))
"""


def test_two_nodes_end_where_one_process_ends(tiny, settings, alone, tmp_path):
    """`srun` is a stand-in that starts its tasks on this machine, with Slurm's variables; the workflow's process is of
    another host.
    """
    stand_in = tmp_path / "bin" / "srun"
    stand_in.parent.mkdir()
    stand_in.write_text(SRUN.format(python=sys.executable))
    stand_in.chmod(0o755)
    words = command(tiny, settings(nodes=2), tmp_path / "two", "attn2")
    assert words[:3] == ["srun", "--nodes", "2"]
    elsewhere = subprocess.Popen(["true"])
    elsewhere.wait()
    variables = {"SLURM_JOB_ID": f"{os.getpid()}", "GLOO_SOCKET_IFNAME": "lo", "GILLNEXT_PARENT": f"{elsewhere.pid}"}
    status, output = start([stand_in, *words[1:]], **variables)
    assert status == 0, output
    check_same(tmp_path / "two", alone("attn2"))


BUSY = """
    import sys, time
    from gillnext import cli
    from gillnext.adapter.trainer import Trainer

    finished = Trainer.finished

    def busy(self):
        if self.accelerator.is_main_process:
            time.sleep(500)
        return finished(self)

    Trainer.finished = busy
    sys.exit(cli.main(sys.argv[1:]))
"""


def instead(words, tmp_path, script):
    """The words with a script in place of `gillnext`."""
    at = words.index("--no_python")
    file = tmp_path / "instead.py"
    file.write_text(textwrap.dedent(script))
    return [*words[:at], file, *words[at + 2 :]]


def test_a_process_that_is_busy_is_waited_for_as_long_as_the_settings_say_and_no_longer(tiny, settings, tmp_path):
    """The main process stays at its first snapshot; without the setting the others would wait for half an hour."""
    words = command(tiny, settings(processes=2, snapshot_every=1, timeout=10.0), tmp_path / "busy", "attn2")
    status, output = start(instead(words, tmp_path, BUSY))
    assert status != 0 and "Timed out waiting 10000ms" in output, output
    assert not (tmp_path / "busy").exists()


KILLED = """
    import os, signal, sys
    from gillnext import cli
    from gillnext.adapter.trainer import Trainer

    whole_step = Trainer.step

    def step(self, t):
        if t == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole_step(self, t)

    Trainer.step = step
    sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_divided_training_of_the_unet_ends_where_one_process_ends_and_resumes_to_the_bit(
    tiny, settings, alone, tmp_path
):
    cfg = settings(processes=2, sharding="zero2", snapshot_every=3, gradient_checkpointing=True)
    words = command(tiny, cfg, tmp_path / "two", "full")
    status, output = start(words)
    assert status == 0, output
    check_same(tmp_path / "two", alone("full"))
    killed = command(tiny, cfg, tmp_path / "killed", "full")
    status, output = start(instead(killed, tmp_path, KILLED))
    assert status != 0 and (tmp_path / "killed.work/checkpoint").exists(), output
    status, output = start(killed)
    assert status == 0 and "resuming at step 4" in output, output
    whole, resumed = tensors(tmp_path / "two"), tensors(tmp_path / "killed")
    assert whole.keys() == resumed.keys() and {name.split("/")[0] for name in whole} >= {"snapshots", "unet"}
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
