"""Annotators' rates for `language.py`: Qwen2-VL-7B's shape, and Grounding DINO-base's, on random weights."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from language_record import Clocked, Record
from PIL import Image
from transformers import (
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    SwinConfig,
)
from transformers.models.grounding_dino import modeling_grounding_dino

from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.annotate.zero_shot import ZeroShotAnnotator
from gillnext.config.data import ZeroShot
from gillnext.instruments.zero_shot import GroundingDino
from gillnext.memory.published import SWIN
from gillnext.miniatures.networks import small_zero_shot
from gillnext.miniatures.world import corpus, scenes

SEED = 20260
PHRASES = {
    "树": "tree", "房子": "house", "汽车": "car", "猫": "cat", "花": "flower", "鱼": "fish", "船": "boat",
    "杯子": "cup", "苹果": "apple", "雨伞": "umbrella", "气球": "balloon", "星星": "star",
}  # fmt: skip
ASKED = 5  # names a picture
FLAT = 1 / 64  # of a random network's scores, which would all be 1 otherwise
PASSING = 0.95  # of the detector's queries, the share that its threshold lets go


def pictures(count: int, side: int) -> tuple[list[Image.Image], list[str]]:
    """The drawn world's scenes with noise over them, `side`² pixels, and their captions."""
    content, captions = corpus.describe(SEED, "gpu-pictures", count)
    rng = np.random.default_rng(SEED)
    found = []
    for scene in content:
        large = np.asarray(Image.fromarray(scenes.render(scene)).resize((side, side), Image.Resampling.BICUBIC))
        noisy = large.astype(np.int16) + rng.integers(-12, 13, large.shape, dtype=np.int16)
        found.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return found, captions


def split(record: Record, name: str, clocked: Clocked, batches: int) -> None:
    """The processor's seconds beside the figure of all: what of a picture's time is the CPU's."""
    figure = record.kept["figures"].get(name, {})
    if clocked.calls and figure.get("seconds_a_run"):
        cpu = clocked.seconds / clocked.calls * batches
        whole = mean(figure["seconds_a_run"])
        record.put(name, processor_seconds_a_run=cpu, processor_share=cpu / whole, rest_seconds_a_run=whole - cpu)


def annotation(record: Record, assumed: argparse.Namespace) -> None:
    """Pictures a second of the vision-language annotator; answers of `assumed.answer` tokens exactly."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
    from annotation import plain, random_annotator

    side, answer = (112, 4) if record.toy else (assumed.side, assumed.answer)
    images, captions = pictures(4 if record.toy else 64, side)
    given = argparse.Namespace(side=side, tokens=answer, published=not record.toy, device=record.device)
    annotator: VisionLanguageAnnotator = random_annotator(captions, given)
    texts = [annotator.prompt(caption, None) for caption in captions]
    files = [io.BytesIO() for _ in images[:8]]
    for image, file in zip(images, files, strict=False):
        image.save(file, "JPEG", quality=90)
    seconds = record.clock(lambda: [Image.open(file).convert("RGB") for file in files])
    lengths = annotator.processor(text=texts[:1], images=images[:1], return_tensors="pt")["input_ids"].shape[1]
    record.put(
        "annotation, prompts", prompt_tokens=lengths, answer_tokens=answer, side=side,
        assumed_prompt_tokens=(assumed.side // 28) ** 2 + assumed.question,
        attention=annotator.model.config._attn_implementation, cpu_seconds_of_a_jpeg=seconds / len(files),
    )  # fmt: skip
    notes: dict[str, Any] = {
        "dtype": str(annotator.model.dtype).removeprefix("torch."),
        "model": "Qwen2-VL-7B, random weights",
    }
    clocked = Clocked(annotator.processor)
    annotator.processor = clocked

    def fresh() -> None:
        clocked.seconds, clocked.calls = 0.0, 0

    def measure(name: str, size: int, run: Callable[[], Any], rows: int, expect: float, **options: Any) -> None:
        done = record.timed(
            name,
            run,
            rows,
            "images",
            expect=expect,
            started=fresh,
            batch=size,
            answer_tokens=annotator.max_new_tokens,
            **notes,
            **options,
        )
        if done:
            split(record, name, clocked, max(rows // size, 1))

    def batch(size: int) -> Callable[[], Any]:
        return lambda: annotator.answer(images[:size], texts[:size])

    first, second, third = (2, 4, 1) if record.toy else (32, 64, 8)
    one = partial(plain, annotator, images[:1], texts[:1])
    few = 2
    measure(f"annotation, batch {first}", first, batch(first), first, 8, repeats=2)
    loop = partial(plain, annotator, images[:few], texts[:few])
    measure("annotation, one by one", 1, loop, few, 6, repeats=1, warm=one)
    measure(f"annotation, batch {second}", second, batch(second), second, 11, repeats=2)
    measure(f"annotation, batch {third}", third, batch(third), third, 5, repeats=2)
    annotator.processor = OnDevice(clocked.inner, record.device)
    name = f"annotation, batch {first}, pictures prepared on the device"
    record.timed(name, batch(first), first, "images", expect=7, repeats=1, batch=first, **notes)
    annotator.processor = clocked
    annotator.max_new_tokens = annotator.model.generation_config.min_new_tokens = 1
    measure(f"annotation, batch {first}, the first token alone", first, batch(first), first, 4, repeats=1)


class OnDevice(Clocked):
    """A processor that resizes pictures and cuts them into patches on `device`, where the usual one does on the CPU."""

    def __init__(self, inner: Any, device: str) -> None:
        super().__init__(partial(inner, device=device))
        self.processor = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.processor, name)


def detector(record: Record, kind: torch.dtype) -> GroundingDino:
    """Grounding DINO-base's shape in `kind` with the processor's published sizes; a miniature's in a toy run."""
    torch.manual_seed(SEED)
    settings = ZeroShot(batch=32)
    if record.toy:
        network, processor = small_zero_shot.grounding_dino(PHRASES.values(), length=64)
        return GroundingDino(delimited(network.to(record.device, kind)), processor, settings)
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(), small_zero_shot.bert_tokenizer(PHRASES.values()))
    config = GroundingDinoConfig(backbone_config=SwinConfig(**SWIN), text_config={"model_type": "bert"})
    with torch.device(record.device):
        network = GroundingDinoForObjectDetection._from_config(config)
    return GroundingDino(delimited(network.to(record.device, kind)), processor, settings)


def delimited(network: Any) -> Any:
    """The network with `special_tokens`, which `GroundingDino` reads and transformers 5.17 lacks."""
    if not hasattr(network.model, "special_tokens"):
        network.model.special_tokens = torch.tensor(modeling_grounding_dino.SPECIAL_TOKENS)
    return network


def flatten(_: Any, __: Any, output: Any) -> None:
    """A hook: the scores of the detector's output are not all 1."""
    output["logits"] = output["logits"] * FLAT


def calibrate(found: GroundingDino, annotator: ZeroShotAnnotator, image: Image.Image, names: list[str]) -> None:
    """Thresholds that let a twentieth of the queries pass: with random weights the usual ones let all or none."""
    scores: list[torch.Tensor] = []
    found.network.register_forward_hook(flatten)
    hook = found.network.register_forward_hook(
        lambda *told: scores.append(torch.sigmoid(told[2].logits.float()).max(-1).values.flatten())
    )
    annotator.annotate([image], ["。"], [names])
    hook.remove()
    least = float(scores[0].nan_to_num().quantile(PASSING))
    found.settings = replace(found.settings, least=least, text=least)
    annotator.threshold = least


def zero_shot(record: Record, assumed: argparse.Namespace) -> None:
    """Pictures a second of the zero-shot annotator, asked for five names each.

    The published checkpoint is in float32, and is run so on a GPU; bfloat16 and TF32 stand beside it.
    """
    side, sizes = (64, (2, 1)) if record.toy else (assumed.side, (8, 32, 1))
    images, captions = pictures(max(sizes), side)
    every = list(PHRASES)
    names = [[every[(i + k) % len(every)] for k in range(ASKED)] for i in range(len(images))]
    for kind, precision in ((torch.float32, "highest"), (torch.bfloat16, "highest"), (torch.float32, "high")):
        label = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[kind] + (", TF32" if precision == "high" else "")
        if record.left() < 2:
            record.kept["skipped"][f"zero-shot, {label}"] = f"{record.left():.0f} s left"
            continue
        torch.set_float32_matmul_precision(precision)
        with record.attempt(f"zero-shot, {label}"):
            found = detector(record, kind)
            annotator = ZeroShotAnnotator(found, PHRASES, 0.0)
            calibrate(found, annotator, images[0], names[0])
            for size in sizes if precision == "highest" else sizes[:1]:
                one(record, f"zero-shot, {label}, batch {size}", annotator, images[:size], captions, names)
    torch.set_float32_matmul_precision("highest")


def one(
    record: Record, name: str, annotator: ZeroShotAnnotator, images: list[Image.Image], captions: list[str],
    names: list[list[str]],
) -> None:  # fmt: skip
    """One size of batch: all of the annotator, its picture processor alone, and its network alone."""
    found, size, spent = annotator.detector, len(images), [0.0, 0.0]
    plain = found.processor.image_processor
    clocked = Clocked(plain)
    found.processor.image_processor = clocked

    def before(*_: object) -> None:
        record.sync()
        spent[0] -= time.perf_counter()

    def after(*_: object) -> None:
        record.sync()
        spent[0], spent[1] = spent[0] + time.perf_counter(), spent[1] + 1

    def fresh() -> None:
        clocked.seconds, clocked.calls, spent[:] = 0.0, 0, [0.0, 0.0]

    hooks = [found.network.register_forward_pre_hook(before), found.network.register_forward_hook(after)]
    config = found.network.config
    done = record.timed(
        name, lambda: annotator.annotate(images, captions[:size], names[:size]), size, "images", expect=1.5, repeats=5,
        started=fresh, batch=size, dtype=str(found.network.dtype).removeprefix("torch."), asked_names=ASKED,
        attention=[config._attn_implementation, config.backbone_config._attn_implementation],
        model=f"Grounding DINO-base, random weights, {sum(p.numel() for p in found.network.parameters()):,}",
    )  # fmt: skip
    for hook in hooks:
        hook.remove()
    found.processor.image_processor = plain
    if done and spent[1]:
        split(record, name, clocked, size)
        record.put(name, network_seconds_a_run=spent[0] / spent[1])
