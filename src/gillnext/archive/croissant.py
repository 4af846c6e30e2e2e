"""croissant.json: Mini-Wukong's metadata in the format Croissant 1.1, with the fields of its responsible-AI vocabulary.

Four record sets: captions (a row of a shard), truth (what is known of it), layouts (a held-out caption and its picture)
and boxes (one object of a layout). Paths are relative to the archive."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import mlcroissant as mlc

from gillnext.archive.dataset import NAME
from gillnext.config.model import Config
from gillnext.runtime import files

RAI = "http://mlcommons.org/croissant/RAI/1.0"
CONFORMS = ["http://mlcommons.org/croissant/1.1", RAI]
TEXT, INTEGER = mlc.DataType.TEXT, mlc.DataType.INTEGER
URL, IMAGE, BOX = mlc.DataType.URL, mlc.DataType.IMAGE_OBJECT, mlc.DataType.BOUNDING_BOX

CAPTIONS = {
    "url": (URL, "the picture's address, on a reserved host that the workflow's own server answers for"),
    "caption": (TEXT, "a Chinese caption, generated"),
}
TRUTH = {
    "row": (INTEGER, "the row's place in its shard, from 0"),
    "url": (URL, "as in the shard"),
    "caption": (TEXT, "as in the shard"),
    "label": (TEXT, "strong, weak or none: whether the caption says where things are"),
    "kind": (TEXT, "the template family of the caption"),
    "scene": (INTEGER, "the index of the drawn scene"),
    "fault": (TEXT, "how the link is broken; empty: it is not"),
    "relations": (TEXT, "the spatial relations that the caption states, as JSON"),
    "absent": (TEXT, "an object that the caption names and the picture lacks; empty: none"),
}
LAYOUTS = {"layout": (TEXT, "identifier"), "caption": (TEXT, "a Chinese caption that names the objects, generated")}
BOXES = {
    "layout": (TEXT, "the layout that the object belongs to, by its identifier"),
    "phrase": (TEXT, "the words that name the object"),
    "box": (BOX, "left, top, right, bottom as fractions of the picture, 0 to 1: where the object was drawn"),
}

RESPONSIBLE: dict[str, Any] = {
    "data_collection": "Nothing was collected. Captions are generated from templates and word lists, scenes are "
    "sampled and drawn by a program from a seed, and links are made to fail at given rates.",
    "data_collection_type": ["Software Collection"],
    "data_collection_missing_data": "Links that fail are meant: the column fault says which and how. Pictures of the "
    "training rows are not files here; the workflow's server draws a row's scene when it is asked for.",
    "data_collection_raw_data": "None: there is no source but the program and its seed.",
    "data_preprocessing_protocol": ["None: rows are written as they are generated."],
    "data_annotation_protocol": [
        "No person annotated anything: labels, relations and boxes are those that the program drew by."
    ],
    "annotations_per_item": "1, exact by construction",
    "machine_annotation_tools": ["the generator itself, gillnext world and gillnext heldout"],
    "data_biases": [
        "The share of captions with spatial words, of each label and of each fault are settings, not findings.",
        "Few classes of objects, each with few shapes and colours, drawn on plain grounds; positions follow one prior.",
        "Captions come from a few template families in Mandarin, far from the variety of captions from the web.",
    ],
    "data_limitations": [
        "Pictures of 64 by 64 pixels that show drawings, never photographs: no result on them holds for real pictures.",
        "Scores on this set compare with no published value.",
        "It has the form of Wukong's release (CSV shards of url and caption), and no row of it.",
    ],
    "data_use_cases": [
        "Testing a pipeline from caption shards to a trained spatial adapter in minutes, without a GPU.",
        "Not suited: training or judging a system that is meant for real pictures.",
    ],
    "data_social_impact": "None is known beyond that of test data: nobody is shown or named, and nothing was taken "
    "from anybody. A reader who took its scores for those of a real system would be misled; the limitations say so.",
    "personal_sensitive_information": [
        "None: no person is depicted, named or described, and no address leads anywhere."
    ],
    "data_release_maintenance_plan": "The files follow from the settings and the code in the same archive; another "
    "release is made by another archive.",
}


def _set(name: str, description: str, columns: dict[str, Any], source: str, **options: Any) -> mlc.RecordSet:
    """A record set whose fields are columns of the file or files `source`."""
    fields = [
        mlc.Field(
            id=f"{name}/{column}",
            name=column,
            description=words,
            data_types=[kind],
            source=_source(source, extract=mlc.Extract(column=column)),
        )
        for column, (kind, words) in columns.items()
    ]
    return mlc.RecordSet(id=name, name=name, description=description, fields=fields, **options)


def _source(place: str, **options: Any) -> mlc.Source:
    kind = "file_object" if place.endswith(".jsonl") else "file_set"
    return mlc.Source(**{kind: place}, **options)


def _file(folder: Path, path: str) -> mlc.FileObject:
    """A table of the dataset, by its name."""
    return mlc.FileObject(
        id=path,
        name=path,
        content_url=f"{NAME}/{path}",
        encoding_formats=["application/jsonlines"],
        sha256=files.sha256(folder / path),
        content_size=f"{(folder / path).stat().st_size} B",
    )


def _record_sets() -> list[mlc.RecordSet]:
    layouts = _set("layouts", "Held-out layouts of the test set.", LAYOUTS, "layouts.jsonl", key="layouts/layout")
    picture = mlc.Field(
        id="layouts/picture",
        name="picture",
        description="the scene, drawn: 64 by 64 pixels",
        data_types=[IMAGE],
        source=_source("picture-files", extract=mlc.Extract(file_property=mlc.FileProperty.content)),
    )
    name = mlc.Field(
        id="layouts/file",
        name="file",
        description="the name of the picture's file",
        data_types=[TEXT],
        source=_source("layouts.jsonl", extract=mlc.Extract(column="picture")),
        references=_source("picture-files", extract=mlc.Extract(file_property=mlc.FileProperty.filename)),
    )
    layouts.fields += [name, picture]
    boxes = _set("boxes", "The objects of the held-out layouts, a row an object.", BOXES, "boxes.jsonl")
    captions = _set("captions", "The release: what a lab has of Wukong.", CAPTIONS, "csv-files")
    return [captions, _set("truth", "What is known of every row.", TRUTH, "truth-files"), layouts, boxes]


def make(config: Config, folder: Path, cited: dict[str, Any], made: datetime) -> dict[str, Any]:
    """The metadata of the dataset in `folder`, for a file in the folder above it."""
    sets = {
        "csv-files": ("shards/*.csv", "text/csv"),
        "truth-files": ("truth/*.parquet", "application/x-parquet"),
        "picture-files": ("pictures/*.png", "image/png"),
    }
    distribution: list[Any] = [
        mlc.FileSet(id=name, name=name, includes=[f"{NAME}/{pattern}"], encoding_formats=[kind])
        for name, (pattern, kind) in sets.items()
    ]
    distribution += [_file(folder, name) for name in ("layouts.jsonl", "boxes.jsonl")]
    metadata = mlc.Metadata(
        ctx=mlc.Context(conforms_to=CONFORMS),
        name="Mini-Wukong",
        description=f"The drawn world of GILL-Next-CN's tier {config.run.tier}: {config.world.rows} caption rows in "
        f"Wukong's form in {config.world.shards} shards with the truth about each, and {config.sample.test} held-out "
        f"layouts with pictures and boxes, all made by a program from the seed {config.run.seed}.",
        license=[f"https://spdx.org/licenses/{cited['license']}"],
        creators=[mlc.Organization(name=author["name"]) for author in cited["authors"] if "name" in author],
        cite_as=f"{cited['title']}, version {cited['version']}",
        date_published=made,
        keywords=["synthetic", "Chinese captions", "layout-to-image"],
        in_language=["zh"],
        version=str(cited["version"]),
        distribution=distribution,
        record_sets=_record_sets(),
        **RESPONSIBLE,
    )
    found: dict[str, Any] = metadata.to_json() | {"conformsTo": CONFORMS}  # it writes the first alone
    return found
