"""A miniature, untrained StableDiffusionXLPipeline of the real classes."""

import string
from pathlib import Path

import torch

WIDTH, PIECES = 32, [*string.ascii_lowercase, *(c + "</w>" for c in string.ascii_lowercase)]


def save(folder: Path, **settings) -> Path:
    """Two CLIP text encoders of width 32, a UNet of three levels, 64×64 pictures; `settings` are the pipeline's."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from gillnext.miniatures import vae

    torch.manual_seed(0)
    vocabulary = {piece: i for i, piece in enumerate([*PIECES, "<|startoftext|>", "<|endoftext|>"])}
    config = CLIPTextConfig(
        vocab_size=len(vocabulary), hidden_size=WIDTH, intermediate_size=WIDTH, projection_dim=WIDTH,
        num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=16,
        bos_token_id=len(PIECES), eos_token_id=len(PIECES) + 1, pad_token_id=len(PIECES) + 1,
    )  # fmt: skip
    tokenizer, tokenizer_2 = (CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16) for _ in range(2))
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        attention_head_dim=(1, 2, 4),
        norm_num_groups=8,
        use_linear_projection=True,
        cross_attention_dim=2 * WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=WIDTH + 6 * 8,
    )
    StableDiffusionXLPipeline(
        vae=vae.build(),
        text_encoder=CLIPTextModel(config).eval(),
        text_encoder_2=CLIPTextModelWithProjection(config).eval(),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet.eval(),
        scheduler=EulerDiscreteScheduler(),
        **settings,
    ).save_pretrained(folder)
    return folder
