"""The grounded pipelines as diffusers' users treat them: whatever is switched, boxes are felt or an error says why not.

What needs a GPU is taken with its nearest thing on a CPU: accelerate's own offloading hooks between "cpu" and "cpu:0"
(sequential ones keep the weights on the meta device), torch.compile's tracing without its code generator.
"""

import copy
import importlib.util

import accelerate
import pytest
import torch
from diffusers import KolorsPipeline
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch.nn.attention import SDPBackend, sdpa_kernel

from gillnext.adapter import injection, phrases
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.pipeline import GroundedKolorsPipeline, load
from gillnext.layouts import Layout
from gillnext.miniatures import small_unet
from gillnext.runtime.errors import UserError

BOXES = (((0.1, 0.1, 0.5, 0.6), (0.5, 0.4, 0.9, 0.9)), ((0.2, 0.5, 0.7, 0.95),))
CHINESE = [Layout("一棵树和一辆车", ("树", "车"), BOXES[0]), Layout("一只猫", ("猫",), BOXES[1])]
ENGLISH = [Layout("a tree and a car", ("tree", "car"), BOXES[0]), Layout("a cat", ("cat",), BOXES[1])]
SAME, FELT = 2e-3, 0.02  # of what the boxes move at most: rounding stays below the first, other boxes above the second


class Drawn:
    """A grounded pipeline with a lively adapter, and what it draws with and without boxes before any switch."""

    def __init__(self, base, rows, site, awake):
        self.base, self.rows, self.pipeline = base, rows, load(base)
        torch.manual_seed(0)
        self.adapter = awake(SpatialAdapter.for_unet(self.pipeline.unet, width=16, site=site).eval())
        self.plain = self.draw(boxes=False)
        self.pipeline.attach(self.adapter)
        self.expected = self.draw()
        self.reach = (self.expected - self.plain).abs().max()

    def draw(self, pipeline=None, rows=None, boxes=True):
        rows = rows or (self.rows if boxes else [Layout(row.caption, (), ()) for row in self.rows])
        latents, _ = (pipeline or self.pipeline).draw([r.caption for r in rows], rows, steps=2, output_type="latent")
        return latents.float()

    def differ(self, one, other):
        """How far two drawings lie apart, in units of what the boxes have moved."""
        return float((one - other).abs().max() / self.reach)

    def check(self, pipeline=None, same=SAME):
        assert self.differ(self.draw(pipeline), self.expected) < same
        moved = [Layout(r.caption, r.names, tuple((y1, x1, y2, x2) for x1, y1, x2, y2 in r.boxes)) for r in self.rows]
        assert self.differ(self.draw(pipeline, moved), self.expected) > FELT


@pytest.fixture(scope="module")
def every(tiny_base, tiny_sdxl, awake):
    """Kolors with grounded self-attention, with GLIGEN's blocks; SDXL with grounded cross-attention."""
    torch.set_num_threads(1)
    kinds = {
        "kolors attn1": (tiny_base, CHINESE, "attn1"),
        "kolors gated": (tiny_base, CHINESE, "gated"),
        "sdxl attn2": (tiny_sdxl, ENGLISH, "attn2"),
    }
    return {name: Drawn(*kind, awake) for name, kind in kinds.items()}


@pytest.fixture(params=["kolors attn1", "kolors gated", "sdxl attn2"])
def drawn(request, every):
    """One of them, a copy of its own."""
    return copy.deepcopy(every[request.param])


@pytest.fixture
def kolors(every):
    return copy.deepcopy(every["kolors attn1"])


SWITCHES = {
    "sliced attention": lambda p: p.enable_attention_slicing(1),
    "sliced by the UNet": lambda p: p.unet.set_attention_slice("max"),
    "fused projections": lambda p: p.fuse_qkv_projections(vae=False),
    "another processor": lambda p: p.unet.set_attn_processor(AttnProcessor()),
    "one layer's processor": lambda p: next(iter(injection.attentions(p.unet).values())).set_processor(AttnProcessor()),
    "VAE slicing and tiling": lambda p: (p.vae.enable_slicing(), p.vae.enable_tiling()),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_boxes_are_felt_as_before_under_another_way_to_attend(switch, drawn):
    SWITCHES[switch](drawn.pipeline)
    drawn.check()


def test_no_processor_is_asked_for_what_it_does_not_know(drawn, caplog):
    """diffusers warns of keywords that a processor ignores: boxes are not among them."""
    from diffusers.utils import logging

    logging.enable_propagation()
    drawn.pipeline.enable_attention_slicing(1)
    drawn.draw()
    logging.disable_propagation()
    assert "will be ignored" not in caplog.text


BACK = {
    "slicing": lambda p: (p.enable_attention_slicing(1), p.draw(["a"], steps=1), p.disable_attention_slicing()),
    "fusing": lambda p: (p.fuse_qkv_projections(vae=False), p.unfuse_qkv_projections(vae=False)),
    "the default processor": lambda p: p.unet.set_attn_processor(AttnProcessor2_0()),
    "FreeU": lambda p: (p.enable_freeu(0.9, 0.2, 1.2, 1.4), p.disable_freeu()),
}


@pytest.mark.parametrize("switch", BACK)
def test_switching_back_gives_the_same_bits(switch, drawn):
    BACK[switch](drawn.pipeline)
    assert torch.equal(drawn.draw(), drawn.expected)


def test_freeu_works_with_boxes(drawn):
    """An untrained adapter's picture is the untouched pipeline's under the same FreeU."""
    untouched = load(drawn.base)
    for pipeline in (untouched, drawn.pipeline):
        pipeline.enable_freeu(0.9, 0.2, 1.2, 1.4)
    plain, here = drawn.draw(untouched), drawn.draw()
    assert drawn.differ(plain, drawn.plain) > FELT and drawn.differ(here, plain) > FELT
    untouched.attach(SpatialAdapter.for_unet(untouched.unet, width=16, site=drawn.adapter.config.site))
    assert torch.equal(drawn.draw(untouched), plain)


def offload_layers(pipeline):
    """As `enable_sequential_cpu_offload`, but to "cpu": of weights at its "cpu:0" accelerate makes plain tensors."""
    for name, model in pipeline.components.items():
        if isinstance(model, torch.nn.Module) and name not in pipeline._exclude_from_cpu_offload:
            accelerate.cpu_offload(model, torch.device("cpu"), offload_buffers=bool(model._parameters))


def test_offloaded_models_draw_the_same(drawn):
    drawn.pipeline.enable_model_cpu_offload(device="cpu")
    assert torch.equal(drawn.draw(), drawn.expected)
    drawn.check()  # the hooks were put anew behind the call


def test_offloaded_layers_draw_the_same(drawn):
    offload_layers(drawn.pipeline)
    assert drawn.pipeline.unet.device.type == "meta" and drawn.pipeline.adapter.device.type == "cpu"
    assert torch.equal(drawn.draw(), drawn.expected)
    drawn.check()


def test_an_adapter_may_come_after_offloading(kolors):
    later = load(kolors.base)
    offload_layers(later)
    later.attach(kolors.adapter)
    assert torch.equal(kolors.draw(later), kolors.expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_another_type_takes_the_adapter_along(dtype, drawn):
    pipeline = drawn.pipeline.to(dtype)
    parameters = (p for model in (pipeline.unet, pipeline.adapter) for p in model.parameters())
    assert {p.dtype for p in parameters} == {dtype} == {pipeline.table([["a"]]).dtype}
    with sdpa_kernel(SDPBackend.MATH):  # of bf16, torch's kernel for AVX2 fails on a CPU that has AMX
        drawn.check(same=0.15)
    pipeline.to(torch.float32)
    drawn.check(same=0.15)  # from rounded weights


def test_the_unet_alone_may_have_another_type(drawn):
    for name in ("unet", "text_encoder", "text_encoder_2"):
        if part := getattr(drawn.pipeline, name, None):
            part.to(torch.bfloat16)
    assert drawn.adapter.dtype == torch.float32
    with sdpa_kernel(SDPBackend.MATH):
        if drawn.adapter.config.site != "gated":
            drawn.check(same=0.15)
            return
        with pytest.raises(RuntimeError, match="dtype"):  # its layers are diffusers' own and take what enters as it is
            drawn.draw()


def test_another_device_takes_adapter_and_phrases_along(drawn, monkeypatch):
    """The meta device stands in for a GPU: every tensor of the call has to be there, or torch refuses."""
    drawn.pipeline.to("meta")
    assert {p.device.type for p in drawn.pipeline.adapter.parameters()} == {"meta"}
    width = drawn.pipeline.unet.config.cross_attention_dim
    monkeypatch.setattr(phrases, "embed", lambda pipeline, names: torch.zeros(len(names), width, device="meta"))
    keywords = drawn.pipeline.grounding(drawn.rows, guided=True)  # embeddings of names on the CPU are forgotten
    tokens = keywords["gligen"]["objs"] if drawn.adapter.config.site == "gated" else keywords["grounding"].tokens_BND
    assert tokens.device.type == "meta"


def ip_adapter(unet, width=12):
    """Random IP-Adapter weights for `unet` as they are published: layers by their place, a projection to 4 tokens."""
    cross, state = unet.config.cross_attention_dim, {}
    for place, (name, attn) in enumerate(injection.attentions(unet).items()):
        if ".attn2" in name:
            for part in ("k", "v"):
                state[f"{place}.to_{part}_ip.weight"] = 0.2 * torch.randn(attn.inner_dim, cross)
    projection = {"proj.weight": torch.randn(4 * cross, width), "proj.bias": torch.zeros(4 * cross)}
    projection |= {"norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}
    return {"image_proj": projection, "ip_adapter": state}


@pytest.mark.parametrize("first", ["boxes", "picture"])
def test_an_ip_adapter_goes_with_boxes(first, drawn):
    pipeline = drawn.pipeline if first == "boxes" else load(drawn.base)
    torch.manual_seed(1)
    pipeline.load_ip_adapter(ip_adapter(pipeline.unet), None, None, image_encoder_folder=None)
    if first == "picture":
        pipeline.attach(drawn.adapter)
    pictures = [torch.randn(4, 1, 12)]

    def call(scale, rows):
        pipeline.set_ip_adapter_scale(scale)
        return pipeline(
            [row.caption for row in rows], negative_prompt=pipeline.negatives(2), layouts=rows, output_type="latent",
            latents=pipeline.noise([(0,), (1,)]), num_inference_steps=2, guidance_scale=3.0,
            ip_adapter_image_embeds=pictures,
        ).images  # fmt: skip

    assert drawn.differ(call(0.0, drawn.rows), drawn.expected) < SAME
    shown = call(1.0, drawn.rows)
    assert drawn.differ(shown, drawn.expected) > FELT  # the picture prompt is felt
    no_boxes = call(1.0, [Layout(row.caption, (), ()) for row in drawn.rows])
    assert drawn.differ(shown, no_boxes) > FELT  # and so are the boxes
    pipeline.unload_ip_adapter()
    drawn.check(pipeline)


@pytest.mark.parametrize("first", ["adapter", "compiler"])
def test_a_compiled_unet_draws_the_same(first, tiny_base, awake):
    """Two levels and one step, for tracing takes long."""
    torch.manual_seed(0)
    pipeline, rows = load(tiny_base, unet=small_unet.build_unet((32, 32)).eval()), CHINESE[:1]
    adapter = awake(SpatialAdapter.for_unet(pipeline.unet, width=16).eval())

    def draw(rows=rows):
        return pipeline.draw([CHINESE[0].caption], rows, steps=1, guidance=1.0, output_type="latent")[0]

    pipeline.attach(adapter)
    expected, plain = draw(), draw([Layout(CHINESE[0].caption, (), ())])
    if first == "compiler":
        pipeline.detach()
    pipeline.unet = torch.compile(pipeline.unet, backend="eager")
    if first == "compiler":
        pipeline.attach(adapter)
    assert (draw() - expected).abs().max() < SAME * (expected - plain).abs().max()


def test_the_whole_pipeline_is_saved_and_loaded_with_its_adapter(drawn, tmp_path):
    drawn.pipeline.save_pretrained(tmp_path / "whole")
    kind = type(drawn.pipeline)
    assert torch.equal(drawn.draw(load(tmp_path / "whole")), drawn.expected)
    drawn.check(kind.from_pretrained(tmp_path / "whole", local_files_only=True))
    drawn.pipeline.detach()
    drawn.pipeline.save_pretrained(tmp_path / "plain")
    assert torch.equal(drawn.draw(load(tmp_path / "plain"), boxes=False), drawn.plain)


def test_pipelines_are_made_of_one_another(kolors):
    shared = GroundedKolorsPipeline.from_pipe(kolors.pipeline)
    assert torch.equal(kolors.draw(shared), kolors.expected)
    plain = KolorsPipeline.from_pretrained(kolors.base, local_files_only=True)
    grounded = GroundedKolorsPipeline.from_pipe(plain, adapter=copy.deepcopy(kolors.adapter))
    kolors.check(grounded)
    back = KolorsPipeline.from_pipe(grounded)  # a plain one on the same UNet: boxes by keywords
    settings = {
        "prompt": [row.caption for row in kolors.rows], "negative_prompt": ["", ""], "num_inference_steps": 2,
        "guidance_scale": 3.0, "output_type": "latent", "latents": grounded.noise([(0,), (1,)]),
    }  # fmt: skip
    boxes = back(cross_attention_kwargs=grounded.grounding(kolors.rows, guided=True), **settings).images
    assert kolors.differ(boxes, back(**settings).images) > FELT


def test_a_copy_is_independent(kolors):
    other = copy.deepcopy(kolors.pipeline)
    for p in kolors.adapter.parameters():
        p.data.zero_()
    assert torch.equal(kolors.draw(other), kolors.expected)
    assert kolors.differ(kolors.draw(), kolors.expected) > FELT


def test_a_call_of_the_pipeline_itself_draws_boxes(drawn):
    pipeline, captions = drawn.pipeline, [row.caption for row in drawn.rows]
    settings = {
        "layouts": drawn.rows, "negative_prompt": pipeline.negatives(2), "num_inference_steps": 2,
        "guidance_scale": 3.0, "output_type": "latent",
    }  # fmt: skip
    noise = pipeline.noise([(0,), (1,)])
    assert torch.equal(pipeline(captions, latents=noise, **settings).images, drawn.expected)
    twice = pipeline(captions, latents=noise.repeat_interleave(2, 0), num_images_per_prompt=2, **settings).images
    assert drawn.differ(twice[::2], drawn.expected) < SAME and drawn.differ(twice[1::2], drawn.expected) < SAME


def test_boxes_of_another_batch_or_size_are_refused(drawn):
    pipeline, captions = drawn.pipeline, [row.caption for row in drawn.rows]
    keywords = pipeline.grounding(drawn.rows, guided=False)
    with pytest.raises(UserError, match="boxes of 2 samples for a batch of 4"):
        pipeline(captions, guidance_scale=3.0, num_inference_steps=1, cross_attention_kwargs=keywords)
    if drawn.adapter.config.site != "gated":  # whose tokens know no size
        with pytest.raises(UserError, match="latents of 16 × 16 cells, for latents of 16 × 24"):
            pipeline(captions, guidance_scale=1.0, num_inference_steps=1, width=96, cross_attention_kwargs=keywords)


def test_a_unet_without_the_adapter_is_refused(drawn):
    drawn.pipeline.unet = load(drawn.base).unet
    with pytest.raises(UserError, match="the adapter is not in this UNet"):
        drawn.draw()
    drawn.pipeline.attach(drawn.adapter)
    assert torch.equal(drawn.draw(), drawn.expected)
    drawn.pipeline.detach()
    assert torch.equal(drawn.draw(), drawn.plain)
    with pytest.raises(UserError, match="no adapter"):
        drawn.pipeline([row.caption for row in drawn.rows], layouts=drawn.rows)


def test_another_adapters_layers_are_not_read_with_these_tokens(kolors):
    SpatialAdapter.for_unet(kolors.pipeline.unet, width=16).inject(kolors.pipeline.unet)
    with pytest.raises(UserError, match="the adapter is not in this UNet"):
        kolors.draw()


def test_switched_processors_are_not_recomputed_in_training(kolors):
    unet = kolors.pipeline.unet.train()
    unet.enable_gradient_checkpointing()
    unet.set_attn_processor(AttnProcessor())
    states, _, pooled, _ = kolors.pipeline.encode_prompt(["树"], do_classifier_free_guidance=False)
    added = {"text_embeds": pooled, "time_ids": torch.zeros(1, 6)}
    keywords = kolors.pipeline.grounding(kolors.rows[:1], guided=False)
    with torch.enable_grad(), pytest.raises(UserError, match="cannot be recomputed with boxes"):
        unet(torch.zeros(1, 4, 16, 16), 5, states, added_cond_kwargs=added, cross_attention_kwargs=keywords)


def test_a_lora_moves_the_layers_that_boxes_go_through(drawn):
    """Without peft diffusers refuses; with it, boxes are felt beside the LoRA and as before behind it."""
    pipeline, rank = drawn.pipeline, 2
    name, attn = next((n, a) for n, a in injection.attentions(pipeline.unet).items() if ".attn2" in n)
    down, up = torch.randn(rank, attn.inner_dim), torch.randn(attn.query_dim, rank)
    lora = {f"unet.{name}.to_out.0.lora_A.weight": down, f"unet.{name}.to_out.0.lora_B.weight": up}
    if importlib.util.find_spec("peft") is None:
        with pytest.raises(ValueError, match="PEFT"):
            pipeline.load_lora_weights(lora)
    else:
        pipeline.load_lora_weights(lora)
        assert drawn.differ(drawn.draw(), drawn.expected) > FELT
        pipeline.unload_lora_weights()
    drawn.check()


def test_xformers_works_or_says_why_not(kolors):
    with pytest.raises((ModuleNotFoundError, ValueError), match="xformers"):  # not installed, or no GPU
        kolors.pipeline.enable_xformers_memory_efficient_attention()
    kolors.check()
