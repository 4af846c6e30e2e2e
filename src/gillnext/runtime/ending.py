"""Ends a process at once. Python would spend more than a second of a core on taking the modules of torch, diffusers and
transformers apart; the operating system frees them at once.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End with `status`: exit functions run and outputs are flushed, but nothing is taken apart (as mypy ends).

    Where threads are left that Python would wait for, the usual way.
    """
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.exit(status)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
