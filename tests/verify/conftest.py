"""Shares the made-up results trees of tests/support, and a kept copy of one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fake_results import config, results_root  # noqa: F401
from finished_run import finished  # noqa: F401

from gillnext.verify.keep import keep


@pytest.fixture
def kept_run(results_root, tmp_path):  # noqa: F811
    """What is kept of the made-up run."""
    keep(results_root, tmp_path / "reference" / "demo")
    return tmp_path / "reference" / "demo"
