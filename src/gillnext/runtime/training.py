"""One training loop for every model: seeded by step, resumable to the bit, without pickles.

The batch of step t depends on (names, t) alone, so nothing but parameters and optimiser moments has to be kept.
A checkpoint is a folder of safetensors and a JSON file; a killed run goes on from the newest whole one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gillnext.runtime import arithmetic, files, portable, provenance
from gillnext.runtime.divided import as_, local, whole
from gillnext.runtime.errors import UserError
from gillnext.runtime.progress import Progress

TYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of frozen weights, by `run.precision`


def setup(threads: int, device: str = "cpu") -> None:
    """The configured number of torch threads, the arithmetic's kernels, and denormals flushed.

    Raises `UserError` where the device is not there, or torch was loaded before portable arithmetic began.
    """
    check_device(device)
    if arithmetic.current() == "portable":
        seen = torch.backends.cpu.get_cpu_capability()
        if seen != "AVX2":
            remedy = "call gillnext.runtime.arithmetic.begin() before importing torch, as the command line does"
            raise UserError(f"torch was loaded with {seen} kernels", where="run.arithmetic: portable", remedy=remedy)
        portable.install()
    torch.set_num_threads(max(threads, 1))
    torch.set_flush_denormal(True)


def check_device(device: str) -> None:
    """Raise `UserError` unless torch can use `device` ("cpu", "cuda", "cuda:1") here, maybe inside a container."""
    where = f"run.device: {device}"
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UserError("torch knows no such device", where=where, remedy="cpu, cuda or cuda:INDEX") from error
    local = int(os.environ.get("LOCAL_RANK", 0)) if wanted.index is None else wanted.index  # of several processes
    if wanted.type != "cuda" or local < torch.cuda.device_count():
        return
    seen = f"torch sees {torch.cuda.device_count()} GPUs here" if torch.cuda.device_count() else "no GPU is seen here"
    if local and torch.cuda.device_count():
        remedy = "no more processes a node than it has GPUs (adapter.processes), or a device with a smaller index"
        raise UserError(seen, where=where, remedy=remedy)
    raise UserError(
        seen,
        where=where,
        remedy="in containers give --profile profiles/gpu, which passes the host's GPUs in (--nv); `nvidia-smi` shows "
        "whether the host has one; without a GPU take the demo tier, or run.device: cpu",
    )


def cosine(step: int, steps: int, peak: float, warmup: float = 0.05, floor: float = 0.02) -> float:
    """Learning rate at `step`: linear warm-up over `warmup`·steps, then a cosine down to floor·peak."""
    ramp = max(int(warmup * steps), 1)
    if step < ramp:
        return peak * (step + 1) / ramp
    t = (step - ramp) / max(steps - ramp, 1)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(t, 1.0))))


class Ema:
    """An exponential moving average of parameters, with the usual ramp min(decay, (1+t)/(10+t)).

    `device` is where it lies; None: beside the parameters. Of parameters that processes divide, each has the average of
    its own part.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float, device: str | None = None) -> None:
        self.decay, self.step = decay, 0
        self.shadow = [local(p.detach()).to(device, copy=True) for p in parameters]

    @torch.no_grad()
    def update(self, parameters: list[nn.Parameter]) -> None:
        self.step += 1
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        latest = [local(p.detach()).to(kept.device) for p, kept in zip(parameters, self.shadow, strict=True)]
        torch._foreach_lerp_(self.shadow, latest, 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: list[nn.Parameter]) -> None:
        for p, value in zip(parameters, self.shadow, strict=True):
            local(p).copy_(value)


def save_state(
    folder: Path,
    step: int,
    parameters: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    ema: Ema | None,
    identity: str = "",
    scaler: torch.amp.GradScaler | None = None,
    write: bool = True,
) -> None:
    """Write a checkpoint whole or not at all; `identity` is its run's fingerprint, `scaler` that of fp16's losses.

    Where processes divide the parameters each calls this, and one has `write`: the file holds whole tensors.
    """
    tensors: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor, like: Tensor) -> None:
        found = whole(value.detach(), like)
        if write:
            tensors[name] = torch.empty(found.shape, dtype=found.dtype).copy_(found)

    for i, p in enumerate(parameters):
        keep(f"param.{i}", p, p)
        for name, value in optimiser.state.get(p, {}).items():
            value = torch.as_tensor(value)
            keep(f"{name}.{i}", value, p if value.shape == p.shape else value)
        if ema:
            keep(f"ema.{i}", ema.shadow[i], p)
    if not write:
        return
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        save_file(tensors, temporary / "state.safetensors")
        state = {"step": step, "ema_step": ema.step if ema else 0, "identity": identity}
        files.write_json(temporary / "state.json", state | ({"scaler": scaler.state_dict()} if scaler else {}))


def load_state(
    folder: Path,
    parameters: list[nn.Parameter],
    optimiser: torch.optim.Optimizer,
    ema: Ema | None,
    identity: str = "",
    scaler: torch.amp.GradScaler | None = None,
) -> int:
    """Restore a checkpoint; returns the step to go on from, 0 where there is none or it is of another run."""
    if not (folder / "state.json").exists():
        return 0
    meta = files.read_json(folder / "state.json")
    if meta["identity"] != identity:
        return 0
    known = optimiser.state_dict()  # through the optimiser's own loader, which knows on which device it wants what
    place = {id(p): k for k, p in enumerate(p for group in optimiser.param_groups for p in group["params"])}
    known["state"] = {place[id(p)]: {} for p in parameters}
    with torch.no_grad(), safe_open(folder / "state.safetensors", "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - no mapping
            kind, index = name.rsplit(".", 1)
            p, value = parameters[int(index)], tensors.get_tensor(name)
            if value.shape == p.shape:  # laid out as the parameter: the fused optimiser reads both in memory's order
                value = as_(value, p)
            if kind == "param":
                p.copy_(value)
            elif kind != "ema":
                known["state"][place[id(p)]][kind] = value
            elif ema:
                ema.shadow[int(index)].copy_(local(value))
    optimiser.load_state_dict(known)
    if ema:
        ema.step = meta["ema_step"]
    if scaler:
        scaler.load_state_dict(meta["scaler"])
    return meta["step"]


def train(
    name: str,
    parameters: list[nn.Parameter],
    loss_at: Callable[[int], Tensor],
    *,
    steps: int,
    lr: float,
    work: Path | None = None,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
    clip_norm: float = 1.0,
    ema_decay: float = 0.0,
    checkpoint_every: int = 200,
    settings: Any = None,
) -> list[float]:
    """AdamW with a cosine over `steps`; `loss_at(t)` must depend on t alone. Returns the losses of this process.

    `clip_norm` is the gradient norm above which gradients are scaled down; `betas` and `weight_decay` are AdamW's. With
    `work`, a checkpoint is kept there every `checkpoint_every` steps and a killed run resumes from it, unless the
    code of `loss_at`'s module, the threads, the device or the `settings` (whatever else the losses depend on) have
    changed. Ends with the averaged weights in
    `parameters` where `ema_decay` > 0.
    """
    optimiser = torch.optim.AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)
    ema = Ema(parameters, ema_decay) if ema_decay else None
    shapes = [tuple(p.shape) for p in parameters]
    here, module = [torch.get_num_threads(), str(parameters[0].device)], loss_at.__module__
    identity = provenance.fingerprint(
        name, steps, lr, weight_decay, betas, clip_norm, ema_decay, settings, shapes, here,
        code=[module] if module.startswith("gillnext.") else [],
    )  # fmt: skip
    first = load_state(work / "checkpoint", parameters, optimiser, ema, identity) if work else 0
    losses: list[float] = []
    with Progress(name, steps, "steps", start=first) as progress:
        for step in range(first, steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine(step, steps, lr)
            loss = loss_at(step)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, clip_norm)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            if ema:
                ema.update(parameters)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise FloatingPointError(f"{name}: the loss is {losses[-1]} at step {step}")
            progress.step(loss=losses[-1])
            if work and checkpoint_every and (step + 1) % checkpoint_every == 0 and step + 1 < steps:
                save_state(work / "checkpoint", step + 1, parameters, optimiser, ema, identity)
    if ema:
        ema.copy_to(parameters)
    return losses
