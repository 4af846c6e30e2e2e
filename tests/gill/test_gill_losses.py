"""GILL's three losses against arithmetic by hand, and their additivity over micro-batches."""

import math

import pytest
import torch

from gillnext.gill import losses
from gillnext.gill.losses import MATCHED, TASKS


def gradient(gill, *values):
    """The gradient of the trained parameters after a backward of each value, in double precision."""
    trained = gill.trainable_parameters().values()
    for p in trained:
        p.grad = None
    for value in values:
        value().backward()
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]).double()


def difference(one, other):
    return float((one - other).norm() / other.norm())


def test_captions_of_a_batch_differ_in_length(batch):
    assert len(set(batch.captions.mask.sum(1).tolist())) > 1
    assert (batch.captions.mask.diff(dim=1) <= 0).all()  # padded on the right


@torch.no_grad()
def test_captioning_is_the_mean_negative_log_likelihood_of_each_caption_alone(gill, batch):
    expected = []
    for i in range(len(batch)):  # without padding: the prefix, then the tokens one after another
        ids = batch.captions.ids[i][batch.captions.mask[i] == 1]
        prefix = gill.prefix(batch.features[i]).view(-1, gill.image_RH.shape[1])
        words = gill.language.get_input_embeddings()(ids)
        logits = gill.language(inputs_embeds=torch.cat([prefix, words])[None]).logits[0].double()
        nll = 0.0
        for t, token in enumerate(ids.tolist()):
            row = logits[len(prefix) - 1 + t]
            nll += math.log(sum(math.exp(x) for x in row.tolist())) - float(row[token])
        expected.append(nll / len(ids))
    assert float(losses.captioning(gill, batch)) == pytest.approx(sum(expected) / len(expected), rel=1e-5)


@torch.no_grad()
def test_info_nce_is_a_loop_over_pictures_and_texts():
    generator = torch.Generator().manual_seed(1)
    pictures, texts = (torch.randn(5, 8, generator=generator) for _ in range(2))
    pictures, texts = pictures / pictures.norm(dim=1, keepdim=True), texts / texts.norm(dim=1, keepdim=True)
    scale = math.exp(2.0)
    total = 0.0
    for i in range(5):
        for one, others in ((pictures[i], texts), (texts[i], pictures)):
            likeness = [scale * sum(a * b for a, b in zip(one.tolist(), o.tolist(), strict=True)) for o in others]
            total += math.log(sum(math.exp(x) for x in likeness)) - likeness[i]
    found = losses.info_nce(pictures, texts, torch.tensor(2.0))
    assert float(found) == pytest.approx(total / 10, rel=1e-5)


def test_every_loss_is_one_number_and_together_they_reach_what_is_trained_and_nothing_else(gill, batch):
    values = [task(gill, batch) for task in TASKS.values()]
    assert all(v.shape == () and v.isfinite() for v in values)
    sum(values).backward()
    trained = gill.trainable_parameters()
    for name, p in gill.named_parameters():
        if name in trained:
            assert p.grad is not None and p.grad.abs().sum() > 0, name
        else:
            assert p.grad is None, name
    assert not any(name.startswith(("language.", "denoiser.unet.")) for name in trained)
    assert {name.split(".")[0] for name in trained} == {
        "image_RH", "prefix", "find_picture", "find_text", "logit_scale", "mapper", "denoiser",
    }  # fmt: skip


def test_each_task_trains_its_own_part(gill, batch):
    reached = {}
    for name, task in TASKS.items():
        for p in gill.trainable_parameters().values():
            p.grad = None
        task(gill, batch).backward()
        reached[name] = {k.split(".")[0] for k, p in gill.trainable_parameters().items() if p.grad is not None}
    assert reached == {
        "captioning": {"prefix"},
        "retrieval": {"image_RH", "find_picture", "find_text", "logit_scale"},
        "generation": {"image_RH", "mapper", "denoiser"},
    }


@torch.no_grad()
def test_matching_is_the_mean_squared_distance_to_the_text_encoders_states(gill, batch):
    states, pooled = gill.text_states(batch.texts)
    expected = sum(
        float(((found - wanted) ** 2).sum()) / wanted.numel()
        for found, wanted in ((states, batch.states), (pooled, batch.pooled))
    )
    assert float(losses.matching(gill, batch)) == pytest.approx(expected, rel=1e-5)


def test_matching_trains_the_mapper_and_runs_no_unet(gill, batch, monkeypatch):
    monkeypatch.setattr(gill.denoiser, "forward", None)
    MATCHED["generation"](gill, batch).backward()
    reached = {k.split(".")[0] for k, p in gill.trainable_parameters().items() if p.grad is not None}
    assert reached == {"image_RH", "mapper"}


def test_one_summed_backward_and_one_for_each_task_give_the_same_gradient(gill, batch):
    summed = gradient(gill, lambda: sum(task(gill, batch) for task in TASKS.values()))
    split = gradient(gill, *(lambda task=task: task(gill, batch) for task in TASKS.values()))
    assert difference(split, summed) < 1e-5


@pytest.mark.parametrize(("task", "additive"), [("captioning", True), ("generation", True), ("retrieval", False)])
def test_halves_add_up_but_for_the_contrastive_loss(gill, batch, task, additive):
    whole = gradient(gill, lambda: TASKS[task](gill, batch))
    halves = gradient(gill, *(lambda i=i: TASKS[task](gill, batch.part(i, 2)) / 2 for i in range(2)))
    assert difference(halves, whole) < 1e-5 if additive else difference(halves, whole) > 0.05
