"""Operations on several processes: the bits of one, on each of them, and clear ends."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from samples import assert_same
from sharded_cases import OPERATIONS, sample, whole

from meddel_fast.cluster import join_group
from meddel_fast.sharded import SoloGroup
from meddel_fast.stores.store import open_store

HERE = Path(__file__).resolve().parents[1] / "helpers"
SCRIPT = str(HERE / "sharded_ranks.py")

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this torch has no torch.distributed", allow_module_level=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("group") / "x.npy"
    np.save(path, sample("float16"))
    return str(path)


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_bits_of_one_process(path: str, tmp_path: Path, ranks: int) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    out = tmp_path / "out.npz"
    done = subprocess.run(
        [*torchrun, f"--nproc-per-node={ranks}", SCRIPT, "run", path, str(out)],
        capture_output=True, text=True, timeout=280, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        names = {key.rpartition("/")[0] for key in found.files}
        assert names > set(OPERATIONS)
        for name in names:
            fields = [found[f"{name}/{i}"] for i in range(10) if f"{name}/{i}" in found.files]
            try:
                assert_same(fields, whole(re.sub(" of (local )?rows.*", "", name), "float16"))
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from None


def two_ranks(*arguments: str) -> list[tuple[int, str]]:
    """Start two processes as torchrun would, without one that ends them; exit codes and stderr."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *arguments],
            env=os.environ | about | {"RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        return [(p.wait(timeout=200), p.stderr.read() if p.stderr else "") for p in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stderr:
                process.stderr.close()


def test_a_rank_that_dies_ends_the_others(path: str) -> None:
    begun = time.monotonic()
    (survivor, said), (killed, _) = two_ranks("die", path)
    assert killed == -9
    assert survivor == 1
    assert "LostRankError: rank 0 of 2 lost another rank, which has died, failed or not" in said
    assert time.monotonic() - begun < 110  # before the time that it would have waited for an answer


@pytest.mark.parametrize("name", ["kmeans from init", "redundancy"])
def test_a_call_goes_on_after_a_kill(
    path: str,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rank 1 of two is killed while it saves for the third time; one process goes on."""
    caplog.set_level("INFO")
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "0")
    place = str(tmp_path / "place")
    (survivor, said), (killed, _) = two_ranks("leave", path, place, name)
    assert (survivor, killed) == (1, -9), said
    found = OPERATIONS[name](open_store(path), memory=20_000_000, checkpoint=place)
    assert_same(found, whole(name, "float16"))
    done = {"kmeans from init": "{'iterations': 1,", "redundancy": "{'rounds': 1}"}[name]
    assert f"goes on from its state: {done}" in caplog.text
    assert list(Path(place).iterdir()) == []


def test_what_one_rank_finds_all_say(path: str) -> None:
    for code, said in two_ranks("bad", path):
        assert code == 1
        assert "ValueError: x must be finite in fp32, got NaN or infinity in row 1029" in said
        assert "(found by rank 1)" in said


def test_a_process_of_its_own() -> None:
    with pytest.raises(RuntimeError, match="wants a process started by torchrun"):
        join_group()
    group = SoloGroup()
    assert (group.rank, group.size, group.sent) == (0, 1, 0)
