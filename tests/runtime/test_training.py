"""The training loop: schedule and averages by their formulas; a killed run ends where the whole one ends."""

import itertools
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gillnext.runtime import training
from gillnext.runtime.errors import UserError

SCRIPT = """
    import os, signal, sys
    from pathlib import Path
    import torch
    from safetensors.torch import save_file
    from gillnext.runtime import seeds, training

    folder, stop = Path(sys.argv[1]), int(sys.argv[2])
    training.setup(1)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(torch.randn(p.shape, generator=seeds.torch_generator("init", i)))

    def loss_at(step):
        if step == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        x = torch.randn(16, 4, generator=seeds.torch_generator("batch", step))
        return (model(x) - x.sum(1, keepdim=True)).square().mean()

    losses = training.train(
        "toy", list(model.parameters()), loss_at, steps=30, lr=1e-2, work=folder / "toy.work", ema_decay=0.9,
        checkpoint_every=7,
    )
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors")
    print(len(losses))
"""


def toy(folder, stop):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), str(stop)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_killed_run_resumes_to_the_bit(tmp_path):
    whole = toy(tmp_path / "whole", -1)
    assert whole.returncode == 0, whole.stderr
    for stop in (
        3,
        17,
        29,
    ):  # before the first checkpoint, between two, at the end; one run killed three times
        assert toy(tmp_path / "killed", stop).returncode == -9
    resumed = toy(tmp_path / "killed", -1)
    assert resumed.stdout.strip() == "2"  # it went on from the checkpoint after step 28
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    found = load_file(tmp_path / "killed" / "model.safetensors")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_run_that_is_cut_off_resumes_to_the_bit_in_either_memory_layout(tmp_path, layout):
    """Fused optimisers walk parameters and moments in the order of memory, whatever their strides say."""

    def run(work, stop):
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 5, 3).to(memory_format=layout)

        def loss_at(step):
            if step == stop:
                raise KeyboardInterrupt
            x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
            return layer(x.to(memory_format=layout)).square().mean()

        training.train("toy", list(layer.parameters()), loss_at, steps=8, lr=0.1, work=work, checkpoint_every=3)
        return layer.weight.detach()

    whole = run(tmp_path / "whole", -1)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 4)
    assert torch.equal(run(tmp_path / "cut", -1), whole)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    rates = [training.cosine(t, 100, 2.0, warmup=0.1, floor=0.1) for t in range(101)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0)
    assert rates[10] == pytest.approx(2.0) and rates[100] == pytest.approx(0.2)
    assert rates[55] == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))  # half way down: cos(π/2) = 0
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_the_average_follows_its_recurrence():
    parameter = nn.Parameter(torch.tensor([1.0]))
    ema, expected = training.Ema([parameter], decay=0.5), 1.0
    for step, value in enumerate([3.0, -2.0, 5.0, 0.5], 1):
        parameter.data.fill_(value)
        ema.update([parameter])
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    ema.copy_to([parameter])
    assert parameter.item() == pytest.approx(expected, rel=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_at_its_step():
    weight = nn.Parameter(torch.ones(1))
    with pytest.raises(FloatingPointError, match="toy: the loss is nan at step 2"):
        training.train("toy", [weight], lambda t: (weight * (float("nan") if t == 2 else 1.0)).sum(), steps=5, lr=0.1)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", ["run.device: cuda", "no GPU is seen", "--profile profiles/gpu", "demo tier"]),
        ("cuda:3", ["run.device: cuda:3", "no GPU is seen"]),
        ("gpu", ["run.device: gpu", "no such device", "cuda:INDEX"]),
    ],
)
def test_a_device_that_is_not_there_is_told_with_its_remedy(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError) as error:
        training.setup(1, device)
    assert all(part in str(error.value) for part in message)


def test_a_device_that_is_there_is_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        training.check_device(device)
    with pytest.raises(UserError, match="torch sees 2 GPUs"):
        training.check_device("cuda:2")


def test_each_process_of_a_node_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    training.check_device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "2")
    training.check_device("cpu")
    with pytest.raises(UserError, match=r"torch sees 2 GPUs[\s\S]*adapter\.processes"):
        training.check_device("cuda")
