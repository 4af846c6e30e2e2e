"""The drawn world's base on a GPU: what more steps, pictures and channels give, and what adapters make of it.

    python benchmarks/gpu/base.py --models reference/models --out OUT/base.json --seconds 220

Every variant is the demo's own training with one thing changed: windows, then pictures, by the losses of
`gillnext.miniatures.small_unet`, with a random stream of the GPU's. Then the base alone draws validation captions, and
the reference arm's adapter is trained on it and draws validation layouts; both evaluators look at the pictures.
"""

from __future__ import annotations

import argparse
import copy
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import drawn_pictures
import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from drawn_pictures import CELLS, SIDE, Pictures
from graphs import Training, together
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from gillnext.adapter import bias, fourier, objective
from gillnext.adapter import pipeline as grounded
from gillnext.adapter.grounding import pad
from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.adapter.trainer import build_adapter
from gillnext.config.model import Arm, Config
from gillnext.diffusion import chatglm
from gillnext.diffusion.latents import encode
from gillnext.diffusion.objective import CENTRE, size_conditions
from gillnext.instruments import evaluators
from gillnext.instruments.detections import Detections
from gillnext.layouts import MAX_BOXES, Layout
from gillnext.miniatures import small_unet
from gillnext.miniatures.class_map import ClassMapHead
from gillnext.miniatures.networks.small_chatglm import LENGTH
from gillnext.miniatures.world import heldout, scenes
from gillnext.runtime import files
from gillnext.score.boxes import confident, fidelity, requested, shown

CFG = Config()
PIXELS = 4  # a side of a latent's cell
VAL = 256  # validation layouts
ADAPTER_ROWS = 3_000


@dataclass(frozen=True)
class Variant:
    """One base. `times` multiplies the demo's steps of both stages; the rest replaces the demo's own settings."""

    name: str
    times: float = 1
    corpus: int = 8_000
    channels: tuple[int, ...] = (64, 96, 128)
    window_steps: int = 1_300
    steps: int = 1_050
    window_batch: int = 32
    batch: int = 16
    lr: float = 1e-3
    ema: float = 0.998
    floor: float = 0.02
    class_map: float = 0.1

    def of(self, steps: int) -> int:
        return max(int(self.times * steps), 2)


def latest(times: float, **changed: Any) -> Variant:
    """A variant called by what it changes."""
    words = [f"{key} {value}" for key, value in changed.items()]
    return Variant(", ".join([f"steps x{times:g}", *words]), times, **changed)


WIDE = (96, 128, 192)
MANY = 24_000  # pictures, three times as many as the demo's base learns from
VARIANTS = [
    latest(1), latest(2), latest(4), latest(4, corpus=MANY), latest(4, corpus=MANY, ema=0.9995),
    latest(2, corpus=MANY, channels=WIDE), latest(2, corpus=MANY, window_batch=64, batch=32),
    latest(4, corpus=MANY, class_map=0.0), latest(4, corpus=MANY, ema=0.9995, window_steps=400, steps=1_500),
    latest(8, corpus=MANY, ema=0.9995),
]  # fmt: skip
LONGER = 1_200  # steps of a second adapter on the last base


def stratified(count: int, device: torch.device) -> Tensor:
    """`gillnext.diffusion.objective.timesteps` with the device's own random numbers."""
    half = count // 2
    u = torch.rand(count, device=device)
    uniform = (torch.arange(half, device=device) + u[:half]) / max(half, 1)
    quantile = (torch.arange(count - half, device=device) + u[half:]) / (count - half)
    share = torch.cat([uniform, (torch.special.ndtri(quantile.clamp(1e-4, 1 - 1e-4)) + CENTRE).sigmoid()])
    return (share[torch.rand(count, device=device).argsort()] * 1000).long().clamp(0, 999)


class World:
    """Pictures, latents and text states on the device, of one autoencoder and text encoder."""

    def __init__(self, models: Path, data: Pictures, device: torch.device) -> None:
        self.device = device
        base = grounded.load(models / "base", device=str(device))  # autoencoder and text side, in float32
        self.vae, self.tokenizer, self.encoder = base.vae.eval(), base.tokenizer, base.text_encoder
        self.alphas = DDPMScheduler(**small_unet.SCHEDULE).alphas_cumprod.to(device)
        self.latents = encode(self.vae, data.images, 256).to(device)
        self.maps = torch.from_numpy(data.maps).to(device)
        different = list(dict.fromkeys([*data.texts, *data.window_texts]))
        number = {text: i for i, text in enumerate(different)}
        states, pooled = chatglm.states(self.tokenizer, self.encoder, [*different, ""], LENGTH, 1024)
        self.states, self.pooled = states.to(device), pooled.to(device)
        self.caption = torch.tensor([number[t] for t in data.texts], device=device)
        self.window_caption = torch.tensor([number[t] for t in data.window_texts], device=device)
        self.picture = torch.from_numpy(data.picture).to(device)
        self.corners = torch.from_numpy(data.corners).to(device)
        self.first_windows = torch.bincount(self.picture, minlength=len(self.latents)).cumsum(0)
        self.whole = size_conditions(1, CELLS * PIXELS).to(device)
        self.part = size_conditions(1, CELLS * PIXELS, SIDE * PIXELS).to(device)

    def noised(self, latents: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Noisy latents and their v."""
        noise = torch.randn_like(latents)
        a = self.alphas[steps].sqrt()[:, None, None, None]
        s = (1 - self.alphas[steps]).sqrt()[:, None, None, None]
        return a * latents + s * noise, a * noise - s * latents

    def loss(self, unet: Any, head: ClassMapHead, variant: Variant, windows: bool) -> Tensor:
        """`small_unet.Batches.loss` with a batch that the device draws: windows, or pictures."""
        device, pictures = self.device, min(variant.corpus, len(self.latents))
        count = variant.window_batch if windows else variant.batch
        if windows:
            pick = (torch.rand(count, device=device) * self.first_windows[pictures - 1]).long()
            rows, corner = self.picture[pick], self.corners[pick]
            y = (corner[:, :1] + torch.arange(SIDE, device=device))[:, :, None]
            x = (corner[:, 1:] + torch.arange(SIDE, device=device))[:, None, :]
            latents = self.latents[rows[:, None, None], :, y, x].permute(0, 3, 1, 2)
            maps, caption = self.maps[rows[:, None, None], y, x], self.window_caption[pick]
            corners = corner * PIXELS
            sizes = torch.cat([self.part[:, :2].expand(count, 2), corners, self.part[:, 4:].expand(count, 2)], 1)
        else:
            rows = torch.randint(pictures, (count,), device=device)
            latents, maps, caption = self.latents[rows], self.maps[rows], self.caption[rows]
            sizes = self.whole.expand(count, 6)
        caption = torch.where(torch.rand(count, device=device) < small_unet.DROP, len(self.states) - 1, caption)
        steps = stratified(count, device)
        noisy, v = self.noised(latents, steps)
        added = {"text_embeds": self.pooled[caption], "time_ids": sizes}
        guess = unet(noisy.contiguous(), steps, self.states[caption], added_cond_kwargs=added).sample
        loss = F.mse_loss(guess, v)
        return loss + variant.class_map * head.loss(maps) if variant.class_map else loss

    def pipeline(self, unet: Any) -> GroundedKolorsPipeline:
        found = GroundedKolorsPipeline(
            vae=self.vae, text_encoder=self.encoder, tokenizer=self.tokenizer, unet=unet.eval(),
            scheduler=DPMSolverMultistepScheduler(**small_unet.SCHEDULE),
        )  # fmt: skip
        found.set_progress_bar_config(disable=True)
        return found


class Rows:
    """What an adapter is trained on, on the device: the first pictures of the shards' own stream, with true boxes."""

    def __init__(self, world: World, data: Pictures, layouts: list[Layout]) -> None:
        self.world = world
        self.latents = encode(world.vae, data.images, 256).to(world.device)
        states, pooled = chatglm.states(world.tokenizer, world.encoder, data.texts, LENGTH, 1024)
        self.states, self.pooled = states.to(world.device), pooled.to(world.device)
        boxes, real = pad([row.boxes for row in layouts])
        self.boxes, self.real = boxes.to(world.device), real.to(world.device)
        self.names = [row.names for row in layouts]

    def loss(self, denoiser: objective.Denoiser, phrases: Tensor, batch: int, drop: float) -> Tensor:
        device = self.world.device
        rows = torch.randint(len(self.latents), (batch,), device=device)
        steps = stratified(batch, device)
        noisy, v = self.world.noised(self.latents[rows], steps)
        return denoiser(
            objective.Batch(
                noisy=noisy, target=v, timesteps=steps, states=self.states[rows], pooled=self.pooled[rows],
                time_ids=self.world.whole.expand(batch, 6), boxes=self.boxes[rows], real=self.real[rows],
                phrases=phrases[rows], dropped=torch.rand(batch, device=device) < drop,
            )
        )  # fmt: skip


def constants_on(device: torch.device) -> None:
    """The adapter's constant tables, made once on `device`: a graph may not copy them from the CPU."""
    known: dict[Any, Tensor] = {}

    def kept(function: Any) -> Any:
        def once(*args: Any) -> Tensor:
            key = (function, args)
            if key not in known:
                known[key] = function(*args).to(device)
            return known[key]

        return once

    for module, name in ((bias, "frequencies"), (bias, "pixel_centres"), (fourier, "frequencies")):
        setattr(module, name, kept(getattr(module, name)))


def trained(world: World, variants: list[Variant], until: float) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The UNets of `variants`, trained beside each other."""
    made: dict[str, Any] = {}
    report: dict[str, dict[str, Any]] = {v.name: {} for v in variants}
    for variant in variants:
        torch.manual_seed(1)
        unet = small_unet.build_unet(variant.channels).to(world.device)
        made[variant.name] = unet, ClassMapHead(unet).to(world.device)
    for windows in (True, False):
        began, trainings = time.perf_counter(), []
        for variant in variants:
            unet, head = made[variant.name]
            steps = variant.of(variant.window_steps if windows else variant.steps)
            parameters = [*unet.parameters(), *(head.parameters() if variant.class_map else [])]
            loss = partial(world.loss, unet, head, variant, windows)
            ema = 0.0 if windows else variant.ema
            trainings.append(Training(parameters, loss, steps, variant.lr, ema=ema, floor=variant.floor))
        ready = time.perf_counter()
        spent, stage = together(trainings, until), "windows" if windows else "pictures"
        for variant, training in zip(variants, trainings, strict=True):
            told = {"steps": training.done, "of": training.steps, "loss": round(training.finish(), 4)}
            report[variant.name][stage] = told
        count = sum(training.done for training in trainings)
        print(f"{len(variants)} bases, {stage}: captured {ready - began:.1f} s, {count} steps in {spent:.1f} s "
              f"({1000 * spent / max(count, 1):.2f} ms a step)", flush=True)  # fmt: skip
        report["seconds"] = report.get("seconds", {}) | {stage: {"steps": count, "seconds": round(spent, 2)}}
    for _, head in made.values():
        head.release()
    return {name: (unet, report[name]) for name, (unet, _) in made.items()} | {"": (None, report["seconds"])}


def with_adapters(world: World, rows: Rows, asked: list[tuple[Any, int]], until: float) -> list[Any]:
    """Pipelines of bases with the reference arm's adapter after so many steps, all trained beside each other."""
    trainings, found = [], []
    for unet, steps in asked:
        own = copy.deepcopy(unet).requires_grad_(False)
        pipeline = world.pipeline(own)
        adapter = build_adapter(CFG, Arm(), own, 0).to(world.device)
        pipeline.attach(adapter)
        phrases = pipeline.table(rows.names, MAX_BOXES)
        loss = partial(rows.loss, objective.Denoiser(adapter, own), phrases, CFG.adapter.batch, CFG.adapter.drop)
        trainings.append(Training(list(adapter.parameters()), loss, steps, CFG.adapter.lr, ema=CFG.adapter.ema))
        found.append(pipeline)
    together(trainings, until)
    for training in trainings:
        training.finish()
    return found


@torch.inference_mode()
def drawn(pipeline: Any, layouts: list[Layout], steps: int, guidance: float, boxes: bool) -> np.ndarray:
    keys = [("gpu", i) for i in range(len(layouts))]
    images, _ = pipeline.draw(
        [row.caption for row in layouts], layouts if boxes else None, keys=keys, steps=steps, guidance=guidance
    )
    return (np.asarray(images) * 255).round().astype(np.uint8)


def by_templates(models: Path, images: np.ndarray) -> list[Detections]:
    """In a process of its own: the template evaluator computes on the CPU."""
    torch.set_num_threads(1)
    return evaluators.load(models / "second_evaluator").detect(images, 1)


class Judges:
    """Both evaluators; templates look in processes of their own while the GPU goes on."""

    def __init__(self, models: Path, layouts: list[Layout], device: torch.device, workers: int) -> None:
        self.models, self.layouts = models, layouts
        self.evaluator = evaluators.load(models / "evaluator", str(device))
        self.pool = ProcessPoolExecutor(workers, get_context("spawn"))
        self.workers, self.waiting = workers, list[tuple[dict[str, Any], list[Any], bool]]()

    def scores(self, found: list[Detections], boxes: bool) -> dict[str, float]:
        classes, sure = self.evaluator.classes, [confident(one) for one in found]
        wanted = [requested(row, classes) for row in self.layouts]
        told = {"objects_shown": round(shown(wanted, sure)["shown"], 4)}
        if boxes:
            metrics = fidelity(wanted, sure, classes)["metrics"]
            told |= {name: round(metrics[name], 4) for name in ("success50", "miou")}
        return told

    def look(self, images: np.ndarray, boxes: bool) -> dict[str, Any]:
        """The scores by the evaluator; those by templates join them in `wait`."""
        told: dict[str, Any] = {"n": len(images), "evaluator": self.scores(self.evaluator.detect(images, 256), boxes)}
        parts = [self.pool.submit(by_templates, self.models, part) for part in np.array_split(images, self.workers)]
        self.waiting.append((told, parts, boxes))
        return told

    def wait(self) -> None:
        for told, parts, boxes in self.waiting:
            told["templates"] = self.scores([one for part in parts for one in part.result()], boxes)
        self.waiting.clear()


def sheet(images: np.ndarray, path: Path, columns: int = 16) -> None:
    """The first pictures in rows, three times as large."""
    rows = [np.concatenate(list(images[i : i + columns]), 1) for i in range(0, min(len(images), 64), columns)]
    page = Image.fromarray(np.concatenate(rows))
    page.resize((page.width * 3 // 2, page.height * 3 // 2), Image.Resampling.LANCZOS).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="the kept models")
    parser.add_argument("--out", type=Path, required=True, help="JSON of the scores")
    parser.add_argument("--seconds", type=float, default=215, help="bases that are not ready 70 s before are cut short")
    parser.add_argument("--toy", action="store_true", help="two bases, a thousandth of the steps, few pictures")
    args = parser.parse_args()
    began = time.perf_counter()
    until = began + args.seconds - (70 if args.seconds > 150 else 25)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    variants, count, val, rows_count, workers = VARIANTS, MANY, VAL, ADAPTER_ROWS, 14
    if args.toy:
        variants = [
            replace(v, times=v.times / (10 if device.type == "cuda" else 250), corpus=min(v.corpus, 200))
            for v in (VARIANTS[0], VARIANTS[6])
        ]
        count, val, rows_count, workers = 200, 16, 100, 2
    seed = CFG.run.seed
    data = drawn_pictures.make(seed, "base", count)
    own = drawn_pictures.make(seed, "world", rows_count)
    own_layouts = [Layout("", s.names, tuple(t.box for t in s.objects)) for s in
                   (scenes.sample(seed, "world", i) for i in range(rows_count))]  # fmt: skip
    layouts = heldout.naming(seed, "val", val)
    real = np.stack([scenes.render(scenes.sample(seed, "val", i)) for i in range(val)])
    print(f"pictures after {time.perf_counter() - began:.1f} s", flush=True)
    world = World(args.models, data, device)
    rows = Rows(world, own, own_layouts)
    constants_on(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    judges = Judges(args.models, layouts, device, workers)
    print(f"latents and states after {time.perf_counter() - began:.1f} s", flush=True)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    report: dict[str, Any] = {"device": name, "torch": torch.__version__, "validation": val, "bases": {}}
    made = trained(world, variants, until)
    report["seconds"] = made.pop("")[1]
    report["real pictures"] = judges.look(real, True)
    few, longer = (4, 8) if args.toy else (CFG.adapter.steps, LONGER)
    asked = [(made[v.name][0], few) for v in variants] + [(made[variants[-1].name][0], longer)]
    pipelines = with_adapters(world, rows, asked, until + 40)
    print(f"adapters after {time.perf_counter() - began:.1f} s", flush=True)
    for number, variant in enumerate(variants):
        unet, training = made[variant.name]
        told = report["bases"][variant.name] = {"settings": asdict(variant), "training": training}
        images = drawn(world.pipeline(unet), layouts, 25, 5.0, False)
        told["alone"] = judges.look(images, False)
        sheet(images, args.out.with_name(f"alone-{number}.png"))
        for solver in (3, 10):
            images = drawn(pipelines[number], layouts, solver, 3.0, True)
            told[f"attn2, {few} steps, drawn in {solver}"] = judges.look(images, True)
        sheet(images, args.out.with_name(f"attn2-{number}.png"))
        files.write_json(args.out, report)
        print(f"{variant.name}: {told['alone']['evaluator']}, after {time.perf_counter() - began:.0f} s", flush=True)
    for solver in (3, 4, 10, 20):
        images = drawn(pipelines[-1], layouts, solver, 3.0, True)
        told[f"attn2, {longer} steps, drawn in {solver}"] = judges.look(images, True)
    sheet(images, args.out.with_name("attn2-longer.png"))
    save_file({k: v.half().contiguous() for k, v in made[variants[-1].name][0].state_dict().items()},
              args.out.with_name("unet.safetensors"))  # fmt: skip
    files.write_json(args.out, report)
    judges.wait()
    files.write_json(args.out, report)
    for name, told in report["bases"].items():
        print(name, {key: value for key, value in told.items() if key != "settings"}, flush=True)


if __name__ == "__main__":
    main()
