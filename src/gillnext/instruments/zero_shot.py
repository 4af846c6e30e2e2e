"""Zero-shot detectors of published classes: Grounding DINO (Liu et al., 2023, arXiv:2303.05499) and OWLv2 (Minderer et
al., 2023, arXiv:2306.09683), from the folders that `AutoModelForZeroShotObjectDetection` reads.

`look` asks each picture for phrases of its own; the evaluator (`instruments.open_vocabulary`) and the annotator
(`annotate.zero_shot`) are built on it. Boxes and scores are those of each class's own post-processing. Which phrase a
box belongs to is certain or is not said: OWLv2 answers by the place of the phrase; a box of Grounding DINO belongs to
the phrase in which all of its tokens lie, and to none where they lie in two.

What a picture gets depends on it and its phrases alone: only pictures of one size go through the network together, as
the filling beside a smaller one would change what is seen near its edges.

Letters: N pictures, B of a batch, M boxes, Q queries, T tokens of a text.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import batched_nms
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from gillnext.config.data import ZeroShot
from gillnext.instruments import families
from gillnext.runtime.errors import UserError

SMALLEST = 1e-4  # a box is at least this wide and high, fractions of the picture
NOWHERE = -1  # label of a box whose tokens lie in no phrase
SEVERAL = -2  # and of one whose tokens lie in more than one


@dataclass(frozen=True)
class Seen:
    """Boxes of one picture, by falling score: `boxes` (M, 4) xyxy in [0, 1], `scores` (M,), `labels` (M,) places among
    the phrases that were asked for. `unsure`: for each box that fits more than one phrase, their places; `nameless`:
    how many boxes fit none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    unsure: tuple[tuple[int, ...], ...] = ()
    nameless: int = 0


NOTHING = Seen(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


def joined(parts: Sequence[Seen]) -> Seen:
    """What was seen of one picture in several askings."""
    scores = np.concatenate([p.scores for p in parts])
    order = np.argsort(-scores, kind="stable")
    boxes, labels = np.concatenate([p.boxes for p in parts]), np.concatenate([p.labels for p in parts])
    unsure = tuple(itertools.chain.from_iterable(p.unsure for p in parts))
    return Seen(boxes[order], labels[order], scores[order], unsure, sum(p.nameless for p in parts))


class ZeroShotDetector(ABC):
    """A detector that is asked for phrases. `settings` hold its thresholds; `title` is its family's name."""

    title: ClassVar[str]

    def __init__(self, network: Any, processor: Any, settings: ZeroShot) -> None:
        self.network, self.processor, self.settings = network.eval().requires_grad_(False), processor, settings
        self.tokenizer = processor.tokenizer

    @property
    def description(self) -> str:
        """Its thresholds, and whether boxes that overlap are thinned out, in the words of a protocol."""
        thinned = f"NMS at IoU {self.settings.nms:g}" if self.settings.nms else "no NMS"
        return f"{self.title}, zero-shot, scores above {self.settings.least:g}{self._thresholds()}, {thinned}"

    def _thresholds(self) -> str:
        return ""

    def tokens(self, phrase: str) -> list[int]:
        """A phrase's tokens, without what begins and ends a text."""
        return list(self.tokenizer(phrase, add_special_tokens=False).input_ids)

    def reads(self, phrase: str) -> bool:
        """Whether the tokenizer knows a phrase: no unknown token, no more tokens than characters, as bytes of a foreign
        script are, and not longer than a text may be.
        """
        ids = self.tokens(phrase)
        foreign = self.tokenizer.unk_token_id in ids and self.tokenizer.unk_token_id != self.tokenizer.eos_token_id
        return bool(ids) and not foreign and len(ids) <= min(len(phrase), self.room)

    @property
    @abstractmethod
    def room(self) -> int:
        """Tokens of a single phrase at most."""

    @abstractmethod
    def chunks(self, phrases: Sequence[str]) -> list[list[int]]:
        """Places of the phrases, in groups that fit into one asking."""

    @abstractmethod
    def _ask(self, pixels_BCHW: Tensor, sizes: list[tuple[int, int]], asked: list[list[str]]) -> list[Seen]:
        """What is seen of pictures of one processed size; `sizes` are (height, width) of the pictures themselves."""

    @torch.inference_mode()
    def look(self, images: Sequence[Any], asked: Sequence[Sequence[str]], batch: int, least: float = 0.0) -> list[Seen]:
        """What is seen of each of N pictures (PIL, or (H, W, 3) uint8 of any sizes) asked for its own phrases, each
        once; of boxes with a score of at least `least`. No more than `batch` pictures, and `settings.batch`, together.
        """
        found: list[list[Seen]] = [[] for _ in images]
        for group, pixels_BCHW in self._alike(images, batch):
            groups = {i: self.chunks(asked[i]) for i in group}
            for k in range(max(map(len, groups.values()))):
                rows = [i for i in group if k < len(groups[i])]
                kept_BCHW = pixels_BCHW[[group.index(i) for i in rows]].to(self.network.device, self.network.dtype)
                sizes = [_size(images[i]) for i in rows]
                seen = self._ask(kept_BCHW, sizes, [[asked[i][p] for p in groups[i][k]] for i in rows])
                for i, one in zip(rows, seen, strict=True):
                    found[i].append(self._placed(one, groups[i][k]))
        return [self._thinned(joined(parts), least) if parts else NOTHING for parts in found]

    def _alike(self, images: Sequence[Any], batch: int) -> Iterator[tuple[list[int], Tensor]]:
        """Places and pixels (B, C, H, W) of pictures that the processor brings to one size."""
        batch = max(min(batch, self.settings.batch), 1)
        for start in range(0, len(images), batch):
            by_size: dict[tuple[int, ...], dict[int, Tensor]] = {}
            for i in range(start, min(start + batch, len(images))):
                picture = images[i] if isinstance(images[i], Image.Image) else Image.fromarray(images[i])
                pixels = self.processor.image_processor(images=[picture], return_tensors="pt")["pixel_values"]
                by_size.setdefault(tuple(pixels.shape), {})[i] = pixels
            for group in by_size.values():
                yield list(group), torch.cat(list(group.values()))

    @staticmethod
    def _placed(seen: Seen, places: list[int]) -> Seen:
        """Labels and places within a group of phrases as places among all."""
        labels = np.array([places[label] for label in seen.labels], dtype=np.int64)
        unsure = tuple(tuple(places[p] for p in one) for one in seen.unsure)
        return Seen(seen.boxes, labels, seen.scores, unsure, seen.nameless)

    def _thinned(self, seen: Seen, least: float) -> Seen:
        kept = np.flatnonzero(seen.scores >= least)
        if self.settings.nms and len(kept):
            boxes, scores, labels = (torch.from_numpy(part[kept]) for part in (seen.boxes, seen.scores, seen.labels))
            kept = kept[np.sort(batched_nms(boxes, scores, labels, self.settings.nms).numpy())]
        return Seen(seen.boxes[kept], seen.labels[kept], seen.scores[kept], seen.unsure, seen.nameless)


def _size(image: Any) -> tuple[int, int]:
    """(height, width) of a picture."""
    return (image.height, image.width) if isinstance(image, Image.Image) else image.shape[:2]


def read(
    answer: dict[str, Any], size: tuple[int, int], labels: np.ndarray, unsure: Sequence[tuple[int, ...]] = ()
) -> Seen:
    """A processor's answer about a picture of `size` (height, width): boxes in pixels to fractions, cut at edges."""
    height, width = size
    boxes_M4 = answer["boxes"].double().cpu().numpy().reshape(-1, 4) / (width, height, width, height)
    boxes_M4, scores = boxes_M4.clip(0, 1), answer["scores"].double().cpu().numpy()
    whole = (boxes_M4[:, 2:] - boxes_M4[:, :2] > SMALLEST).all(1) & (labels >= 0)
    order = np.flatnonzero(whole)[np.argsort(-scores[whole], kind="stable")]
    return Seen(boxes_M4[order], labels[order], scores[order], tuple(unsure), int((labels == NOWHERE).sum()))


class GroundingDino(ZeroShotDetector):
    """One text for all phrases of a picture, each ended by a full stop; a query scores every token of it."""

    title = "Grounding DINO"

    def __init__(self, network: Any, processor: Any, settings: ZeroShot) -> None:
        super().__init__(network, processor, settings)
        self.stop = self.tokens(".")
        if len(self.stop) != 1 or self.stop[0] not in network.model.special_tokens.tolist():
            raise UserError(
                f"the tokenizer's full stop is {self.stop}, none of the network's delimiters "
                f"{network.model.special_tokens.tolist()}: phrases would be read as one",
                where=str(processor.tokenizer.name_or_path), remedy="name a checkpoint with its own tokenizer",
            )  # fmt: skip

    def _thresholds(self) -> str:
        return f", tokens above {self.settings.text:g}"

    @property
    def room(self) -> int:
        return int(self.network.config.max_text_len) - 3  # what begins and ends the text, and the full stop

    def reads(self, phrase: str) -> bool:
        return super().reads(phrase) and not set(self.tokens(phrase)) & set(self.network.model.special_tokens.tolist())

    def chunks(self, phrases: Sequence[str]) -> list[list[int]]:
        groups: list[list[int]] = []
        left = 0
        for i, phrase in enumerate(phrases):
            need = len(self.tokens(phrase)) + 1
            if not groups or need > left:
                groups.append([])
                left = int(self.network.config.max_text_len) - 2
            groups[-1].append(i)
            left -= need
        return groups

    def _ask(self, pixels_BCHW: Tensor, sizes: list[tuple[int, int]], asked: list[list[str]]) -> list[Seen]:
        texts = ["".join(f"{phrase.lower()}. " for phrase in phrases).rstrip() for phrases in asked]
        read_ = self.tokenizer(
            texts, padding=True, return_offsets_mapping=True, return_token_type_ids=True, return_tensors="pt"
        )
        places_BT2 = read_.pop("offset_mapping")
        text = {name: ids.to(pixels_BCHW.device) for name, ids in read_.items()}
        output = self.network(pixel_values=pixels_BCHW, **text)
        answers = self.processor.post_process_grounded_object_detection(
            output, text["input_ids"], self.settings.least, self.settings.text, sizes
        )
        probable_BQT = torch.sigmoid(output.logits)
        kept_BQ = probable_BQT.max(-1).values > self.settings.least  # as the processor keeps them, in its order
        seen = []
        for b, (answer, size, phrases) in enumerate(zip(answers, sizes, asked, strict=True)):
            tokens_MT = (probable_BQT[b][kept_BQ[b]] > self.settings.text).cpu().numpy()
            owner_T = _owners(places_BT2[b].numpy(), phrases, tokens_MT.shape[1])
            fits = [sorted(set(owner_T[row].tolist()) - {NOWHERE}) for row in tokens_MT]
            labels = [found[0] if len(found) == 1 else SEVERAL if found else NOWHERE for found in fits]
            unsure = [tuple(found) for found in fits if len(found) > 1]
            seen.append(read(answer, size, np.array(labels, dtype=np.int64), unsure))
        return seen


def _owners(places_T2: np.ndarray, phrases: Sequence[str], width: int) -> np.ndarray:
    """(width,) the phrase in which each token of their text lies, NOWHERE for full stops and what frames a text."""
    owner = np.full(width, NOWHERE)
    start = 0
    for k, phrase in enumerate(phrases):
        end = start + len(phrase.lower())
        inside = (places_T2[:, 0] >= start) & (places_T2[:, 1] <= end) & (places_T2[:, 1] > places_T2[:, 0])
        owner[: len(inside)][inside] = k
        start = end + 2  # a full stop and a space
    return owner


class Owlv2(ZeroShotDetector):
    """A text for each phrase; a box of a picture, which is filled up to a square, is given to the likeliest phrase."""

    title = "OWLv2"

    @property
    def room(self) -> int:
        return int(self.network.config.text_config.max_position_embeddings) - 2

    def chunks(self, phrases: Sequence[str]) -> list[list[int]]:
        return [list(range(len(phrases)))] if phrases else []

    def _ask(self, pixels_BCHW: Tensor, sizes: list[tuple[int, int]], asked: list[list[str]]) -> list[Seen]:
        most = max(map(len, asked))
        length = int(self.network.config.text_config.max_position_embeddings)
        flat = [phrase for phrases in asked for phrase in phrases]
        read_ = self.tokenizer(flat, padding="max_length", max_length=length, return_tensors="pt")
        # A row whose first token is 0 is no query to the network; the processor's own filling, a blank, would be one.
        ids = torch.zeros(len(asked), most, length, dtype=torch.int64)
        mask = torch.ones_like(ids)
        start = 0
        for b, count in enumerate(map(len, asked)):
            ids[b, :count] = read_.input_ids[start : start + count]
            mask[b, :count] = read_.attention_mask[start : start + count]
            start += count
        output = self.network(
            pixel_values=pixels_BCHW,
            input_ids=ids.flatten(0, 1).to(pixels_BCHW.device),
            attention_mask=mask.flatten(0, 1).to(pixels_BCHW.device),
        )
        answers = self.processor.post_process_grounded_object_detection(output, self.settings.least, sizes)
        labels = [answer["labels"].cpu().numpy().astype(np.int64) for answer in answers]
        return [read(answer, size, one) for answer, size, one in zip(answers, sizes, labels, strict=True)]


CLASSES = {"grounding-dino": GroundingDino, "owlv2": Owlv2}


def load(folder: Path | str, settings: ZeroShot, device: str = "cpu") -> ZeroShotDetector:
    """The detector in a folder, in its own precision on an accelerator and in float32 on a CPU; `UserError` where it is
    of another class, or its weights are no safetensors.
    """
    named = families.model_type(folder)
    if named not in CLASSES:
        raise UserError(
            f"no zero-shot detector is a {named!r}", where=str(folder), remedy=f"one of {', '.join(CLASSES)}"
        )
    kind = torch.float32 if device == "cpu" else "auto"
    try:
        processor = AutoProcessor.from_pretrained(folder)
        network: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder, dtype=kind, use_safetensors=True)
    except (OSError, ValueError) as error:
        remedy = "fetch the checkpoint again; weights that are .bin alone: gillnext convert"
        raise UserError(f"cannot load the detector: {error}", where=str(folder), remedy=remedy) from error
    return CLASSES[named](network.to(device), processor, settings)
