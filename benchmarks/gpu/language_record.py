"""What the measurements of `language.py` share: a clock, a record on the disk, and how busy the GPU is meanwhile."""

from __future__ import annotations

import gc
import statistics
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

from gillnext.runtime import files

EVERY = 0.2  # seconds between two samples of a GPU
MARGIN = 1.2  # a run may take so many times what the one before it took
ASK = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0")


IMPORTS = 20.0  # seconds that are taken for them where the system does not tell when the process began
_before = time.time() - psutil.Process().create_time()
_began = time.monotonic() - (_before if 0 < _before < 120 else IMPORTS)


def spent() -> float:
    """Seconds since this process was started, imports included."""
    return time.monotonic() - _began


def smi() -> float:
    """The share of time in which the GPU ran any kernel, in percent, as the command line tells it."""
    return float(subprocess.run(ASK, capture_output=True, check=True, timeout=10).stdout)


class Utilisation:
    """A context manager that asks the GPU's driver every `EVERY` seconds; `figures` are shares of time, 0 to 1."""

    def __init__(self, device: str) -> None:
        self.samples, self.over, self.problem = list[float](), threading.Event(), ""
        self.thread = threading.Thread(target=self._watch, daemon=True) if device.startswith("cuda") else None

    def __enter__(self) -> Utilisation:
        if self.thread:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        if self.thread:
            self.thread.join(15)

    def _watch(self) -> None:
        ask: Callable[[], float] = torch.cuda.utilization
        while not self.over.wait(EVERY):
            try:
                self.samples.append(ask() / 100)
            except Exception as error:  # NVML's module may be missing
                self.problem = f"{type(error).__name__}: {error}"
                if ask is smi:
                    return
                ask = smi

    @property
    def figures(self) -> dict[str, Any]:
        found = sorted(self.samples)
        if not found:
            return {"utilisation_problem": self.problem} if self.problem else {}
        return {
            "gpu_busy_median": statistics.median(found), "gpu_busy_tenth_percentile": found[len(found) // 10],
            "gpu_busy_mean": statistics.mean(found), "gpu_busy_samples": len(found),
        }  # fmt: skip


class Clocked:
    """Something that is called, with the seconds and the number of its calls; for all else it is what it wraps."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.seconds, self.calls = inner, 0.0, 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        found = self.inner(*args, **options)
        self.seconds, self.calls = self.seconds + time.perf_counter() - began, self.calls + 1
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Record:
    """Figures, errors and what there was no time for, written anew after each; `deadline` is that of the present
    piece, in seconds since the process was started.
    """

    def __init__(self, out: Path, seconds: float, toy: bool) -> None:
        self.out, self.seconds, self.toy, self.deadline = out, seconds, toy, seconds
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.kept: dict[str, dict[str, Any]] = {"figures": {}, "errors": {}, "skipped": {}}

    def save(self) -> None:
        where = torch.cuda.get_device_name() if self.device == "cuda" else "CPU"
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        about = {"part": "language", "device": where, "toy": self.toy, "seconds_spent": round(spent(), 1), **versions}
        files.write_json(self.out, about | self.kept)

    def say(self, text: str) -> None:
        print(f"{spent():6.1f} s  {text}", flush=True)

    def left(self) -> float:
        return self.deadline - spent()

    def sync(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def put(self, name: str, **figures: Any) -> None:
        self.kept["figures"].setdefault(name, {}).update(figures)
        self.save()
        self.say(f"{name}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items() if isinstance(v, float)))

    def peak(self) -> dict[str, int]:
        """Bytes in use at the peak since `fresh`, weights included."""
        return {"peak_bytes": torch.cuda.max_memory_allocated()} if self.device == "cuda" else {}

    def fresh(self) -> None:
        """Give back what nothing holds, and forget the peak."""
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """What fails within is written down, and the measurements go on. No memory left is a figure."""
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            self.put(name, out_of_memory=True, error=str(error)[:300])
            self.say(f"{name}: out of memory")
        except Exception as error:
            where = traceback.format_exc().strip().splitlines()[-7:-1]
            self.kept["errors"][name] = [f"{type(error).__name__}: {error}"[:600], *where]
            self.say(f"{name}: {type(error).__name__}: {error}")
        finally:
            self.save()
        self.fresh()

    def clock(self, run: Callable[[], Any]) -> float:
        """Seconds of one run, the GPU's work included."""
        self.sync()
        began = time.perf_counter()
        run()
        self.sync()
        return time.perf_counter() - began

    def timed(
        self,
        name: str,
        run: Callable[[], Any],
        rows: int,
        unit: str,
        *,
        expect: float,
        repeats: int = 3,
        warm: Callable[[], Any] | None = None,
        started: Callable[[], None] = lambda: None,
        **notes: Any,
    ) -> float:
        """Median seconds of `run`, which does `rows` of `unit`, after a run of `warm` or of itself; 0.0 without any.

        `expect` is what all of it may take at least: with less time left it is not begun. `started` is called after
        the warm-up. Where no repetition fits any more, the warm-up is the figure, and is said to be.
        """
        expect, repeats = (0.5, 1) if self.toy else (expect, repeats)
        if self.left() < expect:
            self.kept["skipped"][name] = f"{self.left():.0f} s left, {expect:.0f} needed"
            self.say(f"{name}: {self.kept['skipped'][name]}")
            self.save()
            return 0.0
        self.fresh()
        median = 0.0
        with self.attempt(name):
            first = self.clock(warm or run)
            started()
            seconds: list[float] = []
            with Utilisation(self.device) as busy:
                while len(seconds) < repeats and (
                    (warm and not seconds) or self.left() > MARGIN * (seconds or [first])[-1]
                ):
                    seconds.append(self.clock(run))
            notes |= {} if seconds else {"the_warm_up_itself": True}
            seconds = seconds or [first]
            median = statistics.median(seconds)
            self.put(
                name, **{f"{unit}_per_second": rows / median, unit: rows, "seconds_a_run": seconds},
                repeats=len(seconds), warm_up_seconds=first, **self.peak(), **busy.figures, **notes,
            )  # fmt: skip
        return median
