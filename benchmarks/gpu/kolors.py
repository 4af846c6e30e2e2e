"""Kolors' UNet at its real size with random weights, on one GPU: memory of a step, training, sampling.

    python benchmarks/gpu/kolors.py --out kolors.json --seconds 200
    python benchmarks/gpu/kolors.py --out kolors.json --seconds 60 --toy
    python benchmarks/gpu/kolors.py --flop

`memory`: what `memory.json` holds of the workload `kolors`, by the memory stage's own functions, in one process.
`training`: the trainer's own steps (`adapter.trainer.Trainer`) with `config/wukong.yaml`, on rows that are drawn and
not read. `sampling`: the grounded Kolors pipeline's own call from text states to latents, with guidance. `decoding`:
SDXL's autoencoder. Every figure is written as soon as it is known. `--flop` counts the constants in `FLOP` anew.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kolors_parts import decode, grounded, release, sample, steps  # beside this file

from gillnext.config.load import from_dict, merge, read_yaml
from gillnext.config.model import Config
from gillnext.memory import kolors, stage, workloads
from gillnext.memory.step import difference, step
from gillnext.memory.workloads import Folders
from gillnext.runtime import files, provenance, training

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = (ROOT / "config.yaml", ROOT / "config/wukong.yaml")
TOY: dict[str, Any] = {
    "sample_size": 8, "layers_per_block": 1, "block_out_channels": (32, 64, 64), "attention_head_dim": (1, 2, 2),
    "encoder_hid_dim": 64, "transformer_layers_per_block": (1, 1, 1), "cross_attention_dim": 32,
    "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64 + 6 * 8,
}  # fmt: skip
# Operations of one sample at Kolors' size, by `memory.cost.unet` and `decoding`: `--flop` prints them.
FLOP = {
    "adapter": 14_223_282_864_128, "adapter, recomputed": 19_529_823_715_328,
    "gated": 27_784_119_221_248, "gated, recomputed": 37_608_913_358_848,
    "full": 20_892_881_813_504, "full, recomputed": 26_305_122_402_304,
    "forward": 6_965_857_550_336, "gated, forward": 11_484_110_836_736, "decode": 10_470_392_594_432,
}  # fmt: skip
REACHED = 0.2 * 989e12  # FLOP/s by which a measurement's time is estimated beforehand
MARGIN = 4.0  # seconds that are left for the last file
NOWHERE = Folders(Path("none"), (), Path("none"))  # the workload reads no files


class Report:
    """The file, the clock, and what went wrong."""

    def __init__(self, out: Path, seconds: float, device: torch.device, precision: str, toy: bool) -> None:
        self.out, self.ends, self.device, self.toy = out, time.monotonic() + seconds - MARGIN, device, toy
        self.precision = precision
        self.data: dict[str, Any] = {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "torch": torch.__version__, "precision": precision, "toy": toy, "peak_tflop_per_second": 989,
            "errors": {}, "skipped": [],
        }  # fmt: skip

    def write(self) -> None:
        files.write_json(self.out, finite(self.data))

    def measure(self, group: str, name: str, needs: float, run: Callable[[], dict[str, Any]]) -> None:
        """Put what `run` tells under `group` and `name`, if `needs` seconds are left (in a toy one)."""
        if (left := self.ends - time.monotonic()) < (1 if self.toy else needs):
            print(f"{group}, {name}: skipped, {left:.0f} s left", flush=True)
            self.data["skipped"].append(f"{group}, {name}")
            self.write()
            return
        began = time.monotonic()
        try:
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            found = run()
        except torch.OutOfMemoryError as error:
            found = {"out_of_memory": str(error)[:300]}
        except Exception as error:  # the next figure may be had all the same
            traceback.print_exc()
            found = {}
            self.data["errors"][f"{group}, {name}"] = f"{type(error).__name__}: {error}"[:2000]
        release()
        found |= {"took_seconds": round(time.monotonic() - began, 2)}
        self.data.setdefault(group, {})[name] = found
        self.write()
        print(f"{group}, {name}: {found}", flush=True)


def finite(value: Any) -> Any:
    """`value` with words in the place of numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def settings(device: torch.device, precision: str, **adapter: Any) -> Config:
    """`config/wukong.yaml` with all arms."""
    cuda = device.type == "cuda"
    over = {
        "run": {"device": device.type, "precision": precision} | ({} if cuda else {"threads": 1}),
        "memory": {"size": "kolors", "repeats": 5 if cuda else 1},
        "study": {"subset": []},
        "adapter": adapter,
    }
    data: dict[str, Any] = {}
    for part in (*map(read_yaml, SETTINGS), over):
        data = merge(data, part)
    return from_dict(data)


def memory(report: Report, cfg: Config) -> None:
    """The memory stage's modes one after another, each with a UNet of its own, and what claims read of them. Then
    `summed` once more: how far apart two equal steps are on this device.
    """
    measured: dict[str, dict[str, Any]] = {}

    def one(mode: str) -> dict[str, Any]:
        result = measured[mode] = stage.one_mode(cfg, "kolors", mode, NOWHERE)
        report.data["memory"] = stage.gathered(measured) | {
            "size": "toy" if report.toy else "kolors",
            "precision": cfg.run.precision,
            "accounting": "torch.cuda" if report.device.type == "cuda" else "live tensors",
            "threads": cfg.run.threads,
            "seed": cfg.run.seed,
            "hashes": {},
            "provenance": provenance.stamp(),
        }
        return {key: result[key] for key in ("seconds", "saved_bytes", "peak_bytes", "static_bytes")}

    def again() -> dict[str, Any]:
        work = workloads.unet_at_kolors_size(cfg, "summed", NOWHERE)
        step(work.losses.values(), "summed")
        return {"gradient_difference": difference(work.gradient(), measured["summed"]["gradient"])}

    for mode in stage.MODES["kolors"]:
        report.measure("memory_runs", mode, 15, partial(one, mode))
    report.measure("memory_runs", "summed once more", 10, again)


def train(report: Report, pipeline: Any, folder: Path, arm: str, batch: int, again: bool = False) -> None:
    """`steps` of an arm and a batch; `again`: with activations recomputed."""
    cfg = settings(report.device, report.precision, batch=batch, gradient_checkpointing=again)
    kind = arm if arm in ("gated", "full") else "adapter"
    flop = 0 if report.toy else FLOP[kind + ", recomputed" * again]
    needs = 3 + 8 * max(batch * flop / REACHED, 0.25) + 6 * (arm == "full")
    name = f"{arm}, batch {batch}{', recomputed' * again}"
    report.measure("training", name, needs, partial(steps, cfg, arm, pipeline, report.device, flop, folder))


def draw(report: Report, pipeline: Any, arm: str, batch: int) -> None:
    """`sample` of an arm and a batch."""
    cfg = settings(report.device, report.precision)
    flop = 0 if report.toy else FLOP["gated, forward" if arm == "gated" else "forward"]
    repeats = 2 if batch == 1 else 1
    needs = 2 + 2 * (cfg.sample.steps * repeats + 2) * max(batch * flop / REACHED, 0.06)
    run = partial(sample, cfg, arm, batch, pipeline, report.device, flop, repeats)
    report.measure("sampling", f"{arm}, batch {batch}", needs, run)


def measure_all(report: Report, folder: Path) -> None:
    """Everything, what matters most first."""
    cfg = settings(report.device, report.precision)
    memory(report, cfg)
    unet = kolors.build(kolors.UNET, str(report.device), report.precision).requires_grad_(False)
    pipeline = grounded(unet)
    plain = partial(train, report, pipeline, folder)
    recomputed = partial(plain, again=True)
    for batch in (1, 2, 4, 8):
        plain("attn2", batch)
    for batch in (1, 8):
        recomputed("attn2", batch)
    plain("full", 1)
    for arm in ("none", "attn2"):
        for batch in (1, 4):
            draw(report, pipeline, arm, batch)
    for batch in (1, 4):
        flop = 0 if report.toy else FLOP["decode"]
        run = partial(decode, batch, report.toy, report.device, training.TYPES[report.precision], flop)
        report.measure("decoding", f"batch {batch}", 5, run)
    for batch in (1, 8):
        for arm in ("attn1", "gated"):
            plain(arm, batch)
    plain("attn2", 16)
    for arm in ("attn1", "gated"):
        draw(report, pipeline, arm, 1)
    recomputed("full", 1)
    for arm, batch in (
        ("attn2", 2),
        ("attn2", 4),
        ("attn2", 16),
        ("attn1", 1),
        ("gated", 1),
        ("attn1", 8),
        ("gated", 8),
    ):
        recomputed(arm, batch)
    for arm in ("attn1", "gated"):
        for batch in (2, 4):
            plain(arm, batch)
    for arm in ("attn1", "gated"):
        draw(report, pipeline, arm, 4)
    for arm in ("attn1", "gated"):
        for batch in (2, 4):
            recomputed(arm, batch)


def counted() -> Iterator[tuple[str, float]]:
    """`FLOP`, counted anew."""
    from gillnext.memory import cost

    for again in (False, True):
        yield "adapter" + ", recomputed" * again, cost.unet(checkpointed=again).flop
        yield "gated" + ", recomputed" * again, cost.unet(gated=True, checkpointed=again).flop
        yield "full" + ", recomputed" * again, cost.unet(trained=True, checkpointed=again).flop
    yield "forward", cost.unet(backward=False).flop
    yield "gated, forward", cost.unet(gated=True, backward=False).flop
    yield "decode", cost.decoding()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("kolors.json"))
    parser.add_argument("--seconds", type=float, default=200.0, help="nothing is begun that cannot end within them")
    parser.add_argument("--toy", action="store_true", help="a small UNet, on whatever device is there")
    parser.add_argument("--precision", choices=training.TYPES, help="bf16; on a CPU, which is slow at it, no")
    parser.add_argument("--flop", action="store_true", help="count the operations, print them, and end")
    args = parser.parse_args(argv)
    if args.flop:
        for name, value in counted():
            print(f"{name}: {int(value):_}", flush=True)
        return
    if args.toy:
        kolors.UNET = kolors.UNET | TOY
        kolors.check = lambda device: None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.zeros(1, device=device)  # begins CUDA, whose counters are asked first
    report = Report(
        args.out, args.seconds, device, args.precision or ("bf16" if device.type == "cuda" else "no"), args.toy
    )
    torch.set_num_threads(1 if device.type == "cpu" else torch.get_num_threads())
    print(report.data["device"], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            measure_all(report, Path(folder))
            report.data["finished"] = True
        except Exception as error:
            traceback.print_exc()
            report.data["errors"]["kolors"] = f"{type(error).__name__}: {error}"[:2000]
    report.write()


if __name__ == "__main__":
    main()
