"""A disk that fills up, fails, turns read-only or is forbidden, too little memory, death at any
write, and signals: what is there stays whole, the error is explained, and the job goes on to the
same results."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")

from fault_jobs import JOBS

HERE = Path(__file__).resolve().parents[1] / "helpers"
KINDS = {
    *("full", "kill", "torn", "broken", "read-only", "denied", "interrupt", "terminate", "memory")
}
FAULTS = int(os.environ.get("MEDDEL_FAULTS", "18"))  # how many; `make soak` asks for more


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = HERE.parent / "native" / "faults.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    return library


@pytest.mark.timeout(900 + 30 * FAULTS)
def test_nothing_is_lost(failing_disk: Path, tmp_path: Path) -> None:
    jobs = {name: max(len(KINDS), FAULTS // 4) for name in JOBS} | {"benchmark": FAULTS}
    done = subprocess.run(
        [sys.executable, HERE / "fault_driver.py", tmp_path, "0",
         *(f"{name}={faults}" for name, faults in jobs.items())],
        env={**os.environ, "LD_PRELOAD": str(failing_disk), "OMP_NUM_THREADS": "1",
             "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout)  # for those who ask for it: what became of each
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"^(\S+) (\S+) \d+: (\S+)", done.stdout, flags=re.MULTILINE)
    ends = Counter(name for name, _, _ in told)
    assert ends == jobs
    hit = Counter(kind for _, kind, end in told if end != "finished")
    always = set(KINDS) - {"broken", "memory"}  # which may do no harm
    assert {kind for kind, count in hit.items() if count >= 2} >= always, hit
