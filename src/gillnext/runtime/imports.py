"""Which files of this package a stage is made of: the workflow reruns a stage when one of them changes.

`closure("gillnext.miniatures.vae", Path("src"))` follows every import, at module level and inside functions.
It parses and does not import, so it costs milliseconds and needs no torch.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator
from pathlib import Path

# What a stage's closure leaves out: settings are followed by value, and the command line names every stage.
UNFOLLOWED = ("gillnext.config", "gillnext.cli")


def find(module: str, root: Path) -> Path | None:
    """The file of a dotted module name under `root`, or None where it is not ours."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    base = root.joinpath(*parts)
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@functools.cache
def _direct(path: Path, package: str, root: Path) -> tuple[frozenset[str], frozenset[Path]]:
    """What a file names: modules of ours, also in strings (late imports), and data files beside it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 80:
            names.add(node.value)
    modules = frozenset(name for name in names if find(name, root))
    return modules, frozenset(path.parent / name for name in names if _is_data(path.parent, name))


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))


def _is_data(folder: Path, name: str) -> bool:
    return "/" not in name and not name.startswith(".") and not name.endswith(".py") and (folder / name).is_file()


def closure(module: str, root: Path, skip: Collection[str] = ()) -> list[Path]:
    """Every file under `root` that `module` needs, sorted: sources, `__init__.py`s, data files they name.

    Modules under a name in `skip` are left out, with all that only they need. Raises `ModuleNotFoundError`
    for an unknown `module` and `SyntaxError` for a file that does not parse.
    """
    if find(module, root) is None:
        raise ModuleNotFoundError(f"no module {module} under {root}")
    files: set[Path] = set()
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name in seen or any(name == s or name.startswith(f"{s}.") for s in skip):
            continue
        seen.add(name)
        path = find(name, root)
        if path is None:
            continue
        modules, data = _direct(path, name if path.name == "__init__.py" else name.rpartition(".")[0], root)
        files |= {path, *data}
        todo += [*_parents(name), *modules]
    return sorted(files)
