"""What a run costs by arithmetic: the counter against formulas written out here, the rows against the settings."""

import argparse
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.kolors import ChatGLMModel
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from torch import nn

from gillnext.config.load import load
from gillnext.language.model import parameters
from gillnext.memory import cost, kolors, published

ROOT = Path(__file__).parents[2]
WUKONG = load(ROOT / "config.yaml", ROOT / "config/wukong.yaml")
# As tests/memory/test_adapter_step.py has it, with fewer layers.
SMALL = kolors.UNET | {
    "sample_size": 32, "block_out_channels": (32, 64, 128), "attention_head_dim": (1, 2, 4), "layers_per_block": 1,
    "transformer_layers_per_block": (1, 1, 1), "cross_attention_dim": 64, "encoder_hid_dim": 96,
    "projection_class_embeddings_input_dim": 1536 + 64,
}  # fmt: skip


def assumptions(*argv):
    parser = argparse.ArgumentParser()
    cost.add_assumptions(parser)
    return parser.parse_args(argv)


def linear(module):
    """Weights of its linear layers."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def products(module, *inputs):
    """Operations of its linear layers and convolutions, by their shapes, in a forward."""
    total = []

    def add(layer, _, output):
        positions = output.numel() / layer.weight.shape[0]
        total.append(2 * positions * layer.weight.numel())

    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.device("meta"), torch.no_grad():
        module(*inputs)
    return sum(total)


@pytest.mark.parametrize("shape", [published.QWEN, published.SMALL_QWEN, published.CHATGLM], ids=["7B", "1.5B", "GLM"])
def test_a_language_model_costs_two_operations_a_weight_and_token_and_four_a_pair_and_channel(shape):
    model, tokens = published.language_model(shape).model, 160
    width, layers = shape["num_attention_heads"] * 128, shape["num_hidden_layers"]
    formula = 2 * linear(model) * tokens + 4 * layers * width * tokens**2
    assert cost.reading(model, tokens, shape["hidden_size"]) == formula


def test_the_class_that_stands_for_kolors_reader_has_its_parameters():
    about = {
        "num_layers": 28, "padded_vocab_size": 65024, "hidden_size": 4096, "ffn_hidden_size": 13696, "kv_channels": 128,
        "num_attention_heads": 32, "seq_length": 32768, "multi_query_attention": True, "multi_query_group_num": 2,
        "add_qkv_bias": True, "original_rope": True,
    }  # fmt: skip
    with torch.device("meta"):
        own = ChatGLMModel(ChatGLMConfig(**about))
    assert parameters(published.language_model(published.CHATGLM)) == parameters(own)


def test_the_eyes_of_qwen2_vl_are_linear_layers_and_attention():
    visual, side = published.vision_language_model().model.visual, 672
    patches = (side // 14) ** 2
    patch = visual.patch_embed.proj.weight.numel()
    seen = 2 * patches * (linear(visual.blocks) + patch) + 2 * patches / 4 * linear(visual.merger)
    assert cost.seeing(visual, side) == seen + 4 * 32 * 1280 * patches**2


def test_an_autoencoder_is_its_convolutions_and_one_attention():
    """By the layers' own shapes; the middle's attention is over 128 × 128 cells of 512 channels."""
    with torch.device("meta"):
        latents = torch.zeros(1, 4, 128, 128)
    formula = products(published.autoencoder().decoder, latents)
    post = 2 * 128**2 * 4 * 4  # the 1 × 1 convolution before the decoder
    assert cost.decoding() == formula + post + 4 * 512 * (128**2) ** 2


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(kolors, "UNET", SMALL)
    cost.unet.cache_clear()
    yield cost.unet
    cost.unet.cache_clear()


def test_a_step_is_a_forward_and_about_another_recomputed_one_more_trained_one_more(small):
    """Backward through frozen products costs as much as forward; through attention twice, and less before its first."""
    forward, step = small(backward=False).flop, small().flop
    assert 1.7 * forward < step < 2.3 * forward
    recomputed, full = small(checkpointed=True).flop, small(trained=True)
    assert step + 0.5 * forward < recomputed <= step + forward
    assert full.flop > step + 0.8 * forward and full.saved > small().saved
    assert small(gated=True).flop > step


def test_rows_are_what_the_settings_ask_for():
    """Two arms of three seeds; the base has two; the reference arm draws relations too."""
    assert sum(seeds for _, seeds in cost.trained_arms(WUKONG)) == 6
    assert cost.drawn(WUKONG) == ((3 + 3 + 2 + 3) * 2_000 + 3 * 1_000, 3 + 3 + 2 + 3 + 3)
    assert cost.snapshots(WUKONG, WUKONG.study.arms["attn2"]) == 10


def test_hours_are_operations_and_bytes_at_the_stated_share():
    stage = cost.Stage("a", "b", 3_600, flop=1e12, read=2e12, most=1)
    args = assumptions("--peak", "1", "--bandwidth", "1", "--utilisation", "0.5")
    assert stage.hours(args) == pytest.approx(6.0)
    assert "6.0 | 6.0 | 6.0 |" in cost.table([stage], args)[2]


def test_the_data_stages_agree_with_the_least_times_of_the_benchmark():
    """`benchmarks/data/floor.py` reckons by formulas; at full use of the peaks both say the same: 0.7 and 4.1 hours."""
    args = assumptions("--utilisation", "1")
    found = {stage.name: stage.hours(args) for stage in cost.data_stages(WUKONG, args)}
    assert round(found["filter"], 1) == 0.7 and round(found["annotate, Qwen2-VL-7B"], 1) == 4.1


def test_figures_have_two_digits():
    numbers = {0: "–", 0.01234: "0.012", 0.5: "0.50", 6.96: "7.0", 61.4: "61", 1234.0: "1,200"}
    assert {value: cost.figure(value) for value in numbers} == numbers


# What `cost.unet` counts at Kolors' own size: a forward, and a recomputed step. The second takes minutes.
FORWARD, RECOMPUTED, ADAPTER = 6_965_857_550_336, 19_529_823_715_328, 21_710_996


def test_a_forward_of_kolors_unet():
    assert cost.unet(backward=False) == cost.Step(FORWARD, ADAPTER)


def test_the_documentation_shows_what_is_counted(monkeypatch):
    """Every line of the table, the networks' counts anew but for the UNet's."""
    counted = {True: cost.Step(RECOMPUTED, ADAPTER), False: cost.Step(FORWARD, ADAPTER)}
    monkeypatch.setattr(cost, "unet", lambda *_, backward=True: counted[backward])
    args = assumptions()
    page = (ROOT / "docs/at-size.md").read_text(encoding="utf-8")
    assert "\n".join(cost.table(cost.stages(WUKONG, args), args)) in page
