"""Files of what a GPU measured, made up: one arm at two batches, the whole UNet at one, an annotator, a filter."""

import json
from pathlib import Path

DEVICE = "NVIDIA X"


def steps(seconds: float, gigabytes: float, batch: int = 1, slowest: float | None = None, **more) -> dict:
    return {
        "batch": batch, "recomputed": False, "step_seconds": seconds, "slowest_step_seconds": slowest or seconds,
        "samples_per_second": batch / seconds, "bytes_at_peak": gigabytes * 1e9, "repeats": 6, "share_of_peak": 0.2,
        "tflop_per_sample": 14.0, "trained_parameters": 20_000_000,
    } | more  # fmt: skip


def mode(held: float, static: float = 5.0, peak: float = 6.0, trained: int = 50_000_000, losses: int = 3) -> dict:
    """Sizes in GB."""
    sizes = {"saved_bytes": held, "static_bytes": static, "peak_bytes": peak}
    return {key: size * 1e9 for key, size in sizes.items()} | {"trained_parameters": trained, "losses": losses}


def kolors() -> dict:
    memory = {
        "size": "kolors", "batch": 1, "precision": "bf16", "accounting": "torch.cuda",
        "modes": {"summed": mode(30), "split": mode(10), "checkpointed": mode(2), "single": mode(10, losses=1)},
        "parameters": {"adapter": 20_000_000, "unet": 2_500_000_000},
    }  # fmt: skip
    training = {
        "attn2, batch 8": steps(0.5, 60, 8), "attn2, batch 16": {"out_of_memory": "no room", "took_seconds": 1.0},
        "attn2, batch 2": steps(0.4, 20, 2), "attn2, batch 2, recomputed": steps(0.46, 10, 2, recomputed=True),
        "full, batch 2": steps(1.0, 60, 2, tflop_per_sample=21.0),
    }  # fmt: skip
    decoding = {"batch 1": {"batch": 1, "seconds_per_image": 0.125, "repeats": 5, "bytes_at_peak": 7e9}}
    return {
        "device": DEVICE, "toy": False, "precision": "bf16", "peak_tflop_per_second": 989, "memory": memory,
        "training": training, "decoding": decoding,
    }  # fmt: skip


def language(rate: float = 10.0, busy: float = 0.97) -> dict:
    about = {"model": "Qwen2-VL-7B, random weights", "answer_tokens": 64, "processor_share": 0.05, "peak_bytes": 2e10}
    many = about | {
        "batch": 32, "images": 32, "images_per_second": rate, "seconds_a_run": [32 / rate, 32 / rate], "repeats": 2,
        "gpu_busy_mean": busy,
    }  # fmt: skip
    first = many | {"answer_tokens": 1, "images_per_second": 99.0}
    alone = about | {"batch": 1, "images": 2, "images_per_second": 0.5, "seconds_a_run": [4.0], "repeats": 1}
    filters = {"batch": 64, "captions_per_second": 600.0, "seconds_a_run": [1.0, 1.6], "repeats": 2}
    one = {"batch": 1, "captions_per_second": 50.0, "seconds_a_run": [1.0], "repeats": 1}
    return {
        "device": DEVICE, "toy": False,
        "figures": {
            "annotation, batch 32": many, "annotation, batch 32, the first token alone": first,
            "annotation, one by one": alone, "filter, batch 64, shared prefix": filters, "filter, one by one": one,
            "filter, agreement": {"same_labels": 1.0},
        },
    }  # fmt: skip


def written(folder: Path, kolors: dict, language: dict) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("kolors", kolors), ("language", language)):
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return [folder / f"{name}.json" for name in ("kolors", "language")]
