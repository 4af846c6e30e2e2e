"""The frozen language model of the demo's end-to-end GILL: a small Qwen2ForCausalLM that has read its conversations.

    gillnext language --config config.yaml --conversations results/demo/supplement/conversations --out models/language

It learns to go on from the turns of training conversations, and to say what their picture then holds
(`miniatures.retelling`), as a published language model could. Its texts are a conversation, a line break, a retelling
and END, or a caption of the world and END. The loss is the cross-entropy of what ends a text, and with a weight of
`READING` that of the conversation before it.

A small model learns from a few million words what large ones learn from all that is written. So while it is trained
its state at the end of every turn is asked which kinds of objects are there by then, and where, by two linear heads
that are thrown away afterwards, as the demo's text encoder's is. A hundred steps with these heads knew more of what is
there than 400 without.

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
from torch import Tensor, nn
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
from gillnext.miniatures.retelling import MARKS, Retelling, read, third
from gillnext.miniatures.world import captions
from gillnext.miniatures.world.objects import Objects, of
from gillnext.planner.format import ordered
from gillnext.runtime import files, provenance, seeds, training
from gillnext.runtime.errors import UserError

READING = 0.3  # weight of the conversation's own tokens
THERE, THIRDS = 3.0, 0.3  # weights of what is there after each turn, and of where it is
WHOLE = 0.5  # share of conversations that are read to their end; of the others the end is drawn
SHARES = {"story": 0.4, "dialogue": 0.4, "caption": 0.2}  # of a step's texts
ALONE = 0.5  # share of captions that nothing follows
GROUP = 8  # texts of about one length that go through the network together


class Text(NamedTuple):
    """Turns, what is there after each of them (objects of different kinds, in the order of mention), and what is said
    of that at the end ("": nothing).
    """

    turns: tuple[str, ...]
    shown: tuple[Layout, ...]
    after: str = ""


class Passage(NamedTuple):
    """A text, what the picture then shows with its names in the order of mention, and of which kind it is."""

    text: str
    shown: Layout
    kind: str


def shown_by(conversation: Conversation) -> tuple[Layout, ...]:
    """What is there after each turn: its picture's objects, or of those of the last picture what has been named."""
    last, found = conversation.turns[-1].layout, list[Layout]()
    for k, turn in enumerate(conversation.turns, 1):
        layout, text = turn.layout or last or Layout("", (), ()), text_of(conversation.turns[:k])
        known = [i for i, name in enumerate(layout.names) if turn.layout or name in text]
        names, boxes = tuple(layout.names[i] for i in known), tuple(layout.boxes[i] for i in known)
        found.append(ordered(Layout(text if conversation.kind == "caption" else layout.caption, names, boxes)))
    return tuple(found)


def passages(conversation: Conversation) -> Iterator[Passage]:
    """The texts of a conversation's first turns, up to each turn with a known picture."""
    for k, (turn, shown) in enumerate(zip(conversation.turns, shown_by(conversation), strict=True), 1):
        if turn.layout:
            yield Passage(text_of(conversation.turns[:k]), shown, conversation.kind)


def world_captions(seed: int, count: int, objects: Objects) -> Iterator[Text]:
    """Captions of `count` scenes of the stream "language", half naming, half spatial where a scene allows it."""
    for i in range(count):
        scene, rng = objects.sample(seed, "language", i), seeds.rng("language-caption", seed, i)
        stated = captions.spatial(scene, rng, "world") if i % 2 else None
        text = stated[0] if stated else captions.naming(scene, rng)
        boxes = tuple(thing.box for thing in scene.objects)
        yield Text((text,), (ordered(Layout(text, scene.names, boxes)),))


class Texts:
    """Training texts by kind; `of(step)` gives those of a step."""

    def __init__(self, by_kind: dict[str, list[Text]], objects: Objects, seed: int, batch: int) -> None:
        self.by_kind = {kind: rows for kind, rows in by_kind.items() if rows}
        self.retelling, self.seed, self.batch = Retelling(objects.kinds), seed, batch
        self.kinds = list(self.by_kind)
        self.shares = np.array([SHARES[kind] for kind in self.kinds]) / sum(SHARES[kind] for kind in self.kinds)

    def of(self, step: int) -> list[Text]:
        """The first turns of some conversations, or all of them, each with what is said of them at the end."""
        rng, texts = seeds.rng("language", self.seed, step), []
        for kind in rng.choice(self.kinds, size=self.batch, p=self.shares):
            rows = self.by_kind[str(kind)]
            whole = rows[int(rng.integers(len(rows)))]
            ends = [k for k, shown in enumerate(whole.shown, 1) if shown.names]
            k = ends[-1] if rng.random() < WHOLE else ends[int(rng.integers(len(ends)))]
            silent = kind == "caption" and rng.random() < ALONE
            after = "" if silent else self.retelling.write(whole.shown[k - 1], rng)
            texts.append(Text(whole.turns[:k], whole.shown[:k], after))
        return texts


def make_tokenizer(texts: Texts, nouns: Sequence[str]) -> PreTrainedTokenizerBase:
    """A tokenizer to which each noun, and each frequent character, is one token."""
    samples = (text.after for step in range(200) for text in texts.of(step))
    every = ("\n".join(text.turns) + "\n" for rows in texts.by_kind.values() for text in rows)
    return train_tokenizer([*every, *samples, MARKS * 2], vocabulary=2500, special=nouns)


class Heads(nn.Module):
    """What the state at a turn's end is asked in training: which of K kinds are there, and in which third each stands
    from left to right, and from top to bottom.
    """

    def __init__(self, width: int, names: Sequence[str]) -> None:
        super().__init__()
        self.number = {name: i for i, name in enumerate(names)}
        self.there, self.thirds = nn.Linear(width, len(names)), nn.Linear(width, 2 * 3 * len(names))

    def loss(self, states_EH: Tensor, shown: Sequence[Layout]) -> Tensor:
        """The cross-entropies of both, weighted, of E ends."""
        there_EK = torch.zeros(len(shown), len(self.number))
        thirds_EK2 = torch.full((len(shown), len(self.number), 2), batching.IGNORE)
        for e, layout in enumerate(shown):
            for name, box in zip(layout.names, layout.boxes, strict=True):
                there_EK[e, self.number[name]] = 1
                thirds_EK2[e, self.number[name]] = torch.tensor(third(box))
        device = states_EH.device
        found_E23K = self.thirds(states_EH).unflatten(1, (2, 3, -1))
        wanted_E2K = thirds_EK2.transpose(1, 2).to(device)
        where = F.cross_entropy(found_E23K.flatten(0, 1), wanted_E2K.flatten(0, 1), ignore_index=batching.IGNORE)
        return THERE * F.binary_cross_entropy_with_logits(self.there(states_EH), there_EK.to(device)) + THIRDS * where


class Encoded(NamedTuple):
    """A text's tokens, how many are the conversation's, and the place of the last token of each turn."""

    tokens: list[int]
    read: int
    ends: list[int]


def encode(tokenizer: PreTrainedTokenizerBase, text: Text) -> Encoded:
    """Turn by turn: no token of such a tokenizer reaches over the end of one. Of a text that nothing follows the
    conversation ends it.
    """
    tokens, ends = list[int](), list[int]()
    line = tokenizer("\n").input_ids
    for k, turn in enumerate(text.turns):
        tokens += [*(line if k else []), *tokenizer(turn).input_ids]
        ends.append(len(tokens) - 1)
    after = [*line, *tokenizer(text.after).input_ids] if text.after else []
    return Encoded([*tokens, *after, tokenizer.eos_token_id], len(tokens) + len(line) if after else 1, ends)


def loss_of(network: Any, heads: Heads, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text]) -> Tensor:
    """The mean cross-entropy of what follows, `READING` times that of the conversations, and what the heads lose."""
    encoded, device = [encode(tokenizer, text) for text in texts], network.device
    sums, counts, states, shown = [torch.zeros((), device=device) for _ in range(2)], [0, 0], [], list[Layout]()
    for rows in by_length([len(one.tokens) for one in encoded], GROUP):
        tokens = [encoded[i].tokens for i in rows]
        given = batching.inputs(tokens, tokenizer.pad_token_id, device)  # padded on the left
        hidden_BTH = network.model(**given, use_cache=False).last_hidden_state
        logits = network.lm_head(hidden_BTH[:, :-1])
        every = batching.labels([1] * len(rows), tokens)[:, 1:].to(device)
        later = batching.labels([encoded[i].read for i in rows], tokens)[:, 1:].to(device)
        follows = later != batching.IGNORE
        for k, chosen in enumerate((follows, ~follows & (every != batching.IGNORE))):
            sums[k] = sums[k] + F.cross_entropy(logits[chosen], every[chosen], reduction="sum")
            counts[k] += int(chosen.sum())
        for b, i in enumerate(rows):
            before = hidden_BTH.shape[1] - len(encoded[i].tokens)
            states.append(hidden_BTH[b, [before + end for end in encoded[i].ends]])
            shown += texts[i].shown
    words = sums[0] / max(counts[0], 1) + READING * sums[1] / max(counts[1], 1)
    return words + heads.loss(torch.cat(states), shown)


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
    rows = [row for row in conversations.read(folder / "train.jsonl") if row.turns[-1].layout]
    if not rows:
        raise UserError("no turn has a caption and objects", where=str(folder), remedy="make it by `conversations`")
    by_kind: dict[str, list[Text]] = {kind: [] for kind in SHARES}
    for row in rows:
        by_kind[row.kind].append(Text(tuple(turn.text for turn in row.turns), shown_by(row)))
    by_kind["caption"] += world_captions(seed, settings.corpus, objects)
    texts = Texts(by_kind, objects, seed, settings.batch)
    tokenizer = make_tokenizer(texts, objects.names)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="language", seed=seed
    )
    network = model.move(network, config.run.device)
    network.train()
    torch.manual_seed(seeds.key("language", "heads", seed))
    heads = Heads(settings.hidden, objects.names).to(config.run.device)
    work = out.with_name(out.name + ".work")
    training.train(
        "language", [*network.parameters(), *heads.parameters()],
        lambda step: loss_of(network, heads, tokenizer, texts.of(step)),
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
