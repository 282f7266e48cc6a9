"""Commands in groups: a mistyped one is told as every other error is, help knows the plug-ins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from meddel_fast.cli.context import command_name
from meddel_fast.cli.errors import printable, tell_error
from meddel_fast.common.close_names import did_you_mean


class Commands(TyperGroup):
    """A group of commands, the command line itself say."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is named first; tell which was probably meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and name[:1] != "-" and not ctx.resilient_parsing:
            ctx.fail(f"there is no command {name!r}{did_you_mean(name, self.commands)}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        *more: Any,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run; what click says of wrong usage is told in two lines, or with ``--json`` in JSON."""
        words = sys.argv[1:] if args is None else list(args)
        run: Any = super().main
        if not standalone_mode:
            return run(words, *more, standalone_mode=False, **extra)
        try:
            status = run(words, *more, standalone_mode=False, **extra)
        except Exception as error:
            if not hasattr(
                error, "format_message"
            ):  # none of click's, which has no public base here
                raise
            status = _tell_usage(error, words, self)
        sys.exit(status if isinstance(status, int) else 0)


def _tell_usage(error: Any, words: Sequence[str], top: Any) -> int:
    """Print what is wrong with the words after ``meddel-fast``; return the exit status."""
    running: Any = getattr(error, "ctx", None)
    status, told = int(error.exit_code), error.format_message().strip()
    if type(error).__name__ == "NoArgsIsHelpError":
        if told:  # without rich; rich has printed the help already
            print(error.format_message())
        return status
    text = re.sub(r"\s+", " ", told).rstrip(".")
    if type(error).__name__ == "NoSuchOption" and running is not None:
        wrong = error.option_name
        options = [name for p in running.command.get_params(running) for name in p.opts]
        text = f"there is no option {wrong}{did_you_mean(wrong, options)}"
    name = _named(words, top) if running is None else command_name(running)
    step = f"meddel-fast {name} --help lists ".replace("  ", " ")
    step += (
        "the commands" if hasattr(getattr(running, "command", None), "commands") else "all options"
    )
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    tell_error(printable(text), type(error).__name__, step, status, as_json=as_json)
    return status


def _named(words: Sequence[str], top: Any) -> str:
    """Return the command that words begin with: some errors of click do not tell."""
    names, at = list[str](), top
    for word in words:
        if word in getattr(at, "commands", {}):
            names.append(word)
            at = at.commands[word]
    return " ".join(names)


def helped_by(kind: str) -> type[TyperCommand]:
    """Return a command whose help names the plug-ins of a kind; they are looked for only then."""

    class Command(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            from meddel_fast.benchmark.survey import offered

            found = [one for one in offered() if one.kind == kind and not one.refused]
            if found:
                names = ", ".join(f"{one.name} ({one.package} {one.version})" for one in found)
                self.epilog = f"Other packages offer the {kind}s {names}."
            super().format_help(ctx, formatter)

    return Command


def complete(kind: str) -> Callable[[str], list[str]]:
    """Return what completes the names of a kind of plug-in, ours among them, in the shell."""

    def names(incomplete: str) -> list[str]:
        from meddel_fast.benchmark.survey import known

        return [name for name in known(kind) if name.startswith(incomplete)]

    return names
