"""Shares the made-up releases of tests/support."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from releases import varied, write_parts


@pytest.fixture
def release(tmp_path):
    """Three parts of 100 rows."""
    return write_parts(tmp_path, varied(0, 100), varied(100, 100), varied(200, 100))
