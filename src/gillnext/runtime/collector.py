"""Python's garbage collector, kept away from what imports make: it stays to the end, so none of it is garbage.

Importing torch, diffusers and transformers makes most of a million objects. Looking through them takes a tenth of the
time of the imports, and as long again in a short job that follows. Where such libraries are imported late, inside a
function, the import is spared as well:

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
