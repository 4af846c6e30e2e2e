"""A stage ends with the workflow that started it: a killed run never writes beside its successor."""

from __future__ import annotations

import os
import select
import threading

PARENT = "GILLNEXT_PARENT"  # process id of the running workflow; the Snakefile sets it


def _wait(handle: int) -> None:
    select.select([handle], [], [])
    os._exit(137)


def follow_parent() -> None:
    """Exit, as if killed, once the process in `GILLNEXT_PARENT` has ended; without it do nothing."""
    parent = os.environ.get(PARENT)
    if not parent:
        return
    try:
        handle = os.pidfd_open(int(parent))
    except ProcessLookupError:
        os._exit(137)
    except (OSError, ValueError):  # no pidfd on this kernel, or an identifier of another host
        return
    threading.Thread(target=_wait, args=(handle,), name="follow-parent", daemon=True).start()
