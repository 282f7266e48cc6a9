"""The command line on a terminal: errors in one line, a quick Ctrl-C, progress of one stage."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec

from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, is_stream
from meddel_fast.common.places import (
    State,
    as_place,
    is_file,
    is_remote,
    join,
    list_files,
    shown,
    state,
    suffix_of,
)
from meddel_fast.common.shortage import OUT_OF_MEMORY, shortage
from meddel_fast.common.urls import scrubbed, unfolded

P = ParamSpec("P")

INTERRUPTED, UNREAD, USER_ERROR = 130, 141, 2
_PATIENCE = 0.6  # seconds for a tidy end after Ctrl-C; then the process ends anyway
_USERS = (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Make `command` end in one line instead of a traceback on what a user can put right.

    Exit status 2 for errors of the user and the machine (settings, files, disk, memory, missing
    packages), 130 for Ctrl-C, 141 when nobody reads the output any more. ``meddel-fast --traceback
    ...`` shows where an error came from.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        _end_soon_after_interrupt()
        try:
            command(*args, **kwargs)
            _flush()
        except BrokenPipeError as error:
            if error.filename is not None:
                _fail(explain(error))
            _end_unread()
        except KeyboardInterrupt:
            say_interrupted()
            _flush()
            os._exit(INTERRUPTED)  # the interpreter's own end takes a second with torch loaded
        except _USERS as error:
            _fail(explain(error))
        except MemoryError:
            _fail(OUT_OF_MEMORY)

    return wrapper


def _flush() -> None:
    if sys.stdout is not None:  # closed by the shell: >&-
        sys.stdout.flush()


def _end_unread() -> None:
    """End as other programs do when what reads their output, ``head`` say, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
    raise SystemExit(UNREAD) from None


def explain(error: Exception) -> str:
    """Say in one line what went wrong; nothing in it, a file's name say, steers the terminal.

    URLs that went through ``pathlib`` are spelled as they were given, without what signs them.
    """
    return printable(scrubbed(unfolded(_told(error))))


def printable(text: str) -> str:
    """Escape what would steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _told(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    full = isinstance(error, OSError) and error.errno in _FULL
    if full or "No space left on device" in text or "PytorchStreamWriter failed" in text:
        return f"cannot write, the disk is full: {text}. Free some space and run the same again"
    lacking = shortage(error)
    if lacking is not None:
        return lacking
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return text


def warn_in_one_line() -> None:
    """From now on show the package's own warnings as a line, without the code that gave them."""
    package, usual = str(Path(__file__).parent.parent), warnings.formatwarning

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if filename.startswith(package):
            return f"meddel-fast: {printable(str(message))}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = shown


_tracebacks = threading.Event()
_volume = {"quiet": False, "verbose": False}


def set_volume(*, quiet: bool, verbose: bool) -> None:
    """From now on show no progress (quiet), or plain lines also on a terminal (verbose)."""
    _volume.update(quiet=quiet, verbose=verbose)


def progress_console() -> Any:
    """Return where progress goes: stderr, as loud as was asked for."""
    with needs("benchmark"):
        from rich.console import Console

    plain = False if _volume["verbose"] else None
    return Console(stderr=True, quiet=_volume["quiet"], force_terminal=plain)


def show_tracebacks(show: bool = True) -> None:
    """From now on let errors show where they came from, or no longer."""
    if show:
        _tracebacks.set()
    else:
        _tracebacks.clear()


def _fail(message: str) -> None:
    if _tracebacks.is_set():
        raise  # what is being handled
    print(f"meddel-fast: error: {message}", file=sys.stderr)
    raise SystemExit(USER_ERROR) from None


_said = threading.Lock()


def say_interrupted() -> None:
    """Print, once, how to resume."""
    if _said.acquire(blocking=False):
        again = shlex.join(["meddel-fast", *sys.argv[1:]])
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{show_cursor}Stopped; what is done is kept. To go on: {again}\n")
        sys.stderr.flush()


def _end_soon_after_interrupt() -> None:
    """See to it that Ctrl-C ends the process within a second.

    Python's own handler runs only when the main thread is back from a library call, and what it
    raises can get lost in a callback. The byte that the system's handler writes is read by a thread
    of its own, which ends the process when the tidy way takes too long. That is safe for the same
    reason that a kill is: files are written whole or not at all.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not break the tidy end
        raise KeyboardInterrupt

    def wait() -> None:
        while os.read(receiver, 1) != bytes([signal.SIGINT]):
            pass
        time.sleep(_PATIENCE)
        say_interrupted()
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, interrupt)
    threading.Thread(target=wait, daemon=True, name="interrupt").start()


def say(text: object) -> None:
    """Print a result; of several processes of torchrun the first alone does."""
    if _is_first():
        print(text)


def say_result(path: Path, text: str) -> None:
    """Print what a file holds that was written; not into it, should it be the standard output."""
    print(f"{shown(path)}: {text}", file=sys.stderr if is_stream(path) else sys.stdout)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def show_work(
    name: str,
    unit: str,
    work: Callable[[Progress], Any],
    speed: Callable[[], str] | None = None,
) -> Any:
    """Do `work` with a bar on the terminal (stderr), or with plain lines; return its result.

    Of several processes of torchrun the first alone shows anything.
    """
    if not _is_first():
        return work(lambda done, total: None)
    console = progress_console()
    from meddel_fast.benchmark.display import watch
    from meddel_fast.benchmark.stages.stage import Stage

    stage = Stage(name, (), dict, work, unit=unit, speed=speed)
    with watch([stage], console) as watcher:
        watcher.begin(stage, "new")
        start = time.monotonic()
        result = work(watcher.progress)
        watcher.end(stage, skipped=False, seconds=time.monotonic() - start)
    return result


def summary(manifest: Any) -> str:
    """Count the images of each split, and those that were skipped for each kind of reason."""
    from collections import Counter

    from meddel_fast.images.left_out import reason_kind

    splits = Counter(manifest.column("split"))
    text = f"{len(manifest)} images"
    if splits:
        text += " (" + ", ".join(f"{split} {n}" for split, n in sorted(splits.items())) + ")"
    skipped = Counter(map(reason_kind, manifest.skipped["reason"].to_pylist()))
    if skipped:
        reasons = ", ".join(f"{reason} {n}" for reason, n in skipped.most_common())
        text += f"; {skipped.total()} skipped: {reasons}"
    return text


def parse_budget(text: str) -> int | float:
    """Read a budget: ``500`` is a count, ``0.05`` a share, ``5%`` the same share."""
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        raise ConfigError(
            f"--budget must be a count (500), a share (0.05) or per cent (5%), got '{text}'"
        ) from None


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Refuse what the block made of embeddings that changed meanwhile: they are not copied.

    Raises
    ------
    ValueError
        A file of theirs was written to, replaced or removed in the block.
    """

    def states() -> dict[str, State]:
        if is_file(path):
            return {as_place(path): state(path)}
        return {name: state(join(path, name)) for name in list_files(path) if "/" not in name}

    before = states()
    yield
    if states() != before:
        raise ValueError(f"{shown(path)} was changed while it was read: nothing was written")


def load_embeddings(path: Path, *, whole: bool = True) -> Any:
    """Load a .npy file (memory-mapped), what ``embed`` wrote, a .safetensors or .parquet file.

    Unless they are wanted as a whole, the last two come as a store, and so does all that is remote.
    """
    from meddel_fast.stores.store import open_store

    suffix = suffix_of(path)
    if suffix in (".parquet", ".safetensors") or is_remote(path):
        from meddel_fast.arrays import Rows

        store = open_store(path)
        if not whole:
            return store
        rows = store.rows(0, len(store))
        return Rows(rows, False, True).floats() if store.bfloat16 else rows
    if path.is_dir():
        from meddel_fast.training.embed import Embeddings

        return Embeddings.load(path).array
    from meddel_fast.common.npy import load_npy

    return load_npy(path, mapped=True)
