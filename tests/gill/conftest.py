"""A miniature Gill on the tiny base: an untrained Qwen2, and the tiny cache's rows as a batch."""

import pytest
import torch


@pytest.fixture
def gill(tiny_pipeline, tiny_config, tiny_language, awake):
    """All of its adapter's gates are open, so that every gradient is at work."""
    from gillnext.adapter.objective import Denoiser
    from gillnext.adapter.trainer import arm_of, build_adapter
    from gillnext.gill.model import Gill
    from gillnext.language import model

    adapter = awake(build_adapter(tiny_config, arm_of(tiny_config, "attn2"), tiny_pipeline.unet, 0), 0.05)
    adapter.inject(tiny_pipeline.unet)
    language, _ = model.load(tiny_language)
    torch.manual_seed(3)
    return Gill(language, Denoiser(adapter, tiny_pipeline.unet), features=256, states=32)


@pytest.fixture(scope="session")
def batch(tiny_cache, tiny_language):
    """Six rows, whose captions differ in length."""
    from gillnext.adapter import cache
    from gillnext.diffusion.objective import training_scheduler
    from gillnext.gill import batches
    from gillnext.language import model
    from gillnext.miniatures import small_unet

    _, tokenizer = model.load(tiny_language)
    rows, captions = cache.Cache.load(tiny_cache), cache.captions(tiny_cache)
    return batches.draw(rows, captions, tokenizer, training_scheduler(small_unet.SCHEDULE), 6, (7, 0))
