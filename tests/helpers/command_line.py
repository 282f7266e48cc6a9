"""The command line, run in this process."""

from __future__ import annotations

from typer.testing import CliRunner

from meddel_fast.cli import app


def lines(cli: CliRunner, *arguments: object, status: int = 0) -> str:
    """What the command says, which has to end with `status`."""
    result = cli.invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output
    return result.output
