"""What GILL says: the language model's own continuation of a conversation, or the caption of a picture.

The LM has been trained to tell a conversation's scene again, in one sentence, on the line after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig

from gillnext.conversations import Turn
from gillnext.gill import sequence
from gillnext.gill.talker import Talker
from gillnext.runtime import seeds

MOST = 48  # tokens of an answer


@dataclass(frozen=True)
class Sampling:
    """temperature 0: the likeliest token each time. top_p: of the likeliest tokens those that make up this share."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@torch.no_grad()
def answer(talker: Talker, turns: Sequence[Turn], root: Path, how: Sampling, number: int = 0) -> str:
    """The LM's next line, pictures of all turns seen. `number` names the random stream of a sampled answer.

    The LM needs no padding token. `UserError` where a picture is missing.
    """
    reading, gill = talker.reading, talker.gill
    said = reading.said([*turns, Turn("")], [*(bool(turn.picture) for turn in turns), False])
    shown = [sequence.picture_of(turns[i], root, f"turn {i + 1}") for i in said.shown]
    texts = sequence.collate([said], talker.eyes.features(shown), reading.prefix).to(talker.device)
    settings = GenerationConfig(
        max_new_tokens=MOST, eos_token_id=reading.end, pad_token_id=reading.end, do_sample=how.temperature > 0,
        **({"temperature": how.temperature, "top_p": how.top_p, "top_k": 0} if how.temperature > 0 else {}),
    )  # fmt: skip
    words = gill.words(texts).to(gill.language.dtype)
    devices = [talker.device.index or 0] if talker.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seeds.key("answer", how.seed, number))
        found = gill.language.generate(inputs_embeds=words, attention_mask=texts.mask, generation_config=settings)
    (text,) = reading.tokenizer.batch_decode(found, skip_special_tokens=True)
    return text.strip().split("\n")[0].strip()
