"""One writer per directory: a run of the benchmark, or an index that is being changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from meddel_fast.files import make_folder


class LockedError(RuntimeError):
    """Another live process works in the directory."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; a second holder is refused, naming the first one's id.

    The kernel gives the lock back when the process ends, however it ends, so a lock is never stale;
    unlike ``flock``, a record lock is not inherited by worker processes that outlive a killed run.

    Raises
    ------
    LockedError
        The directory is held by another process.
    NotADirectoryError
        It, or a folder that it should be in, is something else.
    """
    make_folder(folder)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise LockedError(
                f"{folder} is in use by another run (process {holder}): wait for it, stop it, or "
                "choose another folder"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)
