"""The demo's caption classifier: a small Qwen2ForCausalLM, trained to answer 强, 弱 or 无 (strong, weak, none).

    gillnext classifier --config config.yaml --out results/demo/models/classifier

Trained on captions of split "train", whose templates and filler words the shards never use.

Letters: B captions, V vocabulary.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from torch.nn import functional as F

from gillnext.config import Config
from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.filter.classifier import Classifier
from gillnext.filter.prompts import LABELS
from gillnext.language import batching, model
from gillnext.language.tokenizer import train_tokenizer
from gillnext.miniatures.labelled_captions import examples
from gillnext.miniatures.world.objects import of
from gillnext.runtime import seeds, training


def train(config: Config, out: Path) -> Path:
    """Train a classifier on `config.classifier.corpus` captions and save it as a Hugging Face folder."""
    settings, seed = config.classifier, config.run.seed
    training.setup(config.run.threads, config.run.device)
    captions, answers = examples(seed, settings.corpus, of(config))
    texts = [f"描述：{c}\n位置：{''.join(LABELS.values())}" for c in captions]
    tokenizer = train_tokenizer(texts, vocabulary=2000)
    network = model.build(
        tokenizer, hidden=settings.hidden, layers=settings.layers, heads=settings.heads, name="classifier", seed=seed
    )
    classifier = Classifier(model.move(network, config.run.device), tokenizer)
    tokens, words = classifier.encode(captions), torch.tensor(classifier.words)
    targets = torch.tensor([list(LABELS).index(a) for a in answers])
    network.train()

    def loss_at(step: int) -> torch.Tensor:
        rows = seeds.rng("classifier", seed, step).integers(len(tokens), size=settings.batch)
        given = batching.inputs([tokens[i] for i in rows], tokenizer.pad_token_id, network.device)
        logits_BV = network(**given, use_cache=False, logits_to_keep=1).logits[:, -1]
        wanted = words[targets[torch.as_tensor(rows)]].to(network.device)
        return F.cross_entropy(logits_BV, wanted)

    work = out.with_name(out.name + ".work")
    training.train(
        "classifier", list(network.parameters()), loss_at,
        steps=settings.steps, lr=settings.lr, weight_decay=0.05, work=work, settings=[settings, seed],
    )  # fmt: skip
    notes = {"labels": LABELS, "parameters": model.parameters(network), "corpus": len(captions)}
    model.save(network, tokenizer, out, notes, "classifier")
    shutil.rmtree(work, ignore_errors=True)
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the classifier (model, tokenizer, classifier.json)")


def main(args: argparse.Namespace) -> None:
    train(read_config(args), args.out)
