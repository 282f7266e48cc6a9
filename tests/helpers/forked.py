"""Forked children that die by SIGKILL where they are told to, and one that may finish."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def die() -> None:
    """End this process as a kill does."""
    os.kill(os.getpid(), signal.SIGKILL)


def fork_each(targets: list[str], child: Callable[[str], None]) -> None:
    """Run `child` for each target in a process of its own, then for ":", which is no target.

    One that does not die at its target, or dies without one, ends this script with an error.
    """
    for target in [*targets, ":"]:
        sys.stdout.flush()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                child(target)
                status = 0
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, status = os.waitpid(process, 0)
        died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if died != (target != ":") or (not died and os.WEXITSTATUS(status)):
            sys.exit(f"target {target}: wait status {status}")
        print(f"--- {target} {'killed' if died else 'finished'}", flush=True)
