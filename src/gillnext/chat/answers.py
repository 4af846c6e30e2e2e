"""What GILL says: the language model's own continuation of a conversation, or the caption of a picture.

The LM has been trained to tell a conversation's scene again, in one sentence, on the line after it.

Letters: B = 1 row, L tokens, H width of the LM, W its words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gillnext.conversations import Turn
from gillnext.gill import sequence
from gillnext.gill.talker import Talker
from gillnext.runtime import seeds

MOST = 48  # tokens of an answer


@dataclass(frozen=True)
class Sampling:
    """temperature 0: the likeliest token each time. top_p: of the likeliest tokens those that make up this share.
    opening: how every answer begins.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    opening: str = ""


def drawn(logits_W: Tensor, how: Sampling, generator: torch.Generator) -> int:
    """The next token: the likeliest, or one of the likeliest that together have `top_p` (Holtzman et al., 2020)."""
    if not how.temperature:
        return int(logits_W.argmax())
    shares_W, order_W = (logits_W.double().cpu() / how.temperature).softmax(-1).sort(descending=True, stable=True)
    kept_W = shares_W * (shares_W.cumsum(-1) - shares_W < how.top_p)  # the first always
    return int(order_W[torch.multinomial(kept_W, 1, generator=generator)])


@torch.no_grad()
def answer(talker: Talker, turns: Sequence[Turn], root: Path, how: Sampling, number: int = 0) -> str:
    """The LM's next line, pictures of all turns seen. `number` names the random stream of a sampled answer.

    The LM needs no padding token, and its own generation settings are none of ours. `UserError` where a picture is
    missing.
    """
    reading, gill = talker.reading, talker.gill
    said = reading.said([*turns, Turn(how.opening)], [*(bool(turn.picture) for turn in turns), False])
    shown = [sequence.picture_of(turns[i], root, f"turn {i + 1}") for i in said.shown]
    texts = sequence.collate([said], talker.eyes.features(shown), reading.prefix).to(talker.device)
    language, generator = gill.language, seeds.torch_generator("answer", how.seed, number)
    rows_BLH, past, found = gill.words(texts), None, list[int]()
    while len(found) < MOST:
        output = language(inputs_embeds=rows_BLH.to(language.dtype), past_key_values=past, use_cache=True)
        token, past = drawn(output.logits[0, -1].float(), how, generator), output.past_key_values
        if token == reading.end:
            break
        found.append(token)
        rows_BLH = language.get_input_embeddings()(torch.tensor([[token]], device=talker.device))
    text = str(reading.tokenizer.decode(found, skip_special_tokens=True))
    return (how.opening + text).strip().split("\n")[0].strip()
