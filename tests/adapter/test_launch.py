"""`accelerate launch` with two CPU processes: the same losses and weights as one process."""

import json
import os
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from gillnext.adapter import train

# accelerate's --cpu starts one process only; --multi_gpu starts several, and `run.device: cpu` keeps them on the CPU.
LAUNCH = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "--module",
]  # fmt: skip


def test_two_processes_end_where_one_ends(tiny, tmp_path):
    arguments = [
        "gillnext.cli", "adapter", "--config", tiny.config_file, "--arm", "attn2", "--seed", 0, "--base", tiny.base,
        "--cache", tiny.cache, "--out", tmp_path / "two",
    ]  # fmt: skip
    run = subprocess.run(
        [sys.executable, *LAUNCH, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    AcceleratorState._reset_state(reset_partial_state=True)
    train.train(tiny.config, "attn2", 0, tiny.base, tiny.cache, tmp_path / "one")
    AcceleratorState._reset_state(reset_partial_state=True)
    one, two = (json.loads((tmp_path / name / "losses.json").read_text()) for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-5)
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    weights = [load_file(tmp_path / name / "diffusion_pytorch_model.safetensors") for name in ("one", "two")]
    for name, value in weights[0].items():  # Adam's first steps magnify rounding of tiny gradients
        torch.testing.assert_close(weights[1][name], value, atol=1e-3, rtol=0)
    assert not (tmp_path / "two.work").exists()
