"""Model folders of the small networks: config.json names what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError


def read_config(folder: Path | str, *architectures: str) -> dict[str, Any]:
    """config.json of a model folder, checked to be of one of `architectures`."""
    path, wanted = Path(folder) / "config.json", " or ".join(architectures)
    if not path.exists():
        raise UserError("no model here: config.json is missing", where=str(folder), remedy=f"train it first ({wanted})")
    config = files.read_json(path)
    if config.get("architecture") not in architectures:
        raise UserError(
            f"expected a {wanted} model, not {config.get('architecture')!r}",
            where=str(path),
            remedy="name the folder of the other model",
        )
    return config
