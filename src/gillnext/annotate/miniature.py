"""A miniature Qwen2-VL of the real classes, tokens and chat template, with random weights.

It drives the Qwen2-VL annotator's own path (prompt, padding, generation, parsing) where no checkpoint can be fetched,
in the tests and in benchmarks/qwen2vl_annotator.py, which trains it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from gillnext.language.tokenizer import train_tokenizer

SPECIAL = (
    "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_processor(texts: Iterable[str], size: int = 112) -> Qwen2VLProcessor:
    """A processor with a byte-level BPE tokenizer of `texts`; pictures are brought to about `size`² pixels."""
    tokenizer = train_tokenizer(texts, 800)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken(t, special=True) for t in SPECIAL]})
    area = {"shortest_edge": size * size, "longest_edge": size * size}
    return Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=area), tokenizer, Qwen2VLVideoProcessor(size=area), chat_template=TEMPLATE
    )


def make_model(processor: Qwen2VLProcessor, width: int = 64, layers: int = 2) -> Qwen2VLForConditionalGeneration:
    """An untrained model: patches of 14 pixels merged two by two, multimodal rotary positions, heads of 16."""
    token = processor.tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(processor.tokenizer), "hidden_size": width, "intermediate_size": 2 * width,
        "num_hidden_layers": layers, "num_attention_heads": width // 16, "num_key_value_heads": width // 32,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        "bos_token_id": None, "eos_token_id": token("<|im_end|>"), "pad_token_id": processor.tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {"depth": layers, "embed_dim": width, "hidden_size": width, "num_heads": width // 16, "mlp_ratio": 2}
    config = Qwen2VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"), vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )  # fmt: skip
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    return model
