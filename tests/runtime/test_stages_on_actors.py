"""Filter and annotate with the settings of the wukong tier, on miniatures of its models' classes: by one process, or by
Ray actors whose working directory is another, the outputs are the same files.
"""

import dataclasses
import hashlib
import os
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
import torch
from PIL import Image
from ray import cloudpickle

from gillnext import layouts
from gillnext.annotate import families
from gillnext.annotate import rows as rows_
from gillnext.annotate import stage as annotate
from gillnext.annotate.answers import Answer
from gillnext.boxes import Convention
from gillnext.config.load import load
from gillnext.filter import stage as filter_
from gillnext.filter.prompts import LABELS
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.miniatures.labelled_captions import examples
from gillnext.miniatures.networks import small_qwen2_vl
from gillnext.miniatures.world import corpus
from gillnext.runtime import files
from gillnext.runtime.workers import Workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # actors cannot import this file
ROOT = Path(__file__).parents[2]
CAPTIONS, _ = examples(7, 80)


class Heard:
    """A family that reads a box off any text: every character of an answer moves it."""

    CONVENTION = Convention.UNIT

    @staticmethod
    def question(caption, names):
        return f"描述：{caption}"

    @staticmethod
    def parse(text, size):
        said = text.split("<|im_end|>")[0].replace("<|endoftext|>", "")
        x, y, *_ = (byte / 512 for byte in hashlib.sha256(said.encode("utf-8", "replace")).digest())
        return Answer((("一", (x, y, x + 0.5, y + 0.5)),), ())  # every caption has 一只猫, 一棵树, …


def hearing(make, folder):
    """The annotator that `make` makes in that folder, its answers read by `Heard`."""
    os.chdir(folder)
    with patch.dict(families.FAMILIES, dict.fromkeys(families.FAMILIES, Heard)):
        return make()


def labeller_elsewhere(config, name):
    os.chdir("/")
    return filter_.make_labeller(config, name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("actors")


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    """Paths in these tests are relative to the folder."""
    monkeypatch.chdir(folder)


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
    return "classifier"


@pytest.fixture(scope="module", params=["qwen2_vl", "qwen2_5_vl"])
def annotator(folder, request):
    """Random weights, large enough that answers depend on the input, and many tokens that end one."""
    torch.manual_seed(0)
    processor = small_qwen2_vl.make_processor(CAPTIONS, size=56, family=request.param)
    network = small_qwen2_vl.make_model(processor, width=32, layers=1, family=request.param)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3)
    network.generation_config.eos_token_id = list(range(0, len(processor.tokenizer), 16))
    network.save_pretrained(folder / request.param)
    processor.save_pretrained(folder / request.param)
    return request.param


@pytest.fixture(scope="module")
def index(folder):
    data = corpus.make(3, "actors", 6)
    rows = []
    for i, (image, caption) in enumerate(zip(data.images, data.captions, strict=True)):
        Image.fromarray(image).save(folder / f"{i}.png")
        rows.append({"image_path": f"{i}.png", "caption": caption, "url": f"u{i}", "row": i})
    files.write_jsonl(folder / "index.jsonl", rows)
    return Path("index.jsonl")


def wukong(actors):
    """The tier's settings, on a CPU."""
    config = load(ROOT / "config.yaml", ROOT / "config/wukong.yaml")
    run = dataclasses.replace(config.run, device="cpu", threads=1)
    world = dataclasses.replace(config.world, parts=1)
    return dataclasses.replace(config, run=run, world=world, ray=dataclasses.replace(config.ray, actors=actors))


def outputs(out):
    return out.read_bytes(), out.with_suffix(".json").read_bytes()


def test_the_filter_labels_alike_on_any_number_of_actors(classifier, folder, monkeypatch):
    shard = folder / "wukong_100m_0.csv"
    urls = [f"http://a.example/{i}" for i in range(len(CAPTIONS))]
    pl.DataFrame({"url": urls, "caption": CAPTIONS}).write_csv(shard)
    found, tables = [], []
    for actors in (0, 1, 2):
        if actors:
            monkeypatch.setattr(filter_, "make_labeller", labeller_elsewhere)
        out = folder / f"filtered-{actors}.parquet"
        config = wukong(actors)
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
        config = wukong(actors)
        assert config.annotate.backend == "auto"
        out = folder / f"{annotator}-{actors}.jsonl"
        make = annotate.annotator_maker(config, annotator)
        with Workers(partial(hearing, make, "/" if actors else "."), config) as workers:
            counts = annotate.annotate(rows_.read_index(index), workers, 2, out, "job")
        found.append(outputs(out))
    assert counts["rows"] == counts["kept"] == counts["objects"] == 6
    assert len({row.boxes for row in layouts.read(out)}) > 1, "the answers must differ for their equality to tell"
    assert found[0] == found[1]
