"""The CUDA extension: it is built wherever nvcc is, for all targets, spills nothing, and imports
without a GPU."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from meddel_fast.benchmark.machine import cuda_device, hardware

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
TARGETS = ["sm_80", "sm_90a", "sm_100"]


def find_nvcc() -> str | None:
    """The nvcc that a build finds, if it is new enough."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+)\.(\d+)", told)
    assert release is not None, told
    return nvcc if (int(release[1]), int(release[2])) >= (12, 8) else None


@pytest.fixture(scope="module")
def extension() -> Path:
    """The built extension's file."""
    if not hardware()["cuda_built"]:
        assert find_nvcc() is None, "nvcc is here, but the extension was not built"
        pytest.skip("built without CUDA: no nvcc 12.8 or later")
    from meddel_fast import _cuda

    assert _cuda.__file__ is not None
    return Path(_cuda.__file__)


def test_links_to_no_cuda_library(extension: Path) -> None:
    ldd = shutil.which("ldd")
    if ldd is None:
        pytest.skip("needs ldd")
    listing = subprocess.run([ldd, extension], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].rsplit("/")[-1].split(".so")[0] for line in listing.splitlines()}
    plain = re.compile(r"linux-vdso|ld-linux.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)")
    assert {name for name in names if not plain.fullmatch(name)} == set()


def test_exports_its_init_function_only(extension: Path) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm")
    listing = subprocess.run(
        [nm, "-D", "--defined-only", extension], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[-1] for line in listing.splitlines()}
    assert names == {"PyInit__cuda"}


def fat_binaries(content: bytes) -> list[set[tuple[str, int]]]:
    """What the images that nvcc put into a file hold: ("ptx" or "cubin", architecture)."""
    found = []
    for start in re.finditer(re.escape(struct.pack("<IH", 0xBA55ED50, 1)), content):
        _, _, header, size = struct.unpack_from("<IHHQ", content, start.start())
        at, images = start.start() + header, set()
        end = at + size
        while at < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", content, at)
            (architecture,) = struct.unpack_from("<I", content, at + 28)
            images.add(({1: "ptx", 2: "cubin"}[kind], architecture))
            at += header + size
        found.append(images)
    return found


def test_holds_code_for_all_targets_and_ptx_for_later_ones(extension: Path) -> None:
    wanted = {("cubin", 80), ("cubin", 90), ("cubin", 100), ("ptx", 80)}
    assert fat_binaries(extension.read_bytes()) == [wanted] * len(SOURCES)


def test_imports_without_a_gpu_and_says_so(extension: Path) -> None:
    code = (
        "from meddel_fast import _cuda\n"
        "print(_cuda.device_names())\n"
        "try: _cuda.components(0, 0, 0, 5, 0, 0)\n"
        "except RuntimeError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    names, error = done.stdout.splitlines()
    assert names == "[]", done.stderr
    assert error.startswith("CUDA: ")


def test_info_tells_whether_it_was_built(extension: Path) -> None:
    pytest.importorskip("typer")
    done = subprocess.run(
        [sys.executable, "-m", "meddel_fast", "info"], capture_output=True, text=True, timeout=120
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("CUDA"))
    assert line.split(maxsplit=1)[1] == f"kernels built, {cuda_device() or 'no CUDA device'}"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_spills_no_registers(
    source: Path, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nvcc = find_nvcc()
    if nvcc is None:
        pytest.skip("needs nvcc 12.8 or later")
    done = subprocess.run(
        [nvcc, "-cubin", f"-arch={target}", "-std=c++17", "-O3", "--fmad=false",
         "--Werror=all-warnings", "-Xptxas=-v", f"-I{ROOT / 'csrc'}", source,
         "-o", tmp_path / "out.cubin"],
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers[^\n]*",
        done.stderr, re.DOTALL,
    )  # fmt: skip
    assert len(report) == (8 if source.stem == "inner_products" else 4)
    with capsys.disabled():
        for name, stack, stores, loads, registers in report:
            kernel = re.search(r"[a-z_]+_kernel(I\w+?E)?", name)
            assert kernel is not None
            print(f"\n{target:6} {kernel[0]:40} {registers:>3} registers, {stores} + {loads} "
                  "bytes spilled", end="")  # fmt: skip
            assert (stack, stores, loads) == ("0", "0", "0"), name
