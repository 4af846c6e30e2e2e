"""The workflow's own stages on a GPU, tiny: does each run there, and does it do what it does on a CPU?

    python benchmarks/gpu/stages.py --models reference/models --out OUT/stages.json --seconds 150

Every command is the one that the workflow's rule runs, with the smoke tier's settings and the GPU on top.
One training is run on both devices in float32: batches and noise are drawn on the CPU, so their losses have to agree.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from gillnext import layouts
from gillnext.miniatures.world import heldout, scenes
from gillnext.runtime import files, gpus

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES, TEST = 160, 24
SHOWN = 1_500  # characters of a failed stage's last words

MODELS = ("classifier", "annotator", "evaluator", "features", "clip", "vae", "text_encoder", "base_on_windows", "base")
SHARED = {gpus.TAKEN: ""}  # as if another process had taken the GPU for them: these stages run beside each other

# A run of settings: device, precision and what else differs from the smoke tier.
VARIANTS: dict[str, dict[str, Any]] = {
    "gpu": {"run": {"precision": "bf16"}},
    "leased": {"run": {"precision": "bf16", "device": "cuda"}},  # waits for the other that wants the GPU for itself
    "single": {"run": {"precision": "no"}},
    "fp16": {"run": {"precision": "fp16"}, "adapter": {"gradient_checkpointing": True, "prefetch": 4}},
    "cpu": {"run": {"precision": "no", "device": "cpu"}},
}


def settings(work: Path, device: str) -> None:
    """The variants' settings as files, for `--config` behind the smoke tier's."""
    for name, changed in VARIANTS.items():
        run = {"device": device, "threads": 1, **changed["run"]}
        if run["device"] == "cuda" and device == "cpu":
            run["device"] = "cpu"
        (work / f"{name}.yaml").write_text(yaml.safe_dump({**changed, "run": run, "study": {"subset": []}}))


def pictures(work: Path, seed: int) -> None:
    """Scenes of the shards' stream as PNG with true layouts to train on, an index of them, and held-out layouts."""
    rows = heldout.naming(seed, "world", PICTURES)
    (work / "images").mkdir()
    index = []
    for i, row in enumerate(rows):
        path = work / "images" / f"{i}.png"
        Image.fromarray(scenes.render(scenes.sample(seed, "world", i))).save(path)
        rows[i] = layouts.Layout(row.caption, row.names, row.boxes, image_path=str(path), id=row.id)
        index.append({"image_path": str(path), "caption": row.caption, "url": f"http://127.0.0.1/{i}.png"})
    layouts.write(work / "train.jsonl", rows)
    layouts.write(work / "test.jsonl", heldout.naming(seed, "test", TEST))
    files.write_jsonl(work / "index.jsonl", index)


def commands(work: Path, language: Path) -> dict[str, tuple[str, Sequence[str], Sequence[str]]]:
    """Of each stage: its variant, its arguments, and the stages that it waits for; `language`: a made classifier."""
    w = str(work)

    def adapter(arm: str, out: str) -> list[str]:
        return ["adapter", "--arm", arm, "--seed", "0", "--base", f"{w}/base", "--cache", f"{w}/cache", "--out", out]

    def sample(arm: str, *more: str) -> list[str]:
        return ["sample", "--arm", arm, "--seed", "0", "--base", f"{w}/base", "--layouts", f"{w}/test.jsonl", *more]

    return {
        **{name: ("gpu", [name, "--out", f"{w}/{name}"], []) for name in
           MODELS[:-2]},
        "base_on_windows": ("gpu", ["base_on_windows", "--vae", f"{w}/vae", "--text-encoder", f"{w}/text_encoder",
                                    "--out", f"{w}/base_on_windows"], ["vae", "text_encoder"]),
        "base": ("gpu", ["base", "--vae", f"{w}/vae", "--text-encoder", f"{w}/text_encoder",
                         "--windows", f"{w}/base_on_windows", "--out", f"{w}/base"], ["base_on_windows"]),
        "annotate": ("gpu", ["annotate", "--index", f"{w}/index.jsonl", "--model", f"{w}/annotator",
                             "--out", f"{w}/found.jsonl"], ["annotator"]),
        "cache": ("gpu", ["cache", "--base", f"{w}/base", "--layouts", f"{w}/train.jsonl", "--out", f"{w}/cache"],
                  ["base"]),
        "planner": ("gpu", ["planner", "--layouts", f"{w}/train.jsonl", "--out", f"{w}/planner"], []),
        "attn2 on the CPU": ("cpu", adapter("attn2", f"{w}/attn2-cpu"), ["cache"]),
        "attn2 in float32": ("single", adapter("attn2", f"{w}/attn2-single"), ["cache"]),
        "attn2": ("leased", adapter("attn2", f"{w}/attn2"), ["cache"]),
        "attn1, fp16, checkpointed": ("fp16", adapter("attn1", f"{w}/attn1"), ["cache"]),
        "gated": ("leased", adapter("gated", f"{w}/gated"), ["cache"]),
        "whole UNet": ("gpu", adapter("full", f"{w}/full"), ["cache"]),
        "curve": ("gpu", ["curve", "--arm", "attn2", "--seed", "0", "--base", f"{w}/base", "--adapter", f"{w}/attn2",
                          "--val", f"{w}/test.jsonl", "--evaluator", f"{w}/evaluator", "--out", f"{w}/curve"],
                  ["attn2", "evaluator"]),
        "sample": ("gpu", sample("attn2", "--adapter", f"{w}/attn2", "--out", f"{w}/samples"), ["attn2"]),
        "sample of the base": ("gpu", sample("base", "--out", f"{w}/samples-base"), ["base"]),
        "sample by guidance": ("gpu", sample("base-guided", "--out", f"{w}/samples-guided"), ["base"]),
        "memory": ("gpu", ["memory", "--base", f"{w}/base", "--cache", f"{w}/cache", "--language", str(language),
                           "--out", f"{w}/memory.json"], ["cache"]),
    }  # fmt: skip


def run(work: Path, name: str, variant: str, words: Sequence[str], until: float) -> dict[str, Any]:
    """One stage as a process: how it ended, and after how many seconds."""
    configs = [str(REPOSITORY / "config.yaml"), str(REPOSITORY / "config/smoke.yaml"), str(work / f"{variant}.yaml")]
    command = [sys.executable, "-m", "gillnext.cli", words[0], "--config", *configs, *words[1:]]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=max(until - began, 1),
            env=os.environ | {"OMP_NUM_THREADS": "2"} | ({} if variant == "leased" else SHARED),
        )
        told: dict[str, Any] = {"exit": done.returncode}
        if done.returncode:
            told["said"] = (done.stdout + done.stderr).replace(f"{REPOSITORY}/", "")[-SHOWN:]
    except subprocess.TimeoutExpired:
        told = {"exit": None, "said": "not ended in time"}
    told["seconds"] = round(time.perf_counter() - began, 1)
    print(f"{name}: {told}", flush=True)
    return told


def all_stages(work: Path, language: Path, workers: int, until: float) -> dict[str, Any]:
    """Every stage as soon as what it waits for has ended well."""
    found, running = dict[str, Any](), dict[str, Future[Any]]()
    waiting = commands(work, language)
    for name in [name for name in waiting if (work / name).exists()]:
        del waiting[name]
        found[name] = {"exit": 0, "said": "made before"}
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            for name, (variant, words, needs) in list(waiting.items()):
                if any(need in found and found[need]["exit"] != 0 for need in needs):
                    found[name] = {"exit": None, "said": "what it needs did not end well"}
                elif not all(need in found for need in needs):
                    continue
                else:
                    running[name] = pool.submit(run, work, name, variant, words, until)
                del waiting[name]
            for name in [name for name, one in running.items() if one.done()]:
                found[name] = running.pop(name).result()
            time.sleep(0.05)
    return found


def agreement(work: Path) -> dict[str, float]:
    """Losses of the training that ran on both devices, and the largest relative difference of a step's."""
    losses = {}
    for name in ("cpu", "single"):
        losses[name] = files.read_json(work / f"attn2-{name}" / "losses.json")
    worst = max(abs(a - b) / abs(a) for a, b in zip(losses["cpu"], losses["single"], strict=True))
    return {"steps": len(losses["cpu"]), "largest_relative_difference": worst, **{k: v[-1] for k, v in losses.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON of how each stage ended")
    parser.add_argument("--seconds", type=float, default=150, help="a stage that has not ended by then is stopped")
    parser.add_argument("--models", type=Path, required=True, help="the kept models, for a classifier")
    parser.add_argument("--toy", action="store_true", help="nothing changes: it is as small as it gets")
    parser.add_argument("--made", type=Path, help="work folder of an earlier run, whose stages are not run again")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="stages at once")
    args = parser.parse_args()
    until = time.perf_counter() + args.seconds
    work = args.out.resolve().with_suffix(".work")
    work.mkdir(parents=True)
    gpu = torch.cuda.is_available()
    settings(work, "cuda:0" if gpu else "cpu")
    pictures(work, 20260)
    for old in args.made.iterdir() if args.made else ():
        if old.is_dir() and old.name in MODELS:
            shutil.copytree(old, work / old.name)
    found = all_stages(work, args.models / "classifier", args.workers, until)
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpu else "cpu", "torch": torch.__version__, "stages": found,
        "ended_well": sum(one["exit"] == 0 for one in found.values()), "of": len(found),
    }  # fmt: skip
    files.write_json(args.out, report)
    if all(found[f"attn2 {where}"]["exit"] == 0 for where in ("on the CPU", "in float32")):
        report["both_devices"] = agreement(work)
        files.write_json(args.out, report)
    print({key: value for key, value in report.items() if key != "stages"})
    return int(report["ended_well"] < len(found))


if __name__ == "__main__":
    sys.exit(main())
