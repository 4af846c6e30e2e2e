"""Train GILL's parts around a frozen language model, a frozen visual encoder and a frozen base, through accelerate.

    gillnext gill --config config.yaml --conversations results/demo/supplement/conversations/train.jsonl \\
        --language results/demo/supplement/language --eyes results/demo/models/image_text \\
        --base results/demo/models/base --out results/demo/supplement/gill

`accelerate launch --multi_gpu --num_processes 2 -m gillnext.cli gill …` shares every batch between two processes, on
the CPU as well where `run.device` is cpu. A killed run goes on from its newest checkpoint to the same weights. With
`gill.generation: denoising` the mapper is trained through the base's UNet and the spatial adapter of `--adapter`, which
is trained along. `folder.py` says what is written; `losses.json` has each loss by step.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from gillnext import conversations
from gillnext.adapter.encoder import Encoder
from gillnext.adapter.objective import Denoiser
from gillnext.adapter.pipeline import NO_TEXT, load
from gillnext.adapter.trainer import accelerator as accelerated
from gillnext.adapter.trainer import recompute
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion.objective import training_scheduler
from gillnext.gill import folder, sequence, tables
from gillnext.gill.examples import Corpus, Examples, Reading
from gillnext.gill.model import HEADS, Gill, Sizes
from gillnext.gill.scenes import Scenes
from gillnext.gill.tables import Captions
from gillnext.gill.trainer import Trainer
from gillnext.gill.visual import Eyes
from gillnext.language import model as language_model
from gillnext.runtime import contents, files, provenance, seeds, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

SETTINGS = ("images", "prefix", "retrieval", "mapper_width", "mapper_layers")  # of the sizes


@dataclasses.dataclass(frozen=True)
class Given:
    """What a training is given: the file of conversations, and the folders of the frozen parts; `adapter` where
    generation goes through the UNet.
    """

    conversations: Path
    language: Path
    eyes: Path
    base: Path
    adapter: Path | None = None

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each, by its name."""
        return {name: contents.sha256(path) for name, path in vars(self).items() if path}


def check(cfg: Config, given: Given) -> None:
    """`UserError` for settings that cannot be trained with."""
    settings = cfg.gill
    if cfg.run.precision == "fp16":
        remedy = "bf16, or no"
        raise UserError("the losses of GILL are not scaled, as fp16 needs", where="run.precision", remedy=remedy)
    if settings.mapper_width % HEADS:
        raise UserError(f"{settings.mapper_width} for {HEADS} heads", where="gill.mapper_width", remedy="a multiple")
    if (settings.generation == "denoising") != (given.adapter is not None):
        remedy = "--adapter FOLDER with denoising, none with matching"
        raise UserError(f"generation by {settings.generation}", where="gill.generation", remedy=remedy)


def denoiser_of(cfg: Config, given: Given) -> Denoiser | None:
    """The base's UNet, frozen, with the adapter in it, where generation is trained through them."""
    if given.adapter is None:
        return None
    pipeline = load(given.base, given.adapter, **NO_TEXT)
    pipeline.unet.requires_grad_(False).to(training.TYPES[cfg.run.precision])
    if cfg.adapter.gradient_checkpointing:
        recompute(pipeline.unet)
    return Denoiser(pipeline.adapter.requires_grad_(True), pipeline.unet)


def prepared(cfg: Config, given: Given, reading: Reading, device: torch.device, work: Path) -> Examples:
    """The examples, with all that is looked up: read from `work`, or encoded and kept there."""
    corpus = Corpus(conversations.read(given.conversations), given.conversations)
    dtype, precision = training.TYPES[cfg.run.precision], cfg.cache.precision
    features = tables.features(Eyes.load(given.eyes, str(device), dtype, cfg.gill.features), corpus.pictures, work)
    encoder = Encoder(given.base, str(device), dtype)
    shown = [corpus.turns(i)[-1] for i in range(len(corpus.targets))]
    layouts = [turn.layout for turn in shown if turn.layout]
    captions = Captions(encoder, [layout.caption for layout in layouts], precision, work)
    if cfg.gill.generation == "matching":
        return Examples(corpus, reading, features, captions, cfg.gill.captions)
    pictures = [corpus.pictures[corpus.number[turn.picture]] for turn in shown]
    scenes = Scenes(encoder, layouts, pictures, captions, cfg.adapter.slots, precision, work)
    scheduler = training_scheduler(encoder.pipeline.scheduler.config)
    return Examples(corpus, reading, features, captions, cfg.gill.captions, cfg.adapter.drop, scenes, scheduler)


def build(cfg: Config, given: Given, accelerator: Accelerator, work: Path) -> Trainer:
    """The trainer of an untrained Gill; its initial weights depend on the seed alone."""
    language, tokenizer = language_model.load(
        given.language, str(accelerator.device), dtype=training.TYPES[cfg.run.precision], use_safetensors=True
    )
    most = sequence.limit(language, cfg.gill.images, cfg.gill.length)
    reading = Reading(tokenizer, sequence.end_of(tokenizer, given.language), cfg.gill.prefix, most)
    with accelerator.main_process_first(), torch.no_grad():  # the first encodes, the others read what it kept
        examples = prepared(cfg, given, reading, accelerator.device, work)
    states, pooled = (examples.captions.table[name].shape for name in ("states", "pooled"))
    asked = {name: getattr(cfg.gill, name) for name in SETTINGS}
    *cells, features = examples.features.shape[1:]
    sizes = Sizes(features, states[1], states[2], pooled[1], cells=sum(cells), **asked)
    denoiser = denoiser_of(cfg, given)
    torch.manual_seed(seeds.key("gill", cfg.run.seed))
    gill = Gill(language, sizes, denoiser)
    gill.mapper.begin_at(*examples.captions.some())
    return Trainer(cfg, gill, examples, accelerator)


def run(trainer: Trainer, identity: str, work: Path) -> list[dict[str, float]]:
    """Train to the end, from the newest checkpoint of this identity if there is one; returns every step's history."""
    settings, main = trainer.settings, trainer.accelerator.is_main_process
    state: dict[str, Any] = {"parameters": trainer.parameters, "optimiser": trainer.optimiser, "ema": None}
    first = training.load_state(work / "checkpoint", identity=identity, **state)
    history = files.read_json(work / "history.json")[:first] if first else []
    if first:
        trainer.accelerator.print(f"resuming at step {first}")
    with Progress("gill", settings.steps, "steps", first, 60.0 if main else math.inf) as progress:
        for t in range(first, settings.steps):
            row = trainer.step(t)
            history.append(row)
            progress.step(1, **{name: row[name] for name in trainer.tasks})
            every = settings.checkpoint_every
            if main and every and (t + 1) % every == 0 and t + 1 < settings.steps:
                files.write_json(work / "history.json", history)
                training.save_state(work / "checkpoint", t + 1, identity=identity, **state)
    trainer.accelerator.wait_for_everyone()  # before the process group ends
    trainer.accelerator.end_training()
    return history


def train(cfg: Config, given: Given, out: Path) -> None:
    """Train and write the folder `out`."""
    check(cfg, given)
    training.setup(cfg.run.threads, cfg.run.device)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    accelerator, hashes = accelerated(cfg, work), given.hashes()
    settings = [dataclasses.asdict(part) for part in (cfg.run, cfg.gill, cfg.adapter, cfg.cache)]
    identity = provenance.fingerprint(settings, hashes, accelerator.num_processes, code=["gillnext.gill.train"])
    trainer = build(cfg, given, accelerator, work)
    history = run(trainer, identity, work)
    if not accelerator.is_main_process:
        return
    examples, cut = trainer.examples, int(sum(row["cut"] for row in history))
    counts = {
        "conversations": len(examples.corpus.rows),
        "without_captioned_picture": examples.corpus.skipped,
        "turns": len(examples.corpus.targets),
        "pictures": len(examples.corpus.pictures),
        "captions": len(examples.captions),
        "turns_cut": cut,
    }
    told = {
        "hashes": hashes,
        "counts": counts,
        "length": examples.reading.most,
        "generation": cfg.gill.generation,
        "backward": cfg.gill.backward,
        "precision": cfg.run.precision,
        "steps": cfg.gill.steps,
        "seed": cfg.run.seed,
        "processes": accelerator.num_processes,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "provenance": provenance.stamp(),
    }
    with files.atomic(out) as temporary:
        temporary.mkdir()
        folder.save(trainer.gill, temporary, told)
        kept = {name: [round(row[name], 6) for row in history] for name in [*trainer.tasks, "gradient_norm"]}
        files.write_json(temporary / "losses.json", kept)
    shutil.rmtree(work, ignore_errors=True)
    if counts["without_captioned_picture"]:
        print(f"{counts['without_captioned_picture']} conversations have no captioned picture and taught nothing")
    if cut:
        print(f"{cut} turns were cut, as their conversations are longer than {told['length']} tokens (gill.length)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    for name, words in (("images", "[IMG] tokens"), ("steps", "optimiser steps")):
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{words}, in place of gill.{name}")
    what = "what the mapper learns by, in place of gill.generation"
    parser.add_argument("--generation", choices=("matching", "denoising"), help=what)
    parser.add_argument("--conversations", type=Path, required=True, help="JSON lines, with their pictures beside them")
    parser.add_argument("--language", type=Path, required=True, help="folder of the frozen causal LM")
    parser.add_argument("--eyes", type=Path, required=True, help="folder of a Chinese-CLIP, CLIP or SigLIP")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base, a Kolors or SDXL pipeline")
    parser.add_argument("--adapter", type=Path, help="folder of a spatial adapter, for gill.generation: denoising")
    add_out(parser, "folder of what is trained")


def main(args: argparse.Namespace) -> None:
    cfg, given = config(args), Given(args.conversations, args.language, args.eyes, args.base, args.adapter)
    asked = {name: getattr(args, name) for name in ("images", "steps", "generation")}
    changed = {name: value for name, value in asked.items() if value is not None}
    train(dataclasses.replace(cfg, gill=dataclasses.replace(cfg.gill, **changed)), given, args.out)
