"""Bases as people have them: either class, fp16 files alone; and folders that are refused with what to do."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import KolorsPipeline, StableDiffusionXLPipeline

from gillnext.adapter import card, folders
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import NO_TEXT, GroundedKolorsPipeline, GroundedSDXLPipeline, load
from gillnext.layouts import Layout
from gillnext.miniatures import small_unet
from gillnext.miniatures.rehearsal import sdxl
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.sample import guidance

ROW = Layout("a tree", ("tree",), ((0.1, 0.2, 0.5, 0.9),))


@pytest.fixture(scope="module", params=["kolors", "sdxl"])
def bases(request, tmp_path_factory, tiny_base, tiny_sdxl):
    """The plain folder of a base, the same saved as a repository with fp16 files alone, and its grounded class."""
    kolors = request.param == "kolors"
    plain, kind = (tiny_base, KolorsPipeline) if kolors else (tiny_sdxl, StableDiffusionXLPipeline)
    half = tmp_path_factory.mktemp("half") / "base"
    kind.from_pretrained(plain, local_files_only=True).to(torch.float16).save_pretrained(half, variant="fp16")
    return plain, half, GroundedKolorsPipeline if kolors else GroundedSDXLPipeline


def draw(pipeline):
    return pipeline.draw([ROW.caption], [ROW], steps=2)[0].astype(np.float32)


def test_a_base_with_fp16_files_alone_draws_what_the_plain_one_does(bases):
    plain, half, kind = bases
    names = {path.name.split(".", 1)[1] for path in half.rglob("*.safetensors")}
    assert names == {"fp16.safetensors"} and folders.variant(half) == "fp16" and folders.variant(plain) is None
    expected = load(plain)
    assert type(expected) is kind and expected.unet.dtype == torch.float32
    for dtype in (None, torch.float16):
        pipeline = load(half, dtype=dtype)
        assert type(pipeline) is kind
        models = (part for part in pipeline.components.values() if isinstance(part, torch.nn.Module))
        assert {part.dtype for part in models} == {dtype or torch.float32}
        found, rounded = pipeline.unet.state_dict(), expected.unet.state_dict()
        assert all(torch.equal(found[k].half(), rounded[k].half()) for k in rounded)
        assert np.abs(draw(pipeline) - draw(expected)).max() < 0.02  # of 1: half precision


def test_training_loads_either_without_its_text_side(bases):
    plain, _, kind = bases
    pipeline = load(plain, **NO_TEXT)
    assert type(pipeline) is kind and not any(getattr(pipeline, name, None) for name in NO_TEXT)
    pipeline.attach(SpatialAdapter.for_unet(pipeline.unet, width=16))


def test_an_autoencoder_that_overflows_in_fp16_decodes_in_float32(bases):
    vae = load(bases[0]).vae
    latents = 3 * torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    rounded = vae.half().float()
    expected = rounded.decode(latents.half().float() / vae.config.scaling_factor).sample
    half = vae.half()
    assert half.config.force_upcast
    found = guidance.decode(half, latents.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("unet", "text", "expected"),
    [
        (["m.safetensors"], ["m.safetensors"], None),
        (["m.fp16.safetensors", "m.safetensors"], ["m.safetensors"], None),
        (["m.fp16.safetensors"], ["m.fp16-00001-of-00002.safetensors", "m.fp16-00002-of-00002.safetensors"], "fp16"),
        (["m-00001-of-00002.fp16.safetensors"], ["m.safetensors"], "fp16"),
        (["m-00001-of-00002.safetensors"], ["m-00001-of-00002.safetensors"], None),
        (["m.bf16.safetensors", "m.fp16.safetensors"], ["m.fp16.safetensors"], "fp16"),
        (["m.fp16.safetensors"], ["m.bf16.safetensors"], "different variants"),
        (["m.bin"], ["m.safetensors"], "pickled weights alone"),
        (["m.bin", "m.safetensors"], ["m.safetensors"], None),
    ],
)
def test_the_variant_is_the_one_that_every_part_has(unet, text, expected, tmp_path):
    parts = {"unet": unet, "text_encoder": text}
    for part, names in parts.items():
        (tmp_path / part).mkdir()
        for name in names:
            (tmp_path / part / name).touch()
    index = {"_class_name": "KolorsPipeline", **{part: ["diffusers", "A"] for part in parts}, "tokenizer": [None, None]}
    files.write_json(tmp_path / "model_index.json", index)
    if expected in (None, "fp16"):
        assert folders.variant(tmp_path) == expected
        return
    with pytest.raises(UserError, match=expected):
        folders.variant(tmp_path)
    assert folders.variant(tmp_path, leave=("unet",)) in (None, "bf16")


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (None, "no model_index.json"),
        ({"_class_name": "StableDiffusionPipeline"}, "a base of class StableDiffusionPipeline"),
        ({"_class_name": "KolorsPipeline", "unet": ["evil", "Model"]}, "unet is of library 'evil'"),
    ],
)
def test_what_is_no_base_is_refused(index, reason, tmp_path):
    if index:
        files.write_json(tmp_path / "model_index.json", index)
    with pytest.raises(UserError, match=reason) as error:
        load(tmp_path)
    assert str(tmp_path) in str(error.value) and "remedy" in str(error.value)


@pytest.fixture
def trained(tiny, tiny_pipeline, awake, tmp_path):
    """An adapter's folder with its record and card."""
    folder = tmp_path / "trained"
    torch.manual_seed(0)
    adapter = awake(SpatialAdapter.for_unet(tiny_pipeline.unet, width=16).eval())
    adapter.save_pretrained(folder)
    record = {"arm": "attn2", "seed": 3, "steps": 6, "parameters": 12_345, "provenance": {"version": "0"}}
    files.write_json(folder / "training.json", record)
    card.write(folder, tiny.config, tiny.config.study.arms["attn2"], tiny.base, tiny_pipeline)
    return folder


def test_the_card_tells_base_settings_and_licence(trained, tiny, tiny_pipeline):
    text = (trained / "README.md").read_text()
    hashed = files.sha256(tiny.base)
    for told in (
        f"`{hashed}`",
        "`KolorsPipeline`, 64 × 64",
        "seed 3",
        "12,345",
        "attn2",
        "fourier",
        "6, 2 × 1",
        "Apache-2.0",
    ):
        assert told in text
    head = text.split("---")[1]
    assert "library_name: diffusers" in head and "license: apache-2.0" in head
    base = json.loads((trained / "training.json").read_text())["provenance"]["base"]
    width = tiny_pipeline.unet.config.cross_attention_dim
    assert base == {"class": "KolorsPipeline", "sha256": hashed, "cross_attention_dim": width, "sample_size": 16}


def test_the_cards_lines_for_diffusers_draw_what_load_does(trained, tiny):
    expected, pipe = draw(load(tiny.base, trained)), KolorsPipeline.from_pretrained(tiny.base, local_files_only=True)
    pipe = GroundedKolorsPipeline.from_pipe(pipe, adapter=SpatialAdapter.from_pretrained(trained))
    np.testing.assert_allclose(draw(pipe), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("---\nlicense: mit\nlimitation: draws\n  squares alone\n---\n# A base\n", "draws squares alone"),
        ("---\nlicense: mit\n---\nlimitation: in the text\n---\n", ""),
        ("---\nlimitation: [no, text]\n---\n", ""),
        ("---\nlimitation: {\n---\n", ""),
        ("---\nlimitation: never closed\n", ""),
        ("# A base\n---\nlimitation: not at the top\n---\n", ""),
        (None, ""),
    ],
)
def test_what_a_base_cannot_do_is_what_the_head_of_its_card_says(text, said, tmp_path):
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert card.limitation(tmp_path) == said


def test_the_record_has_what_the_bases_card_says(tiny, tiny_pipeline, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(tiny.base, base)
    files.write_text(base / "README.md", sdxl.CARD.format(base="x"))
    assert "do not follow captions" in card.of_base(base, tiny_pipeline.unet)["limitation"]


def test_an_adapter_of_another_class_of_base_is_refused(trained, tiny, tiny_sdxl):
    with pytest.raises(UserError, match=r"trained on a KolorsPipeline; .* is a StableDiffusionXLPipeline"):
        folders.check_adapter(trained, tiny_sdxl)
    with pytest.raises(UserError, match="trained on a KolorsPipeline"):
        load(tiny_sdxl, trained)


def test_an_adapter_of_other_widths_is_refused_by_the_block(tiny, tmp_path):
    wide = SpatialAdapter.for_unet(small_unet.build_unet((32, 64, 64)), width=16)
    wide.save_pretrained(tmp_path / "wide")
    with pytest.raises(UserError, match=r"block .*attentions.* this UNet has 32") as error:
        load(tiny.base, tmp_path / "wide")
    assert "the base that this adapter was trained on" in str(error.value)


def test_an_adapter_of_another_cross_attention_is_refused(tiny_pipeline, tmp_path):
    width = tiny_pipeline.unet.config.cross_attention_dim
    blocks = SpatialAdapter.for_unet(tiny_pipeline.unet).config.blocks
    with pytest.raises(UserError, match=f"phrases of width {2 * width}; this UNet's cross-attention has {width}"):
        tiny_pipeline.attach(SpatialAdapter(blocks=blocks, phrase_dim=2 * width))
    assert tiny_pipeline.adapter is None


def test_a_folder_without_an_adapter_is_refused(trained, tiny):
    shutil.move(trained / "config.json", trained / "other.json")
    with pytest.raises(UserError, match="no adapter there"):
        load(tiny.base, trained)
