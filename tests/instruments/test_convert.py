"""A checkpoint of .bin alone: refused with the command that converts it, and converted without running anything."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file
from transformers import ChineseCLIPModel

from gillnext.cli import main
from gillnext.instruments import convert, image_text
from gillnext.miniatures import clip
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    processor = clip.make_processor(["一只猫", "一棵树"])
    return clip.make_model(len(processor.tokenizer)).eval(), processor


@pytest.fixture
def published(model, tmp_path):
    """As Chinese-CLIP is published: config, vocabulary, pytorch_model.bin; with code and other weights beside."""
    folder = tmp_path / "published"
    for part in model:
        part.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model[0].state_dict(), folder / "pytorch_model.bin")
    (folder / "modeling.py").write_text("raise SystemExit")
    (folder / "flax_model.msgpack").write_bytes(b"x")
    return folder


def test_bin_alone_is_refused_with_the_command_which_makes_the_same_model(published, model, tmp_path):
    with pytest.raises(UserError, match=r"\.bin alone[^\0]*gillnext convert --model [^\0]*published --out") as told:
        image_text.for_torchmetrics(published)
    assert main(str(told.value).split("gillnext ")[-1].split(",")[0].split()) == 0
    out = tmp_path / "published-safetensors"
    assert sorted(p.name for p in out.iterdir()) == sorted(
        {p.name for p in published.iterdir()} - {"pytorch_model.bin", "modeling.py", "flax_model.msgpack"}
        | {"model.safetensors"}
    )
    read, _ = image_text.for_torchmetrics(out)
    theirs = model[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in read.state_dict().items())


def test_several_files_keep_their_index(model, published):
    state = model[0].state_dict()
    names = list(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[:9], "pytorch_model-00002-of-00002.bin": names[9:]}
    (published / "pytorch_model.bin").unlink()
    for file, some in parts.items():
        torch.save({name: state[name] for name in some}, published / file)
    index = {"metadata": {}, "weight_map": {name: file for file, some in parts.items() for name in some}}
    (published / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    out = published.parent / "out"
    assert convert.convert(published, out) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    read = ChineseCLIPModel.from_pretrained(out, use_safetensors=True)
    assert all(torch.equal(value, state[name]) for name, value in read.state_dict().items())


class Bomb:
    def __reduce__(self):
        return (open, ("bomb-went-off", "w"))


def test_a_pickle_with_code_is_refused_and_nothing_of_it_is_run(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2), "bomb": Bomb()}, published / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read safely"):
        convert.convert(published, tmp_path / "out")
    (published / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="cannot be read safely"):
        convert.convert(published, tmp_path / "out")
    torch.save([torch.ones(2)], published / "pytorch_model.bin")
    with pytest.raises(UserError, match="other things than tensors"):
        convert.convert(published, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "bomb-went-off").exists()


def test_tied_weights_are_written_each_with_memory_of_its_own(published, tmp_path):
    one = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": one, "b": one, "turned": one.T}, published / "pytorch_model.bin")
    convert.convert(published, tmp_path / "out")
    read = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(read["a"], read["b"]) and torch.equal(read["turned"], one.T)


def test_where_there_is_nothing_to_convert_it_says_so(published, tmp_path):
    (published / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=r"no pytorch_model\.bin"):
        convert.convert(published, tmp_path / "out")
    (published / "model.safetensors").touch()
    with pytest.raises(UserError, match="safetensors already"):
        convert.convert(published, tmp_path / "out")
