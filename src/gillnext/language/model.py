"""A miniature `Qwen2ForCausalLM`, built, saved and loaded like the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from gillnext.runtime import files, seeds
from gillnext.runtime.errors import UserError


def build(
    tokenizer: PreTrainedTokenizerBase,
    *,
    hidden: int,
    layers: int,
    heads: int,
    name: str,
    seed: int,
) -> Qwen2ForCausalLM:
    """A Qwen2 of the given width and depth, input and output embeddings tied, its weights seeded by (name, seed)."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3 // 8 * 8,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.9 / hidden**0.5,  # Qwen's own 0.02 suits a hidden size of some thousands
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seeds.key("weights", name, seed))
        return Qwen2ForCausalLM(config)


def move(model: Any, device: str) -> Any:
    """`model.to(device)`, for type checkers that lose track of transformers' decorators."""
    return model.to(device)


def parameters(model: torch.nn.Module) -> int:
    """Parameters of a model, shared ones counted once."""
    return sum(p.numel() for p in model.parameters())


def save(model: Any, tokenizer: PreTrainedTokenizerBase, out: Path, settings: dict[str, Any], name: str) -> None:
    """Model, tokenizer and `settings` (as `name`.json) as one folder, whole or not at all."""
    with files.atomic(out) as folder:
        folder.mkdir()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files.write_json(folder / f"{name}.json", settings)


def load(folder: Path | str, device: str = "cpu", **options: Any) -> tuple[Any, PreTrainedTokenizerBase]:
    """A causal LM in evaluation mode and its tokenizer (left padding) from a folder or hub id; `options` of loading."""
    if not (Path(folder) / "config.json").exists() and str(folder).count("/") != 1:
        raise UserError("no language model there", where=str(folder), remedy="name a folder that save_pretrained wrote")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the language model: {error}", where=str(folder)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return move(model, device).eval(), tokenizer
