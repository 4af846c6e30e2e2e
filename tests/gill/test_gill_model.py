"""GILL's frozen LM stays what it was, and its outputs have the UNet's shapes."""

import pytest
import torch

from gillnext.gill import batches
from gillnext.gill.batches import latent_features
from gillnext.gill.losses import TASKS
from gillnext.gill.model import AttentionPooling, Resampler
from gillnext.gill.sequence import WORD, Texts
from gillnext.runtime.errors import UserError


@torch.no_grad()
def test_the_new_words_change_nothing_for_ordinary_tokens(gill, batch):
    ids = batch.texts.ids[:1, : int(batch.texts.mask[0].sum())]
    mask = torch.ones_like(ids)
    words = gill.words(Texts(ids, mask))
    alone = gill.language(input_ids=ids).logits
    after = gill.read(torch.cat([words, gill.image_RH[None]], 1), torch.ones(1, len(words[0]) + len(gill.image_RH)))
    logits = gill.language.get_output_embeddings()(after[:, : ids.shape[1]])
    assert torch.allclose(logits, alone, atol=1e-5)
    assert len(gill.language.get_input_embeddings().weight) == alone.shape[-1]  # no row was added to the LM
    assert torch.allclose(gill.read(words, mask), gill.language.base_model(input_ids=ids)[0], atol=1e-5)


@torch.no_grad()
def test_padding_changes_no_state(gill, batch):
    padded = gill.image_states(batch.texts)
    for i in range(len(batch)):
        length = int(batch.texts.mask[i].sum())
        alone = Texts(batch.texts.ids[i : i + 1, :length], batch.texts.mask[i : i + 1, :length])
        assert torch.allclose(padded[i], gill.image_states(alone)[0], atol=1e-5)


@torch.no_grad()
def test_a_picture_among_the_words_is_what_the_prefix_makes_of_it(gill):
    """Two rows, the second with one picture in slots 1 and 3 of its own; against a sequence put together by hand."""
    generator = torch.Generator().manual_seed(2)
    pictures = torch.randn(3, 256, generator=generator)
    ids = torch.tensor([[5, 6, 0, 0, 0, 0], [7, 0, 0, 0, 0, 8]])
    mask = torch.tensor([[1, 1, 0, 0, 0, 0], [1] * 6])
    slots = torch.full_like(ids, WORD)
    slots[1, 1:5] = torch.arange(8, 12)  # the third picture's four
    found = gill.image_states(Texts(ids, mask, slots, pictures))
    word = gill.language.get_input_embeddings().weight
    prefix = gill.prefix(pictures[2]).view(4, -1)
    by_hand = torch.cat([word[7:8], prefix, word[8:9], gill.image_RH])[None]
    expected = gill.language.base_model(inputs_embeds=by_hand)[0][:, -len(gill.image_RH) :]
    assert torch.allclose(found[1], expected[0], atol=1e-5)
    plain = gill.image_states(Texts(ids[:1, :2], mask[:1, :2]))
    assert torch.allclose(found[0], plain[0], atol=1e-5)


@torch.no_grad()
def test_a_row_without_a_word_has_states_too(gill):
    ids, mask = torch.tensor([[5, 6], [0, 0]]), torch.tensor([[1, 1], [0, 0]])
    found = gill.image_states(Texts(ids, mask))
    assert found.isfinite().all()
    alone = gill.language.base_model(inputs_embeds=gill.image_RH[None])[0]
    assert torch.allclose(found[1], alone[0], atol=1e-5)


@torch.no_grad()
def test_pooling_is_a_mean_of_cells_that_attention_weighs():
    """One head's arithmetic by hand, for each of four."""
    torch.manual_seed(5)
    pooling = AttentionPooling(features=6, cells=9, inner=8, width=3)
    torch.nn.init.normal_(pooling.cells.places_GM)
    features = torch.randn(4, 9, 6)
    cells = pooling.cells.enter(features) + pooling.cells.places_GM
    q, k, v = pooling.attention.in_proj_weight.chunk(3)
    heads = []
    for h in range(4):
        part = slice(2 * h, 2 * h + 2)
        scores = (pooling.query_M @ q[part].T) @ (cells @ k[part].T).transpose(1, 2) / 2**0.5
        heads.append((scores.softmax(-1)[:, None] @ (cells @ v[part].T))[:, 0])
    found = pooling.leave(torch.cat(heads, -1) @ pooling.attention.out_proj.weight.T)
    assert torch.allclose(pooling(features), found, atol=1e-5)


@torch.no_grad()
def test_queries_of_a_resampler_know_of_each_other_and_cells_are_told_by_their_place_alone():
    torch.manual_seed(6)
    resampler, features = Resampler(features=6, cells=9, queries=3, inner=8, width=3), torch.randn(4, 9, 6)
    before = resampler(features).view(4, 3, 3)
    shuffled = features[:, torch.randperm(9)]
    assert torch.allclose(resampler(shuffled).view(4, 3, 3), before, atol=1e-5)  # places are not learned yet
    torch.nn.init.normal_(resampler.cells.places_GM)
    assert not torch.allclose(resampler(shuffled), resampler(features), atol=1e-2)
    torch.nn.init.zeros_(resampler.cells.places_GM)
    resampler.queries_KM[2].mul_(3)
    after = resampler(features).view(4, 3, 3)
    assert (after - before)[:, :2].abs().amax(-1).min() > 1e-4  # one other query moves the first two, of every picture


@torch.no_grad()
def test_norms_are_reset_to_the_vocabularys_mean(gill):
    gill.image_RH.mul_(7)
    direction = torch.nn.functional.normalize(gill.image_RH, dim=1)
    gill.reset_norms()
    mean = sum(row.norm().item() for row in gill.language.get_input_embeddings().weight) / 326
    assert len(gill.language.get_input_embeddings().weight) == 326
    assert gill.image_RH.norm(dim=1).tolist() == pytest.approx([mean] * 8, rel=1e-5)
    assert torch.allclose(torch.nn.functional.normalize(gill.image_RH, dim=1), direction, atol=1e-6)


@torch.no_grad()
def test_the_unet_gets_states_of_its_text_encoders_shape(gill, batch, tiny_pipeline):
    states, pooled = gill.text_states(batch.texts)
    assert states.shape == batch.states.shape
    assert pooled.shape == batch.pooled.shape


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
