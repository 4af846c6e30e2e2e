"""Checks, before anything long begins, that the checkpoint given for a role is whole and of a kind that the role takes.

Only small files and the heads of weights are read, by the standard library alone: the Snakefile asks on hosts that have
nothing but Snakemake. Whether two models fit each other (an adapter its base) is told where they meet.
"""

from __future__ import annotations

import json
import shlex
import struct
from pathlib import Path
from typing import Any, NoReturn

from gillnext.roles.sources import ROLES
from gillnext.runtime.errors import UserError
from gillnext.runtime.weights import variant_of

INDEX = "model_index.json"  # of a folder with a model a part
LFS = b"version https://git-lfs.github.com/spec/"  # how a file begins that Git LFS has not fetched
SMALL = 4096  # bytes; such pointers are smaller
HEADER = 100_000_000  # bytes that safetensors allows a header
TYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "U8", "BOOL"}  # of tensors in whole precision
VARIANTS = ("", ".fp16", ".bf16")  # before .safetensors; the same weights in another precision
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")
WITHOUT_WEIGHTS = ("Scheduler", "Tokenizer", "TokenizerFast", "Processor", "Extractor", "ProcessorFast")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def check(role: str, folder: Path | str) -> None:
    """Raise `UserError` unless `folder` holds a whole checkpoint that can play `role`."""
    folder, where = Path(folder), f"models.{role}: {folder}"
    if folder.is_file():  # of features alone, whose loader looks at its hash
        if role != "features":
            raise UserError("a file, and no folder", where=where, remedy="name the folder that save_pretrained wrote")
        return
    found, takes = kind(folder, where), ROLES[role].takes
    if found not in takes:
        raise UserError(f"is a {found}", where=where, remedy=f"the role takes: {', '.join(takes)}")
    _refuse_pointers(folder)
    if (folder / INDEX).exists():
        for part, (_, name) in _models(folder).items():
            _check_part(folder / part, name)
    else:
        _refuse_quantised(folder)
        _check_weights(folder)
        if role in ("classifier", "planner"):
            _check_tokenizer(folder)


def kind(folder: Path, where: str = "") -> str:
    """What a folder holds: a pipeline's class, a causal language model, a model's type, or the house's architecture."""
    if (folder / INDEX).exists():
        return str(_json(folder / INDEX).get("_class_name"))
    if not (folder / "config.json").exists():
        remedy = f"name the folder that has config.json or {INDEX}, as save_pretrained writes them"
        raise UserError("no model here: config.json is missing", where=where or str(folder), remedy=remedy)
    config = _json(folder / "config.json")
    if "architecture" in config:
        return str(config["architecture"])
    classes = config.get("architectures") or [""]
    if isinstance(classes, list) and str(classes[0]).endswith("ForCausalLM"):
        return "causal language model"
    return str(config.get("model_type", "model without a type"))


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _damaged(path, f"cannot be read: {error}")
    return data if isinstance(data, dict) else _damaged(path, "holds no object")


def _damaged(path: Path, what: str) -> NoReturn:
    raise UserError(what, where=str(path), remedy="copy or download this file again")


def _models(folder: Path) -> dict[str, list[str]]:
    """part -> (library, class) of a pipeline's parts that are there."""
    parts = {k: v for k, v in _json(folder / INDEX).items() if isinstance(v, list) and len(v) == 2 and v[1]}
    for part in parts:
        if not (folder / part).is_dir() or Path(part).name != part:
            raise UserError(
                f"its part {part!r} is missing",
                where=str(folder / INDEX),
                remedy="copy the whole folder, with all parts",
            )
    return parts


def _check_part(folder: Path, name: str) -> None:
    if "Tokenizer" in name:
        _check_tokenizer(folder)
    elif not name.endswith(WITHOUT_WEIGHTS):
        _refuse_quantised(folder)
        _check_weights(folder)


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).exists() for name in TOKENIZER):
        raise UserError(
            "no tokenizer here", where=str(folder), remedy=f"it needs one of {', '.join(TOKENIZER)}, as published"
        )


def _refuse_pointers(folder: Path) -> None:
    """Raise where Git LFS has left a pointer in place of a file."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size < SMALL and path.read_bytes().startswith(LFS):
            remedy = f"git -C {path.parent} lfs pull, or download the file itself"
            raise UserError("a pointer of Git LFS in place of the file", where=str(path), remedy=remedy)


def _refuse_quantised(folder: Path) -> None:
    path = folder / "config.json"
    if path.exists() and (how := _json(path).get("quantization_config")):
        method = how.get("quant_method", "some method") if isinstance(how, dict) else "some method"
        raise UserError(
            f"quantised weights ({method}), which need a package that is not in this environment", where=str(path),
            remedy="give the checkpoint in bfloat16, as its makers publish it",
        )  # fmt: skip


def _check_weights(folder: Path) -> None:
    """Raise unless the folder has safetensors, each whole, and all that an index names."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = sorted(path for pattern in PICKLED for path in folder.glob(pattern))
        if not pickled:
            raise UserError("no weights here (*.safetensors)", where=str(folder), remedy="copy the whole checkpoint")
        command = f"gillnext convert --model {shlex.quote(str(folder))} --out {shlex.quote(f'{folder}-safetensors')}"
        raise UserError(
            f"weights as {pickled[0].suffix} alone, which is a pickle and can run code", where=str(pickled[0]),
            remedy=f"take the publisher's safetensors, or convert them and give the new folder: {command}",
        )  # fmt: skip
    for index in sorted(folder.glob("*.safetensors.index*.json")):
        named = set(_json(index).get("weight_map", {}).values())
        if missing := sorted(name for name in named if not (folder / str(name)).is_file()):
            _damaged(folder / str(missing[0]), f"missing; {index.name} names {len(named)} files")
    known = [file for file in files if variant_of(file.name) in VARIANTS]
    if not known:
        raise UserError(
            f"a variant that is not known here: {files[0].name}", where=str(folder),
            remedy="give the weights without a variant, or its variant fp16 or bf16",
        )  # fmt: skip
    for file in known:
        _check_file(file)


def _check_file(path: Path) -> None:
    """Raise unless the file is as long as its header says, and of types that are computed with here."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = struct.unpack("<Q", head)[0] if len(head := file.read(8)) == 8 else HEADER + 1
        if length > min(HEADER, size):
            _damaged(path, f"no safetensors, or not all of it ({size:,} bytes)")
        try:
            header = json.loads(file.read(length))
            tensors = [about for name, about in header.items() if name != "__metadata__"]
            end = max((about["data_offsets"][1] for about in tensors), default=0)
            types = {about["dtype"] for about in tensors}
        except (ValueError, AttributeError, KeyError, TypeError, IndexError):
            _damaged(path, "no safetensors: its header cannot be read")
    if size != 8 + length + end:
        _damaged(path, f"{size:,} bytes, where its header says {8 + length + end:,}")
    if strange := sorted(types - TYPES):
        raise UserError(
            f"weights of type {', '.join(strange)}", where=str(path),
            remedy="give the checkpoint in float32, bfloat16 or float16",
        )  # fmt: skip
