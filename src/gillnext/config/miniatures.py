"""The settings of what the demo makes in miniature: the models that a lab gives."""

from __future__ import annotations

from dataclasses import dataclass

from gillnext.config.setting import s


@dataclass(frozen=True)
class LanguageModel:
    hidden: int = s(96, "width")
    layers: int = s(3, "transformer layers")
    heads: int = s(4, "attention heads")
    corpus: int = s(6_000, "training captions")
    steps: int = s(700, "optimiser steps")
    batch: int = s(32, "captions a step")
    lr: float = s(2e-3, "peak learning rate (cosine, warm-up of a twentieth)")


@dataclass(frozen=True)
class Detector:
    corpus: int = s(3_000, "training scenes of its own stream")
    steps: int = s(700, "optimiser steps")
    batch: int = s(16, "scenes a step")
    lr: float = s(2e-3, "peak learning rate")


@dataclass(frozen=True)
class AnnotatorTraining(Detector):
    steps: int = s(300, "optimiser steps")


@dataclass(frozen=True)
class Clip:
    corpus: int = s(6_000, "training pairs")
    steps: int = s(360, "optimiser steps")
    batch: int = s(32, "pairs a step")
    lr: float = s(2.5e-3, "peak learning rate")


@dataclass(frozen=True)
class Features:
    corpus: int = s(4_000, "training scenes")
    steps: int = s(380, "optimiser steps")
    batch: int = s(32, "scenes a step")
    lr: float = s(4e-3, "peak learning rate")


@dataclass(frozen=True)
class Vae:
    corpus: int = s(4_000, "training scenes of the base stream")
    steps: int = s(1_000, "optimiser steps")
    batch: int = s(12, "images a step")
    lr: float = s(2e-3, "peak learning rate")
    threads: int = s(1, "torch threads: beside the other jobs, one packs two cores best")


@dataclass(frozen=True)
class TextEncoder:
    corpus: int = s(8_000, "training captions of the base stream")
    steps: int = s(300, "optimiser steps")
    batch: int = s(64, "captions a step")
    lr: float = s(2e-3, "peak learning rate")


@dataclass(frozen=True)
class Base:
    corpus: int = s(8_000, "training scenes of the base stream")
    window_steps: int = s(1_300, "optimiser steps on windows around one object, a quarter of a picture, before")
    window_batch: int = s(32, "windows a step")
    window_threads: int = s(1, "torch threads of these steps: beside the data stages, one packs two cores best")
    steps: int = s(1_050, "optimiser steps on whole pictures")
    batch: int = s(16, "pictures a step")
    lr: float = s(1e-3, "peak learning rate")
    ema: float = s(0.998, "decay of the averaged weights that are saved")
    class_map: float = s(0.1, "weight of the loss that tells each cell's class from the UNet's features; 0: none")
    channels: list[int] = s([64, 96, 128], "UNet widths, one a level")
    threads: int = s(2, "torch threads on pictures: everything waits for this job, so it takes both cores of the demo")
