"""Where a pretrained model is: a folder, or an id of a hub, which names nothing on this machine."""

from __future__ import annotations

from pathlib import Path

from gillnext.runtime.errors import UserError


def check(model: Path | str, where: str, remedy: str) -> None:
    """Refuse what can be no model before anything is spent on it: no name, or an absolute path where nothing is."""
    if not str(model):
        raise UserError("no model named", where=where, remedy=remedy)
    if Path(model).is_absolute() and not Path(model).exists():
        raise UserError(f"no such folder: {model}", where=where, remedy=remedy)


def absolute(name: Path | str) -> str:
    """A path for actors to open, whose working directory may be another; what is not there, as a hub's id, stays."""
    return str(Path(name).absolute()) if str(name) and Path(name).exists() else str(name)
