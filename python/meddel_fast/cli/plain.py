"""What the command line answers with numpy alone: its version, what is here, what is lacking."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

_FORMAT = 1  # of every document, see `errors.FORMAT`, which needs more than numpy
_FLAGS = ("--json", "--quiet", "-q", "--verbose", "-v")


def answer(arguments: Sequence[str], lacking: ImportError) -> NoReturn:
    """Answer ``--version``, ``info`` and ``doctor``, and end; for all else say what lacks."""
    words = [word for word in arguments if word not in _FLAGS]
    as_json = "--json" in arguments
    if words == ["--version"]:
        from meddel_fast import __version__

        print(f"meddel-fast {__version__}")
        raise SystemExit(0)
    if words == ["info"]:
        from meddel_fast.benchmark import machine

        about = machine.described()
        _print("info", about, machine.lines(about), as_json)
        raise SystemExit(0)
    if words[:1] == ["doctor"] and not any(word.startswith("-") for word in words):
        from meddel_fast.benchmark import doctor

        try:
            found = doctor.examined(tuple(words[1:]))
        except ValueError as error:
            print(_error(error, "name one of these, or none", 2, as_json), file=sys.stderr)
            raise SystemExit(2) from None
        _print("doctor", found, doctor.lines(found), as_json)
        raise SystemExit(0 if found["healthy"] else 1)
    sys.exit(_error(lacking, str(lacking).partition(": ")[2], 1, as_json))


def _print(command: str, document: dict[str, Any], lines: list[str], as_json: bool) -> None:
    told = {"format": _FORMAT, "command": command, **document}
    print(json.dumps(told, indent=2) if as_json else "\n".join(lines))


def _error(error: Exception, step: str, status: int, as_json: bool) -> str:
    """Say what is wrong, and what to do next where that is not said yet."""
    if as_json:
        told = {"kind": type(error).__name__, "message": str(error), "next": step, "status": status}
        return json.dumps({"format": _FORMAT, "error": told})
    more = "" if str(error).endswith(step) else f"\n  next: {step}"
    return f"meddel-fast: error: {error}{more}"
