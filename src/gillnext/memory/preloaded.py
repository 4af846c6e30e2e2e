"""What the server of the modes' processes imports, once for all of them; the collector spares it in each."""

from __future__ import annotations

from gillnext.runtime import collector

with collector.spared():
    import gillnext.memory.stage  # noqa: F401
