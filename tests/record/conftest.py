"""Shares the made-up results tree of tests/support."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fake_results import config, results_root  # noqa: F401
