"""Tensors divided between two processes: averages, checkpoints and fp16's scaler see what one process would."""

import os
import subprocess
import sys
import textwrap

SCRIPT = """
    import sys
    from pathlib import Path
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from gillnext.runtime import training
    from gillnext.runtime.divided import as_, divided, local, whole

    dist.init_process_group("gloo")
    rank, folder = dist.get_rank(), Path(sys.argv[1])

    def build(seed, shard):
        torch.manual_seed(seed)
        net = nn.Linear(5, 3)  # three rows for two processes
        if shard:
            fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
        return net, torch.optim.AdamW(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")

    def step(net, optimiser, scaler, t):
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(t))
        scaler.scale(net(x).square().mean()).backward()  # the same on both, so that their mean is either's
        scaler.unscale_(optimiser)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()

    parts, plain = build(0, True), build(0, False)
    averages = [training.Ema(list(net.parameters()), 0.5) for net, *_ in (parts, plain)]
    for t in range(3):
        for (net, *rest), ema in zip((parts, plain), averages):
            step(net, *rest, t)
            ema.update(list(net.parameters()))
    parameters, expected = list(parts[0].parameters()), list(plain[0].parameters())
    for part, one, mean, value in zip(parameters, expected, averages[0].shadow, averages[1].shadow):
        assert divided(part) and not divided(one) and local(part).shape[0] == (2, 1)[rank]
        torch.testing.assert_close(whole(part.detach(), part), one.detach())
        torch.testing.assert_close(whole(mean, part), value)
        assert torch.equal(local(as_(whole(part.detach(), part), part)), local(part.detach()))
        assert whole(one, one) is one and torch.equal(as_(one, one), one)

    training.save_state(folder / "a", 3, parameters, parts[1], averages[0], "x", parts[2], write=rank == 0)
    dist.barrier()
    again = build(1, True)
    kept = training.Ema(list(again[0].parameters()), 0.5)
    assert training.load_state(folder / "a", list(again[0].parameters()), again[1], kept, "x", again[2]) == 3
    for (net, *rest), ema in (((parts), averages[0]), (again, kept)):
        step(net, *rest, 3)
        ema.update(list(net.parameters()))
    for a, b in zip([*parameters, *averages[0].shadow], [*again[0].parameters(), *kept.shadow]):
        assert torch.equal(local(a), local(b))

    net, optimiser, scaler = parts
    before = [local(p).clone() for p in parameters]
    scaler.scale(net(torch.ones(2, 5)).sum()).backward()
    if rank == 1:
        local(net.weight.grad)[0, 0] = float("inf")  # in one process's part
    scaler.unscale_(optimiser)
    scaler.step(optimiser)
    assert all(torch.equal(local(p), old) for p, old in zip(parameters, before))
    dist.destroy_process_group()
"""


def test_two_processes_that_divide_a_model_are_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", script, tmp_path],
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"state.json", "state.safetensors"}
