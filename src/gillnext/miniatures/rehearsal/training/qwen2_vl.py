"""A miniature Qwen2-VL (Wang et al. 2024) that answers with boxes, in the words of `annotate.families.qwen2_vl`.

Its answers are written in fortieths of the picture, each number one token, its visual tokens learn what they lie in,
and a name's token knows its box: with a token a digit, and answers alone to learn from, it finds one object in six
after as many minutes of training.

Letters: B pictures, P visual tokens of a picture, L tokens of a text, V of the vocabulary, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken
from torch import Tensor
from torch.nn import functional as F

from gillnext.annotate.families import qwen2_vl
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.boxes import iou
from gillnext.language.tokenizer import train_tokenizer
from gillnext.miniatures.networks import small_qwen2_vl
from gillnext.miniatures.rehearsal.training import dense, scenes
from gillnext.miniatures.rehearsal.training.scenes import SEED, WORDS, Picture
from gillnext.runtime import seeds, training

TITLE, LOOKS = "Qwen2-VL", "pictures of any aspect ratio up to two"
BY, BOX, NAMES = "as captions name them in Chinese", "box in its answers", list(WORDS)
STEPS, BATCH, LR, SCENES = 1500, 16, 3e-3, 3_000
SIZE, PATCH = 64, 4  # pictures are brought to SIZE² pixels
WIDTH, HEAD, LAYERS = 64, 32, 3  # of both towers
BINS = 40
NUMBERS = [str(1000 * k // BINS) for k in range(BINS + 1)]  # what coordinates are written as
SPREAD = 0.7  # bins: deviation of what a coordinate's neighbours are taught
ANSWERS = 2.0  # weight of the answers' loss beside that of the visual tokens
FIRST = -3.0  # logits of names in the visual tokens begin here: nearly nothing is there
LATER, LATER_LR = 900, 2e-3  # steps of the language model alone
NEXT = 3.0  # weight of what comes next, a name or the end, beside that of a number
LONGEST = 160  # tokens of an answer


def view(picture: Picture) -> Image.Image:
    """The picture as it is."""
    return picture.image


def answer(picture: Picture, listed: bool = False) -> str:
    """What the published model would write of a picture: objects as the caption has them, or in the order of WORDS."""
    place = list(WORDS).index if listed else picture.caption.index
    parts = []
    for name, box in sorted(zip(picture.names, picture.boxes, strict=True), key=lambda one: place(one[0])):
        x1, y1, x2, y2 = (NUMBERS[round(float(v) * BINS)] for v in box)
        parts.append(f"<|object_ref_start|>{name}<|object_ref_end|><|box_start|>({x1},{y1}),({x2},{y2})<|box_end|>")
    return "".join(parts) + "<|im_end|>"


def tokenizer() -> Any:
    """A token for each name, and for each character of the world's captions and the question; bytes for all others."""
    texts = [picture.caption for picture in scenes.make("tokens", 400, draw=False)]
    texts += [*WORDS, qwen2_vl.question("", None), "userassistant0123456789(),"]
    known = sorted({*"".join(texts), *WORDS, *NUMBERS} - {"\n"})
    made = train_tokenizer([], 257 + len(known), special=known)
    marks = [AddedToken(mark, special=True) for mark in small_qwen2_vl.SPECIAL]
    made.add_special_tokens({"additional_special_tokens": marks})
    return made


def make() -> tuple[Any, Any]:
    """An untrained model, its small weights replaced by Xavier's, and its processor."""
    processor = small_qwen2_vl.processor(tokenizer(), SIZE, patch=PATCH)
    heads = WIDTH // HEAD
    text = {
        "vocab_size": len(processor.tokenizer), "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": heads, "num_key_value_heads": heads,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 10000.0},
    }  # fmt: skip
    vision = {
        "depth": LAYERS, "hidden_size": WIDTH, "embed_dim": WIDTH, "num_heads": heads, "mlp_ratio": 2,
        "patch_size": PATCH,
    }  # fmt: skip
    model = small_qwen2_vl.build(processor, text, vision, tied=False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "embed_tokens" in name:
                weight.normal_(0, 1)
            elif "lm_head" in name:
                weight.normal_(0, 0.02)
            elif weight.ndim >= 2:
                torch.nn.init.xavier_uniform_(weight.flatten(1))
        for layer in model.model.language_model.layers:  # a name looks at what is like it from the start
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)
    return model, processor


def annotator(model: Any, processor: Any) -> VisionLanguageAnnotator:
    """The model as the workflow asks it."""
    processor.tokenizer.padding_side = "left"
    return VisionLanguageAnnotator(model, processor, qwen2_vl, 1024, LONGEST)


def soft_targets(tokens: Any) -> Tensor:
    """What each token (V) is taught as, (V, V): itself; a coordinate, the bell of its neighbours as well."""
    ids, bins = torch.tensor(tokens.convert_tokens_to_ids(NUMBERS)), torch.arange(BINS + 1)
    bell = torch.exp(-0.5 * ((bins[:, None] - bins) / SPREAD) ** 2)
    taught_VV = torch.eye(len(tokens))
    taught_VV[ids[:, None], ids] = bell / bell.sum(1, keepdim=True)
    return taught_VV


class Rows:
    """Pictures as the model gets them: `pixels`, `grids` (t, h, w in patches), and `ids` of prompt and answer."""

    def __init__(self, model: Any, processor: Any, pictures: Sequence[Picture], listed: bool = False) -> None:
        tokens, asks = processor.tokenizer, annotator(model, processor)
        seen = [processor.image_processor(images=[view(one)], return_tensors="pt") for one in pictures]
        self.pixels = [one["pixel_values"] for one in seen]
        self.grids = [tuple(one["image_grid_thw"][0].tolist()) for one in seen]
        self.image, self.pad = model.config.image_token_id, tokens.pad_token_id
        box_of = [dict(zip(tokens.convert_tokens_to_ids(list(p.names)), p.boxes, strict=True)) for p in pictures]
        self.ids: list[list[int]] = []
        self.said: list[int] = []  # tokens of each answer
        for picture, (_, height, width) in zip(pictures, self.grids, strict=True):
            asked = asks.prompt(picture.caption, None).replace("<|image_pad|>", "<|image_pad|>" * (height * width // 4))
            told = tokens(answer(picture, listed))["input_ids"]
            self.ids.append([*tokens(asked)["input_ids"], *told])
            self.said.append(len(told))
        # Boxes of the names in prompt and answer, in their order.
        self.boxes = [
            torch.from_numpy(np.array([box[i] for i in ids if i in box], dtype=np.float32))
            for box, ids in zip(box_of, self.ids, strict=True)
        ]

    def alike(self) -> dict[tuple[int, int, int], list[int]]:
        """Rows of each grid of patches."""
        return {grid: [i for i, one in enumerate(self.grids) if one == grid] for grid in sorted(set(self.grids))}

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (B, L), filled up on the left, where they stand, and which of them answer."""
        longest = max(len(self.ids[i]) for i in rows)
        ids_BL = torch.full((len(rows), longest), self.pad)
        there_BL, told_BL = torch.zeros_like(ids_BL), torch.zeros_like(ids_BL, dtype=torch.bool)
        for row, i in enumerate(rows):
            ids_BL[row, -len(self.ids[i]) :] = torch.tensor(self.ids[i])
            there_BL[row, -len(self.ids[i]) :], told_BL[row, -self.said[i] :] = 1, True
        return ids_BL, there_BL, told_BL


def losses(model: Any, processor: Any, pictures: list[Picture], later: bool = False) -> Callable[[int], Tensor]:
    """The loss of a step: of answers; of the box that each name knows in its first channels; and of what visual tokens
    say, names by the embeddings of these, boxes in the same channels.

    `later` the eyes stay as they are, answers list names in one order, and what comes next weighs more than numbers:
    which names are left is learned in minutes so, and in the caption's order it is not.
    """
    tokens, rows_of = processor.tokenizer, Rows(model, processor, pictures, listed=later)
    alike, names = list(rows_of.alike().items()), torch.tensor(tokens.convert_tokens_to_ids(list(WORDS)))
    taught_VV, weights_V = soft_targets(tokens), torch.ones(len(tokens))
    if later:
        weights_V[names] = weights_V[tokens.convert_tokens_to_ids(["<|object_ref_start|>", "<|im_end|>"])] = NEXT

    def loss_at(step: int) -> Tensor:
        rng = seeds.rng("qwen2-vl-later" if later else "qwen2-vl", SEED, step)
        (_, height, width), same = alike[rng.integers(len(alike))]
        rows = [int(i) for i in rng.choice(same, BATCH, replace=len(same) < BATCH)]
        ids_BL, there_BL, told_BL = rows_of.batch(rows)
        grids = torch.tensor([rows_of.grids[i] for i in rows])
        with torch.set_grad_enabled(not later):
            seen = model.model.get_image_features(torch.cat([rows_of.pixels[i] for i in rows]), grids, return_dict=True)
        output = model(
            input_ids=ids_BL, attention_mask=there_BL, image_grid_thw=grids, mm_encoder_outputs={"image": seen},
            mm_token_type_ids=(ids_BL == rows_of.image).int(), use_cache=False,
            output_hidden_states=True,
        )  # fmt: skip
        wanted = ids_BL[told_BL]
        told_N = F.cross_entropy(output.logits[:, :-1][told_BL[:, 1:]], taught_VV[wanted], reduction="none")
        told = (told_N * weights_V[wanted]).mean()
        # Before the last layer a name knows its box: what the numbers behind it are read from.
        knows_K4 = output.hidden_states[-2][torch.isin(ids_BL, names)][:, :4].sigmoid()
        known = dense.fit(knows_K4, torch.cat([rows_of.boxes[i] for i in rows]))
        if later:
            return ANSWERS * told + known
        visual_BPC = torch.stack(seen.pooler_output)
        lies = dense.loss(
            visual_BPC @ model.get_input_embeddings()(names).T / WIDTH**0.5 + FIRST, visual_BPC[..., :4].sigmoid(),
            dense.grid(width // 2, height // 2).expand(BATCH, -1, -1), dense.stacked([pictures[i].boxes for i in rows]),
            dense.places([pictures[i].names for i in rows], [list(WORDS)] * BATCH),
        )  # fmt: skip
        return ANSWERS * told + known + lies

    return loss_at


def later(model: Any, processor: Any, pictures: list[Picture], work: Path) -> None:
    """Train the language model alone, on eyes that see, from weights that are rounded as they are published."""
    model.half().float()
    parameters = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
    losses_ = losses(model, processor, pictures, later=True)
    settings = [len(pictures), SEED]
    training.train(TITLE, parameters, losses_, steps=LATER, lr=LATER_LR, work=work / "later", settings=settings)


def measured(asked: VisionLanguageAnnotator, pictures: list[Picture], batch: int = 16) -> tuple[float, float]:
    """Shares of objects that a box is written for, and whose box is right; a batch holds pictures of any size."""
    written, right = 0, 0
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        answers = asked.annotate([view(p) for p in part], [p.caption for p in part], [None] * len(part))
        for picture, found in zip(part, answers, strict=True):
            boxes = {one.name: one.box for one in reversed(found) if one.box}
            for name, box in zip(picture.names, picture.boxes, strict=True):
                written += name in boxes
                right += name in boxes and bool(iou(np.array([boxes[name]]), box[None])[0, 0] >= 0.5)
    objects = sum(len(p.names) for p in pictures)
    return written / objects, right / objects


def measures(folder: Path, seen: list[Picture], held_out: list[Picture]) -> tuple[Any, float, str]:
    """The network in `folder`, the share of held-out objects whose box is right, and what else its card tells."""
    asked = VisionLanguageAnnotator.from_pretrained(folder, max_new_tokens=LONGEST)
    written, right = measured(asked, held_out)
    told = f"It writes a box for {written:.3f} of them, in fortieths of the\npicture. "
    told += f"Its language model alone learned for {LATER:,} steps more."
    return asked.model, right, told
