"""GILL's frozen LM stays what it was, and its outputs have the UNet's shapes."""

import pytest
import torch

from gillnext.gill import batches
from gillnext.gill.batches import latent_features
from gillnext.gill.losses import TASKS
from gillnext.runtime.errors import UserError


@torch.no_grad()
def test_the_new_words_change_nothing_for_ordinary_tokens(gill, batch):
    ids = batch.ids[:1, : int(batch.mask[0].sum())]
    mask, words = torch.ones_like(ids), gill.words(ids)
    alone = gill.language(input_ids=ids).logits
    after = gill.read(torch.cat([words, gill.image_RH[None]], 1), torch.ones(1, len(words[0]) + len(gill.image_RH)))
    logits = gill.language.get_output_embeddings()(after[:, : ids.shape[1]])
    assert torch.allclose(logits, alone, atol=1e-5)
    assert len(gill.language.get_input_embeddings().weight) == alone.shape[-1]  # no row was added to the LM
    assert torch.allclose(gill.read(words, mask), gill.language.base_model(input_ids=ids)[0], atol=1e-5)


@torch.no_grad()
def test_padding_changes_no_state(gill, batch):
    padded = gill.image_states(batch.ids, batch.mask)
    for i in range(len(batch)):
        length = int(batch.mask[i].sum())
        alone = gill.image_states(batch.ids[i : i + 1, :length], batch.mask[i : i + 1, :length])
        assert torch.allclose(padded[i], alone[0], atol=1e-5)


@torch.no_grad()
def test_the_unet_gets_states_of_its_text_encoders_shape(gill, batch, tiny_pipeline):
    states, pooled = gill.text_states(batch.ids, batch.mask)
    assert states.shape == batch.denoising.states.shape
    assert pooled.shape == batch.denoising.pooled.shape


def test_features_are_the_means_of_the_latents_cells():
    latents = torch.arange(4 * 16 * 16.0).reshape(1, 4, 16, 16)
    features = latent_features(latents)
    assert features.shape == (1, 256)
    assert features[0, 0] == latents[0, 0, :2, :2].mean()
    assert latent_features(torch.zeros(2, 4, 128, 128)).shape == (2, 256)


def test_a_batch_has_distinct_rows_and_a_small_cache_is_told(tiny_cache, batch):
    from gillnext.adapter.cache import Cache

    assert len({tuple(f.tolist()) for f in batch.features}) == len(batch) == 6
    with pytest.raises(UserError, match="9 distinct rows out of 8"):
        batches.draw(Cache.load(tiny_cache), [], None, None, 9, (0,))


def test_a_frozen_lm_of_half_precision_serves_too(gill, batch):
    """Published checkpoints come in bfloat16; what is trained stays in float32."""
    exact = [task(gill, batch).item() for task in TASKS.values()]
    gill.language.to(torch.bfloat16)
    values = [task(gill, batch) for task in TASKS.values()]
    assert [v.item() for v in values] == pytest.approx(exact, rel=0.05)
    sum(values).backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in gill.trainable_parameters().values())
