"""Hashes over values: blind to bytes, paths, times and machines, and to nothing else."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from safetensors.numpy import save_file

from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.verify.values import LEFT_OUT, UNREAD, of_file, of_json, of_output

DEMO = Path(__file__).parents[2] / "reference" / "demo"


def test_weights_are_hashed_as_tensors_and_not_as_bytes(tmp_path):
    tensors = {"b": np.arange(6, dtype="f4").reshape(2, 3), "a": np.ones(2, dtype="i8")}
    path, other = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    save_file(tensors, path, {"format": "pt", "written": "monday"})
    save_file(dict(reversed(tensors.items())), other, {"host": "another machine"})
    assert path.read_bytes() != other.read_bytes() and of_file(path) == of_file(other)
    bits = tensors["b"].copy()
    bits[0, 0] = np.nextafter(bits[0, 0], 1)  # one bit of one weight
    for change in (
        {"b": bits}, {"b": tensors["b"].T.copy()}, {"b": tensors["b"].astype("f8")}, {"b": -tensors["b"]},
    ):  # fmt: skip
        save_file(tensors | change, other)
        assert of_file(path) != of_file(other)
    save_file({"c": tensors["b"], "a": tensors["a"]}, other)
    assert of_file(path) != of_file(other)


def test_a_tensor_of_half_precision_needs_no_library_that_knows_it(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save

    save({"x": torch.ones(3, dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    save({"x": torch.ones(3, dtype=torch.float16)}, tmp_path / "y.safetensors")
    assert of_file(tmp_path / "x.safetensors") != of_file(tmp_path / "y.safetensors")


def test_pictures_are_hashed_as_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 6, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png", compress_level=1)
    Image.fromarray(pixels).save(tmp_path / "b.png", compress_level=9, dpi=(72, 72))
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert of_file(tmp_path / "a.png") == of_file(tmp_path / "b.png")
    pixels[3, 3, 1] ^= 1
    Image.fromarray(pixels).save(tmp_path / "c.png")
    assert of_file(tmp_path / "a.png") != of_file(tmp_path / "c.png")
    Image.fromarray(pixels.transpose(1, 0, 2).copy()).save(tmp_path / "d.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "e.jpg", quality=90)
    assert len({of_file(tmp_path / name) for name in ("a.png", "c.png", "d.png", "e.jpg")}) == 4


def test_tables_are_hashed_by_their_cells(tmp_path):
    table = pl.DataFrame({"kind": ["ok", None, ""], "row": [1, 2, 3], "detail": ["", "port 4711", ""]})
    table.write_parquet(tmp_path / "a.parquet", compression="zstd")
    table.with_columns(detail=pl.lit("port 1")).write_parquet(tmp_path / "b.parquet", compression="uncompressed")
    assert of_file(tmp_path / "a.parquet") == of_file(tmp_path / "b.parquet")
    for change in (
        table.with_columns(pl.col("kind").fill_null("")), table.reverse(), table.rename({"row": "line"}),
        table.with_columns(pl.col("row").cast(pl.Int32)),
    ):  # fmt: skip
        change.write_parquet(tmp_path / "c.parquet")
        assert of_file(tmp_path / "a.parquet") != of_file(tmp_path / "c.parquet")


def leaves(value, place=()):
    """The places of a JSON value's leaves; of a list the first and the last item."""
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in leaves(part, (*place, key))]
    if isinstance(value, list) and value:
        return [leaf for i in sorted({0, len(value) - 1}) for leaf in leaves(value[i], (*place, i))]
    return [place]


def changed(value, place):
    """`value` with another leaf at `place`."""
    found = copy.deepcopy(value)
    part = found
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = ["another"]
    return found


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("scores/attn2/0.json", {"provenance", "hashes"}),
        ("scores/relations/attn2/1.json", {"provenance", "hashes"}),
        ("scores/ceilings/vae.json", {"provenance", "hashes"}),
        ("scores/data.json", {"provenance", "hashes"}),
        ("plans/planner.json", {"provenance", "hashes"}),
        ("curves/attn2/0/curve.json", set()),
        ("adapters/attn2/0/losses.json", set()),
    ],
)
def test_of_a_runs_files_every_value_counts_but_those_that_are_left_out(finished, name, left_out):
    """Each leaf, changed one by one."""
    value = files.read_json(finished / name)
    only_those_are_left_out(value | {"hashes": {"samples": "abc"}} if left_out else value, left_out)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("memory.json", {"provenance", "hashes", "seconds", "peak_rss_bytes"}),
        ("protocols.json", {"provenance", "hashes"}),
    ],
)
def test_of_a_kept_runs_files_too(name, left_out):
    only_those_are_left_out(files.read_json(DEMO / name), left_out)


def only_those_are_left_out(value, left_out):
    places = leaves(value)
    blind = [place for place in places if of_json(changed(value, place)) == of_json(value)]
    assert {next(key for key in place if key in LEFT_OUT) for place in blind} == left_out
    counting = [place for place in places if place not in blind]
    assert len(counting) > 1 and not any(key in LEFT_OUT for place in counting for key in place)


def test_what_is_left_out_is_this_and_no_more():
    assert set(LEFT_OUT) == {
        "provenance", "hashes", "sha256", "made_from", "seconds", "peak_rss_bytes", "image_path", "name_or_path",
        "_name_or_path", "is_local", "local_files_only", "transformers_version", "_diffusers_version", "detail",
    }  # fmt: skip
    assert set(UNREAD) == {"tensorboard", "bars.json", "README.md"}
    assert all(reason for reason in [*LEFT_OUT.values(), *UNREAD.values()])


def test_json_is_hashed_by_value(tmp_path):
    (tmp_path / "a.json").write_text('{"b": 1.5, "a": ["猫"]}')
    (tmp_path / "b.json").write_text('{\n "a": ["\\u732b"],\n "b": 1.50}')
    assert of_file(tmp_path / "a.json") == of_file(tmp_path / "b.json")
    files.write_jsonl(tmp_path / "a.jsonl", [{"image_path": "results/demo/1.jpg", "caption": "猫"}, {"caption": "树"}])
    files.write_jsonl(tmp_path / "b.jsonl", [{"image_path": "elsewhere/1.jpg", "caption": "猫"}, {"caption": "树"}])
    files.write_jsonl(tmp_path / "c.jsonl", [{"caption": "树"}, {"caption": "猫"}])
    assert of_file(tmp_path / "a.jsonl") == of_file(tmp_path / "b.jsonl") != of_file(tmp_path / "c.jsonl")


def test_a_folder_is_hashed_by_its_files_wherever_it_lies(tmp_path):
    folder = tmp_path / "here/models/base"
    (folder / "unet").mkdir(parents=True)
    save_file({"x": np.ones(2)}, folder / "unet/model.safetensors")
    files.write_json(folder / "config.json", {"_name_or_path": str(folder), "width": 3})
    before = of_output(tmp_path / "here", ["models/base"])
    shutil.copytree(tmp_path / "here", tmp_path / "there, in a container")
    there = tmp_path / "there, in a container"
    files.write_json(there / "models/base/config.json", {"_name_or_path": "/elsewhere", "width": 3})
    (there / "models/base/tensorboard/run").mkdir(parents=True)
    (there / "models/base/tensorboard/run/events.out.tfevents.1").write_bytes(b"12:34")
    (there / "models/base/.part").write_bytes(b"")
    assert of_output(there, ["models/base"]) == before
    (there / "models/base/unet").rename(there / "models/base/net")
    assert of_output(there, ["models/base"]) != before


def test_what_has_no_reader_or_is_not_there_is_told(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"\.bin file"):
        of_file(tmp_path / "weights.bin")
    with pytest.raises(UserError, match="no such output"):
        of_output(tmp_path, ["models/base"])


def test_lists_of_parts_are_told_apart():
    assert of_json(["ab", "c"]) != of_json(["a", "bc"])
    assert json.loads("1.0") == 1 and of_json(1.0) != of_json(1)  # a float is no count


def test_a_table_of_names_is_hashed_by_its_text(tmp_path):
    for name, text in (("a", "猫\tcat\n"), ("b", "猫\tcat\n"), ("c", "猫\tdog\n")):
        (tmp_path / f"{name}.tsv").write_text(text, encoding="utf-8")
    a, b, c = (of_file(tmp_path / f"{name}.tsv") for name in "abc")
    assert a == b != c


def test_an_array_counts_by_type_shape_and_bytes(tmp_path):
    def hash_of(array):
        np.save(tmp_path / "array.npy", array)
        return of_file(tmp_path / "array.npy")

    plain = hash_of(np.arange(6.0))
    assert hash_of(np.arange(6.0)) == plain
    others = (np.arange(6.0).reshape(2, 3), np.arange(6.0, dtype=np.float32), np.arange(6.0) + 1e-12)
    assert len({plain, *map(hash_of, others)}) == 4
