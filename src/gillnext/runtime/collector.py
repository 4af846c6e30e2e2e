"""Keeps Python's garbage collector away from imported modules, which live until the process ends and are no garbage.

Importing torch, diffusers and transformers makes most of a million objects. Without this the collector would look
through them again and again: a tenth of the time of the imports, and as long again in a short job that follows. A
library that is imported late, inside a function, is spared in the same way:

    with collector.spared():
        from torchvision.models.detection import FCOS
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

# Where the interpreter is taken apart at the end, nothing may be spared: triton's bindings report leaks of what is.
atexit.register(gc.unfreeze)


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Collect nothing meanwhile, and never look again through what there is at the end of it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
