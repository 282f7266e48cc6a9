"""The C++ core without Python: built here, and for another CPU, it gives the same bits."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meddel_fast import _core

ROOT = Path(__file__).resolve().parents[1]
CROSS = "aarch64-linux-gnu"

# The two builds, which are fixtures, count towards the tests that ask for them first: minutes each
# where another process tests beside this one. What runs has a limit of its own, below.
pytestmark = pytest.mark.timeout(1500)

Run = Callable[[str], str]


def programs(build: Path, options: list[str], emulator: list[str]) -> Run:
    """Build tests/native; the function that runs one of its programs and returns what it prints."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    common = ["-DMEDDEL_PYTHON=OFF", "-DMEDDEL_DRIVER=ON", "-DMEDDEL_WERROR=ON", *options]
    subprocess.run([cmake, "-S", ROOT, "-B", build, *common], check=True, capture_output=True)
    built = subprocess.run(
        [cmake, "--build", build, "-j", "2"], capture_output=True, text=True, timeout=900
    )
    assert built.returncode == 0, built.stdout + built.stderr

    def run(program: str) -> str:
        done = subprocess.run(
            [*emulator, build / program], capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def hashes(run: Run) -> dict[str, set[str]]:
    """Instruction set -> hashes of all results."""
    lines = [line.split() for line in run("driver").splitlines() if line != "all equal"]
    return {isa: {h for name, h in lines if name == isa} for isa, _ in lines}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return programs(tmp_path_factory.mktemp("native"), [], [])


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if platform.machine() == "aarch64":
        pytest.skip("this is one")
    if not (shutil.which(f"{CROSS}-g++") and shutil.which("qemu-aarch64")):
        pytest.skip(f"needs {CROSS}-g++ and qemu-aarch64")
    options = [
        "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS}-g++", "-DCMAKE_EXE_LINKER_FLAGS=-static",
    ]  # fmt: skip
    return programs(tmp_path_factory.mktemp("arm"), options, ["qemu-aarch64"])


def test_every_isa_gives_the_same_bits(here: Run) -> None:
    found = hashes(here)
    assert "scalar" in found
    assert len(set.union(*found.values())) == 1


def test_every_kernel_does_what_its_contract_says(here: Run) -> None:
    tested = here("kernels_test").split()
    assert set(_core.available_isas()) <= set(tested)
    # Alder Lake's instruction, tried in the form that AVX-512 has of it.
    assert ("avx512vnni" in tested) <= ("avxvnni" in tested)


def test_the_gpu_code_does_what_its_contract_says(here: Run) -> None:
    assert here("cuda_test") == "cuda on host\n"


def test_arm_gives_the_same_bits(here: Run, arm: Run) -> None:
    found = hashes(arm)
    assert list(found) == ["neondot", "neon", "scalar"]
    assert set.union(*found.values()) == hashes(here)["scalar"]


def test_every_arm_kernel_does_what_its_contract_says(arm: Run) -> None:
    assert arm("kernels_test").split() == ["neondot", "neon", "scalar"]
