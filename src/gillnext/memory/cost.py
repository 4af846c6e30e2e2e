"""What a run of the published models computes and stores, by arithmetic: no weights, no GPU, no measurement.

    python -m gillnext.memory.cost --config config.yaml config/wukong.yaml lab.yaml

Operations are counted by torch's `FlopCounterMode` on networks of the published shapes that have no numbers. A GPU
hour is 3600 s at `--utilisation` of `--peak`; of an answer that comes token by token, at that share of `--bandwidth`,
as every token reads all weights once a batch. How many rows there are is said by the settings and by the options.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from math import floor, log10
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gillnext.adapter import objective
from gillnext.config.arguments import add_config, config
from gillnext.config.model import Arm, Config
from gillnext.language.model import parameters
from gillnext.memory import kolors, published
from gillnext.memory.adapter_step import made

HALF, SINGLE = 2, 4  # bytes
GPUS = (8, 64)


@dataclass(frozen=True)
class Stage:
    """Of one of `rows`: `flop` operations, `read` bytes of weights that are read again, `disk` bytes that are written.
    `most`: how many GPUs it can use.
    """

    name: str
    row: str
    rows: float
    flop: float = 0
    read: float = 0
    disk: float = 0
    most: int = 0

    def hours(self, args: argparse.Namespace) -> float:
        """GPU hours by the assumptions of the command line."""
        seconds = self.flop / args.peak / 1e12 + self.read / args.bandwidth / 1e12
        return self.rows * seconds / args.utilisation / 3600


@dataclass(frozen=True)
class Step:
    """`flop` of a sample, and how many parameters are saved of what is trained."""

    flop: float
    saved: int


def counted(run: Callable[[], Any]) -> float:
    """Operations (2 for a product and its sum) of what `run` computes; attention is counted over all pairs."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return float(counter.get_total_flops())


@torch.no_grad()
def reading(model: Any, tokens: int, width: int) -> float:
    """A language model without its head reads `tokens`."""
    with torch.device("meta"):
        mask = torch.zeros(1, 1, tokens, tokens)
        return counted(lambda: model(inputs_embeds=torch.zeros(1, tokens, width), attention_mask=mask, use_cache=False))


@torch.no_grad()
def seeing(visual: Any, side: int) -> float:
    """Qwen2-VL's own eyes on a picture of `side`² pixels: patches, equal blocks, and four patches to a token."""
    patches, width = (side // published.PATCH) ** 2, published.VISION["embed_dim"]
    ends = torch.tensor([0, patches], dtype=torch.int32)
    with torch.device("meta"):
        pixels, states = torch.zeros(patches, 3 * 2 * published.PATCH**2), torch.zeros(patches, width)
        angles = torch.zeros(patches, width // published.VISION["num_heads"])
        block = counted(lambda: visual.blocks[0](states, cu_seqlens=ends, position_embeddings=(angles, angles)))
        ends_of_it = counted(lambda: visual.merger(visual.patch_embed(pixels)))
    return published.VISION["depth"] * block + ends_of_it


@cache
def detecting() -> float:
    """Grounding DINO on a square picture, asked for some five names.

    In a process of its own: it takes tensors that pretend to be a CPU's (`FakeTensorMode`), after which others of the
    process were seen to crash.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(detected).result()


@torch.no_grad()
def detected(tokens: int = 16) -> float:
    """`detecting`, here."""
    os.environ["TRANSFORMERS_DISABLE_TORCH_CHECK"] = "1"  # of shapes, by values that are not there
    side = published.DINO_SIDE
    with FakeTensorMode(allow_non_fake_inputs=True):
        network, text = published.detector(), torch.ones(1, tokens, dtype=torch.long)
        asked = {"input_ids": text, "attention_mask": text, "token_type_ids": text}
        seen = {"pixel_values": torch.zeros(1, 3, side, side), "pixel_mask": torch.ones(1, side, side)}
        return counted(lambda: network(**asked, **seen))


@torch.no_grad()
def scoring(names: int = 5, tokens: int = 16) -> float:
    """A picture of the test set: both detectors, the feature network, the image-text model on picture and caption."""
    owl, features, clip = published.second_detector(), published.feature_network(), published.image_text_model()
    with torch.device("meta"):
        large, small = (torch.zeros(1, 3, side, side) for side in (published.OWL_SIDE, published.VIT_SIDE))
        asked, caption = (torch.zeros(n, tokens, dtype=torch.long) for n in (names, 1))
        found = counted(lambda: owl(input_ids=asked, pixel_values=large))
        found += counted(lambda: (features(small), clip.get_image_features(small), clip.get_text_features(caption)))
    return found + detecting()


@torch.no_grad()
def decoding(encode: bool = False) -> float:
    """SDXL's autoencoder on 1024 × 1024 pixels: latents to a picture, or with `encode` the other way."""
    vae, cells = published.autoencoder(), kolors.UNET["sample_size"]
    side = kolors.PIXELS * cells
    with torch.device("meta"):
        picture, latents = torch.zeros(1, 3, side, side), torch.zeros(1, 4, cells, cells)
        return counted(lambda: vae.encoder(picture) if encode else vae.decode(latents))


@cache
def unet(gated: bool = False, checkpointed: bool = False, trained: bool = False, backward: bool = True) -> Step:
    """Kolors' UNet with an adapter on one sample: forward, and the loss's backward through activations, where `trained`
    to the UNet's weights as well. Adapters at attn1, attn2 and both cost the same but for a thousandth.
    """
    arm = Arm(site="gated", bias="none") if gated else Arm()
    with torch.device("meta"):
        model = made(kolors.UNET, "no", checkpointed, replace(arm, unet_lr=float(trained)))
    batch = objective.to(kolors.draw(model.unet.config, 0, 0), torch.device("meta"))
    # Of a device without numbers torch has no autocast; types change no count.
    with torch.set_grad_enabled(backward), patch.object(torch, "autocast", lambda *_, **__: nullcontext()):
        flop = counted(lambda: model(batch).backward() if backward else model(batch))
    return Step(flop, parameters(model.adapter) + trained * parameters(model.unet))


def tuning(shape: dict[str, Any], tokens: int) -> float:
    """A layout of the planner's training: forward, and backward through activations; without LoRA's own factors."""
    model = published.language_model(shape).requires_grad_(False)
    with torch.device("meta"):
        states = torch.zeros(1, tokens, shape["hidden_size"], requires_grad=True)
        mask = torch.zeros(1, 1, tokens, tokens)
        given = {"inputs_embeds": states, "attention_mask": mask, "use_cache": False}
        return counted(lambda: model(**given).logits.sum().backward())


def trained_arms(cfg: Config) -> Iterator[tuple[Arm, int]]:
    """Each arm that is trained, with its number of seeds."""
    return ((cfg.study.arms[name], len(cfg.study.seeds_of(name))) for name in cfg.study.trained)


def drawn(cfg: Config) -> tuple[int, int]:
    """Pictures that a release's tables rest on, and the jobs that draw them: an arm, a seed, a set. Every arm draws
    people's captions with its first seed.
    """
    study, size = cfg.study, cfg.sample
    tests = sum(len(study.seeds_of(arm)) for arm in [*study.arms, *study.swapped]) + len(study.arms)
    relations = sum(len(study.seeds_of(arm)) for arm in study.end_to_end_arms)
    return tests * size.test + relations * size.relations, tests + relations


def data_stages(cfg: Config, args: argparse.Namespace) -> Iterator[Stage]:
    """From captions to the cache."""
    many, width = 10_000, published.QWEN["hidden_size"]  # as many GPUs as there are
    reader = published.language_model(published.QWEN).model
    behind = reading(reader, args.instruction + args.caption, width) - reading(reader, args.instruction, width)
    yield Stage("filter", "captions", args.captions, behind, disk=90 * args.rows / args.captions, most=many)
    yield Stage("download", "pictures", args.pictures, disk=args.image_bytes)
    model, prompt = published.vision_language_model(), (args.side // published.PATCH) ** 2 // 4 + args.question
    seen = seeing(model.model.visual, args.side) + reading(model.model.language_model, prompt, width)
    spoken = model.model.language_model.layers, model.lm_head
    token = HALF * sum(map(parameters, spoken)) / cfg.annotate.batch
    yield Stage("annotate, Qwen2-VL-7B", "pictures", args.pictures, seen, args.answer * token, most=many)
    yield Stage("or Grounding DINO-base", "pictures", args.pictures, detecting(), most=many)
    captions = published.language_model(published.CHATGLM).model
    encoded = decoding(encode=True) + reading(captions, kolors.TOKENS, published.CHATGLM["hidden_size"])
    cells = 4 * kolors.UNET["sample_size"] ** 2
    row = HALF * (cells + (args.caption + 2) * published.CHATGLM["hidden_size"])  # a state a token, of padding, pooled
    yield Stage("cache", "pictures", args.pictures, encoded, disk=row, most=cfg.world.parts)


def trainings(cfg: Config, args: argparse.Namespace) -> Iterator[Stage]:
    """The planner, and every arm's adapters."""
    rows = cfg.planner.steps * cfg.planner.batch
    kept = HALF * parameters(published.language_model(published.SMALL_QWEN)) / rows
    yield Stage("planner, LoRA", "layouts", rows, tuning(published.SMALL_QWEN, args.plan), disk=kept, most=1)
    asked, samples, flop, disk = cfg.adapter, 0, 0.0, 0.0
    for arm, seeds in trained_arms(cfg):
        step = unet(arm.site == "gated", asked.gradient_checkpointing, arm.unet_lr > 0)
        n = seeds * arm.steps_of(asked) * asked.batch * asked.accumulation
        samples, flop = samples + n, flop + n * step.flop
        disk += seeds * (1 + snapshots(cfg, arm)) * SINGLE * step.saved
    most = 8 * asked.nodes * sum(seeds for _, seeds in trained_arms(cfg))  # 8: a node's
    yield Stage("adapter", "samples", samples, flop / samples, disk=disk / samples, most=most)


def snapshots(cfg: Config, arm: Arm) -> int:
    """How many a training leaves on its way."""
    every = cfg.adapter.snapshot_every
    return arm.steps_of(cfg.adapter) // every if every else 0


def measuring(cfg: Config, args: argparse.Namespace) -> Iterator[Stage]:
    """Pictures of snapshots and of the held-out sets, and their scores."""
    picture = 2 * cfg.sample.steps * unet(backward=False).flop + decoding()  # 2: guidance's pair
    points = [seeds * snapshots(cfg, arm) for arm, seeds in trained_arms(cfg)]
    most = sum(seeds for _, seeds in trained_arms(cfg))
    looked_at = cfg.curve.images * sum(points)
    yield Stage("curve", "pictures", looked_at, picture + detecting(), disk=args.png_bytes, most=most)
    pictures, jobs = drawn(cfg)
    yield Stage("sample", "pictures", pictures, picture, disk=args.png_bytes, most=jobs)
    yield Stage("score", "pictures", pictures, scoring(), most=jobs)


def stages(cfg: Config, args: argparse.Namespace) -> list[Stage]:
    """All of a run, in its order."""
    return [*data_stages(cfg, args), *trainings(cfg, args), *measuring(cfg, args)]


def table(found: Sequence[Stage], args: argparse.Namespace) -> list[str]:
    """Markdown; the hours on several GPUs are shares of the GPU hours, of as many GPUs as the stage can use."""
    head = [
        "stage",
        "rows",
        "TFLOP a row",
        "PFLOP",
        "GPU hours",
        *(f"hours on {n}" for n in GPUS),
        "GB on the disk",
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for stage in found:
        hours = stage.hours(args)
        spread = [hours / min(n, stage.most) if stage.flop else 0 for n in GPUS]
        work = [stage.flop / 1e12, stage.rows * stage.flop / 1e15, hours, *spread, stage.rows * stage.disk / 1e9]
        lines.append(f"| {stage.name} | {stage.rows:,.0f} {stage.row} | {' | '.join(map(figure, work))} |")
    return lines


def figure(value: float) -> str:
    """Two digits that count, and no more of what is an assumption; a dash for nothing."""
    return f"{float(f'{value:.2g}'):,.{max(0, 1 - floor(log10(value)))}f}" if value else "–"


def add_assumptions(parser: argparse.ArgumentParser) -> None:
    """What nobody knows before a release has been through, and what is assumed of a GPU."""
    parser.add_argument("--captions", type=float, default=5e6, help="that pass the keyword pass, and are asked about")
    parser.add_argument("--rows", type=float, default=1e6, help="captions that are kept, and whose links are tried")
    parser.add_argument("--pictures", type=float, default=5e5, help="that are alive, annotated and encoded")
    parser.add_argument("--image-bytes", type=float, default=2e5, help="of a picture as it is downloaded")
    parser.add_argument("--png-bytes", type=float, default=1.5e6, help="of a picture that is drawn")
    parser.add_argument("--caption", type=int, default=40, help="tokens of a caption")
    parser.add_argument("--instruction", type=int, default=120, help="tokens before it, computed once for all")
    parser.add_argument("--plan", type=int, default=200, help="tokens of a caption with its plan")
    parser.add_argument("--side", type=int, default=672, help="pixels of a square as large as a picture")
    parser.add_argument("--question", type=int, default=80, help="tokens of an annotator's prompt beside the picture's")
    parser.add_argument("--answer", type=int, default=64, help="tokens of an annotator's answer")
    parser.add_argument("--peak", type=float, default=989.0, help="of a GPU, TFLOP/s")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="of its memory, TB/s")
    parser.add_argument("--utilisation", type=float, default=0.35, help="share of both that is reached")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser)
    add_assumptions(parser)
    args = parser.parse_args(argv)
    print("\n".join(table(stages(config(args), args), args)))


if __name__ == "__main__":
    main()
