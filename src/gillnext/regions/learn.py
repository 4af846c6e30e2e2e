"""How the region of one edit is learned: the scores of candidate boxes, by the gradient of the edited pixels.

The base is frozen, so that a candidate's edited picture is drawn once. A hard choice makes the composed picture one of
these to the bit, whatever is chosen for other anchors. Its loss's gradient in the pixels is therefore taken once a
candidate, and steps of the region network are cheap: `slopes` says for every chosen candidate j of an anchor what the
loss would change by, to first order, were the weight of candidate k raised. `direct_loss` is the same by plain
composition, and the tests compare their gradients.

Letters: A anchors, K windows of each, R width of a box's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gillnext.config.regions import Regions
from gillnext.regions.network import RegionNetwork, choose, compose
from gillnext.regions.objective import TERMS, Objective
from gillnext.runtime import seeds

CHUNK = 45  # candidates whose gradients are taken together


@dataclass(frozen=True)
class Table:
    """Of an edit's candidates: their losses (A, K), and the loss's slopes (A, K, K), of chosen j towards k; the losses'
    terms, and the embeddings (A, K, E) of their pictures.
    """

    losses: Tensor
    slopes: Tensor
    terms: dict[str, Tensor]
    embeddings: Tensor


def table(objective: Objective, pictures_AK3HW: Tensor) -> Table:
    """The losses of all candidates and their gradients, in one pass over the pictures."""
    anchors, windows = pictures_AK3HW.shape[:2]
    parts: list[dict[str, Tensor]] = []
    flat = pictures_AK3HW.flatten(0, 1)
    for start in range(0, len(flat), CHUNK):
        pixels = flat[start : start + CHUNK].clone().requires_grad_()
        embedding = objective.clip.images(pixels)
        terms = objective.of(embedding, pixels)
        loss = objective.weighed(terms)
        (gradient,) = torch.autograd.grad(loss.sum(), pixels)
        own = torch.arange(start, start + len(pixels)) // windows
        slopes = torch.einsum("nchw,nkchw->nk", gradient, pictures_AK3HW[own])
        parts.append(terms | {"loss": loss, "slopes": slopes, "embedding": embedding})
    found = {
        name: torch.cat([part[name].detach() for part in parts]).unflatten(0, (anchors, windows)) for name in parts[0]
    }
    return Table(found["loss"], found["slopes"], {name: found[name] for name in TERMS}, found["embedding"])


def direct_loss(weights_AK: Tensor, objective: Objective, pictures_AK3HW: Tensor) -> Tensor:
    """The mean loss of the anchors' composed pictures."""
    return objective.loss(compose(weights_AK, pictures_AK3HW)).mean()


def table_loss(weights_AK: Tensor, known: Table, gradient: str) -> Tensor:
    """The mean loss of the chosen candidates, with the gradient of `direct_loss` ("pixels"), or with that of the
    expected loss over candidates ("expected").
    """
    if gradient == "expected":
        return (weights_AK * known.losses).sum(-1).mean()
    chosen = weights_AK.argmax(-1)
    rows = torch.arange(len(chosen))
    towards_AK = known.slopes[rows, chosen]
    moved = ((weights_AK - weights_AK.detach()) * towards_AK).sum(-1)
    return (known.losses[rows, chosen] + moved).mean()


def learn(features_AKR: Tensor, known: Table, settings: Regions, *names: str | int) -> tuple[Tensor, Tensor]:
    """The scores (A, K) of an untrained region network and of a trained one, which `names` seed."""
    network = RegionNetwork(features_AKR.shape[-1], settings.width, *names).to(features_AKR.device)
    with torch.no_grad():
        before = network(features_AKR)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.lr, betas=(0.9, 0.99), fused=True)
    generator = seeds.torch_generator("region-choice", *names)
    for _ in range(settings.per_image_iteration):
        weights_AK = choose(network(features_AKR), settings.temperature, generator)
        table_loss(weights_AK, known, settings.gradient).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    with torch.no_grad():
        return before, network(features_AKR)
