"""Budgets are kept: the most that a process was resident, beyond what it was before the call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

MEASURED = """
import re, sys
import numpy as np
import meddel_fast as mf, meddel_fast.sharded
from concurrent.futures import ThreadPoolExecutor
if sys.argv[1].endswith(".parquet"):
    import pyarrow.parquet

def resident(which):
    return int(re.search(which + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

open("/proc/self/clear_refs", "w").write("5")  # VmHWM begins anew
before = resident("VmRSS")
x = mf.open_store(sys.argv[1])
labels = np.arange(len(x)) // 64
exec(sys.argv[2])
print(resident("VmHWM") - before, x.rows_read)
"""
SLACK = 4_000_000  # code that is paged in, the interpreter's own


def peak(path: Path, call: str) -> tuple[int, int]:
    """The bytes that a call takes at most, and the rows that it reads."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's peak of resident memory")
    command = [sys.executable, "-c", MEASURED, str(path), call]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    taken, read = done.stdout.split()
    return int(taken), int(read)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module", params=["fixed-size list", "list"])
def one_group(folder: Path, request: pytest.FixtureRequest) -> Path:
    """64 MB of rows in one row group."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    n, d = 500_000, 32
    values = pa.array(np.random.default_rng(0).normal(size=n * d).astype(np.float32))
    column = pa.FixedSizeListArray.from_arrays(values, d)
    if request.param == "list":
        column = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * d), values)
    path = folder / f"{request.param}.parquet"
    pq.write_table(pa.table({"x": column}), path, row_group_size=n)
    return path


@pytest.mark.parametrize(
    "call",
    [
        "mf.redundancy(x, labels=labels, memory=budget)",
        "mf.kcenter_greedy(x, 5, memory=budget, distances=False)",
        "mf.selectors.herding(x.within(budget), 2)",
    ],
)
def test_a_parquet_file_of_one_row_group(one_group: Path, call: str) -> None:
    budget = 72_000_000 if "herding" in call else 60_000_000
    taken, read = peak(one_group, call.replace("budget", str(budget)))
    assert taken < budget + SLACK
    assert read > 500_000  # rows did not stay


def test_a_parquet_file_of_one_row_group_is_read_a_batch_at_a_time(one_group: Path) -> None:
    taken, _ = peak(one_group, "[x.rows(at, at + 1000) for at in range(0, 500_000, 1000)]")
    assert taken < 22 * 2**20 + SLACK
    taken, _ = peak(one_group, "x.take(np.arange(0, 500_000, 1000))")
    assert taken < 22 * 2**20 + SLACK


@pytest.mark.parametrize("arguments", ["20_000", "radius=0.2"])
def test_k_center_with_many_centres(folder: Path, arguments: str) -> None:
    """The centres' codes alone are more than the budget."""
    x = np.random.default_rng(0).normal(size=(150_000, 4)).astype(np.float32)
    np.save(folder / "many.npy", x)
    call = f"found = mf.kcenter_greedy(x, {arguments}, memory=20_000_000, distances=False)"
    taken, _ = peak(folder / "many.npy", f"{call}; assert len(found.indices) > 2_000")
    assert taken < 20_000_000 + SLACK


def test_some_rows_of_a_file_cost_no_more_than_they_are(folder: Path) -> None:
    """Rows far enough apart that a page lies between some of them, near enough to be read along."""
    np.save(folder / "wide.npy", np.zeros((1_000_000, 64), np.int8))
    taken, _ = peak(folder / "wide.npy", "x.take(np.arange(0, 1_000_000, 50))")
    assert taken < 20_000 * (64 + 8 * 6) + 4 * 2**20 + SLACK
