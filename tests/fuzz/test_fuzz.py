"""The fuzzers of fuzz/ for a few seconds; `make fuzz` runs them for longer, under sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parent


def fuzz(program: str, seconds: int) -> str:
    done = subprocess.run(
        [sys.executable, FUZZ / program, str(seconds), "0"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_bindings() -> None:
    told = fuzz("bindings.py", 4)
    assert "'equal'" in told
    assert "'refused'" in told


def test_readers() -> None:
    for needed in ("torch", "transformers", "pyarrow", "safetensors", "PIL", "pydicom"):
        pytest.importorskip(needed)
    told = fuzz("readers.py", 15)
    kinds = told.count(": {")
    assert kinds >= 39
    assert told.count("'refused'") == kinds
