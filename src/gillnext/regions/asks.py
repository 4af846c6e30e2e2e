"""What is asked: a folder of pictures, and images.json, {file: [source prompt, editing prompt, …]}.

A source prompt names what is there, in two words or characters or more; each editing prompt after it is an edit of its
own, of the same picture. What cannot be an edit is a `UserError` with the file and its entry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

FORM = '{"picture.png": ["what is there", "what shall be there", …]}'
_BETWEEN = re.compile(r"[、，,；;]|和|\band\b")
UNKNOWN = 0.5  # share of a prompt's characters that the text encoder may not know


@dataclass(frozen=True)
class Ask:
    """An edit: the picture's name and place, the source prompt, and its editing prompt, number `number` of its own."""

    file: str
    path: Path
    source: str
    prompt: str
    number: int = 0

    @property
    def name(self) -> str:
        """The edited picture's name, without an ending."""
        return PurePosixPath(self.file).stem + (f"-{self.number}" if self.number else "")


def parts(text: str) -> list[str]:
    """The things that a prompt lists, parted by commas, 和 and “and”."""
    return [part.strip() for part in _BETWEEN.split(text) if part.strip()]


def change(source: str, prompt: str) -> str:
    """What an editing prompt lists and the source prompt does not: what a box is filled with where `regions.fill` is
    `change`. All of the prompt where that cannot be told.
    """
    known = parts(source)
    new = [part for part in parts(prompt) if part not in known]
    return "，".join(new) or prompt


def removed(source: str, prompt: str) -> str:
    """What the source prompt lists and the editing prompt does not; nothing where something is added."""
    return "，".join(part for part in parts(source) if part not in parts(prompt))


def _prompt(value: Any, where: str) -> str:
    if not files.is_text(value):
        raise UserError(f"{value!r:.60} is no text", where=where, remedy=f"prompts are texts: {FORM}")
    text = str(value).strip()
    if len(text.split()) < 2 and (text.isascii() or len(text) < 3):
        remedy = "name what is there, as “a red cup”, 一只猫: one word is what neither eyes nor base can be led by"
        raise UserError(f"the prompt {text!r} is one word", where=where, remedy=remedy)
    return text


def read(path: Path, images: Path) -> list[Ask]:
    """The edits of an images.json, in its order, each picture in the folder `images`."""
    told = files.read_json(path)
    if not isinstance(told, dict) or not told:
        raise UserError("names no pictures", where=str(path), remedy=f"write {FORM}")
    asks = list[Ask]()
    for file, prompts in told.items():
        where = f"{path}: {file}"
        inside = PurePosixPath(file)
        if inside.is_absolute() or ".." in inside.parts:
            raise UserError("a picture outside the folder", where=where, remedy=f"name files of {images}")
        if not isinstance(prompts, list) or len(prompts) < 2:
            remedy = f"the source prompt, and an editing prompt or more: {FORM}"
            raise UserError("a list of two prompts or more is missing", where=where, remedy=remedy)
        if not (images / file).is_file():
            raise UserError("no such picture", where=where, remedy=f"put it into {images}, or leave out its entry")
        texts = [_prompt(one, f"{where}, prompt {i}") for i, one in enumerate(prompts, 1)]
        asks += [Ask(file, images / file, texts[0], text, i) for i, text in enumerate(texts[1:])]
    names = [ask.name for ask in asks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two edits would be written as {twice}.png", where=str(path), remedy="rename a picture")
    return asks


def picture(ask: Ask, size: int | None) -> np.ndarray:
    """The source picture (H, W, 3) uint8; resampled to a square of `size` pixels a side (None: as it is)."""
    try:
        with Image.open(ask.path) as image:
            found = image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        remedy = "save the picture anew as PNG or JPEG, or leave out its entry"
        raise UserError(f"cannot be read: {error}", where=str(ask.path), remedy=remedy) from error
    if size and found.size != (size, size):
        found = found.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(found)


def check_known(asks: Sequence[Ask], unknown: Any, where: str) -> list[str]:
    """What is to be said of prompts with characters that the text encoder does not know; `unknown(text)` is the share
    of them. `UserError` where it is more than half of a prompt.
    """
    told = list[str]()
    for ask in asks:
        for text in (ask.source, ask.prompt):
            share = float(unknown(text))
            if share > UNKNOWN:
                remedy = "write the prompt in a language that the text encoder was trained on"
                raise UserError(
                    f"the text encoder knows {1 - share:.0%} of {text!r:.60}", where=f"{where}: {ask.file}",
                    remedy=remedy,
                )  # fmt: skip
            if share:
                told.append(f"{ask.file}: of {text!r:.60} the text encoder does not know {share:.0%}")
    return told
