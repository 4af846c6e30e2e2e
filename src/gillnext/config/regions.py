"""The settings of Learnable Regions: what is made for it in miniature, how regions are learned, and what is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gillnext.config.setting import s


@dataclass(frozen=True)
class Dino:
    corpus: int = s(4_000, "training scenes of a stream of its own")
    patch: int = s(4, "pixels a side of a patch")
    hidden: int = s(96, "width")
    layers: int = s(3, "transformer layers")
    heads: int = s(3, "attention heads")
    prototypes: int = s(256, "outputs of the head")
    steps: int = s(240, "optimiser steps")
    batch: int = s(24, "pictures a step, each seen as two large and two small crops")
    lr: float = s(1.5e-3, "peak learning rate")
    momentum: float = s(0.98, "of the teacher, at the beginning; 1 at the end (cosine)")
    threads: int = s(1, "torch threads")


@dataclass(frozen=True)
class EditClip:
    corpus: int = s(2_400, "training scenes of a stream of its own, each with an edited twin")
    steps: int = s(1_200, "optimiser steps")
    batch: int = s(20, "pairs of twins a step")
    lr: float = s(2e-3, "peak learning rate")
    threads: int = s(1, "torch threads")


@dataclass(frozen=True)
class InpaintingTraining:
    corpus: int = s(4_000, "training scenes of a stream of its own")
    steps: int = s(450, "optimiser steps")
    batch: int = s(64, "boxes a step")
    lr: float = s(1e-3, "peak learning rate")
    coloured: float = s(0.5, "share of captions that tell the object's colour")
    threads: int = s(1, "torch threads")


@dataclass(frozen=True)
class Edits:
    test: int = s(200, "edits that are scored")
    val: int = s(60, "edits that choices are made on")


@dataclass(frozen=True)
class ObjectiveWeights:
    text: float = s(1.0, "of 1 − the similarity of picture and editing prompt")
    directional: float = s(1.0, "of 1 − the similarity of the pictures' and the prompts' change")
    structure: float = s(0.5, "of the change in the self-similarity of the eyes' keys")


@dataclass(frozen=True)
class RankingWeights:
    text: float = s(1.0, "of the similarity of picture and editing prompt")
    image: float = s(0.1, "of the similarity of edited and source picture")
    directional: float = s(1.0, "of the similarity of the pictures' and the prompts' change")


@dataclass(frozen=True)
class Regions:
    eyes: str = s("made", "the self-supervised ViT: made, or the path of a folder (ViTModel, Dinov2Model)")
    inpainting: str = s(
        "made", "the UNet of 9 channels: made, none (the base's own 4 channels), or the path of a folder"
    )
    image_text: str = s(
        "made", "the image-text model that edits are led by: made, the model of the role image_text, or a folder's path"
    )
    clip: EditClip = field(default_factory=EditClip, metadata={"doc": "the image-text model that is made"})
    dino: Dino = field(default_factory=Dino, metadata={"doc": "the ViT that is made"})
    training: InpaintingTraining = field(
        default_factory=InpaintingTraining, metadata={"doc": "the inpainting UNet that is made"}
    )
    edits: Edits = field(default_factory=Edits, metadata={"doc": "of the drawn world"})
    point_number: int = s(9, "anchors: the strongest patches of the class token's attention")
    smooth: int = s(5, "patches a side of the square over which the attention is averaged; 1: none")
    apart: int = s(3, "patches between two anchors, at least")
    min_window_size: int = s(5, "patches a side of the smallest candidate box")
    max_window_size: int = s(15, "patches a side of the largest candidate box")
    windows: int = s(4, "candidate boxes of an anchor")
    fitted: bool = s(True, "one more candidate an anchor: the box of the patches about it that are like it")
    per_image_iteration: int = s(60, "optimiser steps of an edit's region network")
    lr: float = s(2e-2, "its learning rate")
    width: int = s(64, "its width")
    temperature: float = s(1.0, "of the Gumbel choice")
    gradient: Literal["pixels", "expected"] = s(
        "expected", "through the composed pixels (straight-through), or of the expected loss over candidates"
    )
    objective: ObjectiveWeights = field(default_factory=ObjectiveWeights, metadata={"doc": "weights of the loss"})
    ranking: RankingWeights = field(default_factory=RankingWeights, metadata={"doc": "weights of the ranking"})
    seeds: list[int] = s([0, 1, 2], "of the region network and its choices, when edits are scored")
    steps: int = s(4, "sampler steps of an inpainting")
    guidance: float = s(3.0, "classifier-free guidance scale")
    fill: Literal["prompt", "change"] = s(
        "change", "what boxes are filled with: the editing prompt, or what it lists and the source prompt does not"
    )
    negative: Literal["source", "empty"] = s("source", "what guidance leads away from: the source prompt, or nothing")
    crop: float = s(1.5, "side of the square that is filled, in the box's longer sides; 0: the whole picture")
    side: int | None = s(32, "pixels a side that the square is drawn at; null: the base's own")
    feather: int = s(1, "pixels inside a box over which its seam is faded")
    batch_size: int = s(64, "inpaintings a batch")
