"""How a training is started: one process by its command alone, several by accelerate, several nodes by srun."""

import pytest

from gillnext.config.load import from_dict
from gillnext.runtime import launch
from gillnext.runtime.errors import UserError


def settings(device="cpu", precision="no", threads=3, **adapter):
    run = {"device": device, "precision": precision, "threads": threads}
    return from_dict({"run": run, "adapter": {"batch": 24, **adapter}})


def after(words, option):
    return words[words.index(option) + 1]


def test_one_process_is_started_as_it_is():
    assert launch.words(settings()) == []
    assert launch.resources(settings().adapter, 1) == {"gpu": 1}
    assert launch.cpus(settings()) == 3


@pytest.mark.parametrize(("device", "gpu", "first"), [("cpu", 0, "env"), ("cuda", 1, "python")])
def test_processes_of_one_node_are_accelerates_and_each_has_a_gpu(device, gpu, first):
    cfg = settings(device, "fp16", processes=4)
    words = launch.words(cfg)
    assert words[0] == first and words[-1] == "--no_python" and "srun" not in words
    taken = ["python", "-m", "gillnext.runtime.gpus", "4"]  # by the launcher, for all of its processes
    assert (words[:4] == taken) == bool(gpu) and ("gillnext.runtime.gpus" in words) == bool(gpu)
    assert after(words, "--num_processes") == "4" and after(words, "--num_machines") == "1"
    assert after(words, "--mixed_precision") == "fp16" and after(words, "--num_cpu_threads_per_process") == "3"
    assert launch.resources(cfg.adapter, gpu) == {"gpu": 4 * gpu}
    assert launch.cpus(cfg) == 12


def test_processes_of_several_nodes_are_started_by_a_task_on_each():
    cfg = settings("cuda", "bf16", processes=4, nodes=2)
    words = launch.words(cfg)
    assert words[0] == "srun" and [after(words, f"--{k}") for k in ("nodes", "ntasks", "ntasks-per-node")] == list(
        "221"
    )
    assert "gillnext.runtime.gpus" not in " ".join(words)  # Slurm gives each node's
    assert after(words, "--cpus-per-task") == "12" and "--gres=gpu:4" in words
    assert words[-4:-2] == ["bash", "-c"]
    script = words[-2]
    assert "--num_machines 2 --num_processes 8" in script and script.endswith('--no_python "$@"')
    for variable in ("$SLURM_NODEID", "$SLURM_LAUNCH_NODE_IPADDR", "SLURM_JOB_ID"):
        assert variable in script
    found = launch.resources(cfg.adapter, 1)
    assert found == {"mpi": "srun", "nodes": 2, "tasks": 2, "tasks_per_gpu": 0, "gres": "gpu:4"}
    assert "--gres=gpu:4" not in launch.words(settings(processes=4, nodes=2))


@pytest.mark.parametrize(
    ("cfg", "contained", "message"),
    [
        (settings(processes=0), False, ["adapter.processes", "1 or more"]),
        (settings(processes=5), False, ["adapter.batch", "24 for 5 processes"]),
        (settings(processes=4, nodes=4), False, ["adapter.batch", "24 for 16 processes"]),
        (settings("cuda:1", processes=2), False, ["run.device: cuda:1", "remedy: cuda"]),
        (settings("cuda", processes=2, nodes=2), True, ["adapter.nodes: 2", "container"]),
    ],
    ids=["none", "uneven", "uneven over nodes", "one device", "nodes from a container"],
)
def test_processes_that_cannot_be_started_are_told_before_anything_is(cfg, contained, message):
    with pytest.raises(UserError) as error:
        launch.check(cfg, contained)
    assert all(part in str(error.value) for part in message)


def test_processes_that_can_be_started_are_not_refused():
    launch.check(settings("cuda:1"), True)
    launch.check(settings("cuda", processes=8), True)
    launch.check(settings("cuda", processes=4, nodes=2), False)
