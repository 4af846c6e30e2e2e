"""A miniature Grounding DINO (Liu et al. 2023): each place of its encoder, and each of its decoder's queries, answers
for what it lies in, instead of DETR's matching of queries with objects, which takes far longer to learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal.training import dense, likeliest
from gillnext.miniatures.rehearsal.training.scenes import SEED, WORDS, Picture
from gillnext.runtime import seeds

TITLE, LOOKS = "Grounding DINO", "pictures of any aspect ratio up to two"
BY, BOX, NAMES = likeliest.BY, likeliest.BOX, list(WORDS.values())
SIZE, STRIDES = 64, (8, 16, 32)  # pixels of the shorter side, and of the encoder's cells
STEPS, BATCH, LR, SCENES = 600, 16, 1e-3, 1_500
SMALL = 0.03  # deviation of the library's own weights, which is for networks many times as wide


def make() -> tuple[Any, Any]:
    """An untrained model, its small weights replaced by Xavier's; words differ from the first step on, as they do in a
    text encoder that has read: beside places that all phrases share, small ones would all look alike.
    """
    model, processor = small_zero_shot.grounding_dino(WORDS.values(), SIZE, queries=24, width=64, swin=32, layers=2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "word_embeddings" in name:
                weight.normal_(0, 1)
            elif weight.ndim == 2 and "embeddings" not in name and 0 < float(weight.std()) < SMALL:
                torch.nn.init.xavier_uniform_(weight)
    return model, processor


def view(picture: Picture) -> Image.Image:
    """The picture as it is."""
    return picture.image


def measures(folder: Path, seen: list[Picture], held_out: list[Picture]) -> tuple[Any, float, str]:
    """The network in `folder`, the share of held-out objects whose likeliest box is right, and its thresholds."""
    return likeliest.measures(folder, seen, held_out, view)


def losses(model: Any, processor: Any, pictures: list[Picture]) -> Callable[[int], Tensor]:
    """The loss of a step: pictures of one size, each asked for its own names and some that are not in it."""
    pixels = [processor.image_processor(images=[p.image], return_tensors="pt")["pixel_values"][0] for p in pictures]
    sizes = sorted({tuple(one.shape) for one in pixels})
    alike = {size: [i for i, one in enumerate(pixels) if tuple(one.shape) == size] for size in sizes}
    truth = [picture.boxes for picture in pictures]

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("grounding-dino", SEED, step)
        height, width = (size := sizes[rng.integers(len(sizes))])[1:]
        rows = rng.choice(alike[size], BATCH, replace=False)
        asked = [_asked(pictures[i].names, rng) for i in rows]
        texts = [" ".join(f"{WORDS[name]}." for name in names) for names in asked]
        text = processor.tokenizer(texts, padding=True, return_token_type_ids=True, return_tensors="pt")
        output = model(pixel_values=torch.stack([pixels[i] for i in rows]), **text)
        # A name is one token, and a full stop stands behind each.
        words_BK = 1 + 2 * dense.places([pictures[i].names for i in rows], asked)
        truth_BK4 = dense.stacked([truth[i] for i in rows])
        cells = [(math.ceil(width / stride), math.ceil(height / stride)) for stride in STRIDES]
        places_BP2 = torch.cat([dense.grid(*one) for one in cells]).expand(BATCH, -1, -1)
        found = output.enc_outputs_class, output.enc_outputs_coord_logits.sigmoid(), places_BP2
        queries_BQ2 = output.init_reference_points[..., :2].detach()
        return dense.loss(*found, truth_BK4, words_BK) + dense.loss(
            output.logits, output.pred_boxes, queries_BQ2, truth_BK4, words_BK
        )

    return loss_at


def _asked(names: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Names of a picture among some that are not in it, in any order."""
    others = [name for name in WORDS if name not in names]
    more = rng.permutation(others)[: rng.integers(len(others) + 1)]
    return [str(name) for name in rng.permutation([*names, *more])]
