"""The settings of end-to-end GILL: its conversations, its language model, its training, and what it is scored on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gillnext.config.miniatures import LanguageModel
from gillnext.config.setting import s


@dataclass(frozen=True)
class Conversations:
    captions: int = s(2_000, "pictures with one caption each, as GILL itself is trained on")
    stories: int = s(2_000, "training stories: five sentences, a picture after each")
    dialogues: int = s(1_000, "training dialogues: ten questions and answers about what is then drawn")
    val: int = s(64, "stories, and as many dialogues, that choices are made on")
    test: int = s(200, "stories, and as many dialogues, that are scored")
    gallery: int = s(500, "test pictures with a caption each, among which retrieval looks")


@dataclass(frozen=True)
class ConversationLanguage(LanguageModel):
    hidden: int = s(128, "width")
    layers: int = s(4, "transformer layers")
    corpus: int = s(4_000, "captions beside the training conversations")
    steps: int = s(1_600, "optimiser steps")
    batch: int = s(24, "texts a step")
    lr: float = s(3e-3, "peak learning rate (cosine, warm-up of a twentieth)")


@dataclass(frozen=True)
class Weights:
    captioning: float = s(3.0, "of the captions' cross-entropy")
    retrieval: float = s(1.0, "of InfoNCE, both ways")
    generation: float = s(1.0, "of the mapper's loss")


@dataclass(frozen=True)
class Gill:
    language: str = s("made", "the frozen causal language model: made, or the path of a folder")
    eyes: str = s("image_text", "the frozen visual encoder: the model of a role, or the path of a folder")
    conversations: Conversations = field(default_factory=Conversations, metadata={"doc": "of the drawn world"})
    language_model: ConversationLanguage = field(
        default_factory=ConversationLanguage, metadata={"doc": "the language model that is made"}
    )
    features: Literal["pooled", "grid"] = s(
        "grid", "of a picture: what its encoder pools, as GILL's are, or its patches' states on at most 8 x 8 cells"
    )
    images: int = s(8, "[IMG] tokens")
    prefix: int = s(8, "embeddings that a picture enters as")
    retrieval: int = s(64, "width of the embeddings that find pictures")
    length: int = s(768, "tokens of a conversation at most; of a longer one the oldest turns are left out")
    mapper_width: int = s(128, "width of the mapper")
    mapper_layers: int = s(2, "layers of its encoder, and of its decoder")
    generation: Literal["matching", "denoising"] = s(
        "matching", "the mapper learns by its distance to the text encoder's states, or through the UNet"
    )
    weights: Weights = field(default_factory=Weights, metadata={"doc": "weights of the three losses"})
    steps: int = s(1_200, "optimiser steps")
    batch: int = s(32, "conversations a step")
    captions: int = s(128, "pictures that are captioned a step, of any turn")
    lr: float = s(2e-3, "peak learning rate")
    backward: Literal["split", "summed", "accumulated"] = s(
        "split", "a backward after each loss, one over their sum, or split ones on each half of the batch"
    )
    checkpoint_every: int = s(200, "steps between checkpoints")
    decisions: int = s(1_000, "training conversations whose picture is both found and drawn, to learn which is better")
