"""What a planner is asked: the caption on one line; by its chat template where a given language model has one.

With a template goes an instruction, so that a chat model begins near the answer that it is to learn. A saved planner
keeps its tokenizer's template, and so is asked as it was trained.
"""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerBase

from gillnext.language.tokenizer import without_markers

INSTRUCTION = (
    "为图片描述安排画面布局：按提到的顺序写出其中的物体和它们的边界框，格式是<obj>名称</obj><box>[左,上,右,下]</box>，"
    "坐标是0到1000的整数，原点在左上角。只写布局。"
)


def line(caption: str) -> str:
    """The caption on one line."""
    return re.sub(r"\s+", " ", caption).strip()


def text(caption: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt as text."""
    if not getattr(tokenizer, "chat_template", None):
        return line(caption) + "\n"
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": without_markers(line(caption), tokenizer)},
    ]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def tokens(caption: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The prompt's token ids; a template writes the tokens that begin a text itself."""
    begun = bool(getattr(tokenizer, "chat_template", None))
    return list(tokenizer(text(caption, tokenizer), add_special_tokens=not begun).input_ids)
