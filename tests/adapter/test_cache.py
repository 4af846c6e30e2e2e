"""The cache: what the base sees in sampling, parts, sizes, resuming, precision, draws, refusals."""

import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from gillnext import cli, layouts
from gillnext.adapter import buckets, cache, cache_shards, encode, objective
from gillnext.adapter.cache import Cache
from gillnext.adapter.cache_shards import Mapped, Rows
from gillnext.adapter.cache_writer import Writer
from gillnext.adapter.encoder import Encoder
from gillnext.adapter.pipeline import GroundedKolorsPipeline, GroundedSDXLPipeline
from gillnext.diffusion import latents
from gillnext.diffusion.objective import training_scheduler
from gillnext.layouts import Layout
from gillnext.miniatures import small_unet
from gillnext.runtime.errors import UserError
from gillnext.verify.values import of_output


def settings(config, **changes):
    return dataclasses.replace(
        config,
        cache=dataclasses.replace(config.cache, **{k: v for k, v in changes.items() if k != "slots"}),
        adapter=dataclasses.replace(config.adapter, **{k: v for k, v in changes.items() if k == "slots"}),
    )


@pytest.fixture
def three_a_shard(monkeypatch):
    monkeypatch.setattr(cache_shards, "ROWS", 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nine layouts with pictures of three shapes, of noise; every caption another length, in letters."""
    folder, found = tmp_path_factory.mktemp("pictures"), []
    rng = np.random.default_rng(3)
    for i in range(9):
        size = [(64, 64), (90, 150), (200, 70)][i % 3]
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        boxes = ((0.3, 0.3, 0.7, 0.6), (0.0, 0.0, 1.0, 1.0))
        found.append(Layout("a" * (i + 1), ("tree", f"thing {i}"), boxes, id=str(i), image_path=str(path)))
    return found


def seen_by_the_unet(pipeline, caption):
    """States, pooled states and size conditions that the pipeline's own call gives its UNet without guidance."""
    found = {}

    def remember(_, args, given):
        found.update(given["added_cond_kwargs"], states=given["encoder_hidden_states"])

    hook = pipeline.unet.register_forward_pre_hook(remember, with_kwargs=True)
    pipeline.draw([caption], [Layout(caption, (), ())], steps=1, guidance=1.0, output_type="latent")
    hook.remove()
    return found


@pytest.mark.parametrize("kind", [GroundedKolorsPipeline, GroundedSDXLPipeline])
def test_training_sees_the_text_states_and_conditions_of_sampling(kind, tiny_base, tiny_sdxl, tiny, tmp_path, pictures):
    base = tiny_base if kind is GroundedKolorsPipeline else tiny_sdxl
    rows = tiny.layouts if kind is GroundedKolorsPipeline else pictures
    encode.build(tiny.config, base, rows, tmp_path / "cache")
    read, pipeline = Cache.load(tmp_path / "cache"), kind.from_folders(base)
    found = read.read(range(len(rows)))
    for i, row in enumerate(rows):
        expected = seen_by_the_unet(pipeline, row.caption)
        torch.testing.assert_close(found.states[i : i + 1], expected["states"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.pooled[i : i + 1], expected["text_embeds"], atol=1e-5, rtol=1e-5)
        assert found.time_ids[i].tolist() == expected["time_ids"][0].tolist() == [64, 64, 0, 0, 64, 64]
    if kind is GroundedKolorsPipeline:  # of SDXL's, which may be zeros: test_sdxl_base.py
        empty = seen_by_the_unet(pipeline, "")
        torch.testing.assert_close(read.empty_states[None], empty["states"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(read.empty_pooled[None], empty["text_embeds"], atol=1e-5, rtol=1e-5)
    pipeline.table, width = None, pipeline.unet.config.cross_attention_dim
    assert found.phrases.shape == (len(rows), 6, width) and found.phrases[found.real].any(-1).all()


def test_states_are_cut_to_the_captions_tokens(tiny, tiny_pipeline):
    """Of ChatGLM's padding one state is kept: the tokenizer says how many tokens a caption has."""
    stored = load_file(tiny.cache / "00000.safetensors")
    tokens = [len(tiny_pipeline.tokenizer.encode(row.caption)) for row in tiny.layouts]
    assert (stored["starts"].diff() == torch.tensor(tokens) + 1).all()
    assert (stored["starts"].diff() + stored["repeated"] == Cache.load(tiny.cache).tokens).all()


def test_what_repeats_at_the_front_is_kept_once_and_read_back():
    states = torch.randn(5, 7, 3)
    states[0, :4], states[1, :7], states[3, 2:4] = states[0, 3].clone(), 1.0, 2.0
    kept, left, repeated = cache_shards.cut(states)
    assert left.tolist() == [4, 1, 7, 7, 7] and repeated.tolist() == [3, 6, 0, 0, 0] and len(kept) == 26


def noise(count, tokens=5, side=4):
    return Rows(
        torch.randn(count, 4, side, side), torch.randn(count, tokens, 8), torch.randn(count, 6), torch.ones(count, 6),
        torch.rand(count, 2, 4), torch.ones(count, 2, dtype=torch.bool), torch.zeros(0),
    )  # fmt: skip


def write(folder, shards, precision="float32", base=None):
    """A cache of the shards [(rows, names, bucket)], its base a KolorsPipeline of width 8."""
    writer = Writer(folder.with_suffix(".work"), "", precision, lambda name: torch.full((8,), float(len(name))))
    for rows, names, bucket in shards:
        writer.add([rows], names, [str(i) for i in range(len(names))], "", bucket, 2)
    about = {"pipeline": "KolorsPipeline", "side": 32, "channels": 4, "cross_attention": 8, "sha256": "a"}
    writer.finish(folder, {"base": about | (base or {}), "slots": 2}, torch.randn(5, 8), torch.randn(6))
    return Cache.load(folder)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_rows_come_back_as_they_were_stored(precision, tmp_path):
    made = [noise(4), noise(3)]
    made[0].states[1, :3] = made[0].states[1, 2].clone()
    names = [["a", "bb"], ["a"], ["ccc", "a"], ["bb"]], [["a"], ["dddd", "ccc"], ["dddd"]]
    read = write(tmp_path / "cache", [(made[0], names[0], (4, 4)), (made[1], names[1], (4, 4))], precision)
    assert len(read) == 7
    order = [6, 0, 3, 1, 4, 1]
    found = read.read(order)
    for name in ("latents", "states", "pooled"):
        expected = torch.cat([getattr(rows, name) for rows in made])[order]
        assert torch.equal(getattr(found, name), expected.to(getattr(torch, precision)).float())
    for name in ("boxes", "time_ids"):
        assert torch.equal(getattr(found, name), torch.cat([getattr(rows, name) for rows in made])[order])
    lengths = [[len(name) for name in row] for rows in names for row in rows]
    expected = torch.tensor([lengths[i] + [0] * (2 - len(lengths[i])) for i in order])
    assert torch.equal(found.real, expected > 0) and torch.equal(found.phrases[..., 0].int(), expected.int())
    assert len(Mapped(tmp_path / "cache" / "phrases.safetensors")["phrases"]) == 4  # one for each distinct name


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path):
    rows = noise(1)
    rows.states[0, 0, 0] = 1e5
    with pytest.raises(UserError, match=r"text states overflow"):
        write(tmp_path / "cache", [(rows, [["a"]], (4, 4))], "float16")


def test_batches_are_of_one_bucket_each_as_often_as_it_has_rows(tmp_path):
    shards = [(noise(6, side=4), [["a"]] * 6, (4, 4)), (noise(2, side=8), [["a"]] * 2, (8, 8))]
    shards.append((noise(4, side=4), [["a"]] * 4, (4, 4)))
    read, generator = write(tmp_path / "cache", shards), torch.Generator().manual_seed(0)
    picks = [read.pick(3, generator).tolist() for _ in range(1200)]
    small = [pick for pick in picks if set(pick) <= {6, 7}]
    assert all(set(pick) <= {6, 7} or not set(pick) & {6, 7} for pick in picks)
    assert len(small) / 1200 == pytest.approx(2 / 12, abs=0.04)
    counts = np.bincount(np.concatenate([pick for pick in picks if not set(pick) & {6, 7}]), minlength=12)
    assert counts[[6, 7]].sum() == 0 and counts[[*range(6), *range(8, 12)]].min() > 0.8 * counts.sum() / 10
    assert len({*read.pick(10, generator, distinct=True).tolist()} - {6, 7}) == 10
    with pytest.raises(UserError, match="11 distinct rows out of 10"):
        read.pick(11, generator, distinct=True)


def test_rows_of_one_bucket_are_drawn_as_from_a_list(tiny):
    """The demo's draws: one `randint` over all rows."""
    read = Cache.load(tiny.cache)
    drawn = read.pick(50, torch.Generator().manual_seed(5))
    assert torch.equal(drawn, torch.randint(len(read), (50,), generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize("joint", [False, True])
def test_a_share_is_the_part_of_the_whole_batch(joint, tiny):
    read, scheduler = Cache.load(tiny.cache), training_scheduler(small_unet.SCHEDULE)
    whole = objective.draw(read, scheduler, 6, 0.5, (1, 2), joint)
    for i in range(3):
        share = objective.draw(read, scheduler, 6, 0.5, (1, 2), joint, (i, 3))
        assert all(torch.equal(getattr(share, k), getattr(whole.part(i, 3), k)) for k in vars(whole))


def test_folders_and_copies_in_other_processes_read_alike(tiny, tmp_path, three_a_shard):
    for name, rows in (("a", tiny.layouts[:5]), ("b", tiny.layouts[5:])):
        encode.build(tiny.config, tiny.base, rows, tmp_path / name)
    parts, whole = Cache.load(tmp_path / "a", tmp_path / "b"), Cache.load(tiny.cache)
    names = (0, 1, 2)
    drawn = [objective.draw(one, training_scheduler(small_unet.SCHEDULE), 8, 0.5, names)
             for one in (whole, parts, pickle.loads(pickle.dumps(parts)))]  # fmt: skip
    for other in drawn[1:]:
        assert all(torch.equal(getattr(drawn[0], k), getattr(other, k)) for k in vars(drawn[0]))
    assert cache.captions(tmp_path / "a", tmp_path / "b") == [row.caption for row in tiny.layouts]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_a_killed_stage_goes_on_to_the_same_bytes(tiny, tmp_path, three_a_shard, monkeypatch):
    encode.build(tiny.config, tiny.base, tiny.layouts, tmp_path / "whole")
    encoded, original = [], Encoder.captions

    def dies(self, texts):
        encoded.append(list(texts))
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return original(self, texts)

    monkeypatch.setattr(Encoder, "captions", dies)
    with pytest.raises(KeyboardInterrupt):
        encode.build(tiny.config, tiny.base, tiny.layouts, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    encode.build(tiny.config, tiny.base, tiny.layouts, tmp_path / "cache")
    assert encoded[2:] == [[row.caption for row in tiny.layouts[i : i + 3]] for i in (3, 6)] + [[""]]
    assert contents(tmp_path / "cache") == contents(tmp_path / "whole")
    assert not (tmp_path / "cache.work").exists()


def test_a_cache_of_the_same_pictures_elsewhere_has_the_same_values(tiny, tmp_path):
    moved = [dataclasses.replace(row, image_path=str(tmp_path / Path(row.image_path).name)) for row in tiny.layouts]
    for row, other in zip(tiny.layouts, moved, strict=True):
        shutil.copyfile(row.image_path, other.image_path)
    for name, rows in (("here", tiny.layouts), ("there", moved), ("fewer", moved[:-1])):
        encode.build(tiny.config, tiny.base, rows, tmp_path / name / "cache")
    here, there, fewer = (of_output(tmp_path / name, ["cache"]) for name in ("here", "there", "fewer"))
    assert here == there != fewer


@pytest.mark.parametrize("fewer", [False, True])
def test_rows_that_have_changed_meanwhile_are_encoded_anew(fewer, tiny, tmp_path, three_a_shard, monkeypatch):
    renamed = dataclasses.replace(tiny.layouts[4], names=("别的",) * len(tiny.layouts[4].names))
    changed = tiny.layouts[:3] if fewer else [*tiny.layouts[:4], renamed, *tiny.layouts[5:6]]
    encode.build(tiny.config, tiny.base, changed, tmp_path / "expected")
    monkeypatch.setattr(Writer, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        encode.build(tiny.config, tiny.base, tiny.layouts, tmp_path / "cache")
    assert len(list((tmp_path / "cache.work").glob("*.safetensors"))) == 3
    (tmp_path / "cache.work" / ".00003.json.unfinished").mkdir()  # as a kill leaves it
    monkeypatch.undo()
    monkeypatch.setattr(cache_shards, "ROWS", 3)
    encode.build(tiny.config, tiny.base, changed, tmp_path / "cache")
    assert contents(tmp_path / "cache") == contents(tmp_path / "expected")


def test_pictures_of_any_shape_get_buckets_crops_boxes_and_conditions(
    tiny, tiny_sdxl, pictures, tmp_path, three_a_shard
):
    encode.build(settings(tiny.config, buckets="aspect"), tiny_sdxl, pictures, tmp_path / "cache")
    read, pipeline = Cache.load(tmp_path / "cache"), GroundedSDXLPipeline.from_folders(tiny_sdxl)
    assert list(read.buckets) == [(64, 64), (48, 80), (128, 32)]
    among, place = buckets.sizes(64, 16), {caption: i for i, caption in enumerate(cache.captions(tmp_path / "cache"))}
    for row in pictures:
        frame, i = buckets.frame(encode.size_of(row), among), place[row.caption]
        found = read.read([i])
        expected = latents.encode(pipeline.vae, np.stack([frame.pixels(Image.open(row.image_path))]))
        torch.testing.assert_close(found.latents, expected, atol=1e-4, rtol=1e-4)
        assert found.latents.shape[2:] == (frame.target[0] // 4, frame.target[1] // 4)
        assert found.time_ids[0].tolist() == frame.conditions
        kept = [frame.box(box)[0] for box in row.boxes if frame.box(box)[1] >= 0.5]
        torch.testing.assert_close(found.boxes[0, : len(kept)], torch.tensor(kept))
        assert found.real.sum() == len(kept)
    with pytest.raises(ValueError, match="of one bucket"):
        read.read(range(len(read)))
    counts = json.loads((tmp_path / "cache" / "cache.json").read_text())["counts"]
    assert counts["used"] == 9 and counts["boxes"] == 18


def test_a_step_trains_on_a_bucket_that_is_no_square(tiny, tiny_sdxl, pictures, tmp_path, awake):
    from gillnext.adapter.model import SpatialAdapter

    encode.build(settings(tiny.config, buckets="aspect"), tiny_sdxl, pictures[1::3], tmp_path / "cache")
    unet = GroundedSDXLPipeline.from_folders(tiny_sdxl).unet.requires_grad_(False)
    adapter = awake(SpatialAdapter.for_unet(unet, width=16))
    adapter.inject(unet)
    batch = objective.draw(Cache.load(tmp_path / "cache"), training_scheduler(small_unet.SCHEDULE), 2, 0.0, (0,))
    objective.Denoiser(adapter, unet)(batch).backward()
    assert batch.noisy.shape == (2, 4, 12, 20) and all(p.grad.isfinite().all() for p in adapter.parameters())


def test_more_boxes_than_slots_keep_the_largest_and_are_counted(tiny, tmp_path, capsys):
    boxes = tuple((0.0, 0.0, 0.1 * (i + 1), 0.5) for i in range(7))
    rows = [dataclasses.replace(tiny.layouts[0], names=("树",) * 7, boxes=boxes), tiny.layouts[1]]
    layouts.write(tmp_path / "rows.jsonl", [*rows, dataclasses.replace(rows[0], names=(), boxes=())])
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(dataclasses.asdict(settings(tiny.config, slots=3))))
    arguments = ["--base", tiny.base, "--layouts", tmp_path / "rows.jsonl", "--out", tmp_path / "cache"]
    assert cli.main([str(argument) for argument in ["cache", "--config", path, *arguments]]) in (0, None)
    assert "2 of 3 layouts encoded; 1 had more boxes than slots" in capsys.readouterr().out
    found = Cache.load(tmp_path / "cache").read([0])
    assert found.boxes.shape == (1, 3, 4) and found.real.all()
    torch.testing.assert_close(found.boxes[0, :, 2], torch.tensor([0.5, 0.6, 0.7]))
    counts = json.loads((tmp_path / "cache" / "cache.json").read_text())["counts"]
    assert (counts["boxes_beyond_slots"], counts["layouts_beyond_slots"], counts["without_boxes"]) == (4, 1, 1)


def test_a_unet_or_a_part_of_another_base_is_refused(tiny, tiny_pipeline, tmp_path):
    one = write(tmp_path / "one", [(noise(1), [["a"]], (4, 4))])
    with pytest.raises(UserError, match=r"KolorsPipeline of cross-attention width 8; the UNet has \d+") as error:
        one.check(tiny_pipeline.unet.config)
    assert "one" in str(error.value) and "cache stage" in str(error.value)
    Cache.load(tiny.cache).check(tiny_pipeline.unet.config)
    write(tmp_path / "other", [(noise(1), [["a"]], (4, 4))], base={"sha256": "b"})
    with pytest.raises(UserError, match=r"other.*base is"):
        Cache.load(tmp_path / "one", tmp_path / "other")
    with pytest.raises(UserError, match="no cache"):
        Cache.load(tmp_path)


def test_a_damaged_shard_is_named(tiny, tmp_path):
    one = write(tmp_path / "one", [(noise(1), [["a"]], (4, 4))])
    path = tmp_path / "one" / "00000.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"00000\.safetensors.*cannot be read"):
        one.read([0])


def test_a_base_of_another_class_is_refused(tiny, tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(UserError, match="a base of class FluxPipeline"):
        encode.build(tiny.config, tmp_path, tiny.layouts, tmp_path / "cache")


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def test_rows_are_read_from_the_mapped_file_and_not_into_memory(tmp_path):
    """64 MiB of latents; reading eight rows costs less than a tenth of it, and no descriptor."""
    read = write(tmp_path / "cache", [(noise(256, side=128), [["a"]] * 256, (4, 4))])
    before, open_files = anonymous(), len(list(Path("/proc/self/fd").iterdir()))
    rows = [read.read([i]) for i in range(0, 256, 32)]
    assert rows[0].latents.shape == (1, 4, 128, 128)
    assert anonymous() - before < 6
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
