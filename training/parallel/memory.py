"""What becomes of memory that a tensor no longer needs."""

import contextlib
import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_OF_OLD = 32 << 20  # that older versions of it take


def keep_freed_memory(largest: int = 1 << 30, free: int = (1 << 31) - 1) -> None:
    """Have this process keep freed memory for the next film or batch, which needs as much.

    Asking the system for it anew, page by page, takes a good part of a batch's time on the CPU. Nothing happens where the C
    library is not glibc.

    Args:
        largest: in bytes; larger pieces go back to the system at once.
        free: in bytes, how much may be kept at the heap's end.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library, which has no mallopt
        allocator = ctypes.CDLL("libc.so.6").mallopt
        if not allocator(_MMAP_THRESHOLD, largest):
            allocator(_MMAP_THRESHOLD, _LARGEST_OF_OLD)
        allocator(_TRIM_THRESHOLD, free)
