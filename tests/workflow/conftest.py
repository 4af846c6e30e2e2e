"""A copy of the checkout in a folder with a space, and Snakemake in it."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import machine

ROOT = Path(__file__).parents[2]
PARTS = [
    "Snakefile",
    "config.yaml",
    "config",
    "workflow",
    "profiles",
    "src",
    "envs",
    "paper",
    "reference",
    "containers",
]

# Stands in for the stages: notes what it was asked to do and writes each declared output at once.
FAKE = """#!{python}
import json, os, sys, time
from pathlib import Path
argv = sys.argv[1:]
if argv[0] == "serve":  # a command that is run while the world is served
    argv = argv[argv.index("--") + 2:]
with open({log!r}, "a") as log:
    log.write(" ".join(argv) + "\\n")
with open({log!r} + ".env", "a") as log:
    log.write(json.dumps(dict(os.environ)) + "\\n")
time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
if os.environ.get("FAKE_FAILURE") == argv[0]:
    sys.exit("gillnext: " + argv[0] + ": shard 3, row 7: a broken quote")
def option(name):
    return Path(argv[argv.index("--" + name) + 1])
def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
out = option("out")
if argv[0] == "world":
    for i in range(2):
        write(out / "shards" / f"wukong_100m_{{i}}.csv")
        write(out / "truth" / f"{{i}}.parquet")
    write(out / "world.json")
elif out.suffix:
    write(out)
    write(out.with_suffix(".json"))
    if argv[0] == "download":
        write(option("images") / "0.jpg")
else:
    write(out / "config.json")
"""


KINDS = {
    "classifier": {"architectures": ["Qwen2ForCausalLM"]},
    "annotator": {"model_type": "qwen2_vl"},
    "base": {},
    "planner": {"architectures": ["Qwen2ForCausalLM"]},
    "image_text": {"model_type": "chinese_clip"},
    "features": {"model_type": "dinov2"},
    "evaluator": {"model_type": "grounding-dino"},
    "second_evaluator": {"model_type": "owlv2"},
}


def checkpoint(folder, role):
    """A folder that holds all that is looked at before a run: what it is, weights of no tensors, a tokenizer."""
    folder.mkdir(parents=True)
    part = folder / "unet" if role == "base" else folder
    part.mkdir(exist_ok=True)
    index = {"_class_name": "KolorsPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / ("model_index.json" if role == "base" else "config.json")).write_text(
        json.dumps(index if role == "base" else KINDS[role])
    )
    (part / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def given(tmp_path):
    """Role -> the path of a checkpoint for it, outside the checkout: what a lab's settings name."""
    return {role: str(checkpoint(tmp_path / "models" / role, role)) for role in KINDS}


@dataclass
class Checkout:
    """A copy of the repository with stages that only write their outputs."""

    root: Path
    python: Path
    log: Path

    def start(self, *arguments, cwd=None, **environment):
        """Snakemake as a process; its own folder comes first on the jobs' PATH, as with an environment's."""
        packages = os.pathsep.join([str(self.root / "src"), *filter(None, sys.path)])
        command = [str(self.python), "-m", "snakemake", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=cwd or self.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": packages} | environment,
        )  # fmt: skip

    def snakemake(self, *arguments, cwd=None, **environment):
        """(exit status, output)"""
        process = self.start(*arguments, cwd=cwd, **environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def jobs(self, *arguments):
        """Jobs by rule that a dry run plans, and its output."""
        status, output = self.snakemake("-n", "--cores", "2", *arguments)
        assert status == 0, output
        table = output.split("Job stats:")[1].split("total")[0] if "Job stats:" in output else ""
        return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)}, output

    def ran(self):
        """Stages that ran since the last call, sorted."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return sorted(line.split()[0] for line in lines)

    def environments(self):
        """What every stage so far saw of the environment."""
        return [json.loads(line) for line in Path(f"{self.log}.env").read_text().splitlines()]

    def edit(self, name, old, new):
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture
def checkout(tmp_path):
    return copied(tmp_path)


@pytest.fixture(scope="session")
def unchanged(tmp_path_factory):
    """A checkout that nobody edits: its dry runs are made once for the same arguments."""
    found = copied(tmp_path_factory.mktemp("unchanged"))
    found.jobs = functools.cache(found.jobs)
    return found


def copied(tmp_path):
    """A `Checkout` in a new folder, with its stages; it keeps no model, and makes all."""
    root = tmp_path / "a check out"
    root.mkdir()
    folders = [path.name for path in (ROOT / "reference").iterdir() if path.is_dir()]
    kept = [name for name in folders if name != "measured"]  # runs add a rule to their tier
    never = shutil.ignore_patterns("__pycache__", "*.egg-info", "images")

    def ignore(folder, names):
        return never(folder, names) | (set(kept) if Path(folder) == ROOT / "reference" else set())

    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, root / name)
    settings = (root / "config.yaml").read_text(encoding="utf-8")
    (root / "config.yaml").write_text(settings.replace(": kept\n", ": made\n"), encoding="utf-8")
    (tmp_path / "bin").mkdir(exist_ok=True)
    python = tmp_path / "bin" / "python"
    python.symlink_to(Path(sys.executable).resolve())
    log = tmp_path / "stages.log"
    stage = tmp_path / "bin" / "gillnext"
    stage.write_text(FAKE.format(python=Path(sys.executable).resolve(), log=str(log)))
    stage.chmod(0o755)
    return Checkout(root, python, log)


@pytest.fixture
def contained(checkout, tmp_path):
    """The same on a machine with a stand-in for Apptainer; `apptainer()` tells its calls, `lack()` takes it away."""
    log = tmp_path / "apptainer.log"
    programs = tmp_path / "machine"
    environment = machine.machine(programs, log)
    environment["PATH"] = os.pathsep.join([str(tmp_path / "bin"), str(programs)])
    run = checkout.snakemake
    checkout.snakemake = lambda *arguments, **more: run(*arguments, **(environment | more))
    checkout.apptainer = lambda command: [x for x in log.read_text().splitlines() if x.startswith(f"{command} ")]
    checkout.lack = (programs / "apptainer").unlink
    return checkout
