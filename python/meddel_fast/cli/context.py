"""The command that runs: its name, and which of its parameters the user gave."""

from __future__ import annotations

from typing import Any

import typer

EVERYWHERE = ("as_json", "quiet", "verbose")
"""Parameters that every command has, see :func:`meddel_fast.cli.console.guarded`."""

_FROM_USER = ("COMMANDLINE", "ENVIRONMENT")


def context() -> Any:
    """Return the running command's context, of the click that typer brings or runs on; or None."""
    return getattr(typer.main, "get_current_context", _click_context)(silent=True)


def _click_context(silent: bool) -> Any:
    """Return the context of click itself, for versions of typer that do not bring their own."""
    import click

    return click.get_current_context(silent)


def command_name(of: Any | None = None) -> str:
    """Return a command as users write it after ``meddel-fast``; empty outside of one.

    `of` is its context, by default that of the running one.
    """
    at, words = context() if of is None else of, list[str]()
    while at is not None and at.parent is not None:
        words.insert(0, at.info_name)
        at = at.parent
    return " ".join(words)


def given(*among: str) -> set[str]:
    """Return which of the running command's parameters the user gave; of some, or of all.

    Those that every command has are none of them.
    """
    running = context()
    if running is None:  # called as a function
        return set()
    names = among or tuple(p.name for p in running.command.params if p.name not in EVERYWHERE)
    sources = {name: running.get_parameter_source(name) for name in names}
    return {name for name, source in sources.items() if source and source.name in _FROM_USER}
