"""Lets a process keep the memory that it has freed, since a training step asks for it again."""

import ctypes
import platform

# Of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """To be called by an entry point, before TensorFlow starts threads.

    A tensor of more than a few megabytes is else given back to the system when it is freed, and the
    next one like it is fetched page by page, all zeroed first: at the published size 250,000 times
    a step. The environment variables MALLOC_ARENA_MAX=1, MALLOC_MMAP_MAX_=0 and
    MALLOC_TRIM_THRESHOLD_=2147483647 do the same (mallopt(3)). Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    # One arena: those of threads give back what is free whatever the thresholds.
    libc.mallopt(M_ARENA_MAX, 1)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
