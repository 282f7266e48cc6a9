"""Fixtures for all tests: instruction sets, sample arrays of every kind, the real data's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from long_files import LONG

from meddel_fast import _core

if TYPE_CHECKING:
    from object_stores import Proxy, Store
    from typer.testing import CliRunner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, where several processes share them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {name: i for i, name in enumerate(LONG)}
        items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(params=_core.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once per instruction set of this CPU, in this process."""
    _core.use_isa(request.param)
    assert _core.isa() == request.param
    yield request.param
    _core.use_isa("")


@pytest.fixture(params=["auto", "never", "always", "grouped", "dense", "products", "codes"])
def screen(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test as is, without screens, and with them even where they would not pay."""
    _core.use_screen(request.param)
    yield request.param
    _core.use_screen("auto")


@pytest.fixture
def device() -> str:
    """The GPU, where there is one."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    return "cuda"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240117)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """What runs commands in this process, where the handler of Ctrl-C is pytest's own."""
    testing = pytest.importorskip("typer.testing")
    import meddel_fast.cli.console

    monkeypatch.setattr(meddel_fast.cli.console, "_end_soon_after_interrupt", lambda: None)
    return testing.CliRunner()


@pytest.fixture(scope="session")
def s3_store() -> Iterator[Store]:
    """An S3 server of this machine with the bucket "bucket"; tests use names of their own there."""
    pytest.importorskip("s3fs")
    from object_stores import s3_server

    with s3_server() as store:
        yield store


@pytest.fixture
def s3_proxy(s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of it, which s3:// leads to, and which spoils what it is told to."""
    from object_stores import proxy, use

    with proxy(s3_store) as before:
        use(monkeypatch, before.url)
        yield before


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real frames and embeddings, beside the repository or at MEDDEL_DATA."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MEDDEL_DATA", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real data not found at {folder} (set MEDDEL_DATA)")
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run from end to end (seconds), made by the first test process that asks for it; copy
    it before you change anything in it."""
    for name in ("pyarrow", "rich", "torch", "transformers", "scipy"):
        pytest.importorskip(name)
    import finished_run
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = shared / "finished", shared / "finished.made"
    with FileLock(shared / "finished.lock"):
        if not made.exists():
            folder.mkdir(exist_ok=True)
            finished_run.make(folder)
            made.touch()
    return folder / "run"
