"""The extension as a whole: instruction sets, interruption, imports, symbols."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from meddel_fast import _core


def python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", _core.available_isas())
def test_forced_isa_is_the_one_that_runs(name: str) -> None:
    done = python(
        "import numpy as np, meddel_fast as mf; from meddel_fast import _core\n"
        "x = np.arange(60, dtype=np.float32).reshape(20, 3)\n"
        "print(_core.isa(), mf.kcenter_greedy(x, 3).indices.tolist())",
        MEDDEL_ISA=name,
    )
    assert done.stdout.split()[0] == name, done.stderr
    assert done.stdout.split(maxsplit=1)[1].strip() == "[0, 19, 9]"


def test_default_isa_is_the_best() -> None:
    env = {k: v for k, v in os.environ.items() if k != "MEDDEL_ISA"}
    code = "from meddel_fast import _core; print(_core.isa() == _core.available_isas()[0])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "True"


def test_x86_cpu_flags_agree() -> None:
    """What the dispatcher found is what the kernel tells (this once answered scalar for all)."""
    info = Path("/proc/cpuinfo")
    if not info.exists() or "avx2" not in info.read_text():
        pytest.skip("no /proc/cpuinfo that lists avx2")
    flags = set(info.read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    found = _core.available_isas()
    assert ("avx2" in found) == ({"avx2", "fma", "f16c"} <= flags)
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags
    assert ("avx512" in found) == wide
    assert ("avx512vnni" in found) == (wide and "avx512_vnni" in flags)
    assert ("avxvnni" in found) <= ({"avx2", "avx_vnni"} <= flags)  # not in all builds


def test_arm_cpu_flags_agree() -> None:
    info = Path("/proc/cpuinfo")
    if platform.machine() != "aarch64" or not info.exists():
        pytest.skip("no /proc/cpuinfo of a 64-bit ARM CPU")
    flags = set(info.read_text().split("Features", 1)[1].split("\n", 1)[0].split())
    found = _core.available_isas()
    assert "neon" in found
    assert ("neondot" in found) == ("asimddp" in flags)


def test_unknown_isa_is_an_error_that_lists_the_available() -> None:
    done = python(
        "import numpy as np, meddel_fast as mf; mf.redundancy(np.ones((2, 2), np.float32))",
        MEDDEL_ISA="sse9",
    )
    assert done.returncode != 0
    assert f"MEDDEL_ISA must be one of {', '.join(_core.available_isas())}" in done.stderr
    assert "got 'sse9'" in done.stderr


@pytest.mark.parametrize(
    "call", ["mf.kcenter_greedy(x, 30_000)", "mf.similar_pairs(x, threshold=0.99)",
             "mf.topk_similarity(x, k=5)", "mf.kmeans(x, 5000)",
             "sum(1 for _ in mf.iter_similar_pairs(x, threshold=-1, max_pairs=500_000))"],
)  # fmt: skip
def test_ctrl_c_stops_within_a_second(call: str) -> None:
    code = (
        "import signal, numpy as np, meddel_fast as mf\n"
        # A job started in the background by a shell ignores SIGINT, and its children with it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "x = np.random.default_rng(0).normal(size=(300_000, 256)).astype(np.float32)\n"
        "print('ready', flush=True)\n"
        f"try: {call}\n"
        "except KeyboardInterrupt: print('stopped', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert run.poll() is None, "the call is over too soon to be interrupted"
        start = time.monotonic()
        run.send_signal(signal.SIGINT)
        assert run.stdout.readline() == "stopped\n"
        elapsed = time.monotonic() - start
    # One second is the promise; the slack is for the loaded machines that tests run on.
    assert elapsed < 3.0


def test_gil_is_released() -> None:
    """Nobody is made to hand the lock over: another thread runs only where a call lets it go."""
    x = np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)
    go, ran, interval = threading.Event(), threading.Event(), sys.getswitchinterval()
    other = threading.Thread(target=lambda: (go.wait(), ran.set()), daemon=True)
    other.start()
    sys.setswitchinterval(1000.0)
    try:
        go.set()
        for _ in range(100):  # one call may be over before the system wakes the other thread
            _core.kcenter_greedy(x, 300, 0.0, False, 0, [], True, 1)  # numpy lets go of it too
            if ran.is_set():
                break
        released = ran.is_set()
    finally:
        sys.setswitchinterval(interval)
        other.join()
    assert released


def test_import_needs_only_numpy() -> None:
    done = python(
        "import sys, meddel_fast; print(sorted({m.split('.')[0] for m in sys.modules} "
        "& {'torch', 'transformers', 'pyarrow', 'PIL', 'matplotlib', 'typer', 'rich', 'triton'}))"
    )
    assert done.stdout.strip() == "[]", done.stderr


SUBINTERPRETER = """
import sys
{create}
try:
    {run}
except Exception as error:
    print(type(error).__name__, error)
"""
IMPORT = "from meddel_fast import kcenter_greedy"


@pytest.mark.parametrize("first", ["", IMPORT])
def test_a_subinterpreter_is_refused_at_once(first: str) -> None:
    """It waited for ever for the lock that its own thread held."""
    if sys.version_info >= (3, 13):
        create = "import _interpreters as i; a = i.create()"
        run = f"print(i.run_string(a, {IMPORT!r}))"
    else:
        create = "import _xxsubinterpreters as i; a = i.create()"
        run = f"i.run_string(a, {IMPORT!r})"
    done = python(first + SUBINTERPRETER.format(create=create, run=run))
    assert "ImportError" in done.stdout, done.stderr
    # (numpy refuses where it is there already.)
    assert first or "meddel_fast cannot be imported in a subinterpreter" in done.stdout


def test_nothing_but_the_entry_is_exported() -> None:
    """What a module exports can take the place of another library's."""
    nm = shutil.which("nm")
    if nm is None or sys.platform != "linux":
        pytest.skip("needs nm, of Linux")
    listing = subprocess.run(
        [nm, "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in listing.stdout.splitlines()] == ["PyInit__core"]


def test_no_weak_symbols_in_leaf_code() -> None:
    """Inline code compiled for a newer CPU must not be what older ones are linked to."""
    nm, objects = shutil.which("nm"), os.environ.get("MEDDEL_BUILD_DIR")
    if nm is None or objects is None:
        pytest.skip("needs nm, and MEDDEL_BUILD_DIR, the CMake build folder")
    leaves = [p for p in Path(objects).glob("**/cpu/*.o") if p.stem != "isa.cpp"]
    assert set(_core.available_isas()) <= {p.name.split(".")[0] for p in leaves}
    for leaf in leaves:
        listing = subprocess.run([nm, "-C", leaf], capture_output=True, text=True, check=True)
        kinds = [line.split()[-2:] for line in listing.stdout.splitlines() if line.strip()]
        weak = [k for k in kinds if k[0] in "WVu"]
        assert not weak, f"{leaf.name}: {weak}"
