"""The vision-language annotator in batches, against a plain loop of one image at a time.

    python benchmarks/data/annotation.py                                       # a miniature Qwen2-VL, the CPU
    python benchmarks/data/annotation.py --published --device cuda --images 64 --side 672 --tokens 64 --batches 1 4 16

`--published` takes the size of Qwen2-VL-7B with random weights instead (a GPU). Every answer has the same number of
tokens, so that rates compare. Told: images a second of each way, the share of answers whose token ids are the loop's,
how much of an answer is the loop's before the first other token, and how busy the device was. (Texts would not do: the
miniature's tokenizer has no text for most of the ids of a model of the published size.)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from utilisation import Busy

from gillnext.annotate.families import qwen2_vl
from gillnext.annotate.vlm import VisionLanguageAnnotator
from gillnext.memory.published import TEXT, VISION
from gillnext.miniatures.networks import small_qwen2_vl
from gillnext.miniatures.world import corpus
from gillnext.runtime import training

SEED = 20260

Way = Callable[[VisionLanguageAnnotator, Sequence[Image.Image], Sequence[str]], None]


def random_annotator(captions: list[str], args: argparse.Namespace) -> VisionLanguageAnnotator:
    """Random weights, pictures of about `side`² pixels, and answers of exactly `tokens` tokens."""
    torch.manual_seed(SEED)
    processor = small_qwen2_vl.make_processor([*captions, qwen2_vl.question("", None)], size=args.side)
    processor.tokenizer.padding_side = "left"
    torch.set_default_dtype(torch.bfloat16 if args.published else torch.float32)
    with torch.device(args.device):
        model = (
            small_qwen2_vl.build(processor, TEXT, VISION) if args.published else small_qwen2_vl.make_model(processor)
        )
    torch.set_default_dtype(torch.float32)
    model.generation_config.min_new_tokens = args.tokens
    return VisionLanguageAnnotator(model, processor, qwen2_vl, args.side, args.tokens)


@contextmanager
def listening(annotator: VisionLanguageAnnotator) -> Iterator[list[list[int]]]:
    """The token ids of every answer that the model gives meanwhile, in the order in which they are given."""
    heard, generate = list[list[int]](), annotator.model.generate

    def noting(**given: torch.Tensor) -> torch.Tensor:
        tokens = generate(**given)
        heard.extend(tokens[:, given["input_ids"].shape[1] :].tolist())
        return tokens

    annotator.model.generate = noting
    try:
        yield heard
    finally:
        del annotator.model.generate  # the class's own is behind it


def alike(answer: list[int], other: list[int]) -> float:
    """The share of an answer's tokens before the first that is another in the other answer; 1 for the same answer."""
    length = max(len(answer), len(other))
    return next((i for i in range(length) if answer[i : i + 1] != other[i : i + 1]), length) / max(length, 1)


def plain(annotator: VisionLanguageAnnotator, images: Sequence[Image.Image], prompts: Sequence[str]) -> None:
    """transformers as its documentation shows it: one image, one prompt, one `generate`."""
    for image, prompt in zip(images, prompts, strict=True):
        inputs = annotator.processor(text=[prompt], images=[image], padding=True, return_tensors="pt")
        inputs = inputs.to(annotator.model.device)
        with torch.inference_mode():
            tokens = annotator.model.generate(**inputs, max_new_tokens=annotator.max_new_tokens, do_sample=False)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        annotator.processor.batch_decode(new, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def in_batches(size: int) -> Way:
    """The annotator's own way."""

    def way(annotator: VisionLanguageAnnotator, images: Sequence[Image.Image], prompts: Sequence[str]) -> None:
        for i in range(0, len(images), size):
            annotator.answer(images[i : i + size], prompts[i : i + size])

    return way


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true", help="Qwen2-VL-7B's own size, bfloat16")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--side", type=int, default=112, help="pixels")
    parser.add_argument("--tokens", type=int, default=32, help="of every answer")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON of the results")
    args = parser.parse_args()
    training.setup(2, args.device)
    data = corpus.make(SEED, "annotation", args.images)
    annotator = random_annotator(data.captions, args)
    images = [Image.fromarray(image).resize((args.side, args.side)) for image in data.images]
    prompts = [annotator.prompt(caption, None) for caption in data.captions]
    ways: dict[str, Way] = {"loop": plain} | {f"batch {size}": in_batches(size) for size in args.batches}
    results, loop = [], list[list[int]]()
    for name, way in ways.items():
        way(annotator, images[:4], prompts[:4])
        with listening(annotator) as answers, Busy(args.device) as busy:
            began = time.perf_counter()
            way(annotator, images, prompts)
            rate = len(images) / (time.perf_counter() - began)
        loop = loop or answers
        shares = [alike(answer, other) for answer, other in zip(answers, loop, strict=True)]
        agree, before = sum(share == 1 for share in shares) / len(loop), sum(shares) / len(loop)
        told = {"way": name, "images_per_second": rate, "agree_with_loop": agree, "tokens_before_another": before}
        results.append(told | {"busy": busy.share})
        print(
            f"{name:<10} {rate:8.2f} images/s   same answers {agree:.4f}, of their tokens {before:.4f}   "
            f"{args.device} busy {busy.share:.0%}"
        )
    if args.out:
        args.out.write_text(json.dumps(vars(args) | {"out": "", "results": results}, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
