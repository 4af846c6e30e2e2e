"""Boxes from a Qwen2-VL checkpoint: the prompt, generation in batches, and a parser that takes anything.

Wang et al. 2024, "Qwen2-VL". It answers with special tokens and coordinates in thousandths of the image:

    <|object_ref_start|>猫<|object_ref_end|><|box_start|>(120,340),(560,910)<|box_end|>
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2VLForConditionalGeneration

from gillnext import boxes
from gillnext.annotate.base import Found, Names
from gillnext.boxes import Convention

PROMPT = "描述：{caption}\n请在图中框出描述里提到的每一个物体，写出物体的名称和位置。"
PROMPT_NAMES = "描述：{caption}\n请在图中框出以下物体，写出物体的名称和位置：{names}。"
MAX_NEW_TOKENS = 512  # room for about a dozen objects
MOST = 32  # boxes taken from one answer; more is a model that repeats itself

_MARK = re.compile(r"(<\|(?:object_ref|box)_(?:start|end)\|>)")
_POINT = re.compile(r"\(\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*,\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*\)")
_END = re.compile(r"<\|(?:im_end|endoftext|im_start)\|>")


@dataclass(frozen=True)
class Answer:
    """What a model's text says: named boxes (xyxy in [0, 1], each pair once) and why other parts of it say none."""

    objects: tuple[tuple[str, tuple[float, float, float, float]], ...]
    problems: tuple[tuple[str, str], ...]  # (name, reason)


def parse(text: str) -> Answer:
    """Read a Qwen2-VL answer. Takes any text: truncated, repeated, reversed, out of range, prose; never raises.

    A bad box is left out and its reason told; nothing is clamped or guessed.
    """
    pieces = _MARK.split(_END.split(text, maxsplit=1)[0])
    objects: list[tuple[str, tuple[float, float, float, float]]] = []
    problems: list[tuple[str, str]] = []
    name, has_box = "", True
    for i in range(1, len(pieces), 2):
        mark, body = pieces[i], pieces[i + 1]
        closed = i + 2 < len(pieces) and pieces[i + 2] == mark.replace("_start", "_end")
        if mark == "<|object_ref_start|>":
            if not has_box:
                problems.append((name, "no box"))
            name, has_box = (body.strip(), False) if closed else ("", True)
            if not closed:
                problems.append((body.strip(), "truncated"))
        elif mark == "<|box_start|>":
            has_box = True
            _read_boxes(name, body, closed, objects, problems)
    if not has_box:
        problems.append((name, "no box"))
    if len(pieces) == 1:
        problems.append(("", "no box in the answer"))
    return Answer(tuple(objects[:MOST]), tuple(problems + [(n, "too many boxes") for n, _ in objects[MOST:]]))


def _read_boxes(name: str, body: str, closed: bool, objects: list, problems: list) -> None:
    """The boxes between <|box_start|> and <|box_end|>: pairs of points, usually one pair."""
    body = unicodedata.normalize("NFKC", body)
    points = [(float(x), float(y)) for x, y in _POINT.findall(body)]
    rest = _POINT.sub("", body).strip(" ,;、\n\t")
    if not name:
        problems.append(("", "a box without a name"))
    elif not closed:
        problems.append((name, "truncated"))
    elif not points or len(points) % 2 or rest.strip(" ,;、\n\t"):
        problems.append((name, "malformed"))
    else:
        for (x1, y1), (x2, y2) in zip(points[::2], points[1::2], strict=True):
            box = (x1 / 1000, y1 / 1000, x2 / 1000, y2 / 1000)
            if reason := boxes.problem(box):
                problems.append((name, "reversed or empty" if "reversed" in reason else "out of range"))
            elif (name, box) in objects:
                problems.append((name, "repeated"))
            else:
                objects.append((name, box))


def to_found(answer: Answer, caption: str, names: Names) -> list[Found]:
    """Answers for the names that were asked for; without names, for those that stand in the caption."""
    found = []
    for name, box in answer.objects:
        allowed = name in names if names is not None else name in caption
        reason = "" if allowed else "a name that was not asked for"
        found.append(Found(name, box if allowed else None, 1.0 if allowed else 0.0, reason))
    found += [Found(name, None, 0.0, reason) for name, reason in answer.problems]
    told = {f.name for f in found}
    return found + [Found(n, None, 0.0, "object not in the image") for n in names or [] if n not in told]


class Qwen2VLAnnotator:
    """A Qwen2-VL checkpoint as an annotator; its boxes are thousandths of the image (`Convention.THOUSANDTHS`)."""

    name = "qwen2vl"
    convention = Convention.THOUSANDTHS
    needs_names = False

    def __init__(self, model: Any, processor: Any, max_image_size: int, max_new_tokens: int = MAX_NEW_TOKENS) -> None:
        self.model, self.processor = model.eval(), processor
        self.max_image_size, self.max_new_tokens = max_image_size, max_new_tokens

    @classmethod
    def from_pretrained(
        cls, model: Path | str, device: str = "cpu", max_image_size: int = 1024, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> Qwen2VLAnnotator:
        """A checkpoint folder or hub id, at its own precision on an accelerator and in float32 on a CPU.

        Prompts are padded on the left, so that every answer of a batch starts where its prompt ends.
        """
        processor = AutoProcessor.from_pretrained(model, padding_side="left")
        kind = torch.float32 if device == "cpu" else "auto"
        network: Any = Qwen2VLForConditionalGeneration.from_pretrained(model, dtype=kind)
        network.to(device)
        return cls(network, processor, max_image_size, max_new_tokens)

    def prompt(self, caption: str, names: Names) -> str:
        """The chat prompt of one image."""
        asked = PROMPT.format(caption=caption) if names is None else (
            PROMPT_NAMES.format(caption=caption, names="、".join(names)))  # fmt: skip
        content = [{"type": "image"}, {"type": "text", "text": asked}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def shrink(self, image: Image.Image) -> Image.Image:
        """The image with its longest side at most `max_image_size` pixels; boxes are fractions, so they hold."""
        if max(image.size) <= self.max_image_size:
            return image
        scale = self.max_image_size / max(image.size)
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        return image.resize(size, Image.Resampling.BICUBIC)

    @torch.inference_mode()
    def answer(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        """The model's texts, greedily decoded, special tokens kept."""
        inputs = self.processor(
            text=list(prompts), images=[self.shrink(i) for i in images], padding=True, return_tensors="pt"
        ).to(self.model.device)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        return self.processor.batch_decode(new, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """Ask for each image's objects and read the answers."""
        prompts = [self.prompt(caption, wanted) for caption, wanted in zip(captions, names, strict=True)]
        texts = self.answer(images, prompts)
        return [to_found(parse(text), c, n) for text, c, n in zip(texts, captions, names, strict=True)]
