"""Fills in what the site takes from the program itself: the help of every command."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any


def _help(*command: str) -> str:
    """Return what ``meddel-fast COMMAND --help`` prints on a plain terminal of 96 columns."""
    told = subprocess.run(
        [sys.executable, "-m", "meddel_fast", *command, "--help"],
        env={**os.environ, "COLUMNS": "96", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return "\n".join(line.rstrip() for line in told.stdout.strip().splitlines())


def _sections(app: Any, path: tuple[str, ...]) -> list[str]:
    """Return a section a command, those of groups below their group's."""
    heading = "#" * (len(path) + 1)
    text = [f"{heading} {' '.join(('meddel-fast', *path))}\n\n```text\n{_help(*path)}\n```\n"]
    for name, command in getattr(app, "commands", {}).items():
        text += _sections(command, (*path, name))
    return text


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark in reference/cli.md."""
    mark = "<!-- help of all commands -->"
    if mark not in markdown:
        return markdown
    from typer.main import get_command

    from meddel_fast.cli import app

    return markdown.replace(mark, "\n".join(_sections(get_command(app), ())[1:]))
