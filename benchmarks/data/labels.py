"""The classifier in batches sorted by length, against a plain loop of one caption at a time.

    python benchmarks/data/labels.py --model results/demo/models/classifier --captions 4000

`--chat` asks as chat models are asked, with an instruction and examples, which all prompts begin with. `--published`
takes the size of Qwen2.5-7B with random weights instead (a GPU), and asks so too. Told: captions a second of each, the
share of captions with the same label, and how busy the device was. Fails where fewer than `--agree` of the labels are
the same (in bfloat16 a tie may fall either way, and random weights make many).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from keyword_pass import caption
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config
from utilisation import Busy

from gillnext.filter.classifier import Classifier
from gillnext.filter.prompts import LABELS
from gillnext.memory.published import QWEN
from gillnext.runtime import training

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"  # a template in Qwen's way


def plain(classifier: Classifier, captions: list[str]) -> list[str]:
    """transformers as its documentation shows it: one prompt, one forward, the likeliest label word."""
    labels = []
    for tokens in classifier.encode(captions):
        with torch.inference_mode():
            logits = classifier.network(torch.tensor([tokens], device=classifier.network.device)).logits[0, -1]
        labels.append(list(LABELS)[int(logits[classifier.words].argmax())])
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("results/demo/models/classifier"))
    parser.add_argument("--published", action="store_true", help="Qwen2.5-7B's own size with random weights, bfloat16")
    parser.add_argument("--chat", action="store_true", help="with the instruction and an example of each label")
    parser.add_argument("--captions", type=int, default=4000)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--agree", type=float, default=0.999, help="share of labels that must be the loop's")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    training.setup(2, args.device)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if args.published or args.chat:
        tokenizer.chat_template = CHAT
    if args.published:
        with torch.device(args.device):
            network = AutoModelForCausalLM.from_config(Qwen2Config(**QWEN), dtype=torch.bfloat16)
    else:
        network = AutoModelForCausalLM.from_pretrained(args.model).to(args.device)
    classifier = Classifier(network, tokenizer)
    captions = [caption(i) for i in range(args.captions)]
    results, loop = [], None
    for name, label in [("loop", plain), *((f"batch {b}", lambda c, t, b=b: c.label(t, b)) for b in args.batches)]:
        label(classifier, captions[:32])
        with Busy(args.device) as busy:
            began = time.perf_counter()
            found = np.array(label(classifier, captions))
            rate = len(captions) / (time.perf_counter() - began)
        loop = found if loop is None else loop
        agree = float((found == loop).mean())
        results.append({"way": name, "captions_per_second": rate, "agree_with_loop": agree, "busy": busy.share})
        print(f"{name:<10} {rate:8.1f} captions/s   same labels {agree:.4f}   {args.device} busy {busy.share:.0%}")
    if args.out:
        args.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if (least := min(r["agree_with_loop"] for r in results)) < args.agree:
        sys.exit(f"{least:.4f} of the labels are the loop's, fewer than {args.agree}")


if __name__ == "__main__":
    main()
