"""A given causal language model as the planner: LoRA (Hu et al. 2021, arXiv:2106.09685) by peft, merged at the end.

The model is frozen in `run.precision`; low-rank factors on its linear layers are trained in float32. Vocabulary,
embeddings and head stay as they are: numbers are spelled in digits, which the model knows in their order. New tokens
would need trained embeddings, and trained rows of the head where it is not tied to them. The price is a longer plan,
some 30 tokens an object and not 8.

The merged model is saved, in the precision in which it was frozen. Its folder is whole: whatever reads a causal LM
reads it, without peft and without a base that must lie where it lay. The price is the base's size on the disk.

Letters: B texts, T tokens, V vocabulary, N taught tokens, K tokens of a target.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from gillnext.config.model import Lora
from gillnext.language import model
from gillnext.language.tokenizer import token_bytes
from gillnext.planner.encode import Batch
from gillnext.planner.targets import Targets
from gillnext.runtime import seeds
from gillnext.runtime.errors import UserError

SCALE = 2.0**10  # of the loss in a half-precision model, whose small gradients would be 0; the factors' are scaled back


def load(folder: Path, device: str, dtype: torch.dtype) -> tuple[Any, PreTrainedTokenizerBase]:
    """A given causal LM in `dtype` and its tokenizer; `UserError` where the tokenizer has no bytes to a token."""
    network, tokenizer = model.load(folder, device, dtype=dtype, use_safetensors=True)
    try:
        token_bytes(tokenizer)
    except KeyError as error:
        what = "the tokenizer is not byte-level BPE, and the grammar of plans goes by bytes"
        remedy = "give a model with such a tokenizer, as Qwen2, Qwen2.5, Llama 3 and GPT-2 have"
        raise UserError(what, where=str(folder), remedy=remedy) from error
    if tokenizer.eos_token_id is None:
        raise UserError("the tokenizer has no token that ends a text", where=str(folder), remedy="name its eos_token")
    return network, tokenizer


def wrap(network: Any, settings: Lora, seed: int, where: str = "") -> Any:
    """The LM with LoRA's factors, seeded; of its parameters they alone are trained."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.targets),
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    if settings.gradient_checkpointing:
        network.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.random.fork_rng():
        torch.manual_seed(seeds.key("weights", "planner-lora", seed))
        try:
            wrapped = get_peft_model(network, config)
        except ValueError as error:
            linear = (name for name, layer in network.named_modules() if isinstance(layer, torch.nn.Linear))
            remedy = f"planner.lora.targets: some of {', '.join(sorted({n.rsplit('.', 1)[-1] for n in linear}))}"
            raise UserError(f"LoRA finds no place: {error}", where=where, remedy=remedy) from error
    if network.dtype == torch.float16:
        for p in wrapped.parameters():
            if p.requires_grad:
                p.register_hook(lambda gradient: gradient / SCALE)
    return wrapped


def loss(network: Any, batch: Batch, targets: Targets) -> Tensor:
    """Mean cross-entropy of the plans' tokens against `targets`, in float32.

    Logits are computed from the first token of any plan on, and cost what they must: (B, longest plan, V).
    """
    width = batch.plan_BT.shape[1]
    first = int(batch.plan_BT.any(0).nonzero()[0])
    logits_BTV = network(**batch.inputs, use_cache=False, logits_to_keep=width + 1 - first).logits[:, :-1]
    plan_BT = batch.plan_BT[:, first:]
    logits_NV = logits_BTV[plan_BT].float()
    ids_NK, weights_NK = targets.sparse(batch.labels_BT[:, first:][plan_BT], batch.rows_BT[:, first:][plan_BT])
    expected_N = (weights_NK * logits_NV.gather(1, ids_NK)).sum(1)
    mean = (logits_NV.logsumexp(1) - expected_N).mean()
    if logits_BTV.dtype != torch.float16:
        return mean
    return mean + (SCALE - 1) * (mean - mean.detach())  # the same value, SCALE times its gradient


def merged(network: Any, tokenizer: PreTrainedTokenizerBase) -> Any:
    """The LM with the factors in its weights; it answers greedily and ends where its tokenizer's texts end.

    A chat model's own settings of sampling, such as a penalty on repeated tokens, would spoil the digits.
    """
    whole = network.merge_and_unload()
    if whole.is_gradient_checkpointing:
        whole.gradient_checkpointing_disable()
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    whole.generation_config = GenerationConfig(**ends)
    return whole
