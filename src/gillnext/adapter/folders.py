"""Folders of bases and adapters: which pipeline a base is, the variant of its weights, whose base an adapter had.

Folders are untrusted input: JSON and safetensors are read, and classes of known libraries alone.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.runtime.weights import variant_of

INDEX = "model_index.json"
# The classes that folders name -> those of a base; the grounded ones are of pipelines that were saved with an adapter.
BASES = {name: name for name in ("KolorsPipeline", "StableDiffusionXLPipeline")}
BASES |= {"GroundedKolorsPipeline": "KolorsPipeline", "GroundedSDXLPipeline": "StableDiffusionXLPipeline"}
LIBRARIES = ("diffusers", "transformers", "kolors", "gillnext.adapter.model")  # whose classes a base may name
PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def index_of(base: Path) -> dict[str, Any]:
    """The pipeline's `model_index.json`; `UserError` where there is none."""
    if not (base / INDEX).is_file():
        remedy = "give the folder of a diffusers pipeline, as `save_pretrained` or the model's repository has it"
        raise UserError(f"no {INDEX}", where=str(base), remedy=remedy)
    return files.read_json(base / INDEX)


def class_of(base: Path) -> str:
    """The class of base that the folder holds; `UserError` unless it is one of `BASES`, with parts of `LIBRARIES`."""
    index = index_of(base)
    name, where = index.get("_class_name"), str(base / INDEX)
    if name not in BASES:
        remedy = f"the adapter goes into SDXL-style bases: {', '.join(dict.fromkeys(BASES.values()))}"
        raise UserError(f"a base of class {name}", where=where, remedy=remedy)
    for part, made in index.items():
        if isinstance(made, list) and made[0] not in (None, *LIBRARIES):
            remedy = f"only classes of {', '.join(LIBRARIES[:2])} are loaded; no code of a model's folder is run"
            raise UserError(f"{part} is of library {made[0]!r}", where=where, remedy=remedy)
    return BASES[name]


def variant(base: Path, leave: Container[str] = ()) -> str | None:
    """The variant of the base's weights: None where every part has plain files, else what the others have ("fp16").

    Parts in `leave` are not looked at. `UserError` where a part has pickled weights alone, or parts have no variant in
    common.
    """
    common: set[str] | None = None
    for part, made in index_of(base).items():
        folder = base / part
        if part in leave or not isinstance(made, list) or made[0] is None or not folder.is_dir():
            continue
        names = [file.name for file in folder.iterdir()]
        variants = (variant_of(name) for name in names if name.endswith(".safetensors"))
        found = {variant for variant in variants if variant is not None}
        if not found and (pickled := sorted(name for name in names if name.endswith(PICKLED))):
            remedy = "take the repository's safetensors files, or save the model anew with safe_serialization=True"
            raise UserError(
                "pickled weights alone, which are never loaded", where=str(folder / pickled[0]), remedy=remedy
            )
        if found and "" not in found:
            common = found if common is None else common & found
    if common is not None and not common:
        remedy = "take the files of one variant for every part"
        raise UserError("the parts' weights are of different variants", where=str(base), remedy=remedy)
    return min(common).removeprefix(".") if common else None


def check_adapter(adapter: Path, base: Path) -> None:
    """`UserError` unless `adapter` is the folder of an adapter whose record names no base of another class.

    Kolors' UNet and SDXL's have the same blocks and widths: only the record tells them apart.
    """
    if not (adapter / "config.json").is_file():
        remedy = "give the folder that `gillnext adapter` wrote (config.json and its weights)"
        raise UserError("no adapter there", where=str(adapter), remedy=remedy)
    record = adapter / "training.json"
    trained_on = files.read_json(record).get("provenance", {}).get("base") if record.is_file() else None
    here = class_of(base)
    if trained_on and trained_on["class"] != here:
        raise UserError(
            f"the adapter was trained on a {trained_on['class']}; {base} is a {here}",
            where=str(adapter),
            remedy="give the base that it was trained on (README.md beside it), or train an adapter on this one",
        )
