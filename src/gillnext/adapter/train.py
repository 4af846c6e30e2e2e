"""Train one arm of the spatial adapter on the frozen base, through accelerate.

    gillnext adapter --config config.yaml --arm attn2 --seed 0 --base results/demo/models/base \\
        --cache results/demo/cache --out results/demo/adapters/attn2/0

`accelerate launch --multi_gpu --num_processes 2 -m gillnext.cli adapter …` shares every batch between two processes, on
the CPU as well where `run.device` is cpu (accelerate's `--cpu` starts one process only). A killed run goes on from its
newest checkpoint to the same weights. Averaged weights are kept on the way (`snapshots.py`), for stage `curve`.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from gillnext.adapter import objective, snapshots
from gillnext.adapter.cache import Cache
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.objective import Denoiser
from gillnext.adapter.pipeline import UNET, GroundedKolorsPipeline
from gillnext.config.arguments import add_config, add_out, config
from gillnext.config.model import Arm, Config
from gillnext.diffusion.objective import training_scheduler
from gillnext.runtime import files, provenance, seeds, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

# Files of one number a step, and what of a step they hold.
HISTORIES = {
    "losses": "loss",
    "gradient_norms": "gradient_norm",
    "position_net_norms": "position_net_norm",
}


def arm_of(cfg: Config, name: str) -> Arm:
    """The arm's settings; `UserError` names the arms that there are."""
    if name not in cfg.study.trained:
        remedy = f"one of {', '.join(cfg.study.trained)}"
        raise UserError(f"{name!r} is no arm to train", where="study.arms", remedy=remedy)
    return cfg.study.arms[name]


def build_adapter(cfg: Config, arm: Arm, unet: torch.nn.Module, seed: int) -> SpatialAdapter:
    """An untrained adapter; its initial weights depend on the training seed alone."""
    torch.manual_seed(seeds.key("adapter", cfg.run.seed, seed))
    return SpatialAdapter.for_unet(
        unet,
        site=arm.site,
        bias=arm.bias,
        coordinates=arm.coordinates,
        frequencies=arm.frequencies,
        width=cfg.adapter.width,
        phrases=arm.phrases,
    )


def recompute(unet: Any) -> None:
    """Recompute activations in the backward pass; diffusers does so in training mode only. The UNet has no dropout."""
    unet.enable_gradient_checkpointing()
    unet.train()


def unreached(adapter: SpatialAdapter, what: str) -> UserError:
    return UserError(
        f"the gradient does not reach {what} of the adapter",
        where=f"site {adapter.config.site}",
        remedy="look at processors.txt: every listed layer must be in the UNet that is trained",
    )


def check_reached(adapter: SpatialAdapter) -> None:
    """Refuse to train where the gradient does not reach a parameter of the adapter, or is zero everywhere."""
    missing = [name for name, p in adapter.named_parameters() if p.grad is None]
    if missing or not any(p.grad.abs().sum() > 0 for p in adapter.parameters() if p.grad is not None):
        raise unreached(adapter, missing[0] if missing else "any parameter")


class Trainer:
    """One arm, one seed. `step(t)` depends on the weights and on t alone. What is frozen has the type of
    `run.precision`, what is trained float32.
    """

    def __init__(self, cfg: Config, arm: Arm, seed: int, pipeline: GroundedKolorsPipeline, cache: Cache, out: Path):
        self.cfg, self.settings, self.seed, self.cache, self.out = cfg, cfg.adapter, seed, cache, out
        self.steps, self.lr = arm.steps_of(cfg.adapter), cfg.adapter.lr if arm.lr is None else arm.lr
        self.trains_unet, self.drop_caption = arm.unet_lr > 0, arm.drop_caption
        self.accelerator = Accelerator(
            cpu=cfg.run.device == "cpu",
            mixed_precision=cfg.run.precision,
            log_with="tensorboard",
            project_dir=str(out.with_name(out.name + ".work")),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False)],
        )
        if self.settings.batch % self.accelerator.num_processes:
            what = f"a batch of {self.settings.batch} for {self.accelerator.num_processes} processes"
            raise UserError(what, where="adapter.batch", remedy="a multiple of them: each process gets an equal share")
        self.pipeline = pipeline
        unet = pipeline.unet.requires_grad_(self.trains_unet)
        unet.to(self.accelerator.device, torch.float32 if self.trains_unet else training.TYPES[cfg.run.precision])
        if self.settings.gradient_checkpointing:
            recompute(unet)
        self.adapter = build_adapter(cfg, arm, unet, seed).to(self.accelerator.device)
        pipeline.attach(self.adapter)
        self.listing = self.adapter.listing(unet)
        groups: list[dict[str, Any]] = [{"params": list(self.adapter.parameters()), "peak": self.lr}]
        if arm.unet_lr:
            groups.append({"params": list(unet.parameters()), "peak": arm.unet_lr})
        self.parameters = [p for group in groups for p in group["params"]]
        self.scheduler = training_scheduler(pipeline.scheduler.config)
        self.optimiser = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99), weight_decay=0.01)
        self.model, self.wrapped = self.accelerator.prepare(Denoiser(self.adapter, unet), self.optimiser)
        self.ema = training.Ema(self.parameters, self.settings.ema) if self.settings.ema else None
        self.image_size = pipeline.image_size

    def micro_batches(self, step: int) -> list[objective.Batch]:
        """This process's share of the step's micro-batches."""
        share, shares = self.accelerator.process_index, self.accelerator.num_processes
        batches = []
        for k in range(self.settings.accumulation):
            batch = objective.draw(
                self.cache, self.scheduler, self.settings.batch, self.settings.drop, self.image_size,
                (self.cfg.run.seed, self.seed, step, k), self.drop_caption,
            )  # fmt: skip
            batches.append(objective.to(batch.part(share, shares), self.accelerator.device))
        return batches

    def loss(self, batch: objective.Batch) -> Tensor:
        """The loss of a micro-batch; `UserError` where it does not depend on the adapter."""
        loss = self.model(batch)
        if not loss.requires_grad:
            raise unreached(self.adapter, "any parameter")
        return loss

    def backward(self, batches: list[objective.Batch]) -> Tensor:
        """Gradients of the mean loss, by one summed backward or one for each micro-batch; returns the loss."""
        if self.settings.backward == "summed":
            loss = torch.stack([self.loss(batch) for batch in batches]).mean()
            self.accelerator.backward(loss)
            return loss.detach()
        losses = []
        for k, batch in enumerate(batches):
            last = k == len(batches) - 1
            with self.accelerator.no_sync(self.model) if not last else torch.enable_grad():
                loss = self.loss(batch) / len(batches)
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def step(self, t: int) -> dict[str, float]:
        """One optimiser step; returns loss, learning rate, and the gradient's norm before clipping, of all that is
        trained and of the position net alone (the MLP that makes tokens of boxes and phrases).
        """
        for group in self.optimiser.param_groups:
            group["lr"] = training.cosine(t, self.steps, group["peak"])
        loss = self.backward(self.micro_batches(t))
        if t == 0:
            check_reached(self.adapter)
        position = torch.nn.utils.get_total_norm([p.grad for p in self.adapter.mlp.parameters() if p.grad is not None])
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        self.wrapped.step()
        self.wrapped.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update(self.parameters)
        mean = self.accelerator.reduce(loss, "mean").item()
        if mean != mean or mean in (float("inf"), float("-inf")):
            raise FloatingPointError(f"adapter: the loss is {mean} at step {t}")
        norms = {"gradient_norm": float(norm), "position_net_norm": float(position)}
        return {"loss": mean, **norms, "lr": self.optimiser.param_groups[0]["lr"]}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, which are put back afterwards."""
        kept = [p.detach().clone() for p in self.parameters] if self.ema else []
        if self.ema:
            self.ema.copy_to(self.parameters)
        yield
        with torch.no_grad():
            for p, value in zip(self.parameters, kept, strict=bool(kept)):
                p.copy_(value)

    def save(self, folder: Path) -> None:
        """Write the adapter with its averaged weights, and the UNet where the arm trains it, into `folder`."""
        with self.averaged():
            self.adapter.save_pretrained(folder)
            if self.trains_unet:
                self.pipeline.unet.save_pretrained(folder / UNET)


def _identity(cfg: Config, arm: Arm, seed: int, *made_from: Path) -> str:
    """What an interrupted run must agree with to be taken up: settings, and the files that it learns from."""
    settings = [dataclasses.asdict(part) for part in (cfg.run, cfg.adapter, arm)]
    hashes = map(files.sha256, made_from)
    return provenance.fingerprint(*settings, seed, list(HISTORIES), *hashes, code=["gillnext.adapter.train"])


def run(trainer: Trainer, identity: str, work: Path) -> list[dict[str, float]]:
    """Train to the end, from the newest checkpoint of this identity if there is one; returns every step's history."""
    print_main = trainer.accelerator.print
    first = training.load_state(work / "checkpoint", trainer.parameters, trainer.optimiser, trainer.ema, identity)
    history = files.read_json(work / "history.json")[:first] if first else []
    if first:
        print_main(f"resuming at step {first}")
    elif trainer.accelerator.is_main_process:  # what another run left there is not this one's
        (work / "history.json").unlink(missing_ok=True)
        for old in ("tensorboard", snapshots.FOLDER):
            shutil.rmtree(work / old, ignore_errors=True)
    trainer.accelerator.init_trackers("tensorboard")
    every = trainer.settings.checkpoint_every
    shots = snapshots.due(trainer.settings.snapshot_every, trainer.settings.steps, trainer.steps)
    main = trainer.accelerator.is_main_process
    with Progress("adapter", trainer.steps, "steps", start=first) as progress:
        for t in range(first, trainer.steps):
            history.append(trainer.step(t))
            trainer.accelerator.log(history[-1], step=t + 1)
            progress.step(loss=history[-1]["loss"])
            if main and t + 1 in shots:
                with files.atomic(snapshots.place(work, t + 1)) as folder:
                    trainer.save(folder)
            if main and every and (t + 1) % every == 0 and t + 1 < trainer.steps:
                files.write_json(work / "history.json", history)
                training.save_state(
                    work / "checkpoint", t + 1, trainer.parameters, trainer.optimiser, trainer.ema, identity
                )
    trainer.accelerator.wait_for_everyone()  # before the process group ends
    trainer.accelerator.end_training()
    return history


def train(cfg: Config, arm_name: str, seed: int, base: Path, cache: Path, out: Path) -> None:
    """Train the arm and write `out`: adapter weights and config (and the UNet, where the arm trains it), snapshots,
    losses, processors.txt, tensorboard.
    """
    arm = arm_of(cfg, arm_name)
    training.setup(cfg.run.threads, cfg.run.device)
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    without: dict[str, Any] = {"text_encoder": None, "tokenizer": None}  # the cache has their states
    pipeline = GroundedKolorsPipeline.from_folders(base, **without)
    trainer = Trainer(cfg, arm, seed, pipeline, Cache.load(cache), out)
    trainer.accelerator.print(trainer.listing)
    history = run(trainer, _identity(cfg, arm, seed, base, cache), work)
    if not trainer.accelerator.is_main_process:
        return
    with files.atomic(out) as temporary:
        trainer.save(temporary)
        files.write_text(temporary / "processors.txt", trainer.listing)
        for name, key in HISTORIES.items():
            files.write_json(temporary / f"{name}.json", [round(row[key], 6) for row in history])
        stamp: dict[str, Any] = {"arm": arm_name, "seed": seed, "steps": trainer.steps}
        stamp |= {"processes": trainer.accelerator.num_processes}
        stamp |= {"parameters": sum(p.numel() for p in trainer.parameters), "provenance": provenance.stamp()}
        files.write_json(temporary / "training.json", stamp)
        for made in ("tensorboard", snapshots.FOLDER):
            if (work / made).exists():
                shutil.copytree(work / made, temporary / made)
    shutil.rmtree(work, ignore_errors=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--arm", required=True, help="a row of study.arms")
    parser.add_argument("--seed", type=int, required=True, help="training seed")
    parser.add_argument("--base", type=Path, required=True, help="folder of the KolorsPipeline")
    parser.add_argument("--cache", type=Path, required=True, help="folder that `gillnext cache` wrote")
    add_out(parser, "folder of the adapter")


def main(args: argparse.Namespace) -> None:
    train(config(args), args.arm, args.seed, args.base, args.cache, args.out)
