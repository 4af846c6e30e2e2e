"""Measure one mode of a step's work: bytes held and at the peak, seconds, and the gradient.

On a CPU bytes are exact counts of live tensors, and the growth of resident memory stands beside them; on a GPU they
are torch's own accounting of what is allocated, and seconds come from its events. The trace over one step, of the modes
that have one, counts live tensors on both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gillnext.gill.backward import Loss, step
from gillnext.memory.live_bytes import LiveBytes
from gillnext.memory.step import Work

TRACED = ("summed", "split", "checkpointed")


def resident(reset: bool = False) -> int:
    """Peak resident bytes of this process since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def static_bytes(work: Work) -> int:
    """Bytes of all weights and buffers: what is there before a step."""
    tensors = [*work.model.parameters(), *work.model.buffers()]
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())


def held_by(loss: Loss) -> int:
    """Bytes that the graph of one loss holds when its forward has ended."""
    with LiveBytes() as live:
        value = loss(0, 1)
        held = live.live
    del value
    return held


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one run, by the device's own events on a GPU."""
    if device.type != "cuda":
        began = time.perf_counter()
        run()
        return time.perf_counter() - began
    began_event, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began_event.record()
    run()
    ended.record()
    torch.cuda.synchronize(device)
    return began_event.elapsed_time(ended) / 1000


def allocated(run: Callable[[Callable[[], int]], int], device: torch.device) -> dict[str, int]:
    """Bytes held and at the peak of one run, over what was there before, by torch's accounting of the GPU."""
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    held = run(lambda: torch.cuda.memory_allocated(device) - before)
    torch.cuda.synchronize(device)
    return {"saved_bytes": held, "peak_bytes": torch.cuda.max_memory_allocated(device) - before}


def measure(work: Work, mode: str, repeats: int) -> dict[str, Any]:
    """Bytes, seconds, trace (of some modes) and gradient of one mode."""
    losses = list(work.losses.values())
    result: dict[str, Any] = {}
    cuda = work.device.type == "cuda"

    def run(live: Callable[[], int] = lambda: 0) -> int:
        work.clear()
        return step(losses, mode, live)

    if not cuda and (mode != "single" or len(losses) == 1):  # in the process's first step: later ones find its pages
        before = resident(reset=True)
        run()
        result["peak_rss_bytes"] = resident() - before
        work.clear()
    if mode == "single" and len(losses) > 1:
        result["tasks"] = {name: held_by(loss) for name, loss in work.losses.items()}
        losses = [work.losses[max(result["tasks"], key=result["tasks"].__getitem__)]]
    run()
    result["seconds"] = statistics.median(seconds(run, work.device) for _ in range(repeats))
    work.clear()
    if not cuda or mode in TRACED:
        with LiveBytes() as live:
            held = step(losses, mode, lambda: live.live)
        result |= {"saved_bytes": held, "peak_bytes": live.peak}
        if mode in TRACED:
            result["trace"] = live.trace()
    if cuda:
        work.clear()
        result |= allocated(lambda probe: step(losses, mode, probe), work.device)
    return result | {
        "losses": len(losses),
        "trained_parameters": sum(p.numel() for p in work.trained),
        "static_bytes": static_bytes(work),
        "gradient": work.gradient(),
    }
