"""The cases of device_cases.py on a GPU, where there is one, and on the host in any case."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

import torch
from device_cases import *  # noqa: F403
from device_cases import check_kcenter, on, rows_of
from samples import assert_same, clustered, on_a_busy_stream

import meddel_fast as mf
from meddel_fast.benchmark.machine import hardware
from meddel_fast.kernels import confirm, cuda
from meddel_fast.kernels.kcenter import Sizes, kcenter_greedy
from meddel_fast.kernels.rows import Rows

DRIVER = Path(__file__).parents[1] / "helpers" / "on_host.py"


@pytest.fixture
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    if not hardware()["cuda_built"]:
        pytest.skip("needs the CUDA extension")
    return torch.device("cuda", torch.cuda.current_device())


def test_the_cases_on_the_host() -> None:
    build = Path(os.environ.get("MEDDEL_BUILD_DIR", "nowhere"))
    if not list(build.glob("_cuda_on_host*")):
        pytest.skip("needs MEDDEL_BUILD_DIR, a CMake build folder with MEDDEL_CUDA_ON_HOST")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", DRIVER],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_without_the_extension_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda, "_cuda", None)
    rows = Rows(torch.ones(4, 2), torch.device("cpu"))
    with pytest.raises(RuntimeError, match="needs the CUDA extension, which was not built"):
        kcenter_greedy(rows, torch.full((4,), 2.0, dtype=torch.float64), 2)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kcenter_of_many_rows(
    device: torch.device, metric: str, dtype: torch.dtype, rng: np.random.Generator
) -> None:
    """Against the CPU's kernels, which other tests hold to the reference."""
    x = torch.from_numpy(clustered(rng, 30_000, 96, centres=300)).to(dtype)
    x[20_000:] = x[:10_000]  # exact duplicates: ties
    rows = rows_of(device, x)
    squares = confirm.squared_norms(rows)
    for k, selected in ((3000, None), (500, np.arange(0, 30_000, 3))):
        wanted = mf.kcenter_greedy(x, k, metric=metric, selected=selected)
        got = kcenter_greedy(
            rows, squares, k, cosine=metric == "cosine",
            selected=None if selected is None else on(device, selected),
        )  # fmt: skip
        assert_same([field.cpu() for field in got], wanted)


def test_kcenter_of_rows_in_host_memory(device: torch.device, rng: np.random.Generator) -> None:
    x = clustered(rng, 3000, 70)
    rows = Rows(torch.from_numpy(x), device)
    got = kcenter_greedy(rows, confirm.squared_norms(rows), 200)
    assert_same([field.cpu() for field in got], mf.kcenter_greedy(x, 200))


def test_kcenter_of_equal_rows_beyond_what_may_be_active(device: torch.device) -> None:
    check_kcenter(device, np.ones((9000, 4), np.float32), 300, sizes=Sizes(active=256))


def test_components_of_many_pairs(device: torch.device, rng: np.random.Generator) -> None:
    n = 100_000
    chain = rng.permutation(n - 1)  # one component, joined in no order
    roots = cuda.components(on(device, chain), on(device, chain + 1), n)
    assert not roots.any()


def test_work_goes_to_the_current_stream(device: torch.device, rng: np.random.Generator) -> None:
    x = on(device, clustered(rng, 4000, 256))
    i = torch.arange(4000, device=device)
    wanted = cuda.inner_products(x, x, i, i)
    got = on_a_busy_stream(x, lambda copy: cuda.inner_products(copy, copy, i, i))
    assert torch.equal(got, wanted)
