"""What the command line answers with numpy alone: its version, and what this machine is."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import NoReturn


def answer(arguments: Sequence[str], lacking: ImportError) -> NoReturn:
    """Answer ``--version``, ``info`` and ``info --json``, and end; for all else say what lacks."""
    if list(arguments) == ["--version"]:
        from meddel_fast import __version__

        print(f"meddel-fast {__version__}")
        raise SystemExit(0)
    if list(arguments) in (["info"], ["info", "--json"]):
        from meddel_fast.benchmark.machine import described, lines

        print(json.dumps(described(), indent=2) if "--json" in arguments else "\n".join(lines()))
        raise SystemExit(0)
    sys.exit(f"meddel-fast: error: {lacking}")
