"""Threads for files and decoding: the results are the same with many, few or none."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import Any

import numpy as np
import pytest

from meddel_fast import ops
from meddel_fast.arrays import resolve_threads
from meddel_fast.common.pool import Pool


@pytest.fixture
def startable(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads can be started; set its number."""
    left, start = [0], threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if left[0] == 0:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(self)

    monkeypatch.setattr(threading.Thread, "start", limited)
    return left


@pytest.mark.parametrize("threads", [0, 1, 3, 9])
def test_work_is_done_with_the_threads_that_there_are(startable: list[int], threads: int) -> None:
    startable[0] = threads
    with Pool(5) as pool:
        assert list(pool.map(lambda n: n * n, range(50))) == [n * n for n in range(50)]
        failed = pool.submit(lambda: 1 // 0)
        assert pool.submit(str, 7).result() == "7"
    assert isinstance(failed.exception(), ZeroDivisionError)
    assert startable[0] == max(0, threads - 5)


def test_what_is_not_begun_can_be_cancelled() -> None:
    go = threading.Event()
    pool = Pool(1)
    first, second = pool.submit(go.wait, 20), pool.submit(str, 2)
    while not first.running():
        pass
    threading.Timer(0.05, go.set).start()
    pool.shutdown(cancel_futures=True)
    assert first.result()
    with pytest.raises(CancelledError):
        second.result()


def test_folders_are_read_without_threads(startable: list[int], tmp_path: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("pyarrow")
    from meddel_fast.images.scan.folder import scan_folder

    (tmp_path / "images").mkdir()
    for n in range(6):
        pixels = np.random.default_rng(n).integers(0, 256, (20, 20, 3), np.uint8)
        image.fromarray(pixels).save(tmp_path / f"images/{n}.png")
    manifests = []
    for startable[0] in (0, 2, 100):
        manifests.append(scan_folder(tmp_path, workers=10**6))
    assert len(manifests[0]) == 6
    assert len({manifest.fingerprint for manifest in manifests}) == 1


def test_any_number_of_threads_is_taken(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 8)).astype(np.float32)
    wanted = ops.deduplicate(x, 0.5, threads=1).representative
    for threads in (10**6, 10**12, 2**70):
        assert (ops.deduplicate(x, 0.5, threads=threads).representative == wanted).all()
        assert resolve_threads(threads) < 2**31
