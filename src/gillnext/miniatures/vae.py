"""The autoencoder of the demo tier: a small `AutoencoderKL`, 64×64×3 pictures to 16×16×4 latents.

Trained on the stream "base" with an L1 loss and a small KL term, as in latent diffusion (Rombach et al., 2022).

    gillnext vae --config config.yaml --out results/demo/models/vae

Letters: N pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Config
from gillnext.diffusion.latents import decode, encode, to_tensor
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.objects import of
from gillnext.runtime import files, seeds, training

KL_WEIGHT = 1e-8  # on the KL summed over a picture's latents
NOISE = 0.12  # standard deviation that is added to the latents in training, so that they stay smooth
CROP = 32  # most steps see crops of this side: the network is convolutional, and a crop costs a quarter
WHOLE = 0.08  # share of the last steps that see whole pictures, for the normalisation's statistics


def build(size: int = 64) -> AutoencoderKL:
    """An untrained autoencoder with downsampling 4; `size`: pixels a side of what it is trained on."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=size,
        mid_block_add_attention=False,
    )
    pass_through(vae)
    return vae


@torch.no_grad()
def pass_through(vae: AutoencoderKL, spread: float = 0.2) -> None:
    """Start the convolutions near the identity, so that colours reach the latents before anything is learned.

    Residual branches start at zero, resampling convolutions at averaging or copying; copies alternate in sign, which
    lets a pair of channels carry a value through SiLU. After 400 steps the mean error was 7 of 255 instead of 15–23.
    """
    for name, layer in vae.named_modules():
        if not isinstance(layer, nn.Conv2d):
            continue
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        if name.endswith("conv2"):
            nn.init.zeros_(layer.weight)
        elif not name.endswith(("conv1", "conv_out", "quant_conv")):
            layer.weight *= spread
            outs, ins, k, _ = layer.weight.shape
            for c in range(outs):
                sign = 1.0 if (c // ins) % 2 == 0 else -1.0
                if "downsamplers" in name:
                    layer.weight[c, c % ins, :2, :2] += sign / 4
                else:
                    layer.weight[c, c % ins, k // 2, k // 2] += sign


def loss(vae: AutoencoderKL, x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """L1 reconstruction error through noisy mean latents, and a small KL term."""
    posterior = vae.encode(x_NCHW).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(x_NCHW.device)
    rebuilt = vae.decode(posterior.mean + NOISE * noise).sample
    return F.l1_loss(rebuilt, x_NCHW) + KL_WEIGHT * posterior.kl().mean()


def crop(images_NCHW: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """One random crop for the batch, its corner on a multiple of 4 pixels (the latents' grid)."""
    top, left = torch.randint(0, (images_NCHW.shape[-1] - side) // 4 + 1, (2,), generator=generator).mul(4).tolist()
    return images_NCHW[..., top : top + side, left : left + side]


@torch.no_grad()
def standardise(vae: AutoencoderKL, images: np.ndarray) -> None:
    """Fold a shift and scale of each latent channel into the 1×1 convolutions: latents get mean 0 and variance 1.

    `images` (N, H, W, 3) uint8 give the latents. A pipeline's `scaling_factor` scales all channels alike; it becomes 1.
    """
    vae.register_to_config(scaling_factor=1.0)
    latents = encode(vae, images).double()
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    into, back = vae.quant_conv, vae.post_quant_conv
    back.bias += (back.weight.cpu().double()[:, :, 0, 0] @ mean).to(back.bias)
    back.weight *= std.to(back.weight)[None, :, None, None]
    into.bias[:channels] -= mean.to(into.bias)
    into.bias[:channels] /= std.to(into.bias)
    into.weight[:channels] /= std.to(into.weight)[:, None, None, None]


def train(cfg: Config, out: Path) -> dict[str, float]:
    """Train, standardise, save to `out`; returns the mean absolute error (0–255) on held-out scenes."""
    settings, seed, objects = cfg.vae, cfg.run.seed, of(cfg)
    training.setup(settings.threads, cfg.run.device)
    torch.manual_seed(seeds.key("vae", seed))
    device = torch.device(cfg.run.device)
    images = to_tensor(corpus.make(seed, "base", settings.corpus, objects).images)
    vae = build(objects.size).to(device, memory_format=torch.channels_last)

    def loss_at(step: int) -> Tensor:
        generator = seeds.torch_generator("vae", seed, step)
        pick = torch.randint(len(images), (settings.batch,), generator=generator)
        batch = images[pick]
        if step < (1 - WHOLE) * settings.steps:
            batch = crop(batch, CROP, generator)
        batch = batch.to(device, memory_format=torch.channels_last)
        return loss(vae, batch, generator)

    work = out.with_name(out.name + ".work")
    parameters: list[nn.Parameter] = list(vae.parameters())
    training.train(
        "vae",
        parameters,
        loss_at,
        steps=settings.steps,
        lr=settings.lr,
        work=work,
        weight_decay=0,
        ema_decay=0.99,
        settings=(dataclasses.asdict(settings), seed),
    )
    vae.eval()
    held_out = corpus.make(seed, "vae-held-out", 128, objects).images
    standardise(vae, corpus.make(seed, "base", 256, objects).images)
    rebuilt = decode(vae, encode(vae, held_out))
    report = {"mean_absolute_error": float(np.abs(rebuilt.astype(int) - held_out).mean())}
    with files.atomic(out) as temporary:
        vae.save_pretrained(temporary)
        files.write_json(temporary / "report.json", report)
    shutil.rmtree(work, ignore_errors=True)
    return report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_out(parser, "folder of the AutoencoderKL")


def main(args: argparse.Namespace) -> None:
    print(train(config(args), args.out))
