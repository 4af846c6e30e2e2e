"""Boxes from a vision-language checkpoint: generation in batches; prompts and parsers are those of `families`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from gillnext.annotate.answers import to_found
from gillnext.annotate.base import Found, Names
from gillnext.annotate.families import Family, family
from gillnext.annotate.rows import shrink
from gillnext.language.tokenizer import without_markers
from gillnext.runtime.errors import UserError

MAX_NEW_TOKENS = 512  # room for about a dozen objects


class VisionLanguageAnnotator:
    """A checkpoint of a known family as an annotator."""

    name = "vlm"
    needs_names = False

    def __init__(
        self, model: Any, processor: Any, spoken: Family, max_image_size: int, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> None:
        self.model, self.processor, self.family = model.eval(), processor, spoken
        self.max_image_size, self.max_new_tokens = max_image_size, max_new_tokens
        self.convention = spoken.CONVENTION

    @classmethod
    def from_pretrained(
        cls, model: Path | str, device: str = "cpu", max_image_size: int = 1024, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> VisionLanguageAnnotator:
        """A checkpoint folder or hub id, at its own precision on an accelerator and in float32 on a CPU.

        Prompts are padded on the left, so that every answer of a batch starts where its prompt ends.
        """
        kind = torch.float32 if device == "cpu" else "auto"
        try:
            spoken = family(AutoConfig.from_pretrained(model).model_type)
            processor = AutoProcessor.from_pretrained(model, padding_side="left")
            network: Any = AutoModelForImageTextToText.from_pretrained(model, dtype=kind)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the annotator: {error}", where=str(model)) from error
        network.to(device)
        return cls(network, processor, spoken, max_image_size, max_new_tokens)

    def prompt(self, caption: str, names: Names) -> str:
        """The chat prompt of one image."""
        plain = without_markers(caption, self.processor.tokenizer)
        content = [{"type": "image"}, {"type": "text", "text": self.family.question(plain, names)}]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    @torch.inference_mode()
    def answer(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
        """The model's texts, greedily decoded, special tokens kept; and (width, height) of each image as it saw it."""
        inputs = self.processor(
            text=list(prompts),
            images=[shrink(image, self.max_image_size) for image in images],
            padding=True,
            return_tensors="pt",
        ).to(self.model.device)
        tokens = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        texts = self.processor.batch_decode(new, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        patch = self.processor.image_processor.patch_size
        sizes = [(int(w) * patch, int(h) * patch) for _, h, w in inputs["image_grid_thw"].tolist()]
        return list(zip(texts, sizes, strict=True))

    def annotate(
        self, images: Sequence[Image.Image], captions: Sequence[str], names: Sequence[Names]
    ) -> list[list[Found]]:
        """Ask for each image's objects and read the answers."""
        prompts = [self.prompt(caption, wanted) for caption, wanted in zip(captions, names, strict=True)]
        answers = [self.family.parse(text, size) for text, size in self.answer(images, prompts)]
        return [to_found(answer, c, n) for answer, c, n in zip(answers, captions, names, strict=True)]
