"""Lack of memory or threads, recognised by the messages of libraries' errors."""

from __future__ import annotations

# The linker, torch, the C library, oneDNN, CUDA.
_NO_MEMORY = (
    *("failed to map segment", "can't allocate memory", "cannot allocate memory"),
    *("not enough memory", "out of memory", "could not create a primitive"),
)
# Python, Arrow, OpenMP.
_NO_THREADS = ("can't start new thread", "launch worker thread", "thread creation failed")
_AGAIN = "resource temporarily unavailable"  # the C++ library of threads; the system also of files

OUT_OF_MEMORY = "out of memory: smaller batches or image sizes need less"
OUT_OF_THREADS = (
    "no further thread can be started: raise the limit on processes and threads (ulimit -u, or a "
    "container's pids) or on address space (ulimit -v), or start fewer (OMP_NUM_THREADS=1)"
)


def shortage(error: BaseException) -> str | None:
    """Return what to tell of an error for want of memory or threads; None of any other."""
    text = str(error).lower()
    again = _AGAIN in text and not isinstance(error, OSError)
    if again or any(sign in text for sign in _NO_THREADS):
        return OUT_OF_THREADS
    if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
        return OUT_OF_MEMORY
    return None
