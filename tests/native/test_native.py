"""The C++ core without Python: here, and built for another CPU, it gives the same bits."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from meddel_fast import _core

ROOT = Path(__file__).resolve().parents[2]
CROSS = "aarch64-linux-gnu"

# The builds, which are fixtures, count towards the tests that ask for them first: minutes where
# another process tests beside this one. What runs has a limit of its own, below.
pytestmark = pytest.mark.timeout(1500)

# Rows for the other CPU, which an emulator makes some thirty times as slow: more than a tile of a
# scan each way, and not a multiple of any.
FEW_ROWS = "420"

Run = Callable[..., str]


def runner(folder: Path, emulator: list[str]) -> Run:
    """The function that runs a program of a folder and returns what it prints."""

    def run(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [*emulator, folder / program, *arguments], capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def build(folder: Path, programs: list[str], options: list[str]) -> None:
    """Build programs of tests/native."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    common = ["-DMEDDEL_PYTHON=OFF", "-DMEDDEL_DRIVER=ON", "-DMEDDEL_WERROR=ON", *options]
    subprocess.run([cmake, "-S", ROOT, "-B", folder, *common], check=True, capture_output=True)
    built = subprocess.run(
        [cmake, "--build", folder, "-j", "2", "--target", *programs],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr


def hashes(printed: str) -> dict[str, set[str]]:
    """Instruction set -> hashes of all results, as the driver prints them."""
    lines = [line.split() for line in printed.splitlines() if line != "all equal"]
    return {isa: {h for name, h in lines if name == isa} for isa, _ in lines}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Run:
    # `make check` names the folder of the extension's build, which has them of the same objects.
    folder = Path(os.environ.get("MEDDEL_BUILD_DIR", "nowhere")).resolve()
    programs = ["driver", "kernels_test", "seeding_test", "bounds_test", "cuda_test"]
    if not all((folder / program).is_file() for program in programs):
        folder = tmp_path_factory.mktemp("native")
        build(folder, programs, [])
    return runner(folder, [])


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
    folder = tmp_path_factory.mktemp("arm")
    build(folder, ["driver", "kernels_test"], options)
    return runner(folder, ["qemu-aarch64"])


def test_every_isa_gives_the_same_bits(here: Run) -> None:
    found = hashes(here("driver"))
    assert "scalar" in found
    assert len(set.union(*found.values())) == 1


def test_every_kernel_does_what_its_contract_says(here: Run) -> None:
    tested = here("kernels_test").split()
    assert set(_core.available_isas()) <= set(tested)
    # Alder Lake's instruction, tried in the form that AVX-512 has of it.
    assert ("avx512vnni" in tested) <= ("avxvnni" in tested)


def test_no_screen_leaves_out_a_row_that_a_seed_comes_nearer_to(here: Run) -> None:
    assert here("seeding_test").split() == _core.available_isas()


def test_no_bound_of_kmeans_is_below_the_truth(here: Run) -> None:
    assert here("bounds_test").split() == _core.available_isas()


def test_the_gpu_code_does_what_its_contract_says(here: Run) -> None:
    assert here("cuda_test") == "cuda on host\n"


def test_arm_gives_the_same_bits(here: Run, arm: Run) -> None:
    found = hashes(arm("driver", FEW_ROWS))
    assert list(found) == ["neondot", "neon", "scalar"]
    assert set.union(*found.values()) == hashes(here("driver", FEW_ROWS))["scalar"]


def test_every_arm_kernel_does_what_its_contract_says(arm: Run) -> None:
    assert arm("kernels_test").split() == ["neondot", "neon", "scalar"]
