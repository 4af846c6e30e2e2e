"""A checkout's containers/ in a folder with a space, on a machine of tests/support."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import machine

ROOT = Path(__file__).parents[2]
INPUTS = ["containers/pipeline.def", "containers/packages.txt", "containers/gillnext", "envs/pipeline.txt"]


@dataclass
class Host:
    """A machine with a checkout and the programs in `bin`; `log` has the calls of its Apptainer."""

    root: Path
    bin: Path
    log: Path
    inputs: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    def program(self, name, text):
        machine.program(self.bin, name, text)

    def remove(self, name):
        (self.bin / name).unlink()

    def start(self, *arguments, cwd=None, **environment):
        command = [self.root / "containers/build.sh", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=cwd or self.root, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment | environment,
        )  # fmt: skip

    def build(self, *arguments, **options):
        """(exit status, output)"""
        process = self.start(*arguments, **options)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def building(self, seconds):
        """A build that has begun to write its image, and takes as long."""
        process = self.start(FAKE_SECONDS=str(seconds))
        for _ in range(400):
            if any(self.root.glob("containers/images/.build-*/part.sif")):
                return process
            time.sleep(0.05)
        raise AssertionError("no build has begun")

    def kill(self, process):
        """All that a build has started, as a machine that goes down."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def builds(self):
        return sum(line.startswith("build ") for line in self.log.read_text().splitlines())

    def images(self):
        return sorted(self.root.glob("containers/images/*.sif"))

    def hash(self):
        return self.build("--hash")[1].strip()


@pytest.fixture
def host(tmp_path):
    root, log = tmp_path / "a check out", tmp_path / "apptainer.log"
    for name in [*INPUTS, "containers/build.sh"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    environment = machine.machine(tmp_path / "bin", log) | {"HOME": str(tmp_path)}
    return Host(root, tmp_path / "bin", log, INPUTS, environment)
