"""The C++ core without Python: built here, and for another CPU, it gives the same bits."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CROSS = "aarch64-linux-gnu"


def hashes(build: Path, options: list[str], emulator: list[str]) -> dict[str, set[str]]:
    """Build tests/native/driver and run it: instruction set -> hashes of all results."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("needs cmake")
    common = ["-DMEDDEL_PYTHON=OFF", "-DMEDDEL_DRIVER=ON", "-DMEDDEL_WERROR=ON", *options]
    subprocess.run([cmake, "-S", ROOT, "-B", build, *common], check=True, capture_output=True)
    built = subprocess.run([cmake, "--build", build, "-j", "2"], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    done = subprocess.run(
        [*emulator, build / "driver"], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line != "all equal"]
    return {isa: {h for name, h in lines if name == isa} for isa, _ in lines}


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    return hashes(tmp_path_factory.mktemp("native"), [], [])


def test_every_isa_gives_the_same_bits(here: dict[str, set[str]]) -> None:
    assert "scalar" in here
    assert len(set.union(*here.values())) == 1


def test_arm_gives_the_same_bits(here: dict[str, set[str]], tmp_path: Path) -> None:
    if platform.machine() == "aarch64":
        pytest.skip("this is one")
    if not (shutil.which(f"{CROSS}-g++") and shutil.which("qemu-aarch64")):
        pytest.skip(f"needs {CROSS}-g++ and qemu-aarch64")
    options = [
        "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS}-g++", "-DCMAKE_EXE_LINKER_FLAGS=-static",
    ]  # fmt: skip
    assert set.union(*hashes(tmp_path, options, ["qemu-aarch64"]).values()) == here["scalar"]
