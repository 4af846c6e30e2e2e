"""Commands of this environment as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path


def start(words, seconds=250, **environment):
    """The command's exit status and output; `python` and `gillnext` are this environment's, as in the workflow."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment
    run = subprocess.run(
        [str(word) for word in words], env=os.environ | environment, capture_output=True, text=True, timeout=seconds
    )
    return run.returncode, run.stdout + run.stderr
