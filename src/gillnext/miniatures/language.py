"""The frozen language model of the demo's end-to-end GILL: a small Qwen2ForCausalLM that has read its conversations.

    gillnext language --config config.yaml --conversations results/demo/supplement/conversations --out models/language

It learns to go on from the first turns of training conversations, and to say what their picture then holds
(`miniatures.retelling`), as a published language model could. Its texts are a conversation, a line break, a retelling
and END, or a caption of the world and END. The loss is the cross-entropy of what ends a text, and with a weight of
`READING` that of the conversation before it.

language.json beside the model tells, of validation conversations that it has not read, the perplexity of their text,
and of which share a greedy retelling names exactly the objects in the picture; chance is another one's retelling.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from gillnext import conversations
from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.conversations import Conversation, text_of
from gillnext.language import batching, model
from gillnext.language.lengths import by_length
from gillnext.language.tokenizer import train_tokenizer
from gillnext.layouts import Layout
from gillnext.miniatures.retelling import MARKS, Retelling, read
from gillnext.miniatures.world import captions
from gillnext.miniatures.world.objects import Objects, of
from gillnext.planner.format import ordered
from gillnext.runtime import files, provenance, seeds, training
from gillnext.runtime.errors import UserError

READING = 0.3  # weight of the conversation's own tokens
SHARES = {"story": 0.4, "dialogue": 0.4, "caption": 0.2}  # of a step's texts
ALONE = 0.5  # share of captions that nothing follows
GROUP = 8  # texts of about one length that go through the network together


class Passage(NamedTuple):
    """A text, what the picture then shows with its names in the order of mention, and of which kind it is."""

    text: str
    shown: Layout
    kind: str


def passages(conversation: Conversation) -> Iterator[Passage]:
    """The texts of a conversation's first turns, up to each turn with a known picture."""
    for k, turn in enumerate(conversation.turns, 1):
        if turn.layout:
            shown = ordered(turn.layout) if conversation.kind == "caption" else turn.layout
            yield Passage(text_of(conversation.turns[:k]), shown, conversation.kind)


def world_captions(seed: int, count: int, objects: Objects) -> Iterator[Passage]:
    """Captions of `count` scenes of the stream "language", half naming, half spatial where a scene allows it."""
    for i in range(count):
        scene, rng = objects.sample(seed, "language", i), seeds.rng("language-caption", seed, i)
        stated = captions.spatial(scene, rng, "world") if i % 2 else None
        text = stated[0] if stated else captions.naming(scene, rng)
        boxes = tuple(thing.box for thing in scene.objects)
        yield Passage(text, ordered(Layout(text, scene.names, boxes)), "caption")


class Texts:
    """Training texts by kind; `of(step)` gives those of a step, each as its passage and what follows."""

    def __init__(self, found: Sequence[Passage], objects: Objects, seed: int, batch: int) -> None:
        self.by_kind = {kind: [p for p in found if p.kind == kind] for kind in SHARES}
        self.retelling, self.seed, self.batch = Retelling(objects.kinds), seed, batch
        kinds = [kind for kind, rows in self.by_kind.items() if rows]
        self.shares = np.array([SHARES[kind] for kind in kinds]) / sum(SHARES[kind] for kind in kinds)
        self.kinds = kinds

    def of(self, step: int) -> list[tuple[str, str]]:
        """Passage ("" where a caption stands alone) and what follows it, for each text of a step."""
        rng, texts = seeds.rng("language", self.seed, step), []
        for kind in rng.choice(self.kinds, size=self.batch, p=self.shares):
            rows = self.by_kind[str(kind)]
            passage = rows[int(rng.integers(len(rows)))]
            if kind == "caption" and rng.random() < ALONE:
                texts.append(("", passage.text))
            else:
                texts.append((passage.text + "\n", self.retelling.write(passage.shown, rng)))
        return texts


def make_tokenizer(texts: Texts, nouns: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer to which each noun, and each frequent character, is one token."""
    samples = (a + b for step in range(200) for a, b in texts.of(step))
    every = (passage.text for rows in texts.by_kind.values() for passage in rows)
    return train_tokenizer([*every, *samples, MARKS * 2], vocabulary=2500, special=nouns)


def loss_of(network: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, str]]) -> torch.Tensor:
    """The mean cross-entropy of what follows, and `READING` times that of the passages."""
    encoded = [(tokenizer(a).input_ids, [*tokenizer(b).input_ids, tokenizer.eos_token_id]) for a, b in texts]
    sums, counts = [torch.zeros(()), torch.zeros(())], [0, 0]
    for rows in by_length([len(a) + len(b) for a, b in encoded], GROUP):
        tokens = [encoded[i][0] + encoded[i][1] for i in rows]
        given = batching.inputs(tokens, tokenizer.pad_token_id, network.device)
        logits = network(**given, use_cache=False).logits[:, :-1]
        every = batching.labels([1] * len(rows), tokens)[:, 1:].to(network.device)
        later = batching.labels([max(len(encoded[i][0]), 1) for i in rows], tokens)[:, 1:].to(network.device)
        follows = later != batching.IGNORE
        for k, chosen in enumerate((follows, ~follows & (every != batching.IGNORE))):
            sums[k] = sums[k].to(network.device) + F.cross_entropy(logits[chosen], every[chosen], reduction="sum")
            counts[k] += int(chosen.sum())
    return sums[0] / max(counts[0], 1) + READING * sums[1] / max(counts[1], 1)


@torch.inference_mode()
def perplexity(network: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> tuple[float, int]:
    """exp of the mean cross-entropy of the texts' tokens but their first, and how many these are."""
    tokens, total, count = [tokenizer(text).input_ids for text in texts], 0.0, 0
    for rows in by_length([len(t) for t in tokens], 32):
        some = [tokens[i] for i in rows]
        logits = network(**batching.inputs(some, tokenizer.pad_token_id, network.device), use_cache=False).logits
        labels = batching.labels([1] * len(some), some)[:, 1:].to(network.device)
        ignore, mean = batching.IGNORE, logits[:, :-1].flatten(0, 1)
        total += float(F.cross_entropy(mean, labels.flatten(), ignore_index=ignore, reduction="sum"))
        count += int((labels != ignore).sum())
    return math.exp(total / count), count


@torch.inference_mode()
def retold(network: Any, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The names of a greedy list of what is there, after each text."""
    asked = [tokenizer(f"{text}\n{MARKS[0]}").input_ids for text in texts]
    answers: list[tuple[str, ...]] = [()] * len(texts)
    for rows in by_length([len(a) for a in asked], 64):
        given = batching.inputs([asked[i] for i in rows], tokenizer.pad_token_id, network.device)
        tokens = network.generate(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], do_sample=False,
            max_new_tokens=4 * len(MARKS), pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        )[:, given["input_ids"].shape[1] :]  # fmt: skip
        for i, text in zip(rows, tokenizer.batch_decode(tokens, skip_special_tokens=True), strict=True):
            answers[i] = read(text)
    return answers


def scores(network: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Conversation]) -> dict[str, Any]:
    """Perplexity of conversations, and retelling accuracy of each kind beside chance, with n."""
    found: dict[str, Any] = {}
    value, tokens = perplexity(network, tokenizer, [text_of(row.turns) for row in rows])
    found["perplexity"] = {"value": value, "tokens": tokens}
    for kind in dict.fromkeys(row.kind for row in rows):
        every = [list(passages(row)) for row in rows if row.kind == kind]
        some, last = [passage for found in every for passage in found], np.cumsum([len(found) for found in every]) - 1
        answers = [set(names) for names in retold(network, tokenizer, [passage.text for passage in some])]
        truths = [set(passage.shown.names) for passage in some]
        found[kind] = {
            "exact_set": float(np.mean([answers[i] == truths[i] for i in last])),
            "chance": float(np.mean([answers[i] == truths[j] for i, j in zip(last, np.roll(last, 1), strict=True)])),
            "n": len(last),
            "exact_set_after_each_picture": float(np.mean([a == b for a, b in zip(answers, truths, strict=True)])),
            "pictures": len(some),
        }
    return found


def train(config: Config, folder: Path, out: Path) -> dict[str, Any]:
    """Train on the conversations of `folder` and save a Hugging Face folder with language.json; returns the scores."""
    settings, seed, objects = config.gill.language_model, config.run.seed, of(config)
    training.setup(config.run.threads, config.run.device)
    rows = conversations.read(folder / "train.jsonl")
    found = [passage for row in rows for passage in passages(row)]
    if not found:
        raise UserError("no turn has a caption and objects", where=str(folder), remedy="make it by `conversations`")
    found += world_captions(seed, settings.corpus, objects)
    texts = Texts(found, objects, seed, settings.batch)
    tokenizer = make_tokenizer(texts, objects.names)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="language", seed=seed
    )
    network = model.move(network, config.run.device)
    network.train()
    work = out.with_name(out.name + ".work")
    training.train(
        "language", list(network.parameters()), lambda step: loss_of(network, tokenizer, texts.of(step)),
        steps=settings.steps, lr=settings.lr, weight_decay=0.05, work=work,
        settings=[settings, seed, files.sha256(folder / "train.jsonl"), objects.names],
    )  # fmt: skip
    network.eval()
    notes = {
        "parameters": model.parameters(network),
        "texts": {kind: len(texts.by_kind[kind]) for kind in texts.kinds},
        "validation": scores(network, tokenizer, conversations.read(folder / "val.jsonl")),
        "conversations": files.sha256(folder / "train.jsonl"),
        "provenance": provenance.stamp(),
    }
    model.save(network, tokenizer, out, notes, "language")
    shutil.rmtree(work, ignore_errors=True)
    return notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--conversations", type=Path, required=True, metavar="FOLDER", help="folder of conversations")
    add_out(parser, "folder of the language model (model, tokenizer, language.json)")


def main(args: argparse.Namespace) -> None:
    train(read_config(args), args.conversations, args.out)
