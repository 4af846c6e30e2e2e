"""Train the layout planner: a small Qwen2ForCausalLM from captions to plans (`planner.format`).

    gillnext planner --config config.yaml --layouts results/demo/layouts/*.jsonl --out results/demo/models/planner

The loss is that of the plan's tokens. Objects come in the order in which the caption names them; half of the layouts
of a step are mirrored together with their words of side where that is possible. Layouts that lack an object of their
caption are left out.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from gillnext import layouts
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.language import batching, model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import Layout
from gillnext.planner import augment
from gillnext.planner import format as plan_format
from gillnext.planner.decode import nouns_in, prompt
from gillnext.runtime import seeds, training
from gillnext.runtime.errors import UserError

MIRRORED = 0.25  # share of a step's layouts that are mirrored, for each axis


def ordered(layout: Layout) -> Layout:
    """The layout with its objects in the order of mention; objects of one name from left to right."""
    place = {name: (layout.caption.find(name) + 1) or 10**6 for name in layout.names}
    rows = sorted(zip(layout.names, layout.boxes, strict=True), key=lambda r: (place[r[0]], r[0], r[1]))
    return Layout(layout.caption, tuple(n for n, _ in rows), tuple(b for _, b in rows), layout.id)


def usable(found: Iterable[Layout], most: int = 8) -> tuple[list[Layout], list[str], dict[str, int]]:
    """Layouts fit for training, the nouns that they name, and counts of the ones left out by reason."""
    kept, counts = list(found), Counter[str]()
    nouns = sorted({n for layout in kept for n in layout.names if len(n) <= plan_format.MAX_NAME})
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


def train(config: Config, paths: Sequence[Path], out: Path) -> Path:
    """Train on the layouts of `paths` and save a Hugging Face folder with planner.json (nouns, counts)."""
    settings, seed = config.planner, config.run.seed
    training.setup(config.run.threads)
    found, nouns, counts = usable(layout for path in paths for layout in layouts.read(path))
    if not found:
        raise UserError(
            "no layout to train on", where=", ".join(map(str, paths)), remedy=f"see why the rows were left out: {counts}"
        )
    tokenizer = make_tokenizer(found, nouns)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="planner", seed=seed
    ).to(config.run.device)
    network.train()

    import os
    SOFT = {}
    sig = float(os.environ.get("SIG", "0"))
    if sig:
        V = len(tokenizer); W = torch.eye(V)
        for pre in ("", ","):
            ids = tokenizer.convert_tokens_to_ids([pre + plan_format.number(v) for v in range(0, 1001, plan_format.GRID)])
            n = len(ids); d = torch.arange(n)
            k = torch.exp(-0.5 * ((d[:, None] - d[None]) / sig) ** 2); k = k / k.sum(1, keepdim=True)
            W[torch.tensor(ids)[:, None], torch.tensor(ids)[None]] = k
        SOFT["w"] = W
    def loss_at(step: int) -> torch.Tensor:
        rng = seeds.rng("planner", seed, step)
        rows = rng.integers(len(found), size=settings.batch)
        encoded = [encode(tokenizer, mirrored(found[int(i)], rng)) for i in rows]
        tokens = [t for t, _ in encoded]
        given = batching.inputs(tokens, tokenizer.pad_token_id, network.device)
        targets_BT = batching.labels([n for _, n in encoded], tokens).to(network.device)
        logits = network(**given, use_cache=False).logits[:, :-1]
        targets = targets_BT[:, 1:]
        keep = targets != -100
        lg, tg = logits[keep], targets[keep]
        logp = lg.log_softmax(-1)
        W = SOFT.get("w")
        if W is None:
            return -logp.gather(1, tg[:, None]).mean()
        return -(logp * W[tg]).sum(1).mean()

    work = out.with_name(out.name + ".work")
    training.train("planner", list(network.parameters()), loss_at, steps=settings.steps, lr=settings.lr, work=work)
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
