"""How a training of several processes is started: `accelerate launch` here, or on each node of a Slurm job.

    python -m accelerate.commands.launch --multi_gpu --num_processes 2 … --no_python gillnext adapter …
    python -m gillnext.runtime.gpus 2 python -m accelerate.commands.launch …      # on GPUs, which the job takes at once
    srun --nodes 2 … bash -c 'exec python -m accelerate.commands.launch … "$@"' launch gillnext adapter …

Accelerate's `--multi_gpu` starts several processes on a CPU as well; `run.device` says where they compute. This module
is the host's Snakemake's too: the standard library alone.
"""

from __future__ import annotations

from typing import Any

from gillnext.config.model import Adapter, Config
from gillnext.runtime.errors import UserError
from gillnext.runtime.orphans import PARENT

# The node that `srun` is called on has rank 0 and is the others' address; the port differs from job to job.
MEETING = (
    '--machine_rank "$SLURM_NODEID" --main_process_ip "$SLURM_LAUNCH_NODE_IPADDR" '
    "--main_process_port $((20000 + SLURM_JOB_ID % 10000))"
)


def check(cfg: Config, contained: bool) -> None:
    """`UserError` where the settings ask for processes that cannot be started or share a batch."""
    asked, count = cfg.adapter, cfg.adapter.processes * cfg.adapter.nodes
    if min(asked.processes, asked.nodes) < 1:
        raise UserError("less than one process", where="adapter.processes, adapter.nodes", remedy="1 or more")
    if asked.batch % count:
        remedy = "a multiple of adapter.processes times adapter.nodes: each process gets an equal share"
        raise UserError(f"a batch of {asked.batch} for {count} processes", where="adapter.batch", remedy=remedy)
    if count > 1 and ":" in cfg.run.device:
        what = f"{count} processes on one device"
        raise UserError(what, where=f"run.device: {cfg.run.device}", remedy="cuda: each process takes a GPU of its own")
    if asked.nodes > 1 and contained:
        what = "a job in a container cannot ask Slurm for its other nodes"
        remedy = "adapter.nodes: 1, or without containers: an environment on the nodes' shared file system (make env)"
        raise UserError(what, where=f"adapter.nodes: {asked.nodes}", remedy=remedy)


def words(cfg: Config) -> list[str]:
    """What stands before `gillnext adapter …`, an argument each; nothing for one process."""
    asked = cfg.adapter
    if asked.processes * asked.nodes == 1:
        return []
    launch = [
        "python", "-m", "accelerate.commands.launch", "--multi_gpu",
        "--num_machines", f"{asked.nodes}", "--num_processes", f"{asked.processes * asked.nodes}",
        "--num_cpu_threads_per_process", f"{cfg.run.threads}",
        "--mixed_precision", cfg.run.precision, "--dynamo_backend", "no",
    ]  # fmt: skip
    if asked.nodes == 1:
        loopback = ["env", "GLOO_SOCKET_IFNAME=lo"] if cfg.run.device == "cpu" else []  # a host's name may lead nowhere
        taken = [] if cfg.run.device == "cpu" else ["python", "-m", "gillnext.runtime.gpus", f"{asked.processes}"]
        return [*loopback, *taken, *launch, "--main_process_port", "0", "--no_python"]
    srun = [
        "srun", "--nodes", f"{asked.nodes}", "--ntasks", f"{asked.nodes}", "--ntasks-per-node", "1",
        "--cpus-per-task", f"{cpus(cfg)}", "--kill-on-bad-exit=1",
    ]  # fmt: skip
    if cfg.run.device != "cpu":
        srun.append(f"--gres=gpu:{asked.processes}")
    # The workflow's process is one of another host, which a stage would take for dead; there Slurm ends what is left.
    here = f"exec env -u {PARENT} {' '.join(launch)} {MEETING}"
    return [*srun, "bash", "-c", f'{here} --no_python "$@"', "launch"]


def cpus(cfg: Config) -> int:
    """Cores that a training takes on each node."""
    return cfg.run.threads * cfg.adapter.processes


def resources(asked: Adapter, gpu: int) -> dict[str, Any]:
    """What a rule that trains asks for; `gpu` is how many GPUs a process takes, 0 or 1.

    Of several nodes in the words of Snakemake's Slurm executor: a task a node, started by the job itself (`mpi`), and
    GPUs by node.
    """
    if asked.nodes == 1:
        return {"gpu": gpu * asked.processes}
    spread = {"mpi": "srun", "nodes": asked.nodes, "tasks": asked.nodes, "tasks_per_gpu": 0}
    return spread | ({"gres": f"gpu:{asked.processes}"} if gpu else {})
