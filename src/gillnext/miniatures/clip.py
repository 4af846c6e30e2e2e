"""The image-text scorer: a small ChineseCLIPModel trained contrastively on a stream of its own.

Yang et al. 2022, "Chinese CLIP". The saved folder is a Hugging Face one: `ChineseCLIPModel.from_pretrained` and
`ChineseCLIPProcessor.from_pretrained` read it, as they read the real Chinese-CLIP.

    gillnext clip --config config.yaml --out results/demo/models/clip
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessor,
    ChineseCLIPModel,
    ChineseCLIPProcessor,
)

from gillnext.config import Config, arguments
from gillnext.instruments.image_text import pooled
from gillnext.miniatures import degrade
from gillnext.miniatures.supervision import box_class_maps, split
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.corpus import Corpus
from gillnext.miniatures.world.objects import of
from gillnext.miniatures.world.scenes import SIZE
from gillnext.runtime import files, seeds, training

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LENGTH = 64  # longest caption in tokens
HELD_OUT = 256  # scenes after the training corpus, for the score in training.json
PATCH = 8  # pixels
MEAN, STD = 0.5, 0.25

# Letters of shapes: B pairs, C channels, H rows, W columns, L tokens, E embedding width, P patches, D hidden width.


def make_processor(captions: list[str], size: int = SIZE) -> ChineseCLIPProcessor:
    """Image processor for pictures of `size` pixels a side and a BERT tokenizer of the captions' characters."""
    characters = sorted({character for caption in captions for character in caption if not character.isspace()})
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *characters])}
    tokenizer = BertTokenizer(vocab=vocabulary, model_max_length=LENGTH)
    images = ChineseCLIPImageProcessor(
        do_resize=True, size={"height": size, "width": size}, do_center_crop=False, do_normalize=True,
        image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True,
    )  # fmt: skip
    return ChineseCLIPProcessor(image_processor=images, tokenizer=tokenizer)


def make_model(vocabulary: int, size: int = SIZE) -> ChineseCLIPModel:
    """An untrained ChineseCLIPModel of miniature size."""
    text = {
        "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 4, "max_position_embeddings": LENGTH, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "type_vocab_size": 1,
    }  # fmt: skip
    vision = {
        "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 3, "num_attention_heads": 4,
        "image_size": size, "patch_size": PATCH, "projection_dim": 64,
    }  # fmt: skip
    return ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=64))


def tokenise(processor: ChineseCLIPProcessor, captions: list[str]) -> dict[str, Tensor]:
    """Token ids and mask (B, L), padded to the longest."""
    tokens = processor.tokenizer(captions, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def embed_images(model: ChineseCLIPModel, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Unit embeddings (B, E) of normalised pictures, and the patches' hidden states (B, P, D)."""
    seen = model.vision_model(pixel_values=pixels_BCHW)
    return F.normalize(model.visual_projection(seen.pooler_output), dim=-1), seen.last_hidden_state[:, 1:]


def embed_texts(model: ChineseCLIPModel, tokens: dict[str, Tensor]) -> Tensor:
    """Unit embeddings (B, E) of tokenised captions."""
    return F.normalize(pooled(model.get_text_features(**tokens)), dim=-1)


@torch.inference_mode()
def validate(model: ChineseCLIPModel, processor: ChineseCLIPProcessor, data: Corpus, seed: int) -> dict[str, float]:
    """Image-to-caption accuracy: the own caption against 15 drawn from scenes with another set of classes."""
    device = model.device
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float().div(255).sub(MEAN).div(STD)
    image_BE, _ = embed_images(model, pixels.to(device))
    text_BE = embed_texts(model, {k: v.to(device) for k, v in tokenise(processor, data.captions).items()})
    similarity = (image_BE @ text_BE.T).cpu().numpy()
    right = []
    for i, scene in enumerate(data.scenes):
        others = [j for j, other in enumerate(data.scenes) if set(other.names) != set(scene.names)]
        rng = seeds.rng("clip", "candidates", seed, i)
        drawn = rng.choice(others, min(15, len(others)), replace=False)
        right.append(similarity[i, i] > similarity[i, drawn].max())
    return {"n": len(right), "accuracy_of_16": float(np.mean(right))}


def train(config: Config, out: Path) -> dict[str, float]:
    """Train the scorer into the folder `out`; returns its score on held-out scenes of its stream."""
    training.setup(config.run.threads, config.run.device)
    settings, seed, device = config.clip, config.run.seed, config.run.device
    objects = of(config)
    learn, held_out = split(corpus.make(seed, "clip", settings.corpus + HELD_OUT, objects), settings.corpus)
    processor = make_processor(learn.captions, objects.size)
    torch.manual_seed(seeds.key("clip", seed) % 2**32)
    model: Any = make_model(len(processor.tokenizer), objects.size)
    model.to(device).train()
    tokens = tokenise(processor, learn.captions)
    cells = box_class_maps(learn, objects.size // PATCH)
    head = nn.Linear(model.config.vision_config.hidden_size, len(objects.kinds) + 1).to(device)  # for training alone
    parameters = [*model.parameters(), *head.parameters()]

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("clip", "batch", seed, step)
        chosen = rng.choice(len(learn.captions), settings.batch, replace=settings.batch > len(learn.captions))
        images_BCHW = degrade.degrade(learn.images[chosen], rng, jpegs=0.1, blurs=0.1, noisy=True)
        image_BE, patch_BPD = embed_images(model, ((images_BCHW - MEAN) / STD).to(device))
        longest = int(tokens["attention_mask"][chosen].sum(1).max())
        text_BE = embed_texts(model, {k: v[chosen, :longest].to(device) for k, v in tokens.items()})
        there = F.cross_entropy(head(patch_BPD).flatten(0, 1), cells[chosen].flatten().to(device))
        return there + contrastive(image_BE, text_BE, model.logit_scale, [learn.scenes[i].names for i in chosen])

    work = out.with_name(out.name + ".work")
    training.train(
        "clip", parameters, loss_at, steps=settings.steps, lr=settings.lr, work=work,
        settings=[dataclasses.asdict(settings), seed],
    )  # fmt: skip
    scores = validate(model.eval(), processor, held_out, seed)
    with files.atomic(out) as temporary:
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        files.write_json(temporary / "training.json", {"held_out": scores})
    shutil.rmtree(work, ignore_errors=True)
    return scores


def contrastive(image_BE: Tensor, text_BE: Tensor, logit_scale: Tensor, names: list[tuple[str, ...]]) -> Tensor:
    """CLIP's symmetric cross-entropy; pairs that name the same set of objects share the probability."""
    logits = logit_scale.exp().clamp(max=100) * image_BE @ text_BE.T
    sets = [frozenset(n) for n in names]
    same = torch.tensor([[float(a == b) for b in sets] for a in sets], device=logits.device)
    share = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config and --out."""
    arguments.add_config(parser)
    arguments.add_out(parser, "folder of the scorer: a ChineseCLIPModel with its processor")


def main(args: argparse.Namespace) -> None:
    scores = train(arguments.config(args), args.out)
    print(f"clip: held-out accuracy among 16 captions {scores['accuracy_of_16']:.3f}", file=sys.stderr)
