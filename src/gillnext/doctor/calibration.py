"""Step times of what takes most of the demo, on real classes with random weights, and the demo's time from them.

Three steps stand for the run: the base's training step (`base.threads`), an adapter's, and a forward of sampling with
guidance (`run.threads`). The estimate is the kept run's minutes times how much longer the steps take here than on the
machine that kept it, each step weighted by the CPU seconds of the rules that it stands for.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gillnext.adapter import objective
from gillnext.adapter.cache import Base, Cache
from gillnext.adapter.cache_shards import Rows
from gillnext.adapter.cache_writer import Writer
from gillnext.adapter.model import SpatialAdapter
from gillnext.config.model import Arm, Config
from gillnext.diffusion.objective import size_conditions, training_scheduler
from gillnext.doctor import facts
from gillnext.doctor.facts import Finding
from gillnext.layouts import MAX_BOXES
from gillnext.miniatures import small_unet
from gillnext.miniatures.class_map import ClassMapHead
from gillnext.miniatures.networks.small_chatglm import HIDDEN, LENGTH
from gillnext.miniatures.training_samples import TrainingSamples
from gillnext.record import jobs as benchmarks
from gillnext.runtime import machine, training
from gillnext.runtime.errors import UserError
from gillnext.tables import cost

RULES = {
    "base": ("base",),
    "adapter": ("adapter", "base_on_windows"),
    "sample": ("sample", "curve"),
}  # step -> what it stands for
ROWS = 64  # of random data
SIDE = 16  # cells of the latents
ALONE = 0.75  # share of its threads' time that a step has at least on a machine of its own; two threads wait at times
SPREAD = 0.2  # of the estimate: the same run on the same machine takes up to this much more or less on other days


def random_samples(rows: int) -> TrainingSamples:
    """Pictures of noise with random captions' states."""
    latents, maps = torch.randn(rows, 4, SIDE, SIDE), torch.zeros(rows, SIDE, SIDE, dtype=torch.int64)
    states, pooled = torch.randn(rows + 1, LENGTH, HIDDEN), torch.randn(rows + 1, HIDDEN)
    return TrainingSamples(latents, maps, size_conditions(rows, 64), torch.arange(rows), states, pooled)


def random_cache(rows: int, folder: Path) -> Cache:
    """What an adapter trains on, of noise: every slot holds a box."""
    corner, samples, side = torch.rand(rows, MAX_BOXES, 2) * 0.5, random_samples(rows), 64
    boxes, real = torch.cat([corner, corner + 0.4], -1), torch.ones(rows, MAX_BOXES, dtype=torch.bool)
    states, pooled = samples.states, samples.pooled
    noise = Rows(samples.latents, states[:-1], pooled[:-1], size_conditions(rows, side), boxes, real, torch.zeros(0))
    names = [[f"{row} {slot}" for slot in range(MAX_BOXES)] for row in range(rows)]
    writer = Writer(folder / "cache.work", "", "float32", lambda name: torch.randn(HIDDEN))
    writer.add([noise], names, [""] * rows, "", (side, side), MAX_BOXES)
    base = Base("KolorsPipeline", side, 4, HIDDEN, "")
    writer.finish(folder / "cache", {"base": vars(base), "slots": MAX_BOXES}, states[-1], pooled[-1])
    return Cache.load(folder / "cache")


def optimised(parameters: Iterable[torch.nn.Parameter], loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
    """A training step as `training.train` does it."""
    parameters = list(parameters)
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    ema = training.Ema(parameters, 0.99)

    def step() -> float:
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        ema.update(parameters)
        return value.item()

    return step


def base_step(cfg: Config) -> Callable[[], float]:
    """A step of the base on pictures."""
    unet = small_unet.build_unet(cfg.base.channels).to(cfg.run.device, memory_format=torch.channels_last)
    head = ClassMapHead(unet).to(cfg.run.device)
    batches = small_unet.Batches(cfg, "doctor", random_samples(ROWS), cfg.base.batch)
    return optimised([*unet.parameters(), *head.parameters()], lambda: batches.loss(unet, head, 0))


def adapter_steps(cfg: Config) -> tuple[Callable[[], float], Callable[[], float]]:
    """A training step of the reference arm's adapter, and a forward of sampling with it and guidance."""
    arm = cfg.study.arms.get(cfg.study.reference, Arm())
    unet = small_unet.build_unet(cfg.base.channels).requires_grad_(False)
    adapter = SpatialAdapter.for_unet(unet, site=arm.site, bias=arm.bias, width=cfg.adapter.width)
    adapter.inject(unet)
    denoiser = objective.Denoiser(adapter, unet).to(cfg.run.device)
    scheduler = training_scheduler(small_unet.SCHEDULE)
    with tempfile.TemporaryDirectory() as folder:
        cache = random_cache(ROWS, Path(folder))
        drawn = [
            objective.draw(cache, scheduler, count, cfg.adapter.drop, ("doctor", 0))
            for count in (cfg.adapter.batch, 2 * cfg.sample.batch)
        ]
    trained, pairs = (objective.to(batch, torch.device(cfg.run.device)) for batch in drawn)

    @torch.no_grad()
    def forward() -> float:
        return denoiser(pairs).item()

    return optimised(adapter.parameters(), lambda: denoiser(trained)), forward


@dataclass(frozen=True)
class Steps:
    """Median seconds of each step of `RULES`, and the least share of its threads' time that one was given: it is well
    below 1 where others use the cores.
    """

    seconds: dict[str, float]
    share: float

    @property
    def disturbed(self) -> bool:
        return self.share < ALONE

    def __str__(self) -> str:
        return in_ms(self.seconds)


def in_ms(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())


def timed(step: Callable[[], Any], seconds: float) -> tuple[float, float]:
    """The median time of `step` over about `seconds`, after two of them and over at least three; and how many cores'
    time this process had meanwhile.
    """
    step(), step()
    taken: list[float] = []
    used = time.process_time()
    while len(taken) < 3 or sum(taken) < seconds:
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), (time.process_time() - used) / sum(taken)


def measure(cfg: Config, seconds: float) -> Steps:
    """The steps of `RULES`, measured for about `seconds` in all."""
    part, medians, shares = seconds / len(RULES), {}, []

    def take(name: str, step: Callable[[], Any], threads: int) -> None:
        medians[name], cores = timed(step, part)
        shares.append(cores / min(max(threads, 1), machine.cores()))

    with torch.random.fork_rng():
        training.setup(cfg.base.threads, cfg.run.device)
        take("base", base_step(cfg), cfg.base.threads)
        training.setup(cfg.run.threads, cfg.run.device)
        for name, step in zip(("adapter", "sample"), adapter_steps(cfg), strict=True):
            take(name, step, cfg.run.threads)
    return Steps(medians, min(shares) if cfg.run.device == "cpu" else 1.0)


def settings(cfg: Config) -> dict[str, Any]:
    """What the step times depend on besides the machine."""
    return {
        "channels": list(cfg.base.channels),
        "batches": [cfg.base.batch, cfg.adapter.batch, cfg.sample.batch],
        "threads": [cfg.base.threads, cfg.run.threads],
        "width": cfg.adapter.width,
        "device": cfg.run.device,
    }


@dataclass(frozen=True)
class KeptRun:
    """A kept run's minutes of wall clock and of all its jobs, and the CPU seconds that each step stands for."""

    wall_minutes: float
    job_minutes: float
    weights: dict[str, float]

    @classmethod
    def read(cls, folder: Path) -> KeptRun | None:
        """Of reference/TIER; None where no run is kept there, or none that trained."""
        if not (folder / benchmarks.NAME).is_file():
            return None
        jobs = benchmarks.read(folder / benchmarks.NAME)
        totals = cost.totals(jobs)
        weights = {
            step: sum(job.cpu_seconds or job.seconds for job in jobs if job.rule in rules)
            for step, rules in RULES.items()
        }
        return cls(totals["wall_minutes"], totals["job_minutes"], weights) if any(weights.values()) else None

    def minutes(self, here: dict[str, float], there: dict[str, float], cores: int) -> float:
        """What the run would take where its steps take `here` seconds, and `there` on the machine that kept it.

        One core has nothing to run side by side: there the minutes of all jobs together count.
        """
        slower = sum(w * here[step] / there[step] for step, w in self.weights.items()) / sum(self.weights.values())
        return slower * (self.wall_minutes if cores >= 2 else self.job_minutes)


def estimate(cfg: Config, kept: KeptRun | None, here: Steps, known: dict[str, Any]) -> Finding:
    """How long a run of the tier takes here; why that cannot be said where no run is kept, or none was calibrated."""
    tier, cores = cfg.run.tier, machine.cores()
    if kept is None:
        return Finding("time", f"not known: no run of tier {tier} is kept")
    took, there = f"the kept run took {kept.wall_minutes:.0f} min", known.get(tier)
    if not there or there["settings"] != settings(cfg):
        return Finding("time", f"not known: {took}, and no step times are recorded for it with these settings")
    minutes = kept.minutes(here.seconds, there["seconds"], cores)
    state = f"about {minutes:.0f} min ± {SPREAD:.0%} for tier {tier}"
    state += ", less with more than two cores" if cores > 2 else ""
    state += f" ({took} at {in_ms(there['seconds'])})"
    return Finding("time", state, values={"minutes": minutes, "kept_minutes": kept.wall_minutes})


def findings(cfg: Config, seconds: float, known: dict[str, Any]) -> Iterator[Finding]:
    """The step times, and the estimate from them."""
    here = measure(cfg, seconds)
    fix = "end what else runs here and ask again: the estimate is that of a busy machine"
    state = f"{here}" + (f"; others use the cores, {here.share:.0%} were free" if here.disturbed else "")
    yield Finding("steps", state, fix if here.disturbed else "", values=dict(here.seconds))
    yield estimate(cfg, KeptRun.read(facts.ROOT / "reference" / cfg.run.tier), here, known)


def record(cfg: Config, seconds: float) -> dict[str, Any]:
    """This machine's step times, to be kept beside a run that it made; `UserError` where others use the cores."""
    here = measure(cfg, seconds)
    if here.disturbed:
        what = f"others use the cores: {here.share:.0%} were free, and the step times would be too long"
        raise UserError(what, where="gillnext doctor --renew", remedy="end what else runs here, or --seconds 0")
    rounded = {name: round(value, 4) for name, value in here.seconds.items()}
    return {"settings": settings(cfg), "seconds": rounded, "processor": machine.processor()}
