"""The command line on a terminal: one document, errors in a line, a quick Ctrl-C, progress."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import os
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, ParamSpec, TypeVar, get_type_hints

import typer

from meddel_fast.cli.context import EVERYWHERE, command_name, context
from meddel_fast.cli.errors import FORMAT, explain, next_step, printable, tell_error
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
from meddel_fast.common.shortage import OUT_OF_MEMORY
from meddel_fast.common.urls import scrubbed

P = ParamSpec("P")
D = TypeVar("D", bound=Mapping[str, Any], covariant=True)

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document instead, on stdout.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show results and errors, no progress.")
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Tell each stage in a line, and where an error came from."
    ),
]

INTERRUPTED, UNREAD, USER_ERROR = 130, 141, 2
_PATIENCE = 0.6  # seconds for a tidy end after Ctrl-C; then the process ends anyway
_USERS = (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError)
_STDOUT = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@dataclass(frozen=True)
class Ended(Generic[D]):
    """The document of a command that ends with a status of its own."""

    document: D
    status: int


def guarded(command: Callable[P, D | Ended[D]]) -> Callable[..., None]:
    """Make a command of a function that prints for people, by :func:`say`, and returns a document.

    The command has the options ``--json``, ``--quiet`` and ``--verbose`` beside its own. With
    ``--json`` the document is all that goes to stdout; what libraries print there goes to stderr.

    It ends in two lines, or in JSON, instead of a traceback on what a user can put right. Exit
    status 2 for errors of the user and the machine (settings, files, disk, memory, missing
    packages), 130 for Ctrl-C, 141 when nobody reads the output any more. ``meddel-fast --traceback
    ...`` shows where an error came from.
    """
    hints = get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        how = [bool(kwargs.pop(name, False)) for name in EVERYWHERE]
        _end_soon_after_interrupt()
        try:
            _set_more(*how)
            as_json = _asked["json"]
            _check_alone(kwargs.values(), as_json)
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                found = command(*args, **kwargs)
            ended = found if isinstance(found, Ended) else Ended(found, 0)
            if as_json and _is_first():
                print(json.dumps(_document(ended.document), indent=2))
            _flush()
        except BrokenPipeError as error:
            if error.filename is not None:
                _fail(explain(error), error)
            _end_unread()
        except KeyboardInterrupt:
            say_interrupted()
            _flush()
            os._exit(INTERRUPTED)  # the interpreter's own end takes a second with torch loaded
        except _USERS as error:
            _fail(explain(error), error)
        except MemoryError as error:
            _fail(OUT_OF_MEMORY, error)
        if ended.status:
            raise SystemExit(ended.status)

    function: Any = wrapper
    own = inspect.signature(command).parameters.values()
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in zip(EVERYWHERE, (JsonOption, QuietOption, VerboseOption), strict=True)
    ]
    function.document = hints.pop("return")
    plain = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    function.__signature__ = inspect.Signature([*plain, *added], return_annotation=None)
    function.__annotations__ = hints | {p.name: p.annotation for p in added} | {"return": None}
    return wrapper


def _document(told: Mapping[str, Any]) -> dict[str, Any]:
    """Put a command's document together: its format, the command's name, what it tells."""
    return {"format": FORMAT, "command": command_name(), **_plain(told)}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: paths as text, numpy's numbers as Python's, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return shown(str(value)) if isinstance(value, os.PathLike | Path) else value


def _check_alone(given: Iterable[Any], as_json: bool) -> None:
    """Refuse a result that would be written between the lines of a document."""
    for value in given if as_json else ():
        if isinstance(value, Path) and str(value) in _STDOUT:
            raise ConfigError(
                f"--json prints to the standard output, as {value} would: name a file"
            )


def _flush() -> None:
    if sys.stdout is not None:  # closed by the shell: >&-
        sys.stdout.flush()


def _end_unread() -> None:
    """End as other programs do when what reads their output, ``head`` say, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
    raise SystemExit(UNREAD) from None


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
_asked = {"json": False, "quiet": False, "verbose": False}


def set_volume(*, quiet: bool, verbose: bool, as_json: bool) -> None:
    """From now on show no progress (quiet), plain lines also on a terminal (verbose), or JSON.

    Raises
    ------
    ConfigError
        Both were asked for.
    """
    if quiet and verbose:
        raise ConfigError("--quiet and --verbose exclude each other: leave one out")
    _asked.update(quiet=quiet, verbose=verbose, json=as_json)


def _set_more(as_json: bool, quiet: bool, verbose: bool) -> None:
    """Set what stands after the command, beside what stands before it."""
    _asked["json"] |= as_json  # first: it says how the others are refused
    quiet, verbose = _asked["quiet"] or quiet, _asked["verbose"] or verbose
    set_volume(quiet=quiet, verbose=verbose, as_json=_asked["json"])
    if verbose:
        show_tracebacks()


def progress_console() -> Any:
    """Return where progress goes: stderr, as loud as was asked for."""
    with needs("benchmark"):
        from rich.console import Console

    plain = False if _asked["verbose"] else None
    return Console(stderr=True, quiet=_asked["quiet"], force_terminal=plain)


def show_tracebacks(show: bool = True) -> None:
    """From now on let errors show where they came from, or no longer."""
    if show:
        _tracebacks.set()
    else:
        _tracebacks.clear()


def _fail(message: str, error: BaseException) -> None:
    if _tracebacks.is_set():
        raise  # what is being handled
    running = context()
    step = next_step(error, command_name(), running.params.values() if running else ())
    kind, as_json = type(error).__name__, _asked["json"]
    tell_error(message, kind, printable(scrubbed(step)), USER_ERROR, as_json=as_json)
    raise SystemExit(USER_ERROR) from None


_said = threading.Lock()


def say_interrupted() -> None:
    """Print, once, how to resume."""
    if _said.acquire(blocking=False):
        again = shlex.join(["meddel-fast", *sys.argv[1:]])
        if _asked["json"]:
            told = "stopped; what is done is kept"
            tell_error(told, "KeyboardInterrupt", again, INTERRUPTED, as_json=True)
            return
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


def say(text: object = "", *, end: str = "\n") -> None:
    """Print a result for people; of several processes of torchrun the first alone does."""
    if _is_first() and not _asked["json"]:
        print(text, end=end)


def say_place(path: Path) -> Path:
    """Print where a result lies, and return it."""
    say(path)
    return path


def say_result(path: Path, text: str) -> None:
    """Print what a file holds that was written; not into it, should it be the standard output."""
    if is_stream(path):
        print(f"{shown(path)}: {text}", file=sys.stderr)
    else:
        say(f"{shown(path)}: {text}")


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
