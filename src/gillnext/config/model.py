"""Every setting of the workflow, its default (the demo tier's) and its unit.

The data stages' are in `data.py`, those of what the demo makes in `miniatures.py`. A field's description is its `doc`
metadata; `config/schema.json` is generated from these files (`gillnext schema`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from gillnext.config.data import Annotate, Download, Filter, Ray, World, ZeroShot
from gillnext.config.frames import Frames
from gillnext.config.gill import Gill
from gillnext.config.miniatures import (
    AnnotatorTraining,
    Base,
    Clip,
    Detector,
    Features,
    LanguageModel,
    TextEncoder,
    Vae,
)
from gillnext.config.models import Models
from gillnext.config.regions import Regions
from gillnext.config.setting import s
from gillnext.config.split import Split
from gillnext.config.supplement import Supplement


@dataclass(frozen=True)
class Run:
    tier: Literal[
        "smoke", "demo", "scratch", "foundations", "seeds", "study", "photos", "foundations-photos", "smoke-emoji",
        "gpu", "wukong", "rehearsal",
    ] = s("demo", "which tier this is; names the results folder")  # fmt: skip
    seed: int = s(20260, "root of every random stream that is not a training seed")
    threads: int = s(1, "torch threads of a job; results are equal at equal thread counts")
    arithmetic: Literal["auto", "portable", "fast"] = s(
        "auto",
        "portable: the same bits on every processor; fast: its own kernels; auto: portable on a CPU with AVX2",
    )
    device: str = s("cpu", "torch device of the models: cpu, cuda, cuda:0")
    precision: Literal["no", "bf16", "fp16"] = s("no", "mixed precision of training, through accelerate")


@dataclass(frozen=True)
class Lora:
    rank: int = s(16, "rank of the factors")
    alpha: int = s(32, "their product is scaled by alpha / rank")
    targets: list[str] = s(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        "linear layers that have them, by the end of their names",
    )
    lr: float = s(2e-4, "peak learning rate; for models of 0.5 to 7 billion parameters")
    gradient_checkpointing: bool = s(False, "recompute activations in the backward pass")


@dataclass(frozen=True)
class Planner:
    hidden: int = s(96, "width; of a model that is made here, as the next two")
    layers: int = s(3, "transformer layers")
    heads: int = s(4, "attention heads")
    steps: int = s(1_800, "optimiser steps")
    batch: int = s(16, "layouts a step")
    lr: float = s(3e-3, "peak learning rate; a given model has planner.lora.lr")
    incomplete: Literal["drop", "keep"] = s(
        "drop",
        "layouts that lack an object of their caption: left out, or they teach where the others are",
    )
    boxes: int = s(6, "objects of a plan at most; of layouts with more the largest are taken")
    nouns: int = s(1_000, "nouns that the planner knows at most, the most frequent; 0: names are parts of a caption")
    lora: Lora = field(default_factory=Lora, metadata={"doc": "how a given language model is fine-tuned"})
    test: int = s(300, "held-out spatial captions that the planner is scored on, at most")


@dataclass(frozen=True)
class Arm:
    """One row of the ablation; the defaults are the reference arm's, attn2. An arm with an `adapter` trains none."""

    site: Literal["none", "attn1", "attn2", "both", "gated"] = s(
        "attn2", "where box tokens enter; none: the base alone"
    )
    bias: Literal["none", "box", "fourier"] = s("fourier", "attention bias between pixels and boxes")
    coordinates: Literal["unit", "raw", "clamp"] = s("unit", "how the tokens see coordinates")
    frequencies: Literal["gligen", "sin2pi"] = s("gligen", "Fourier features of the tokens: 100^(k/8), or 2π·2^k")
    phrases: bool = s(True, "box tokens hold their phrase's embedding")
    boxes: Literal["none", "caption", "guidance"] = s(
        "none", "what a base alone gets of the boxes: nothing, text in its caption, or attention guidance in sampling"
    )
    adapter: str | None = s(
        None, "the arm whose trained adapters, with that arm's settings, this one draws with; null: its own"
    )
    local: float = s(
        0.0, "with `adapter`: share of the first sampling steps in which the pixels of a box attend to that box alone"
    )
    drop_caption: bool = s(
        False, "samples trained without grounding have the empty caption too, as guidance's negative has"
    )
    unet_lr: float = s(0.0, "peak learning rate of the UNet's own weights, trained with the adapter; 0: frozen")
    steps: int | None = s(None, "optimiser steps; null: adapter.steps · times_adapter_steps")
    times_adapter_steps: int = s(1, "how many times adapter.steps")
    lr: float | None = s(None, "peak learning rate; null: adapter.lr")
    seeds: int | None = s(None, "how many of the training seeds; null: all")

    @property
    def trained(self) -> bool:
        """Whether the arm has adapters of its own."""
        return self.site != "none" and self.adapter is None

    def steps_of(self, adapter: Adapter) -> int:
        """The optimiser steps of the arm, where most have `adapter.steps`."""
        return self.times_adapter_steps * adapter.steps if self.steps is None else self.steps


@dataclass(frozen=True)
class Cache:
    buckets: Literal["square", "aspect"] = s(
        "square", "square: the whole picture, resized to the base's own size; aspect: SDXL's buckets, cropped"
    )
    visible: float = s(0.5, "share of a box that the crop must leave of it; boxes with less are left out")
    precision: Literal["float32", "float16", "bfloat16"] = s(
        "float32", "type that latents, text states and phrases are stored in"
    )


@dataclass(frozen=True)
class Adapter:
    steps: int = s(400, "optimiser steps of an arm")
    batch: int = s(16, "latents a micro-batch")
    accumulation: int = s(1, "micro-batches a step")
    lr: float = s(5e-3, "peak learning rate")
    clip_norm: float = s(1.0, "gradient norm is clipped to this")
    ema: float = s(0.99, "decay of the averaged weights that are saved; 0: none")
    drop: float = s(0.1, "share of samples trained without grounding, for guidance")
    slots: int = s(6, "boxes of a training sample, at most: of more, the largest")
    width: int = s(128, "box token width")
    checkpoint_every: int = s(200, "steps between checkpoints")
    snapshot_every: int | None = s(100, "steps between snapshots, the points of the box-following curve; null: none")
    backward: Literal["summed", "split"] = s("summed", "one backward over the micro-batches' losses, or one for each")
    gradient_checkpointing: bool = s(False, "recompute activations in the backward pass")
    prefetch: int = s(0, "steps whose batches a thread draws ahead; 0: each is drawn when it is needed")
    ema_device: Literal["same", "cpu"] = s("same", "where the averaged weights lie: beside the weights, or on the CPU")
    processes: int = s(1, "processes of a training on each node, which share its batches; on cuda one a GPU")
    nodes: int = s(1, "nodes of a training; more than one are Slurm's")
    sharding: Literal["none", "zero2"] = s(
        "none",
        "zero2: of arms that train the UNet, processes divide gradients, optimiser states and, between steps, weights",
    )
    timeout: float = s(7_200.0, "seconds that processes wait for one that is busy, as with a checkpoint")


@dataclass(frozen=True)
class Curve:
    images: int = s(24, "validation images of a point of the box-following curve")


@dataclass(frozen=True)
class Study:
    arms: dict[str, Arm] = field(default_factory=dict, metadata={"doc": "the ablation's rows, by name"})
    subset: list[str] = s([], "the arms that are run, by name; empty: all")
    seeds: list[int] = s([0, 1, 2], "training seeds of an arm")
    headline: list[list[str]] = s([], "contrasts that the paper rests on, pairs of arms, fixed before the runs")
    swapped: list[str] = s([], "arms that also draw the test layouts with their phrases swapped between boxes")
    end_to_end: list[str] = s([], "arms beside the reference that also draw what the planner makes of captions")
    shown: list[str] = s([], "arms in the figures of samples and of where they fail; empty: all")
    headline_seeds: list[int] = s([], "training seeds of the arms in them; empty: study.seeds")
    reference: str = s("attn2", "arm that end-to-end relations, the memory comparison and `draw` use")

    @property
    def trained(self) -> list[str]:
        """The arms with adapters of their own, by name."""
        return [name for name, arm in self.arms.items() if arm.trained]

    @property
    def longest(self) -> dict[tuple[str, str], str]:
        """Of the arms that differ from the defaults in site and bias alone, the longest training, by these two."""
        plain, longest = Arm(), dict[tuple[str, str], str]()
        for name in self.trained:
            arm, place = self.arms[name], (self.arms[name].site, self.arms[name].bias)
            training = {key: getattr(arm, key) for key in ("steps", "times_adapter_steps", "lr", "seeds")}
            if replace(plain, site=arm.site, bias=arm.bias, **training) == arm:
                longest[place] = max(longest.get(place, name), name, key=lambda n: self.arms[n].times_adapter_steps)
        return longest

    @property
    def shown_arms(self) -> list[str]:
        """The arms of `shown`, or all."""
        return self.shown or list(self.arms)

    @property
    def end_to_end_arms(self) -> list[str]:
        """The arms that draw what the planner makes of captions, in the order of the rows."""
        return [arm for arm in self.arms if arm == self.reference or arm in self.end_to_end]

    def adapter_of(self, arm: str) -> str | None:
        """The arm whose adapters an arm draws with, itself or another; None for the base alone."""
        return None if self.arms[arm].site == "none" else self.arms[arm].adapter or arm

    def seeds_of(self, arm: str) -> list[int]:
        """An arm's training seeds; for an arm without training they name the noise."""
        if lender := self.arms[arm].adapter:
            return self.seeds_of(lender)[: self.arms[arm].seeds]
        headline = any(arm in pair for pair in self.headline)
        seeds = self.headline_seeds or self.seeds if headline else self.seeds
        return seeds[: self.arms[arm].seeds]


@dataclass(frozen=True)
class Sample:
    test: int = s(500, "held-out test layouts, one image each, for every arm and seed")
    val: int = s(64, "validation layouts: what choices are made on")
    relations: int = s(128, "held-out spatial captions for the end-to-end score, each seed")
    steps: int = s(
        4, "DPM-Solver++ steps; on validation layouts 3 have 0.04 less of the templates' success, 10 0.03 more"
    )
    guidance: float = s(3.0, "classifier-free guidance scale; at 3 steps 4 and 5 are 0.02 and 0.03 below 3")
    batch: int = s(32, "images a batch")
    caption_grid: int = s(10, "boxes that are written into captions are whole numbers from 0 to this")
    size: Literal["own", "layout"] = s(
        "own", "of pictures: the base's own, or the bucket nearest to the width and height that a layout carries"
    )


@dataclass(frozen=True)
class Score:
    second_features: Literal["none", "efficientnet-lite0"] = s(
        "none", "a second KID, by a network of ImageNet's photographs that nobody here has trained; out of a package"
    )


@dataclass(frozen=True)
class Guided:
    steps: int = s(10, "DPM-Solver++ steps of attention guidance")
    share: float = s(0.6, "share of the first steps in which latents are moved")
    iterations: int = s(2, "gradient steps on the latents before each of them")
    scale: float = s(100.0, "length of a gradient step, in units of the noise's variance")
    layers: list[str] = s(["up_blocks.1"], "blocks of the UNet whose cross-attention is looked at")


@dataclass(frozen=True)
class Memory:
    size: Literal["base", "kolors"] = s(
        "base",
        "UNet of the three-forwards comparison: the base's, or Kolors' real size with random weights (80 GB GPU)",
    )
    batch: int = s(8, "latents a forward; at Kolors' size 1")
    repeats: int = s(3, "timed repetitions, of which the median counts")


@dataclass(frozen=True)
class Config:
    run: Run = field(default_factory=Run)
    models: Models = field(default_factory=Models)
    world: World = field(default_factory=World)
    classifier: LanguageModel = field(default_factory=LanguageModel)
    filter: Filter = field(default_factory=Filter)
    download: Download = field(default_factory=Download)
    annotator: AnnotatorTraining = field(default_factory=AnnotatorTraining)
    annotate: Annotate = field(default_factory=Annotate)
    split: Split = field(default_factory=Split)
    zero_shot: ZeroShot = field(default_factory=ZeroShot)
    evaluator: Detector = field(default_factory=Detector)
    features: Features = field(default_factory=Features)
    clip: Clip = field(default_factory=Clip)
    vae: Vae = field(default_factory=Vae)
    text_encoder: TextEncoder = field(default_factory=TextEncoder)
    base: Base = field(default_factory=Base)
    planner: Planner = field(default_factory=Planner)
    cache: Cache = field(default_factory=Cache)
    adapter: Adapter = field(default_factory=Adapter)
    curve: Curve = field(default_factory=Curve)
    study: Study = field(default_factory=Study)
    sample: Sample = field(default_factory=Sample)
    score: Score = field(default_factory=Score)
    guided: Guided = field(default_factory=Guided)
    memory: Memory = field(default_factory=Memory)
    supplement: Supplement = field(default_factory=Supplement)
    gill: Gill = field(default_factory=Gill)
    frames: Frames = field(default_factory=Frames)
    regions: Regions = field(default_factory=Regions)
    ray: Ray = field(default_factory=Ray)
    from_reference: str = s("", "folder of a kept run that tables, figures and paper are made from; empty: this one")

    @property
    def beside(self) -> list[str]:
        """The held-out sets of a release that every arm draws beside the test set, with its first seed: people's
        captions of the test layouts, and a published benchmark's layouts where the settings name them.
        """
        return ["people", *["published"] * bool(self.split.published)] if self.world.release else []
