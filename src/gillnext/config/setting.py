"""How a setting is declared: its default, and one line of documentation."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def s(default: Any, doc: str) -> Any:
    """A setting with its default and one line of documentation."""
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: default, metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})
