"""What went wrong, in one line for people or for programs, and what to do next."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.lock import LockedError
from meddel_fast.common.places import RemoteError
from meddel_fast.common.plugins import PluginError
from meddel_fast.common.shortage import OUT_OF_MEMORY, OUT_OF_THREADS, shortage
from meddel_fast.common.urls import is_remote, scrubbed, shown, unfolded

FORMAT = 1
"""Of every document that ``--json`` prints."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABSENT = re.compile(r"not found|\bno (such )?(file|folder|manifest)\b")
_SHOWN = 3  # names of what lies beside a path that is not there


def tell_error(message: str, kind: str, step: str, status: int, *, as_json: bool = False) -> None:
    """Print an error to stderr: two lines, or with ``--json`` a line of JSON.

    Parameters
    ----------
    message, step
        What went wrong, and what to do next.
    kind
        The class of the error.
    status
        The exit status to come.
    as_json
        Print ``{"format": 1, "error": {"kind", "message", "next", "status"}}``.
    """
    if as_json:
        told = {"kind": kind, "message": message, "next": step, "status": status}
        print(json.dumps({"format": FORMAT, "error": told}), file=sys.stderr)
        return
    print(f"meddel-fast: error: {message}\n  next: {step}", file=sys.stderr)


def explain(error: Exception) -> str:
    """Say in one line what went wrong; nothing in it, a file's name say, steers the terminal."""
    return printable(scrubbed(unfolded(_told(error))))


def printable(text: str) -> str:
    """Escape what would steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _told(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if _is_full(error, text):
        return f"cannot write, the disk is full: {text}. Free some space and run the same again"
    lacking = shortage(error)
    if lacking is not None:
        return lacking
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return text


def _is_full(error: Exception, text: str) -> bool:
    full = isinstance(error, OSError) and error.errno in _FULL
    return full or "No space left on device" in text or "PytorchStreamWriter failed" in text


def next_step(error: BaseException, command: str, given: Iterable[object] = ()) -> str:
    """Say what to do about an error.

    Parameters
    ----------
    error
        What was raised.
    command
        The command that ran, as ``data build``.
    given
        What the user gave it: of a path that is not there, the nearest name beside it is told.

    Returns
    -------
    str
        A line; every error has one, at the least where all options of the command are explained.
    """
    text = " ".join(str(error).split())
    usage = f"meddel-fast {command} --help".replace("  ", " ")
    extra = re.search(r"meddel-fast\[([\w,-]+)\]", text)
    if extra:
        known = f"meddel-fast doctor {extra[1]}"
        return f"pip install 'meddel-fast[{extra[1]}]', then the same again ({known} looks first)"
    if isinstance(error, ModuleNotFoundError):
        return f"pip install {error.name}, then the same again"
    if isinstance(error, PluginError):
        return "mend or remove that package; meddel-fast doctor shows all plug-ins"
    if isinstance(error, Exception) and _is_full(error, text):
        return "df -h shows which disk is full; what is done is kept"
    lacking = shortage(error)
    if lacking == OUT_OF_MEMORY:
        return (
            "give less at a time (--set memory=1GB, --batch-size); meddel-fast doctor: what is free"
        )
    if lacking == OUT_OF_THREADS:
        return "the same again with OMP_NUM_THREADS=1 before it"
    if isinstance(error, LockedError):
        return "wait until that process ends, or end it, then the same again"
    if isinstance(error, RemoteError) or (isinstance(error, OSError) and _is_of_url(text, given)):
        return _remote_step(error, usage)
    if isinstance(error, PermissionError):
        return f"ls -ld {_where(error, text)} shows who may; name a place of your own"
    if isinstance(error, FileExistsError | IsADirectoryError) or "is not empty" in text:
        return "name a place that is free, or move away what is there"
    if isinstance(error, FileNotFoundError | NotADirectoryError) or _ABSENT.search(text):
        return _near(error, text, given) or f"look for a mistyped path; {usage} explains it"
    if "name must be one of" in text:
        return "meddel-fast select --list shows the methods"
    if " in the registry" in text:
        return "meddel-fast data list shows the data sets"
    if re.search(r"is damaged|is not a |is no .*: ", text):
        return "make that file again, or name another"
    if "no effect" in text:
        return f"leave it out, or see {usage}"
    return f"{usage} explains what it takes"


def _is_of_url(text: str, given: Iterable[object]) -> bool:
    """Tell whether a text is about a URL that was given."""
    for value in _flat(given):
        try:
            if is_remote(str(value)) and shown(str(value)) in unfolded(text):
                return True
        except ValueError:  # no URL that is taken
            continue
    return False


def _remote_step(error: BaseException, usage: str) -> str:
    """Say what to do about a place that no path of this machine leads to."""
    if isinstance(error, PermissionError):
        return "set what it names, then the same again; meddel-fast doctor shows what is set"
    if isinstance(error, FileExistsError):
        return "name a place that is free, or move away what is there"
    if isinstance(error, FileNotFoundError):
        return f"look for a mistyped bucket or name in that URL; {usage} explains it"
    if "MEDDEL_REMOTE_PATIENCE" in str(error):
        return "the same again when the store answers; what is done is kept"
    return f"{usage} explains what it takes"


def _where(error: OSError, text: str) -> str:
    return str(error.filename) if error.filename else text.split(" ", 1)[0].rstrip(":")


def _near(error: BaseException, text: str, given: Iterable[object]) -> str:
    """Say, of a path that is not there, what lies beside it."""
    filename = getattr(error, "filename", None)
    named = [str(filename)] if filename else []
    named += [str(value) for value in _flat(given) if str(value) in text]
    named += re.findall(r"/[^\s'\",;:]+", text)
    if text.startswith("encoder:"):
        return (
            "give --encoder a folder of save_pretrained (pretrain writes OUT/model), or a name of "
            "the hub that is in the cache; a name with a / is looked for on the hub"
        )
    for name in named:
        path = Path(name)
        if path.exists():
            continue
        above = next((p for p in path.parents if p.is_dir()), Path())
        missing = path.relative_to(above).parts[0] if path.is_relative_to(above) else path.name
        try:
            beside = sorted(p.name for p in above.iterdir() if not p.name.startswith("."))
        except OSError:
            continue
        near = did_you_mean(missing, beside).removeprefix("; ")
        some = ", ".join(beside[:_SHOWN]) + (", ..." if len(beside) > _SHOWN else "")
        return near or f"look for a mistyped path: {above} holds {some or 'nothing'}"
    return ""


def _flat(values: Iterable[object]) -> Iterable[object]:
    for value in values:
        if isinstance(value, Sequence) and not isinstance(value, str):
            yield from _flat(value)
        elif isinstance(value, str | Path) and str(value) not in ("", "."):
            yield value
