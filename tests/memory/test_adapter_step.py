"""An adapter's step at SDXL's shape: the frozen UNet in half precision, activations, and the adapter's own states."""

import torch
from diffusers import UNet2DConditionModel

from gillnext.config.model import Arm
from gillnext.memory import kolors
from gillnext.memory.adapter_step import count

# Kolors' UNet with a tenth of its widths, fewer layers and latents of 32 × 32.
SMALL = kolors.UNET | {
    "sample_size": 32,
    "block_out_channels": (32, 64, 128),
    "attention_head_dim": (1, 2, 4),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 1, 2),
    "cross_attention_dim": 64,
    "encoder_hid_dim": 96,
    "projection_class_embeddings_input_dim": 1536 + 64,
}


def check(found, shape):
    """Weights by their number; four numbers in float32 for each of the adapter's besides; nothing else is held."""
    with torch.device("meta"):
        assert found.unet == 2 * sum(p.numel() for p in UNet2DConditionModel(**shape).parameters())
    own = found.adapter
    assert found.gradients == own
    assert 3 * own <= found.states <= 3 * own + 4_096  # two moments and the average, and the counts of steps
    assert found.activations < found.peak <= found.unet + own + found.states + found.activations + found.gradients


def test_at_sdxls_size_nothing_but_these_is_held():
    check(count(kolors.UNET), kolors.UNET)


def test_in_the_other_half_precision_and_recomputed_as_well():
    plain, again = (count(SMALL, "fp16", checkpointed) for checkpointed in (False, True))
    assert plain.unet == again.unet and plain.states == again.states
    check(plain, SMALL)
    assert again.activations < plain.activations / 2 and again.peak < plain.peak


def test_the_count_sees_what_must_not_be_there():
    """Frozen weights in float32, and a UNet that is trained."""
    half, full = count(SMALL), count(SMALL, "no")
    assert full.unet == 2 * half.unet and full.activations > 1.5 * half.activations
    trained = count(SMALL, arm=Arm(unet_lr=1e-4))
    assert trained.gradients == trained.unet + trained.adapter and trained.states >= 3 * trained.unet
