"""Write a checkpoint that is published as .bin alone as safetensors: another folder, with the same names of tensors.

    gillnext convert --model models/chinese-clip-vit-base-patch16 --out models/chinese-clip-safetensors

A .bin is a pickle, and a pickle can hold code. It is read here, once, by `torch.load(weights_only=True)`, whose reader
makes tensors and plain containers of it and refuses everything else (torch 2.6 and later); nothing else of the package
reads one. All other files are copied, but for Python code and other weights.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from gillnext.config.arguments import add_out
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

COPIED = (".json", ".txt", ".model", ".md", ".jinja", "LICENSE")
INDEX = "pytorch_model.bin.index.json"


def tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .bin, each with memory of its own; `UserError` where it holds anything else."""
    refuse = "it is not a table of tensors: fetch the checkpoint again, from its publisher"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"cannot be read safely: {str(error)[:200]}", where=str(path), remedy=refuse) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError("holds other things than tensors", where=str(path), remedy=refuse)
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def convert(model: Path, out: Path) -> list[str]:
    """Write `model` with safetensors to the folder `out`; returns the names of the files of weights.

    Raises `UserError` where there is no .bin of weights, or where safetensors are there already.
    """
    bins = sorted(path for path in model.glob("*pytorch_model*.bin"))
    if list(model.glob("*.safetensors")):
        raise UserError("has safetensors already", where=str(model), remedy="use the folder as it is")
    if not bins:
        raise UserError("no pytorch_model.bin here", where=str(model), remedy="name a checkpoint's folder")
    names = {path.name: path.name.removeprefix("pytorch_").replace(".bin", ".safetensors") for path in bins}
    with files.atomic(out) as temporary:
        temporary.mkdir()
        for path in bins:
            save_file(tensors(path), temporary / names[path.name], metadata={"format": "pt"})
        if (model / INDEX).exists():
            index = files.read_json(model / INDEX)
            index["weight_map"] = {tensor: names[name] for tensor, name in index["weight_map"].items()}
            files.write_json(temporary / "model.safetensors.index.json", index)
        for path in sorted(model.iterdir()):
            if path.is_file() and path.name.endswith(COPIED) and path.name != INDEX:
                shutil.copyfile(path, temporary / path.name)
    return list(names.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="checkpoint with pytorch_model.bin")
    add_out(parser, "folder of the same checkpoint with safetensors")


def main(args: argparse.Namespace) -> None:
    print(f"convert: wrote {', '.join(convert(args.model, args.out))} to {args.out}")
