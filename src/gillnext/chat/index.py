"""The retrieval index: a unit embedding of every picture, made by one Talker and searched by dot product.

    gillnext index --config config.yaml --gill S/gill --language S/language --eyes E \\
        --pictures S/conversations/train.jsonl --objects 2 --out S/index

`--pictures` is a file of conversations or of layouts, or a folder of pictures. The index is a folder: embeddings.npy,
(N, E) float32, which is mapped into memory when it is read, and index.json, which tells each picture's path and
SHA-256, the hash of the GILL that made it, and the pictures that could not be read with the reason. Those are counted
and told, because recall depends on what is there: upstream's index loses every picture whose link has died. A killed
run goes on.

Letters: N pictures, Q queries, C rows of a chunk of the index, K found for a query, E width of the embeddings.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from gillnext import conversations, layouts
from gillnext.chat.parts import add_talker, open_talker
from gillnext.config.arguments import add_config, add_out, config
from gillnext.gill.talker import Talker
from gillnext.runtime import files, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress
from gillnext.sample.pictures_folder import open_work

EMBEDDINGS, ABOUT = "embeddings.npy", "index.json"
PART = 256  # pictures that are embedded between two saves
CHUNK = 65_536  # rows of the index that are compared with a batch of queries at once
QUERIES = 256  # queries of a batch
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def top(queries_QE: np.ndarray, rows_NE: np.ndarray, k: int, chunk: int = CHUNK) -> tuple[np.ndarray, np.ndarray]:
    """The `k` largest dot products of each query with the rows, falling, and the rows' places: (Q, K) float32 and int64
    with K = min(k, N). Of equal products the earlier row comes first.

    Queries and rows are taken in batches: no more than 256 × (`chunk` + K) products are held.
    """
    found = [_top(queries_QE[i : i + QUERIES], rows_NE, k, chunk) for i in range(0, len(queries_QE), QUERIES)]
    empty = np.zeros((0, min(k, len(rows_NE))))
    scores, places = zip(*found, strict=True) if found else ([empty], [empty])
    return np.concatenate(scores).astype(np.float32), np.concatenate(places).astype(np.int64)


def _top(queries_QE: np.ndarray, rows_NE: np.ndarray, k: int, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """`top` of one batch of queries: the best so far stand before each next chunk, so that a stable sort keeps ties in
    the order of the rows.
    """
    scores = np.zeros((len(queries_QE), 0), np.float32)
    places = np.zeros((len(queries_QE), 0), np.int64)
    for start in range(0, len(rows_NE), chunk):
        products = queries_QE.astype(np.float32) @ np.asarray(rows_NE[start : start + chunk]).T  # (Q, C)
        columns = np.arange(products.shape[1])
        if len(columns) > k:  # those that are among the k best of the chunk for any query, ties included
            least = np.partition(products, len(columns) - k, axis=1)[:, len(columns) - k, None]
            columns = np.flatnonzero((products >= least).any(0))
        scores = np.concatenate([scores, products[:, columns]], axis=1)
        places = np.concatenate([places, np.broadcast_to(start + columns, (len(places), len(columns)))], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, places = np.take_along_axis(scores, order, 1), np.take_along_axis(places, order, 1)
    return scores, places


@dataclass(frozen=True)
class Index:
    """Unit embeddings (N, E) of pictures. `paths` are relative to `root`; `digests` are the pictures' SHA-256;
    `made_by`: the hash of the GILL whose embeddings these are; `missing`: path -> why it is not in the index.
    """

    embeddings_NE: np.ndarray
    paths: tuple[str, ...]
    digests: tuple[str, ...]
    root: Path
    made_by: str
    missing: dict[str, str]

    @classmethod
    def open(cls, folder: Path, talker: str) -> Index:
        """The index in `folder`, its embeddings mapped; `UserError` where the GILL with the hash `talker` did not make
        it, or it is damaged.
        """
        if not (folder / ABOUT).exists():
            raise UserError("no index here", where=str(folder), remedy="make it: gillnext index")
        about, again = files.read_json(folder / ABOUT), "make the index again: gillnext index"
        if (made_by := about["hashes"]["gill"]) != talker:
            what = f"is the index of another model ({made_by[:12]}, not {talker[:12]})"
            raise UserError(what, where=str(folder), remedy=again)
        try:
            embeddings = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot be read: {error}", where=str(folder / EMBEDDINGS), remedy=again) from error
        pictures = about["pictures"]
        if embeddings.shape != (len(pictures), about["width"]) or embeddings.dtype != np.float32:
            what = f"{embeddings.dtype} {embeddings.shape} for {len(pictures)} pictures of width {about['width']}"
            raise UserError(what, where=str(folder / EMBEDDINGS), remedy=again)
        paths, digests = (tuple(p[key] for p in pictures) for key in ("path", "sha256"))
        return cls(embeddings, paths, digests, folder / about["root"], talker, about["missing"])

    def __len__(self) -> int:
        return len(self.paths)

    def find(self, queries_QE: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and places (Q, min(k, N)) of the pictures nearest to each query, the nearest first."""
        return top(queries_QE, self.embeddings_NE, k)

    def path(self, place: int) -> Path:
        """Where a picture lies."""
        return self.root / self.paths[place]

    def problem(self, place: int) -> str:
        """What is wrong with a picture now: "missing", "changed", or "" where it is what was embedded."""
        try:
            data = self.path(place).read_bytes()
        except OSError:
            return "missing"
        return "" if hashlib.sha256(data).hexdigest() == self.digests[place] else "changed"

    def problems(self) -> dict[str, str]:
        """Path -> what is wrong with it, of every picture that could not be embedded or has since gone or changed."""
        now = {self.paths[i]: problem for i in range(len(self)) if (problem := self.problem(i))}
        return dict.fromkeys(self.missing, "missing") | now


def tell(problems: dict[str, str], where: Path | str, of: int) -> None:
    """Say on stderr how many pictures of an index are not there, and name the first."""
    if problems:
        first, why = next(iter(problems.items()))
        more = f"{len(problems)} of {of} pictures are missing or changed, first {first} ({why})"
        print(f"gillnext: warning: {where}: {more}", file=sys.stderr)


def pictures_of(source: Path, objects: int | None = None) -> tuple[Path, list[str]]:
    """The folder that paths start from, and the pictures' paths, each once, in order: of conversations, of layouts, or
    of a folder. With `objects` those alone that are known to show no more than that many.
    """
    if source.is_dir():
        if objects is not None:
            remedy = "name a file of conversations or layouts, or leave --objects out"
            raise UserError("how many objects its pictures show is not known", where=str(source), remedy=remedy)
        found = sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        return source, [str(p.relative_to(source)) for p in found]
    rows = ((n, row) for n, row in files.numbered_jsonl(source))
    shown = (pair for n, row in rows for pair in _shown(row, f"{source}, line {n}"))
    wanted = (path for path, count in shown if objects is None or (count is not None and count <= objects))
    return source.parent, list(dict.fromkeys(wanted))


def _shown(row: Any, where: str) -> Iterator[tuple[str, int | None]]:
    """The pictures of a row, each with the number of its objects where that is known."""
    if isinstance(row, dict) and "turns" in row:
        for turn in conversations.from_row(row, where).turns:
            if turn.picture:
                yield turn.picture, len(turn.layout.names) if turn.layout else None
    else:
        layout = layouts.from_row(row, where)
        if layout.image_path:
            yield layout.image_path, len(layout.names)


def read_picture(path: Path) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 RGB, upright, and the SHA-256 of the file; `ValueError` that says why it cannot be read."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB")), hashlib.sha256(data).hexdigest()
    except FileNotFoundError as error:
        raise ValueError("no such file") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a readable picture: {error}") from error


def _embed(talker: Talker, root: Path, paths: Sequence[str], part: Path) -> None:
    """Embed some pictures into `part`.npy and tell of them in `part`.json, which is written last."""
    pixels, pictures, missing = list[np.ndarray](), list[dict[str, str]](), dict[str, str]()
    for path in paths:
        try:
            image, digest = read_picture(root / path)
        except ValueError as error:
            missing[path] = str(error)
            continue
        pixels.append(image)
        pictures.append({"path": path, "sha256": digest})
    if pixels:
        with files.atomic(part.with_suffix(".npy")) as temporary, open(temporary, "wb") as out:
            np.save(out, talker.see(pixels).float().cpu().numpy(), allow_pickle=False)
    files.write_json(part.with_suffix(".json"), {"pictures": pictures, "missing": missing})


def build(talker: Talker, source: Path, out: Path, objects: int | None = None) -> Index:
    """Write the index of a source's pictures to the folder `out`, and return it; see the head of the module."""
    root, paths = pictures_of(source, objects)
    work = out.with_name(out.name + ".work")
    open_work(work, provenance.fingerprint(talker.hash, str(root), paths, PART, code=["gillnext.chat.index"]))
    parts = [work / f"{start:09d}" for start in range(0, len(paths), PART)]
    with Progress("index", len(paths), "pictures") as progress:
        for i, part in enumerate(parts):
            some = paths[i * PART : (i + 1) * PART]
            if not part.with_suffix(".json").exists():
                _embed(talker, root, some, part)
            progress.step(len(some))
    told = [files.read_json(part.with_suffix(".json")) for part in parts]
    pictures = [picture for one in told for picture in one["pictures"]]
    missing = {path: why for one in told for path, why in one["missing"].items()}
    tell(missing, out, len(paths))
    if not pictures:
        raise UserError(f"none of {len(paths)} pictures can be read", where=str(source), remedy="name pictures")
    arrays = (np.load(p.with_suffix(".npy")) for p, one in zip(parts, told, strict=True) if one["pictures"])
    with files.atomic(out) as temporary:
        temporary.mkdir()
        start, rows = 0, None
        for array in arrays:
            if rows is None:
                shape = (len(pictures), array.shape[1])
                rows = np.lib.format.open_memmap(temporary / EMBEDDINGS, "w+", np.float32, shape)
            rows[start : start + len(array)] = array
            start += len(array)
        assert rows is not None
        rows.flush()
        about = {
            "width": rows.shape[1], "root": os.path.relpath(root, out), "pictures": pictures, "missing": missing,
            "objects": objects, "hashes": {"gill": talker.hash}, "provenance": provenance.stamp(),
        }  # fmt: skip
        files.write_json(temporary / ABOUT, about)
    shutil.rmtree(work, ignore_errors=True)
    return Index.open(out, talker.hash)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_talker(parser)
    what = "conversations or layouts whose pictures are embedded, or a folder of pictures"
    parser.add_argument("--pictures", type=Path, required=True, metavar="PATH", help=what)
    parser.add_argument("--objects", type=int, metavar="N", help="only pictures known to show N objects at most")
    add_out(parser, "folder of the index")


def main(args: argparse.Namespace) -> None:
    index = build(open_talker(config(args), args), args.pictures, args.out, args.objects)
    print(f"index: {len(index)} pictures, {len(index.missing)} missing")
