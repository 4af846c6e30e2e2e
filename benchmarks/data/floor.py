"""The least GPU time that the published 7 B models can take: their arithmetic and their weights' bytes, no measurement.

    python benchmarks/data/floor.py --captions 5_000_000 --images 500_000

The models are built without memory from their published configurations. A token costs two operations for every weight
of a linear layer, and attention four for every pair of positions and channel (half of them under a causal mask). What
is read in one go reaches the device's peak at best; an answer's tokens come one after another, and each reads all
weights once a batch. Default peaks: one H100 SXM, dense bfloat16 (NVIDIA, H100 Tensor Core GPU data sheet). Real rates
are lower; `labels.py` and `annotation.py` measure them.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from gillnext.memory.published import PATCH, QWEN, TEXT, VISION


def weights(module: nn.Module) -> int:
    """Weights that every token is multiplied with: those of linear layers and of the patches' convolution."""
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear | nn.Conv3d))


def attention(positions: int, layers: int, width: int) -> float:
    """Operations of full attention: scores, and the weighted sum of values."""
    return 4.0 * layers * width * positions**2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=5_000_000, help="that pass the keyword pass")
    parser.add_argument("--caption", type=int, default=40, help="tokens of a caption and what follows it")
    parser.add_argument("--instruction", type=int, default=120, help="tokens before it, computed once for all")
    parser.add_argument("--images", type=int, default=500_000)
    parser.add_argument("--side", type=int, default=672, help="pixels")
    parser.add_argument("--question", type=int, default=80, help="tokens of an image's prompt beside the image's own")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--tflops", type=float, default=989.0, help="peak of the device, 10^12 operations/s")
    parser.add_argument("--bandwidth", type=float, default=3.35, help="of the device's memory, TB/s")
    args = parser.parse_args()
    with torch.device("meta"):
        caption_model = AutoModelForCausalLM.from_config(Qwen2Config(**QWEN))
        annotator = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=TEXT, vision_config=VISION))
    second = 1e12 * args.tflops

    layers, width = QWEN["num_hidden_layers"], QWEN["hidden_size"]
    looked_at = attention(args.instruction + args.caption, layers, width) - attention(args.instruction, layers, width)
    read = 2 * weights(caption_model.model) * args.caption + looked_at / 2
    hours = args.captions * read / second / 3600
    print(
        f"caption model: {weights(caption_model.model) / 1e9:.2f} G weights, {read / 1e12:.2f} TFLOP a caption\n"
        f"  at most {second / read:,.0f} captions/s; {args.captions:,} captions: at least {hours:.1f} GPU hours"
    )

    patches = (args.side // PATCH) ** 2
    visual = weights(annotator.model.visual) - weights(annotator.model.visual.merger) * 3 / 4  # sees a patch in four
    seen = 2 * visual * patches + attention(patches, VISION["depth"], VISION["embed_dim"])
    prompt = patches // 4 + args.question
    language = weights(annotator.model.language_model)
    asked = 2 * language * prompt + attention(prompt, TEXT["num_hidden_layers"], TEXT["hidden_size"]) / 2
    # A weight is two bytes, read once a batch, and two operations for each answer.
    each = 2 * (language + weights(annotator.lm_head)) * max(1 / args.bandwidth / 1e12 / args.batch, 1 / second)
    seconds = (seen + asked) / second + args.tokens * each
    hours = args.images * seconds / 3600
    print(
        f"annotator: {(language + weights(annotator.model.visual)) / 1e9:.2f} G weights; {seen / 1e12:.1f} TFLOP to "
        f"see an image, {asked / 1e12:.1f} to read it with its question ({prompt} tokens),\n"
        f"  {1e3 * each:.2f} ms for a token of the answer in batches of {args.batch}\n"
        f"  at most {1 / seconds:.0f} images/s; {args.images:,} images: at least {hours:.1f} GPU hours"
    )


if __name__ == "__main__":
    main()
