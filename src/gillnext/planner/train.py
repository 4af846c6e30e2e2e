"""Train the layout planner: a causal language model from captions to plans (`planner.format`).

    gillnext planner --config config.yaml --layouts results/demo/layouts/*.jsonl --out results/demo/models/planner
    gillnext planner --config config.yaml --layouts layouts/*.jsonl --from models/Qwen2.5-0.5B-Instruct --out planner

Without `--from` a small Qwen2ForCausalLM is made. Its loss is that of the plan's tokens, and with a weight of 0.3 that
of the caption's, from which a small model learns sooner how a caption refers back to what it has named. A given model
can read: its loss is that of the plan's tokens alone (`planner.lora`).

Objects come in the order in which the caption names them; a quarter of a step's layouts is mirrored along each axis,
together with their words of side, where that is possible. Of layouts that lack an object of their caption,
`planner.incomplete` says whether they are left out (`planner.encode` for what they teach).

Letters: B texts, T tokens, V vocabulary, N tokens of plans.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.language import model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.planner import augment, lora, prompts
from gillnext.planner import format as plan_format
from gillnext.planner.encode import Batch, collate, encode
from gillnext.planner.format import ordered
from gillnext.planner.rows import Rows
from gillnext.planner.targets import Targets
from gillnext.runtime import contents, files, seeds, training
from gillnext.runtime.errors import UserError

SPREAD = 2.0  # of a number's neighbours in its target, grid steps
CAPTION_SHARE = 0.3  # weight of the captions' own language-model loss
MIRRORED = 0.25  # share of a step's layouts that are mirrored, for each axis


def mirrored(layout: Layout, rng: np.random.Generator) -> Layout:
    """The layout, mirrored along each axis with probability MIRRORED where its caption allows it."""
    for axis in (0, 1):
        if rng.random() < MIRRORED:
            layout = augment.mirror(layout, axis) or layout
    return ordered(layout)


def make_tokenizer(captions: Iterable[str], nouns: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer for these captions and for plans, to which nouns, tags and the grid's numbers are one token each."""
    texts = itertools.chain((prompts.line(caption) + "\n" for caption in captions), ["左右上下"])
    return train_tokenizer(texts, vocabulary=2500, special=[*plan_format.tokens(), *nouns])


def plan_loss(network: Any, batch: Batch, targets: Targets) -> torch.Tensor:
    """Cross-entropy of the plans' tokens against their targets, and a share of the captions' own."""
    logits_BTV = network(**batch.inputs, use_cache=False).logits[:, :-1]
    plan, caption, labels_BT = batch.plan_BT, batch.caption_BT, batch.labels_BT
    targets_NV = targets.dense(labels_BT[plan], batch.rows_BT[plan], logits_BTV.shape[-1])
    return F.cross_entropy(logits_BTV[plan], targets_NV) + CAPTION_SHARE * F.cross_entropy(
        logits_BTV[caption], labels_BT[caption]
    )


def make(config: Config, found: Rows) -> tuple[Any, PreTrainedTokenizerBase]:
    """A small network and its tokenizer, made for these layouts."""
    settings = config.planner
    tokenizer = make_tokenizer((found[i].layout.caption for i in range(len(found))), found.nouns)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="planner",
        seed=config.run.seed,
    )  # fmt: skip
    return model.move(network, config.run.device), tokenizer


def give(config: Config, folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """The language model of `folder`, with LoRA's factors to train."""
    network, tokenizer = lora.load(folder, config.run.device, training.TYPES[config.run.precision])
    return lora.wrap(network, config.planner.lora, config.run.seed, str(folder)), tokenizer


def train(config: Config, paths: Sequence[Path], out: Path, given: Path | None = None) -> Path:
    """Train on the layouts of `paths` and save a Hugging Face folder with planner.json (nouns, counts).

    With `given`, a folder of a causal LM, that is fine-tuned; else a small one is made.
    """
    settings, seed = config.planner, config.run.seed
    training.setup(config.run.threads, config.run.device)
    found = Rows(paths, settings)
    if not len(found):
        raise UserError(
            f"no layout to train on: {found.counts}",
            where=", ".join(map(str, paths)),
            remedy="look at the annotation counts, and at annotate.threshold and planner.incomplete",
        )
    network, tokenizer = give(config, given) if given else make(config, found)
    network.train()
    targets = Targets(tokenizer, SPREAD).to(config.run.device)

    def loss_at(step: int) -> torch.Tensor:
        rng = seeds.rng("planner", seed, step)
        examples = [found[int(i)] for i in rng.integers(len(found), size=settings.batch)]
        encoded = [encode(tokenizer, targets, mirrored(e.layout, rng), e.missing, e.complete) for e in examples]
        batch = collate(encoded, tokenizer.pad_token_id, config.run.device)
        return lora.loss(network, batch, targets) if given else plan_loss(network, batch, targets)

    work = out.with_name(out.name + ".work")
    base = [contents.sha256(given), config.run.precision] if given else []
    training.train(
        "planner", [p for p in network.parameters() if p.requires_grad], loss_at,
        steps=settings.steps, lr=settings.lora.lr if given else settings.lr, work=work,
        settings=[replace(settings, test=0), seed, *map(files.sha256, paths), *base],
    )  # fmt: skip
    notes = {"nouns": found.nouns, "parameters": model.parameters(network), **found.counts}
    if given:
        network = lora.merged(network, tokenizer)
        notes |= {"parameters": model.parameters(network), "base": base[0], "lora": asdict(settings.lora)}
    notes |= {"unlisted": True} if found.unlisted else {}
    notes |= {"boxes": settings.boxes} if settings.boxes != MAX_BOXES else {}
    model.save(network.eval(), tokenizer, out, notes, "planner")
    shutil.rmtree(work, ignore_errors=True)
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--layouts", type=Path, nargs="+", required=True, metavar="JSONL", help="annotated layouts to train on"
    )
    parser.add_argument(
        "--from", type=Path, metavar="FOLDER", dest="given",
        help="a causal language model that is fine-tuned with LoRA (planner.lora); without it a small one is made",
    )  # fmt: skip
    add_out(parser, "folder of the planner (model, tokenizer, planner.json)")


def main(args: argparse.Namespace) -> None:
    train(read_config(args), args.layouts, args.out, args.given)
