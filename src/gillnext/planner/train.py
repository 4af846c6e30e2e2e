"""Train the layout planner: a small Qwen2ForCausalLM from captions to plans (`planner.format`).

    gillnext planner --config config.yaml --layouts results/demo/layouts/*.jsonl --out results/demo/models/planner

The loss is that of the plan's tokens, and with a weight of 0.3 that of the caption's, from which a small model learns
sooner how a caption refers back to what it has named. Objects come in the order in which the caption names them; a
quarter of a step's layouts is mirrored along each axis, together with their words of side, where that is possible.
Layouts that lack an object of their caption are left out.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.language import batching, model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.planner import augment
from gillnext.planner import format as plan_format
from gillnext.planner.decode import nouns_in, prompt
from gillnext.planner.format import ordered
from gillnext.runtime import files, seeds, training
from gillnext.runtime.errors import UserError

SPREAD = 2.0  # grid steps
CAPTION_SHARE = 0.3  # weight of the captions' own language-model loss
MIRRORED = 0.25  # share of a step's layouts that are mirrored, for each axis


def usable(found: Iterable[Layout], most: int = MAX_BOXES) -> tuple[list[Layout], list[str], dict[str, int]]:
    """Layouts fit for training, the nouns that they name, and counts of the ones left out by reason."""
    kept, counts = list(found), Counter[str]()
    nouns = sorted({n for layout in kept for n in layout.names if plan_format.is_name(n)})
    good = []
    for layout in kept:
        if not layout.names:
            counts["no_objects"] += 1
        elif len(layout.names) > most or not set(layout.names) <= set(nouns):
            counts["too_many_or_long"] += 1
        elif set(nouns_in(layout.caption, nouns)) - set(layout.names):
            counts["object_missing"] += 1
        else:
            good.append(ordered(layout))
    return good, nouns, {"layouts": len(kept), "used": len(good), **counts}


def mirrored(layout: Layout, rng: np.random.Generator) -> Layout:
    """The layout, mirrored along each axis with probability MIRRORED where its caption allows it."""
    for axis in (0, 1):
        if rng.random() < MIRRORED:
            layout = augment.mirror(layout, axis) or layout
    return ordered(layout)


def encode(tokenizer: PreTrainedTokenizerBase, layout: Layout) -> tuple[list[int], int]:
    """Token ids of prompt, plan and END, and how many of them are the prompt."""
    asked = tokenizer(prompt(layout.caption)).input_ids
    answer = tokenizer(plan_format.write(layout.names, layout.boxes, plan_format.GRID)).input_ids
    return [*asked, *answer, tokenizer.eos_token_id], len(asked)


def make_tokenizer(found: Sequence[Layout], nouns: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer for these captions and for plans, to which nouns, tags and the grid's numbers are one token each."""
    texts = [prompt(x.caption) for x in found] + ["左右上下"]
    return train_tokenizer(texts, vocabulary=2500, special=[*plan_format.tokens(), *nouns])


def soft_targets(tokenizer: PreTrainedTokenizerBase, spread: float) -> torch.Tensor:
    """(V, V): what each token should be predicted as: itself, and for numbers of the grid their neighbours as well.

    Neighbours get a Gaussian's weight of standard deviation `spread` (grid steps): where an object goes is loose, and
    a target that says so teaches from fewer layouts.
    """
    targets_VV = torch.eye(len(tokenizer))
    for ids in plan_format.grid_tokens():
        index = torch.tensor(tokenizer.convert_tokens_to_ids(ids))
        apart = torch.arange(len(index))[:, None] - torch.arange(len(index))
        weights = torch.exp(-0.5 * (apart / spread) ** 2)
        targets_VV[index[:, None], index] = weights / weights.sum(1, keepdim=True)
    return targets_VV


def plan_loss(
    network: Any, pad: int, encoded: Sequence[tuple[list[int], int]], targets_VV: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of the plans' tokens (`encode`) against `soft_targets`, and a share of the captions' own."""
    tokens, prompts = [t for t, _ in encoded], [n for _, n in encoded]
    logits_BTV = network(**batching.inputs(tokens, pad, network.device), use_cache=False).logits[:, :-1]
    every_BT = batching.labels([1] * len(tokens), tokens).to(logits_BTV.device)[:, 1:]
    plans_BT = batching.labels(prompts, tokens).to(logits_BTV.device)[:, 1:]
    plan, caption = plans_BT != batching.IGNORE, (plans_BT == batching.IGNORE) & (every_BT != batching.IGNORE)
    return F.cross_entropy(logits_BTV[plan], targets_VV[plans_BT[plan]]) + CAPTION_SHARE * F.cross_entropy(
        logits_BTV[caption], every_BT[caption]
    )


def train(config: Config, paths: Sequence[Path], out: Path) -> Path:
    """Train on the layouts of `paths` and save a Hugging Face folder with planner.json (nouns, counts)."""
    settings, seed = config.planner, config.run.seed
    training.setup(config.run.threads, config.run.device)
    found, nouns, counts = usable(layout for path in paths for layout in layouts.read(path))
    if not found:
        raise UserError(
            f"no layout to train on: {counts}",
            where=", ".join(map(str, paths)),
            remedy="look at the annotation counts, and at annotate.threshold",
        )
    tokenizer = make_tokenizer(found, nouns)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="planner", seed=seed
    )
    network = model.move(network, config.run.device).train()
    targets_VV = soft_targets(tokenizer, SPREAD).to(config.run.device)

    def loss_at(step: int) -> torch.Tensor:
        rng = seeds.rng("planner", seed, step)
        rows = rng.integers(len(found), size=settings.batch)
        encoded = [encode(tokenizer, mirrored(found[int(i)], rng)) for i in rows]
        return plan_loss(network, tokenizer.pad_token_id, encoded, targets_VV)

    work = out.with_name(out.name + ".work")
    training.train(
        "planner", list(network.parameters()), loss_at,
        steps=settings.steps, lr=settings.lr, work=work,
        settings=[replace(settings, test=0), seed, *map(files.sha256, paths)],
    )  # fmt: skip
    notes = {"nouns": nouns, "parameters": model.parameters(network), **counts}
    model.save(network.eval(), tokenizer, out, notes, "planner")
    shutil.rmtree(work, ignore_errors=True)
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--layouts", type=Path, nargs="+", required=True, metavar="JSONL", help="annotated layouts to train on"
    )
    add_out(parser, "folder of the planner (model, tokenizer, planner.json)")


def main(args: argparse.Namespace) -> None:
    train(read_config(args), args.layouts, args.out)
