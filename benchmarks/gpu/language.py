"""Rates of the language models on one GPU: the filter's classifier, the annotators, the planner.

    python benchmarks/gpu/language.py --out language.json --seconds 150

Random weights of the published shapes, made on the GPU in bfloat16; prompts, batches and steps are this package's own.
Sizes that a rate rests on (tokens of a caption, of an answer, of a plan; pixels of a picture) are those that
`gillnext.memory.cost` assumes. `--toy` takes tiny networks of the same classes.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from language_pictures import annotation, zero_shot
from language_record import Record, Utilisation, spent
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, Qwen2Config

from gillnext.config.model import Lora
from gillnext.filter import prompts as filter_prompts
from gillnext.filter.classifier import Classifier
from gillnext.language.tokenizer import train_tokenizer
from gillnext.memory import cost
from gillnext.memory.published import QWEN, SMALL_QWEN
from gillnext.miniatures.networks.small_qwen2_vl import SPECIAL, TEMPLATE
from gillnext.miniatures.world import captions as world
from gillnext.miniatures.world import heldout, noise, scenes
from gillnext.planner import decode, lora, prompts
from gillnext.planner.encode import collate, encode
from gillnext.planner.format import ordered
from gillnext.planner.targets import Targets
from gillnext.planner.train import SPREAD, mirrored
from gillnext.runtime import seeds, training

SEED = 20260
TYPE = torch.bfloat16
TOY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 4096,
}  # fmt: skip
ROLES = ("system", "user", "assistant")
PIECES = ("</", "><", ">[", "]</", "obj", "box")  # of a plan, as Qwen's own tokenizer cuts it
BATCHES = (64, 256, 1024)
RANDOM = "random weights"


class TimeUp(Exception):
    """A piece's time is over while it trains."""


def assumptions() -> argparse.Namespace:
    """Tokens and pixels that costs are told for."""
    parser = argparse.ArgumentParser()
    cost.add_assumptions(parser)
    return parser.parse_args([])


def sentence(i: int) -> str:
    """A short text of the drawn world: what a scene shows, or what the web writes."""
    rng = seeds.rng("gpu-language", i)
    return noise.noise(rng, "world") if i % 2 else world.naming(scenes.sample(SEED, "gpu-language", i), rng)


def make_tokenizer() -> PreTrainedTokenizerBase:
    """A byte-level tokenizer of Qwen2's class with Qwen's chat template.

    Characters are tokens; of the instructions, pairs of characters are, so that prompts are about as long as the
    published tokenizer makes them.
    """
    fixed = [filter_prompts._INSTRUCTION, prompts.INSTRUCTION, *(text for text, _ in filter_prompts._EXAMPLES)]
    pairs = dict.fromkeys(pair for text in fixed for pair in re.findall(r"[\u4e00-\u9fff]{2}", text))
    texts = [*fixed, *filter_prompts.LABELS.values(), *map(sentence, range(2000))]
    tokenizer = train_tokenizer([*texts, *texts], 6000, special=[*ROLES, *PIECES, *pairs])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[:2])})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_captions(count: int, tokenizer: PreTrainedTokenizerBase, tokens: int) -> list[str]:
    """Captions of half to one and a half times `tokens` tokens, each length as often as any other."""
    found = []
    for i in range(count):
        length = int(seeds.rng("gpu-captions", i).integers(tokens // 2, 3 * tokens // 2, endpoint=True))
        text, first, ends = "", i * 40, list[tuple[int, int]]()
        while len(ends) < length:
            text, first = f"{text}，{sentence(first)}".lstrip("，"), first + 1
            ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        found.append(text[: ends[length - 1][1]])
    return found


def network_of(shape: dict[str, Any], record: Record) -> Any:
    """A causal language model of `shape` on the device, with random numbers."""
    torch.manual_seed(SEED)
    shape = TOY | {"tie_word_embeddings": shape["tie_word_embeddings"]} if record.toy else shape
    with torch.device(record.device):
        return AutoModelForCausalLM.from_config(Qwen2Config(**shape), dtype=TYPE).eval()


def filtering(record: Record, tokenizer: PreTrainedTokenizerBase) -> None:
    """Captions a second of the classifier: with the prompts' beginning computed once, without, and one by one."""
    count, batches, few = (16, (2, 4, 8), 2) if record.toy else (1024, BATCHES, 48)
    assumed = assumptions()
    captions = make_captions(count, tokenizer, assumed.caption)
    network = network_of(QWEN, record)
    classifier, whole = Classifier(network, tokenizer), Classifier(network, tokenizer)
    vars(whole)["_beginning"] = None  # in place of the cached property: prompts are read whole
    began = time.perf_counter()
    asked = classifier.encode(captions)
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        beginning = classifier._beginning
    length = len(beginning.tokens) if beginning else 0
    record.put(
        "filter, prompts", captions=count, prompt_tokens=mean(map(len, asked)), shared_tokens=length,
        caption_tokens=mean(len(tokenizer(c, add_special_tokens=False).input_ids) for c in captions),
        assumed_caption_tokens=assumed.caption, assumed_shared_tokens=assumed.instruction,
        cpu_seconds_of_templates_and_tokens=seconds, attention=network.config._attn_implementation,
    )  # fmt: skip
    notes: dict[str, Any] = {"dtype": "bfloat16", "model": f"Qwen2.5-7B, {RANDOM}"}

    def loop() -> None:
        for tokens in asked[:few]:
            ids = torch.tensor([tokens], device=network.device)
            with torch.inference_mode():
                network.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                )  # fmt: skip

    record.timed("filter, one by one", loop, few, "captions", expect=8, batch=1, prefix="none", **notes)
    for size in batches[::-1]:
        run = partial(classifier.log_likelihoods, captions, size)
        warm = partial(classifier.log_likelihoods, captions[:size], size)
        name = f"filter, batch {size}, shared prefix"
        record.timed(name, run, count, "captions", expect=7, warm=warm, batch=size, prefix="shared", **notes)
    for size in (batches[1], batches[0], batches[2]):
        part, name = captions[: max(size, count // 4)], f"filter, batch {size}, whole prompts"
        run, warm = (partial(whole.log_likelihoods, rows, size) for rows in (part, part[: batches[0]]))
        again = 1 if size == batches[2] else 2
        record.timed(
            name, run, len(part), "captions", expect=5, repeats=again, warm=warm, batch=size, prefix="none", **notes
        )
    with record.attempt("filter, agreement"):
        one, other = (c.log_likelihoods(captions[: batches[0]], batches[0]) for c in (classifier, whole))
        same = float((one.argmax(1) == other.argmax(1)).mean())
        record.put("filter, agreement", largest_difference=float(abs(one - other).max()), same_labels=same)


def layouts_of(tokenizer: PreTrainedTokenizerBase, targets: Targets, tokens: int, count: int) -> list[Any]:
    """Of the world's layouts those whose caption and plan together come nearest to `tokens` tokens."""
    every = [ordered(layout) for layout in heldout.naming(SEED, "gpu-language", 8 * count)]
    return sorted(every, key=lambda one: abs(len(encode(tokenizer, targets, one).tokens) - tokens))[:count]


def steps(record: Record, name: str, network: Any, batch: int, layouts: Sequence[Any], kit: Any, **notes: Any) -> None:
    """LoRA steps a second, the planner's own step by `training.train`: encoding, loss, backward pass, optimiser."""
    tokenizer, targets = kit
    stamps, tokens, most = list[float](), list[int](), 5 if record.toy else 30
    until = spent() + record.left() * 0.3

    def loss_at(step: int) -> torch.Tensor:
        stamps.append(time.perf_counter())  # the step before has ended: its loss was read
        if spent() > until and len(stamps) > 4:
            raise TimeUp
        rng = seeds.rng("planner", SEED, step)
        chosen = [layouts[int(i)] for i in rng.integers(len(layouts), size=batch)]
        encoded = [encode(tokenizer, targets, mirrored(one, rng)) for one in chosen]
        tokens.extend(len(one.tokens) for one in encoded)
        return lora.loss(network, collate(encoded, tokenizer.pad_token_id, record.device), targets)

    if record.left() < 6:
        record.kept["skipped"][name] = f"{record.left():.0f} s left"
        return
    record.fresh()
    with record.attempt(name), Utilisation(record.device) as busy:
        trained = [p for p in network.parameters() if p.requires_grad]
        try:
            training.train(name, trained, loss_at, steps=most, lr=Lora().lr)
        except TimeUp:
            record.say(f"{name}: stopped at step {len(stamps)}")
        taken = [after - before for before, after in itertools.pairwise(stamps)][3:]
        record.put(
            name, steps_per_second=1 / median(taken), layouts_per_second=batch / median(taken), seconds_a_step=taken,
            repeats=len(taken), batch=batch, tokens=mean(tokens), trained=sum(p.numel() for p in trained),
            **record.peak(), **busy.figures, **notes,
        )  # fmt: skip


def planning(record: Record, tokenizer: PreTrainedTokenizerBase) -> None:
    """The planner as a fine-tuned Qwen2.5-1.5B: steps of LoRA, and plans by the merged network."""
    assumed = assumptions()
    targets = Targets(tokenizer, SPREAD).to(record.device)
    layouts = layouts_of(tokenizer, targets, assumed.plan, 64)
    network = lora.wrap(network_of(SMALL_QWEN, record), Lora(), SEED).train()
    notes: dict[str, Any] = {"dtype": "bfloat16, factors in float32", "model": f"Qwen2.5-1.5B, {RANDOM}"}
    for batch in (2, 4) if record.toy else (32, 8):
        name = f"planner, LoRA, batch {batch}"
        steps(record, name, network, batch, layouts, (tokenizer, targets), assumed_tokens=assumed.plan, **notes)
    merged = lora.merged(network, tokenizer).eval()
    nouns = sorted({name for layout in layouts for name in layout.names})
    batch, notes = 4 if record.toy else 64, notes | {"dtype": "bfloat16"}
    captions = [layout.caption for layout in layouts][:batch]
    lengths, said = list[int](), merged.generate

    def noting(**given: Any) -> torch.Tensor:
        tokens = said(**given)
        lengths.append(tokens.shape[1] - given["input_ids"].shape[1])
        return tokens

    merged.generate = noting
    for name, constrained, most in (("grammar", True, 3), ("without grammar", False, 1)):
        plans = partial(
            decode.generate, merged, tokenizer, captions, vocabulary=nouns, constrained=constrained, batch=batch
        )
        key = f"planner, plans, {name}"
        seconds = record.timed(
            key, partial(plans, most=most), batch, "layouts", expect=7 if constrained else 4, repeats=2,
            warm=partial(plans, most=1), batch=batch, most_objects=most, **notes,
        )  # fmt: skip
        if seconds:
            record.put(key, longest_plan_tokens=lengths[-1], seconds_a_token=seconds / lengths[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON of the figures")
    parser.add_argument("--seconds", type=float, default=150, help="no measurement begins that would end later")
    parser.add_argument("--toy", action="store_true", help="tiny networks, on a CPU where there is no GPU")
    args = parser.parse_args()
    record = Record(args.out, args.seconds, args.toy)
    training.setup(8 if record.device == "cuda" else 1, record.device)
    record.save()
    record.say(f"on {record.device}")
    assumed = assumptions()
    tokenizer = make_tokenizer()
    pieces = {
        "filter": (0.38, lambda: filtering(record, tokenizer)),
        "annotation": (0.72, lambda: annotation(record, assumed)),
        "planner": (0.90, lambda: planning(record, tokenizer)),
        "zero-shot": (0.98, lambda: zero_shot(record, assumed)),
    }
    for name, (share, piece) in pieces.items():
        record.deadline = share * args.seconds
        record.say(f"{name}: {record.left():.0f} s")
        with record.attempt(f"{name}, as a whole"):
            piece()
    record.say("done")


if __name__ == "__main__":
    main()
