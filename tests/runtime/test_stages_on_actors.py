"""Filter and annotate with the settings of the wukong tier, on miniatures of its models' classes: by one process, or by
Ray actors, the outputs are the same files.
"""

import dataclasses
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import torch
from PIL import Image

from gillnext.annotate import miniature
from gillnext.annotate import rows as rows_
from gillnext.annotate import stage as annotate
from gillnext.config.load import load
from gillnext.filter import stage as filter_
from gillnext.filter.corpus import examples
from gillnext.filter.prompts import LABELS
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.runtime import files
from gillnext.runtime.workers import Workers
from gillnext.world import corpus

ROOT = Path(__file__).parents[2]
CAPTIONS, _ = examples(7, 80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("actors")


@pytest.fixture(scope="module")
def classifier(folder):
    """Random weights, large enough that several labels are given."""
    torch.manual_seed(4)
    tokenizer = train_tokenizer([*CAPTIONS, f"描述位置{''.join(LABELS.values())}" * 9], 900)
    network = model.build(tokenizer, hidden=32, layers=1, heads=2, name="classifier", seed=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.4)
    model.save(network, tokenizer, folder / "classifier", {}, "classifier")
    return folder / "classifier"


@pytest.fixture(scope="module")
def annotator(folder):
    torch.manual_seed(0)
    processor = miniature.make_processor(CAPTIONS, size=56, family="qwen2_5_vl")
    miniature.make_model(processor, width=32, layers=1, family="qwen2_5_vl").save_pretrained(folder / "annotator")
    processor.save_pretrained(folder / "annotator")
    return folder / "annotator"


@pytest.fixture(scope="module")
def index(folder):
    data = corpus.make(3, "actors", 6)
    rows = []
    for i, (image, caption) in enumerate(zip(data.images, data.captions, strict=True)):
        Image.fromarray(image).save(folder / f"{i}.png")
        rows.append({"image_path": str(folder / f"{i}.png"), "caption": caption, "url": f"u{i}", "row": i})
    files.write_jsonl(folder / "index.jsonl", rows)
    return folder / "index.jsonl"


def wukong(actors, **models):
    """The tier's settings, on a CPU, with these models."""
    config = load(ROOT / "config.yaml", ROOT / "config/wukong.yaml")
    parts = {name: dataclasses.replace(getattr(config, name), model=str(path)) for name, path in models.items()}
    run = dataclasses.replace(config.run, device="cpu", threads=1)
    world = dataclasses.replace(config.world, parts=1)
    return dataclasses.replace(
        config, run=run, world=world, ray=dataclasses.replace(config.ray, actors=actors), **parts
    )


def outputs(out):
    return out.read_bytes(), out.with_suffix(".json").read_bytes()


def test_the_filter_labels_alike_on_any_number_of_actors(classifier, folder):
    shard = folder / "wukong_100m_0.csv"
    urls = [f"http://a.example/{i}" for i in range(len(CAPTIONS))]
    pl.DataFrame({"url": urls, "caption": CAPTIONS}).write_csv(shard)
    found, tables = [], []
    for actors in (0, 1, 2):
        out = folder / f"filtered-{actors}.parquet"
        config = wukong(actors, filter=classifier)
        config = dataclasses.replace(config, filter=dataclasses.replace(config.filter, batch=8))
        report = filter_.run(config, [shard], classifier, out)
        found.append(outputs(out))
        tables.append(pl.read_parquet(out).rows())
    assert tables[0] == tables[1] == tables[2]
    assert report["rows"] == len(CAPTIONS) and not report["not_answered"]
    assert sum(report[name] > 3 for name in ("kept_strong", "kept_weak", "label_none")) >= 2
    assert found[0] == found[1] == found[2]


def test_the_annotator_answers_alike_on_any_number_of_actors(annotator, index, folder):
    found = []
    for actors in (0, 2):
        config = wukong(actors, annotate=annotator)
        assert config.annotate.backend == "vlm"
        out = folder / f"layouts-{actors}.jsonl"
        with Workers(partial(annotate.make_annotator, config, annotator), config) as workers:
            counts = annotate.annotate(rows_.read_index(index), workers, 2, out, "job")
        found.append(outputs(out))
    assert counts["rows"] == 6 and sum(counts["rows_dropped"].values()) + counts["kept"] == 6
    assert found[0] == found[1]
