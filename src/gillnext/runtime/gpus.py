"""Gives a job GPUs of its own: it locks as many as it computes on, and sees no others.

    gillnext sample --config …                              # takes one where run.device is cuda
    python -m gillnext.runtime.gpus 4 accelerate launch …   # takes four for a command and the processes that it starts

A job takes a GPU by locking a file that is named by the GPU's UUID. The files lie in one folder of the user's, which
all jobs of the machine share. The operating system gives the lock back when the last process of the job ends, however
it ends. The GPUs are taken before CUDA starts, because CUDA reads `CUDA_VISIBLE_DEVICES` once, at its start.

Where that variable is set, by a person or a scheduler, the job chooses among the GPUs that it names. UUIDs come from
`nvidia-smi`, which needs no CUDA context and lists, in a container or a job of Slurm, only what may be used there. An
index would not do: every container calls its first GPU 0. Standard library only: the command line and the host's
Snakemake ask before anything is loaded.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from gillnext.config.model import Config
from gillnext.runtime.errors import UserError
from gillnext.runtime.orphans import follow_parent

VISIBLE = "CUDA_VISIBLE_DEVICES"
TAKEN = "GILLNEXT_GPUS"  # the locks that this process, or the one that started it, has
# Not the folder for temporary files that the environment names: jobs in containers have another environment.
FOLDER = Path(f"/tmp/gillnext-gpus-{os.getuid()}")
POLL = 1.0  # seconds between two looks at what is free
PATIENCE = 10.0  # seconds until a job says what it waits for, and again after ever longer times
ASK = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
ACTORS = ("filter", "annotate")  # stages whose model lives on `ray.actors` devices
# Those whose model lives on one: what rules ask GPUs for, `draw` and `studio` (tests/workflow/test_rules.py).
STAGES = {
    *("classifier", "annotator", "evaluator", "second_evaluator", "features", "clip", "quality"),
    *("vae", "text_encoder", "base_on_windows", "base", "distance"),
    *("names", "planner", "plan", "cache", "adapter", "memory", "sample", "curve", "ceilings", "real", "score"),
    *("language", "gill", "index", "respond", "decide", "converse"),
    *("latents", "pix2pix", "edit_frames", "edited"),
    *("dino", "edit_clip", "inpainting", "regions", "region_scores"),
    *("draw", "studio", "chat", "edit"),
}

_held: list[IO[str]] = []  # open, and so locked, for as long as this process lives


def hands(config: Config) -> int:
    """Devices of a job whose model may live on several; those of a cluster are the cluster's to give."""
    return 1 if config.ray.address else max(config.ray.actors, 1)


def listed() -> list[str]:
    """UUIDs of the GPUs that are here to be used, in the driver's order; none where it does not answer."""
    try:
        answer = subprocess.run(ASK, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.startswith("GPU-")] * (not answer.returncode)


def visible() -> dict[str, str]:
    """What CUDA would see: the name in `CUDA_VISIBLE_DEVICES`, and that of the lock: the UUID where it is known."""
    here = listed()
    chosen = os.environ.get(VISIBLE)
    if chosen is None:
        return {str(index): uuid for index, uuid in enumerate(here)}
    found: dict[str, str] = {}
    for name in chosen.replace(" ", "").split(","):
        if not name or name.startswith("-") or (name.isdecimal() and here and int(name) >= len(here)):
            break  # CUDA, too, reads no further
        if name.isdecimal():
            found[name] = here[int(name)] if here else name
        else:  # a UUID may be cut short
            found[name] = next((uuid for uuid in here if uuid.startswith(name)), name)
    return found


def begin(stage: str, config: Config) -> None:
    """Take the GPUs that `stage` computes on, if any, and hide the others; waits while other jobs have them.

    The processes of one training use their launcher's GPUs. Raises `UserError` where fewer are seen than asked for. No
    GPU at all, or an index that is too high, is the stage's to refuse (`training.check_device`).
    """
    device, _, index = config.run.device.partition(":")
    if device != "cuda" or stage not in {*STAGES, *ACTORS}:
        return
    if TAKEN in os.environ or "LOCAL_RANK" in os.environ:
        _share(os.environ.get(TAKEN, ""))
    elif stage not in ACTORS or not config.ray.actors:
        of = list(visible().items())
        if index.isdecimal():  # that one, and the others stay in sight: the index counts them
            _hold([lock for _, lock in of[int(index) :][:1]], 1)
        elif of:
            take(1, dict(of), "run.device")
    elif not config.ray.address and (seen := visible()):
        take(hands(config), seen, "ray.actors")


def take(count: int, of: dict[str, str], where: str) -> None:
    """Hold `count` of the GPUs `of` (`visible`) for the rest of this process, and see no other."""
    if count > (seen := len(set(of.values()))):
        what = f"{count} GPUs for a job, and {seen} to be seen here"
        raise UserError(
            what, where=where, remedy="no more than `nvidia-smi -L` shows, and CUDA_VISIBLE_DEVICES lets in"
        )
    mine = _hold(list(of.values()), count)
    os.environ[VISIBLE] = ",".join([name for name, lock in of.items() if lock in mine])


def _hold(locks: Sequence[str], count: int) -> list[str]:
    """Lock `count` of `locks`. One job collects at a time, and the others wait without holding a lock: two jobs that
    each held a part of what both need would wait for ever.
    """
    count = min(count, len(locks))
    mine: dict[str, IO[str]] = {}
    turn, begun, word = None, time.monotonic(), PATIENCE
    while len(mine) < count:
        if turn := turn or _lock("turn"):
            for name in locks:
                if name not in mine and len(mine) < count and (stream := _lock(name)):
                    mine[name] = stream
        if len(mine) < count:
            if time.monotonic() - begun > word:
                word *= 3
                held = [name for name in locks if name not in mine] if turn else ["turn"]
                who = "; ".join(f"{name}: {_file(name).read_text(encoding='utf-8')}" for name in held)
                print(f"waiting for {count} of {len(locks)} GPUs; who has what: {who}", file=sys.stderr, flush=True)
            time.sleep(POLL)
    if turn:
        turn.close()
    _held.extend(mine.values())
    os.environ[TAKEN] = ",".join(mine)
    return list(mine)


def _share(taken: str) -> None:
    """Keep what the process that started this one has, should it end before."""
    for name in filter(None, taken.split(",")):
        stream = open(_file(name), encoding="utf-8")  # noqa: SIM115 (kept open on purpose)
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        _held.append(stream)


def _lock(name: str) -> IO[str] | None:
    """The open file of a lock that was free, with its new owner written into it; None where another job has it.

    It is taken exclusively and then held as a shared lock, which the processes that the job starts can share.
    """
    stream = open(_file(name), "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 (kept open on purpose)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given up for a moment, in which another may take it
    except BlockingIOError:
        stream.close()
        return None
    stream.truncate(0)
    stream.write(f"process {os.getpid()}, {' '.join(sys.argv)[:200]}")
    stream.flush()
    return stream


def _file(name: str) -> Path:
    """The file of a lock, in a folder that is nobody else's."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    if FOLDER.stat().st_uid != os.getuid():
        raise UserError("the folder of locks is another user's", where=str(FOLDER), remedy="have it removed")
    return FOLDER / f"{name.replace('/', '_')}.lock"


def main(argv: Sequence[str]) -> None:
    """Take the first argument's number of GPUs, then become the command that follows."""
    count, *command = argv
    follow_parent()
    if seen := visible():
        take(int(count), seen, "adapter.processes")
    for stream in _held:
        os.set_inheritable(stream.fileno(), True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"gpus: {error}")
