"""One writer per directory: a run of the benchmark, or an index that is being changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from meddel_fast.common.files import make_folder


class LockedError(RuntimeError):
    """Another writer, of this process or another one, works in the directory."""


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for the block; a second holder is refused, naming the first one's process.

    The kernel gives the lock back when the process ends, however it ends, so a lock is never stale.

    Raises
    ------
    LockedError
        The directory is held.
    NotADirectoryError
        It, or a folder that it should be in, is something else.
    """
    from filelock import FileLock, Timeout  # only here: those who read do not wait for it

    make_folder(folder)
    path = folder / ".lock"
    held = FileLock(path, on_acquired=_sign)
    try:
        held.acquire(blocking=False)
    except Timeout:
        holder = path.read_text(errors="replace").strip() or "unknown"
        raise LockedError(
            f"{folder} is in use by another run (process {holder}): wait for it, stop it, or "
            "choose another folder"
        ) from None
    try:
        yield
    finally:
        held.release()


def _sign(handle: int) -> None:
    """Write this process's id into a file just locked."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
