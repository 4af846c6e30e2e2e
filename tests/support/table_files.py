"""Tables as CSV files, and JSON files to be changed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def rows_of(path: Path) -> list[dict[str, str]]:
    """A CSV file's rows, by column."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the value of a JSON file in place."""
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
