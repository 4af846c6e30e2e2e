"""What the name of a file of weights says: the variant (fp16) of model.fp16.safetensors, in one file or in shards."""

from __future__ import annotations

import re
from pathlib import Path

# model.safetensors, model.fp16.safetensors; shards model-00001-of-00003, model.fp16-00001-of-00003, model-…-….fp16
_NAME = re.compile(r"[^.]+?(-\d+-of-\d+)?(\.(?P<variant>[^.-]+))?(-\d+-of-\d+)?\.safetensors")
_INDEX = re.compile(r"[^.]+\.safetensors\.index(\.(?P<variant>[^.]+))?\.json")


def variant_of(name: str) -> str | None:
    """`.fp16`, or "" where there is none, of a file of weights or of the index of its shards; None of other names."""
    match = _NAME.fullmatch(name) or _INDEX.fullmatch(name)
    if match is None:
        return None
    return f".{match['variant']}" if match["variant"] else ""


def variant_in(folder: Path) -> str | None:
    """The variant of the weights in a model's folder, "fp16"; None where some are plain, or there are none."""
    found = {variant for path in folder.iterdir() if (variant := variant_of(path.name)) is not None}
    return min(found).removeprefix(".") if found and "" not in found else None
