"""How a causal LM is asked whether a caption says where things are: one Chinese word as the answer."""

from __future__ import annotations

import re

from transformers import PreTrainedTokenizerBase

from gillnext.language.tokenizer import without_markers
from gillnext.runtime.errors import UserError

LABELS = {"strong": "强", "weak": "弱", "none": "无"}  # label and the word that stands for it

_INSTRUCTION = (
    "判断图片描述是否说出了物体的位置，只回答一个字。强：说出了物体的方位，或在什么东西的左右、上下、前后；"
    "弱：只说物体在旁边、附近、里面、中间，或在街道、草地这样的大地方；无：没有说位置，或方位词另有意思。"
)
_EXAMPLES = (
    ("窗台左边放着花瓶，右边趴着一只狗", "强"),
    ("木架上摞着几顶草帽", "强"),
    ("小路旁边停着自行车", "弱"),
    ("上海迪士尼门票现货200元左右", "无"),
)


def prompt(caption: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """The question; a model with a chat template gets the instruction and an example of each label as well."""
    caption = without_markers(re.sub(r"\s+", " ", caption).strip(), tokenizer)
    if not getattr(tokenizer, "chat_template", None):
        return f"描述：{caption}\n位置："
    messages = [{"role": "system", "content": _INSTRUCTION}]
    for text, answer in _EXAMPLES:
        messages += [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": caption})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def label_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The first token of each label's word, in the order of LABELS; they must differ."""
    ids = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in LABELS.values()]
    if len(set(ids)) != len(ids):
        raise UserError(
            f"the tokenizer gives {', '.join(LABELS.values())} the same first token",
            where=str(tokenizer.name_or_path),
            remedy="use a classifier whose tokenizer knows these characters",
        )
    return ids
