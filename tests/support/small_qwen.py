"""A miniature Qwen2.5: its classes, its way of cutting text (digits alone), its chat format, its sampling settings."""

import json

import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PATTERN = r"""[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


def tokenizer(texts, vocabulary=600, template=TEMPLATE):
    """Byte-level BPE whose merges join letters to words and signs to signs, as Qwen2.5's do."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    raw.train_from_iterator(texts, trainer)
    learned = json.loads(raw.to_str())["model"]
    made = Qwen2Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        padding_side="left",
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
    )
    made.add_tokens([AddedToken("<|im_start|>", special=True, normalized=False)])
    made.chat_template = template
    return made


def save(folder, texts, hidden=32, layers=2, seed=0, template=TEMPLATE):
    """A folder as the hub has it, of random weights; the vocabulary is larger than the tokenizer's, as Qwen2.5's is."""
    made = tokenizer(texts, template=template)
    torch.manual_seed(seed)
    network = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(made) + 7,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            initializer_range=0.15,
            eos_token_id=made.eos_token_id,
            pad_token_id=made.pad_token_id,
        )
    )
    ends = {"eos_token_id": made.eos_token_id, "pad_token_id": made.pad_token_id}
    network.generation_config = GenerationConfig(do_sample=True, repetition_penalty=1.3, temperature=0.7, **ends)
    network.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def without_pad(folder):
    """The folder, whose tokenizer and model name no pad token any more."""
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(
            json.dumps({k: v for k, v in told.items() if k != "pad_token_id"} | {"pad_token": None})
        )
    return folder
