"""The decision head: is a conversation's picture found in the index or drawn?

As in GILL (Koh et al., 2023, arXiv:2305.17216) a linear layer on the [IMG] states and the highest retrieval score.
Upstream reads the first state, trains with dropout, and its labels are people's votes. Here it reads the mean of the r
states, and is fitted to the end: the logistic loss with a penalty on the squared weights is convex, so that seed and
step size are no part of it. Validation chooses the penalty among `PENALTIES`.

An example counts by what hangs on it: its gain is how much better what is found fits than what is drawn. The sign of
the gain is the label, its size the weight; where both fit as well there is nothing to learn.

Letters: N conversations, R [IMG] tokens, H width of the LM, D = H + 1 features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from gillnext.runtime import files
from gillnext.runtime.errors import UserError

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
WEIGHTS, ABOUT = "decision.safetensors", "decision.json"


def features_of(images_NRH: Tensor, scores_N: np.ndarray) -> np.ndarray:
    """(N, D) float64: the mean of the [IMG] states, and the highest retrieval score."""
    states_NH = images_NRH.double().mean(1).numpy()
    return np.concatenate([states_NH, np.asarray(scores_N, np.float64)[:, None]], axis=1)


@dataclass(frozen=True)
class Policy:
    """Weights (D,) and bias on features that have `mean` (D,) taken off and are divided by `deviation` (D,)."""

    mean_D: np.ndarray
    deviation_D: np.ndarray
    weights_D: np.ndarray
    bias: float

    def probability(self, images_NRH: Tensor, scores_N: np.ndarray) -> np.ndarray:
        """(N,) how likely it is that the nearest picture of the index fits at least as well as a drawn one."""
        return self._of(features_of(images_NRH, scores_N))

    def retrieve(self, images_NRH: Tensor, scores_N: np.ndarray) -> np.ndarray:
        """(N,) bool: the picture is found; else it is drawn."""
        return self.probability(images_NRH, scores_N) >= 0.5

    def _of(self, features_ND: np.ndarray) -> np.ndarray:
        logits_N = (features_ND - self.mean_D) / self.deviation_D @ self.weights_D + self.bias
        return 1 / (1 + np.exp(-logits_N))

    def loss(self, features_ND: np.ndarray, gains_N: np.ndarray) -> float:
        """The mean logistic loss, in nats, weighted by the gains."""
        p_N = self._of(features_ND).clip(1e-12, 1 - 1e-12)
        return float(-(weights_of(gains_N) * np.where(gains_N > 0, np.log(p_N), np.log(1 - p_N))).mean())

    def save(self, folder: Path) -> None:
        """Write the head into `folder`, which is there."""
        tensors = {"mean": self.mean_D, "deviation": self.deviation_D, "weights": self.weights_D}
        save_file(tensors | {"bias": np.array([self.bias])}, folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path, talker: str) -> Policy:
        """The head in `folder`; `UserError` where it was trained on another GILL than that with the hash `talker`."""
        if not (folder / ABOUT).exists():
            raise UserError("no decision head here", where=str(folder), remedy="train it: gillnext decide")
        if (made_by := files.read_json(folder / ABOUT)["hashes"]["gill"]) != talker:
            what = f"is the decision head of another model ({made_by[:12]}, not {talker[:12]})"
            raise UserError(what, where=str(folder), remedy="train it again: gillnext decide")
        tensors = load_file(folder / WEIGHTS)
        return cls(tensors["mean"], tensors["deviation"], tensors["weights"], float(tensors["bias"][0]))


def weights_of(gains_N: np.ndarray) -> np.ndarray:
    """(N,) what each example counts: the size of its gain, 1 on average; all alike where nothing is gained anywhere."""
    sizes_N = np.abs(gains_N).astype(np.float64)
    return sizes_N / sizes_N.mean() if sizes_N.any() else np.ones(len(sizes_N))


def fit(features_ND: np.ndarray, gains_N: np.ndarray, penalty: float) -> Policy:
    """The head with the least mean logistic loss, weighted by the gains, + `penalty`/2 · |weights|²."""
    mean_D, deviation_D = features_ND.mean(0), features_ND.std(0) + 1e-8
    x_ND = torch.from_numpy((features_ND - mean_D) / deviation_D)
    y_N = torch.from_numpy((gains_N > 0).astype(np.float64))
    counts_N = torch.from_numpy(weights_of(gains_N))
    weights_D = torch.zeros(x_ND.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights_D, bias], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        misfit = F.binary_cross_entropy_with_logits(x_ND @ weights_D + bias, y_N, counts_N)
        loss = misfit + penalty / 2 * weights_D.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return Policy(mean_D, deviation_D, weights_D.detach().numpy(), bias.item())


def chosen(
    train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray], penalties: Sequence[float] = PENALTIES
) -> tuple[Policy, float]:
    """Of the heads fitted to the features and gains of `train` that with the least loss on `val`, and its penalty."""
    heads = [(fit(*train, penalty), penalty) for penalty in penalties]
    return min(heads, key=lambda head: head[0].loss(*val))
