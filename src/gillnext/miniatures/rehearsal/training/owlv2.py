"""A miniature OWLv2 (Minderer et al. 2023): each patch of a square picture answers for what it lies in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.rehearsal.training import dense, likeliest
from gillnext.miniatures.rehearsal.training.scenes import SEED, WORDS, Picture
from gillnext.runtime import seeds

TITLE, LOOKS = "OWLv2", "square pictures"
BY, BOX, NAMES = likeliest.BY, likeliest.BOX, list(WORDS.values())
SIZE, PATCH = 64, 8
STEPS, BATCH, LR, SCENES = 800, 16, 1e-3, 1_500


def make() -> tuple[Any, Any]:
    """An untrained model; the library's initialisation, for hundreds of millions of pictures, learns nothing here."""
    model, processor = small_zero_shot.owlv2(WORDS.values(), SIZE, PATCH, width=96, layers=3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "token_embedding" in name or "position_embedding" in name:
                weight.normal_(0, 0.5)
            elif weight.ndim == 2:
                torch.nn.init.xavier_uniform_(weight)
        model.class_head.logit_shift.bias.fill_(-3.0)
        model.class_head.logit_scale.bias.fill_(4.0)
    return model, processor


def view(picture: Picture) -> Image.Image:
    """The picture squeezed into a square, as a base that draws in one size has it."""
    return picture.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def measures(folder: Path, seen: list[Picture], held_out: list[Picture]) -> tuple[Any, float, str]:
    """The network in `folder`, the share of held-out objects whose likeliest box is right, and its thresholds."""
    return likeliest.measures(folder, seen, held_out, view)


def losses(model: Any, processor: Any, pictures: list[Picture]) -> Callable[[int], Tensor]:
    """The loss of a step, each picture asked for all names."""
    pixels_NCHW = processor.image_processor(images=[view(one) for one in pictures], return_tensors="pt")["pixel_values"]
    read = processor.tokenizer(list(WORDS.values()), padding="max_length", max_length=16, return_tensors="pt")
    truth_NK4 = dense.stacked([picture.boxes for picture in pictures])
    words_NK = dense.places([picture.names for picture in pictures], [list(WORDS)] * len(pictures))
    places_BP2 = dense.grid(SIZE // PATCH, SIZE // PATCH).expand(BATCH, -1, -1)

    def loss_at(step: int) -> Tensor:
        rows = torch.from_numpy(seeds.rng("owlv2", SEED, step).choice(len(pictures), BATCH, replace=False))
        text = {key: read[key].repeat(BATCH, 1) for key in ("input_ids", "attention_mask")}
        output = model(pixel_values=pixels_NCHW[rows], **text)
        return dense.loss(output.logits, output.pred_boxes, places_BP2, truth_NK4[rows], words_NK[rows])

    return loss_at
