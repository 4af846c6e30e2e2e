"""Environment in which glibc's allocator keeps the memory of large tensors for the next ones.

Without it each is handed back to the system and faulted in again: `benchmarks/allocator.py` measures what that costs.
Read when a process starts, so the workflow sets it for its jobs.
"""

KEPT = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**32)}  # bytes
