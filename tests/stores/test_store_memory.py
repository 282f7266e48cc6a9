"""Budgets are kept: the most that a process was resident, beyond what it was before the call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import assert_same

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.sharded import parts

MEASURED = """
import re, sys
import numpy as np
import meddel_fast as mf

def resident(which):
    return int(re.search(which + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def measured(call, x):
    open("/proc/self/clear_refs", "w").write("5")  # VmHWM begins anew
    before = resident("VmRSS")
    exec(call, {"np": np, "mf": mf, "x": x})
    return resident("VmHWM") - before

store = mf.open_store(sys.argv[1])
measured(sys.argv[3], store[np.arange(1000)])  # the libraries' code is paged in
store.forget()
store.rows_read = 0
print(measured(sys.argv[2], store), store.rows_read)
"""
SLACK = 4_000_000  # code that is paged in, the interpreter's own


def peak(path: Path, call: str, first: str) -> tuple[int, int]:
    """The bytes that a call takes at most, after a small one, and the rows that it reads."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("needs Linux's peak of resident memory")
    command = [sys.executable, "-c", MEASURED, str(path), call, first]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    taken, read = done.stdout.split()
    return int(taken), int(read)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module", params=["fixed-size list", "list"])
def one_group(folder: Path, request: pytest.FixtureRequest) -> Path:
    """26 MB of rows in one row group."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    n, d = 200_000, 32
    values = pa.array(np.random.default_rng(0).normal(size=n * d).astype(np.float32))
    column = pa.FixedSizeListArray.from_arrays(values, d)
    if request.param == "list":
        column = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * d), values)
    path = folder / f"{request.param}.parquet"
    pq.write_table(pa.table({"x": column}), path, row_group_size=n)
    return path


@pytest.mark.parametrize(
    ("call", "budget"),
    [
        ("mf.kcenter_greedy(x, 3, memory=budget, distances=False, threads=1)", 40_000_000),
        ("x.memory = budget; mf.selectors.herding(x, 1, threads=1)", 40_000_000),
        ("for at in range(0, len(x), 1000): x.rows(at, at + 1000)", 12 << 20),
        ("x.take(np.arange(0, len(x), 1000))", 12 << 20),
    ],
)
def test_a_parquet_file_of_one_row_group(one_group: Path, call: str, budget: int) -> None:
    call = call.replace("budget", str(budget))
    taken, read = peak(one_group, call, call)
    assert taken < budget + SLACK
    assert read >= 200  # of them all a thousandth at least


@pytest.mark.parametrize("arguments", ["8_000", "radius=18"])
def test_k_center_with_many_centres(folder: Path, arguments: str) -> None:
    x = np.random.default_rng(0).integers(-9, 9, size=(12_000, 16), dtype=np.int8)
    np.save(folder / "many.npy", x)
    call = "mf.kcenter_greedy(x, {}, memory=7_000_000, distances=False, threads=1)"
    wanted = f"assert len({call.format(arguments)}.indices) > 1_000"
    taken, _ = peak(folder / "many.npy", wanted, call.format(10))
    assert taken < 7_000_000 + SLACK


def test_the_kernel_of_k_center_takes_no_more_centres_at_a_time_than_a_part_has_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (1024, False))
    seen = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(_core, name)

        def catch_up(self, rows: Any, centres: Any, *rest: Any) -> Any:
            seen.append(len(centres))
            return _core.catch_up(rows, centres, *rest)

    monkeypatch.setattr("meddel_fast.sharded.kcenter._core", Watched())
    x = np.random.default_rng(0).normal(size=(3500, 8)).astype(np.float32)
    selected = np.arange(0, 3000, 2)
    found = mf.kcenter_greedy(x, 1100, selected=selected, memory="40MB", threads=1)
    assert_same(found, mf.kcenter_greedy(x, 1100, selected=selected, threads=1))
    assert max(seen) == 1024


def test_a_radius_that_takes_more_centres_than_the_budget_holds_is_refused(folder: Path) -> None:
    x = np.random.default_rng(0).normal(size=(3000, 512)).astype(np.float32)
    with pytest.raises(MemoryError, match=r"memory has room for \d+ centres, and the radius takes"):
        mf.kcenter_greedy(x, radius=0.1, memory=10_000_000, threads=1)


def test_some_rows_of_a_file_cost_no_more_than_they_are(folder: Path) -> None:
    """Rows far enough apart that others are read along, which are 50 times as many."""
    np.save(folder / "wide.npy", np.zeros((1_000_000, 64), np.int8))
    call = "x.take(np.arange(0, len(x), 50))"
    taken, _ = peak(folder / "wide.npy", call, call)
    assert taken < 20_000 * 2 * (64 + 8 * 4) + 2 * 2**20 + SLACK
