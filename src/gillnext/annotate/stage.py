"""Write boxes for the objects that captions name: an index of images in, layouts (JSONL) and counts (JSON) out.

    gillnext annotate --config config.yaml --index results/demo/index/0.jsonl --model results/demo/models/annotator \
        --out results/demo/layouts/0.jsonl
    gillnext annotate --tsv pairs.tsv --images FOLDER --model … --out layouts.jsonl

An object that the annotator does not find is dropped and counted; a row without any object left is dropped and
counted. What an image gets depends on it, its caption and the model alone: not on batches, nor on interruptions, after
which the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from gillnext import layouts
from gillnext.annotate import rows as rows_
from gillnext.annotate.answers import refusal
from gillnext.annotate.base import Annotator, Found, Names, Vocabulary, read_vocabulary
from gillnext.annotate.rows import MISSING, OUT_OF_MEMORY, Row
from gillnext.config import Config, arguments
from gillnext.instruments import families
from gillnext.layouts import Layout
from gillnext.runtime import collector, contents, files, pretrained, provenance
from gillnext.runtime.errors import UserError
from gillnext.runtime.halving import halving, out_of_memory
from gillnext.runtime.journal import Journal, at_work
from gillnext.runtime.progress import Progress
from gillnext.runtime.workers import Workers, on_actors

DIGITS = 4  # of a coordinate: a ten-thousandth of the image
NO_OBJECT = "no object named"
REFUSED = "the annotator refuses it"
Asked = tuple[Any, str, Names]  # image, caption, names to look for
Answer = dict[str, Any]  # {"objects": [[name, box, score]], "dropped": [reason of an object], "reason": of the row}
FAILED = "the annotator failed over it"
PASSING = (MISSING, OUT_OF_MEMORY)  # reasons that may be gone when the same command is given again
WITHOUT = (*PASSING, REFUSED, FAILED)  # of all that came to nothing: reasons that are not in the answers


def nothing(reason: str) -> Answer:
    """The answer of a row without objects."""
    return {"objects": [], "dropped": [], "reason": reason}


def to_answer(found: list[Found] | Exception) -> Answer:
    """What the journal keeps of one image's answer; a box that is none once it is rounded is dropped."""
    if isinstance(found, Exception):
        return nothing(OUT_OF_MEMORY if out_of_memory(found) else REFUSED)
    objects, dropped = [], []
    for f in found:
        box = [round(v, DIGITS) for v in f.box or ()]
        reason = refusal(box) if f.box else f.reason
        if f.box and not reason:
            objects.append([f.name, box, round(f.score, DIGITS)])
        else:
            dropped.append(reason)
    return {"objects": objects, "dropped": dropped, "reason": "" if objects else "no object left"}


def answer_batch(batch: Sequence[Row], annotator: Annotator, vocabulary: Vocabulary | None) -> list[Answer]:
    """An answer a row; rows that name nothing, and images that cannot be read, never reach the model."""
    answers: list[Answer | None] = []
    asked: list[Asked] = []
    for row in batch:
        wanted = vocabulary.find(row.caption) if vocabulary else None
        image = NO_OBJECT if wanted == [] else rows_.read_image(row.path, annotator.max_image_size)
        if isinstance(image, str):
            answers.append(nothing(image))
        else:
            answers.append(None)
            asked.append((image, row.caption, wanted))
    found = iter(halving(lambda part: annotator.annotate(*map(list, zip(*part, strict=True))), asked) if asked else [])
    return [answer if answer is not None else to_answer(next(found)) for answer in answers]


def batches(rows: list[Row], size: int) -> Iterator[list[Row]]:
    """Rows with each key once, `size` at a time."""
    once, size = list({row.key: row for row in rows}.values()), max(size, 1)
    for start in range(0, len(once), size):
        yield once[start : start + size]


def finish(rows: list[Row], done: dict[str, Answer], out: Path, pace: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write layouts in the index's order and the counts beside them, with `pace` among them; returns the counts.

    Raises `UserError` where `layouts.read` would refuse a row, and writes nothing.
    """
    kept, reasons, dropped = [], collections.Counter[str](), collections.Counter[str]()
    for row in rows:
        answer = done[row.key]
        dropped.update(answer["dropped"])
        if answer["reason"]:
            reasons[answer["reason"]] += 1
            continue
        names, boxes, _ = zip(*answer["objects"], strict=True)
        placed = tuple(tuple(box) for box in boxes)
        kept.append(Layout(row.caption, names, placed, Path(row.image_path).stem, row.image_path, row.extra))
    if rows and reasons[MISSING] == len(rows):
        raise UserError(
            "not one image is there", where=str(rows[0].path),
            remedy="run from the folder that the index's paths start from, or name it with --images",
        )  # fmt: skip
    if rows and reasons[OUT_OF_MEMORY] + reasons[REFUSED] + reasons[FAILED] == len(rows):
        raise UserError(
            f"not one image could be annotated: {dict(reasons)}", where=str(out),
            remedy="look at the log and at the annotator; a smaller annotate.max_image_size takes less memory",
        )  # fmt: skip
    for layout in kept:
        layouts.from_row(layout.to_row(), f"{out}, image {layout.image_path}")
    counts = {
        "rows": len(rows), "kept": len(kept), "rows_dropped": dict(reasons),
        "objects": sum(len(layout.names) for layout in kept), "objects_dropped": dict(dropped), **(pace or {}),
    }  # fmt: skip
    files.write_json(out.with_suffix(".json"), counts)
    layouts.write(out, kept)
    return counts


def annotate(rows: list[Row], workers: Workers[Row, list[Answer]], size: int, out: Path, job: str) -> dict[str, Any]:
    """Annotate `rows` into `out`, `size` at a time, resuming a journal of the same `job`; returns counts by reason."""
    work = out.with_name(out.name + ".work")
    with at_work(Journal(work, job)) as journal:
        # An image may be there by now, or be looked for in another folder.
        journal.ask_again(itemgetter("reason"), PASSING, WITHOUT)
        keys = {row.key for row in rows}
        with Progress("annotate", len(keys), "images", start=len(keys & journal.done.keys())) as progress:
            for batch, answers in workers.map(journal.unfinished(batches(rows, size), attrgetter("key"))):
                answers = answers if answers is not None else [nothing(FAILED)] * len(batch)
                new = journal.add({row.key: answer for row, answer in zip(batch, answers, strict=True)})
                progress.step(new, **workers.counts)
        return finish(rows, journal.done, out, workers.pace)


def make_annotator(config: Config, model: Path | str) -> Callable[[Sequence[Row]], list[Answer]]:
    """The configured backend on this process's device, as a function of rows."""
    with collector.spared():
        from gillnext.runtime import training

    training.setup(config.run.threads, config.run.device)
    annotator, vocabulary = load_annotator(config, model)
    if annotator.needs_names and vocabulary is None:
        raise UserError(f"{annotator.name} needs a vocabulary", remedy="set annotate.vocabulary")
    return lambda batch: answer_batch(batch, annotator, vocabulary)


def annotator_maker(config: Config, model: Path | str) -> Callable[[], Callable[[Sequence[Row]], list[Answer]]]:
    """`make_annotator` for actors, which may run in another folder: files are named by absolute paths."""
    vocabulary, names = map(pretrained.absolute, (config.annotate.vocabulary, config.annotate.names))
    annotate = dataclasses.replace(config.annotate, vocabulary=vocabulary, names=names)
    there = dataclasses.replace(on_actors(config), annotate=annotate)
    return partial(make_annotator, there, pretrained.absolute(model))


def backend_of(config: Config, model: Path | str) -> str:
    """Which annotator reads a folder, or a hub's model; `UserError` where annotate.backend names another."""
    if (Path(model) / "config.json").is_file():
        found = families.backend(families.model_type(model))
    else:  # a hub's id, which its own files are fetched for; or nothing, as the annotator itself will say
        found = config.annotate.backend if config.annotate.backend != "auto" else "vlm"
    if config.annotate.backend not in ("auto", found):
        raise UserError(
            f"holds an annotator of the kind {found}, not {config.annotate.backend}", where=str(model),
            remedy=f"set annotate.backend: {found}, or name another folder",
        )  # fmt: skip
    return found


def load_annotator(config: Config, model: Path | str) -> tuple[Annotator, Vocabulary | None]:
    """The annotator in a model's folder, and the vocabulary that captions are read with."""
    settings, device = config.annotate, config.run.device
    backend = backend_of(config, model)
    vocabulary = read_vocabulary(settings.vocabulary) if settings.vocabulary else None
    if backend == "vlm":
        from gillnext.annotate.vlm import VisionLanguageAnnotator

        return VisionLanguageAnnotator.from_pretrained(model, device, settings.max_image_size), vocabulary
    if backend == "zero-shot":
        return load_zero_shot(config, model, vocabulary)
    with collector.spared():
        from gillnext.annotate.detector import DetectorAnnotator

    annotator = DetectorAnnotator.from_pretrained(model, device, settings.threshold)
    return annotator, vocabulary or Vocabulary(annotator.names)


def load_zero_shot(
    config: Config, model: Path | str, vocabulary: Vocabulary | None
) -> tuple[Annotator, Vocabulary | None]:
    """A zero-shot annotator, which looks for the names of its table, or those of the vocabulary as they are."""
    from gillnext.annotate.zero_shot import ZeroShotAnnotator
    from gillnext.instruments import phrases

    settings = config.annotate
    if not settings.names and vocabulary is None:
        raise UserError(
            "a zero-shot annotator needs the names to look for", where="annotate.names",
            remedy="name a table that `gillnext names` wrote; a detector that reads Chinese needs annotate.vocabulary",
        )  # fmt: skip
    if settings.names:
        rows = phrases.read(settings.names)
    else:
        rows = {name: name for name in vocabulary.names} if vocabulary else {}
    annotator = ZeroShotAnnotator.from_pretrained(
        model, rows, config.zero_shot, config.run.device, settings.threshold, settings.max_image_size
    )
    return annotator, vocabulary or Vocabulary(annotator.names)


def job_name(config: Config, model: Path | str) -> str:
    """A fingerprint of what an answer depends on: the model, our code, the settings but for the batch and what scores
    answers.
    """
    settings = dataclasses.asdict(config.annotate) | {
        "batch": 0,
        "labels": "",
        "zero_shot": dataclasses.asdict(config.zero_shot) | {"batch": 0},
    }
    named = [str(model), settings["vocabulary"], settings["names"]]
    named = [name for name in named if name]  # an empty path would be this folder
    hashes = (contents.sha256(name) if Path(name).exists() else name for name in named)
    return provenance.fingerprint(settings, *hashes, code=["gillnext.annotate.stage"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where rows, images, model and layouts are."""
    arguments.add_config(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--index", type=Path, metavar="JSONL", help="rows with image_path and caption")
    source.add_argument("--tsv", type=Path, metavar="FILE", help="lines of image file name, tab, caption")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="what relative image paths start from")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="annotator")
    arguments.add_out(parser, "layouts, JSON lines; the counts go to the same name with .json")


def main(args: argparse.Namespace) -> None:
    config = arguments.config(args)
    model = args.model
    pretrained.check(model, "--model", "name a folder that `gillnext annotator` wrote, or any annotator's")
    if args.tsv and not args.images:
        raise UserError("--tsv needs --images", remedy="name the folder that the images are in")
    rows = rows_.read_tsv(args.tsv, args.images) if args.tsv else rows_.read_index(args.index, args.images)
    with Workers(annotator_maker(config, model), config) as workers:
        counts = annotate(rows, workers, config.annotate.batch, args.out, job_name(config, model))
    print(f"annotate: {counts['kept']} of {counts['rows']} rows kept; dropped: {counts['rows_dropped']}")
    print(f"annotate: {counts['objects']} objects; dropped: {counts['objects_dropped']}")
