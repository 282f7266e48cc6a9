"""Files and folders that are forbidden, links that lead nowhere or in a circle, files in the place
of folders: the error names the path and what is wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.benchmark.config_file import load_config
from meddel_fast.cli.console import explain, load_embeddings
from meddel_fast.common import atomic
from meddel_fast.common.lock import lock
from meddel_fast.index import SelectionIndex


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """A folder with links that lead nowhere and in a circle, and one to a folder."""
    (tmp_path / "real").mkdir()
    for suffix in ("npy", "toml", "parquet", "npz"):
        (tmp_path / f"nowhere.{suffix}").symlink_to(tmp_path / f"absent.{suffix}")
        (tmp_path / f"circle.{suffix}").symlink_to(tmp_path / f"circle.{suffix}")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "file").write_text("a file")
    return tmp_path


def load_predictions(path: Path) -> Any:
    from meddel_fast.training.predictions import Predictions

    return Predictions.load(path)


def load_manifest(path: Path) -> Any:
    pytest.importorskip("pyarrow")
    from meddel_fast.images.manifest import Manifest

    return Manifest.load(path)


def load_selection(path: Path) -> Any:
    pytest.importorskip("pyarrow")
    return mf.selectors.Selection.load(path)


@pytest.mark.parametrize(
    ("read", "suffix"),
    [
        (load_config, "toml"),
        (mf.open_store, "npy"),
        (load_embeddings, "npy"),
        (load_manifest, "parquet"),
        (load_selection, "parquet"),
        (load_predictions, "npz"),
    ],
)
def test_links_that_lead_to_no_file(links: Path, read: Callable[[Path], Any], suffix: str) -> None:
    nowhere, circle = links / f"nowhere.{suffix}", links / f"circle.{suffix}"
    told = rf"{nowhere}.*: it is a link to {links}/absent.{suffix}, No such file"
    with pytest.raises(FileNotFoundError, match=told):
        read(nowhere)
    told = rf"{circle}.*: it is a link to {circle}, Too many levels of symbolic links"
    with pytest.raises(FileNotFoundError, match=told):
        read(circle)
    (links / f"folder.{suffix}").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"folder\.{suffix}"):
        read(links / f"folder.{suffix}")


@pytest.mark.parametrize("name", ["file", "file/in/it", "nowhere", "nowhere/in/it"])
@pytest.mark.parametrize(
    "write",
    [
        lambda folder: atomic.write_text(folder / "x.txt", "x"),
        lambda folder: SelectionIndex.create(folder, 4),
        lambda folder: lock(folder).__enter__(),
    ],
)
def test_no_folder_to_write_to(links: Path, write: Callable[[Path], Any], name: str) -> None:
    first = links / name.split("/")[0]
    wrong = {
        "file": "it is a file",
        "nowhere": f"it is a link to {links}/absent, No such file or directory",
    }
    with pytest.raises(NotADirectoryError, match=f"wanted a folder {first}: {wrong[first.name]}"):
        write(links / name)
    assert (links / "file").read_text() == "a file"
    assert not (links / "absent").exists()


def test_a_link_to_a_folder_is_written_through(links: Path) -> None:
    out = links / "link"
    atomic.write_text(out / "x.txt", "x")
    SelectionIndex.create(out / "index", 4)
    for content in ("one", "two"):
        with atomic.atomic_directory(out, replace=True) as folder:
            (folder / "a").write_text(content)
        assert out.is_symlink()
        assert [p.name for p in (links / "real").iterdir()] == ["a"]
        assert (links / "real" / "a").read_text() == content
    assert not list(links.glob(".tmp-*"))


def test_a_run_goes_to_where_its_folder_leads(links: Path) -> None:
    config = links / "run.toml"
    config.write_text('[run]\nname = "a"\nout = "link"\n[[data]]\nname = "x"\npath = "data"\n')
    assert load_config(config).out == links / "real"


def frames(folder: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    for part in ("", "b", "c"):
        (folder / "images" / part).mkdir(parents=True, exist_ok=True)
        for k in range(3):
            pixels = np.random.default_rng(k).integers(0, 255, (40, 40, 3), dtype=np.uint8)
            image.fromarray(pixels).save(folder / "images" / part / f"{k}.png")
    return folder


def test_links_in_a_data_set_that_lead_nowhere(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from meddel_fast.benchmark.stages.stage import listing
    from meddel_fast.images.scan.folder import scan_folder

    images = frames(tmp_path / "set") / "images"
    (images / "nowhere.png").symlink_to(images / "absent.png")
    (images / "out.png").symlink_to(tmp_path / "absent.png")
    (images / "circle.png").symlink_to(images / "circle.png")
    (images / "round").symlink_to(images)
    (images / "b" / "up").symlink_to(images)
    for follow in (False, True):
        manifest = scan_folder(tmp_path / "set", follow_links=follow)
        assert len(manifest) == 9
        skipped = {row["id"]: row["reason"] for row in manifest.skipped.to_pylist()}
        assert skipped == {
            "images/nowhere.png": "broken link",
            "images/out.png": "broken link" if follow else "link out of the data set",
            "images/circle.png": "broken link",
        }
    before = listing(tmp_path / "set")
    (images / "nowhere.png").unlink()
    assert listing(tmp_path / "set") != before


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be swept at the end, whatever was forbidden in it."""
    yield tmp_path
    tmp_path.chmod(0o755)
    for path in tmp_path.rglob("*"):
        path.chmod(0o755)


def run_forbidden(folder: Path, code: str) -> str:
    """Run Python in `folder`, bound by permissions as root is not."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    if os.geteuid() == 0:
        drop = shutil.which("setpriv") or pytest.skip("root needs setpriv to be bound")
        command = [drop, "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_may_not_be_read_or_written_is_named(forbidden: Path) -> None:
    pytest.importorskip("pyarrow")
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    np.save(forbidden / "x.npy", x)
    np.savez(forbidden / "p.npz", x)
    (forbidden / "run.toml").write_text("[run]\n")
    (forbidden / "closed").mkdir()
    mf.selectors.kcenter(x, 5).save(forbidden / "s.parquet")
    SelectionIndex.create(forbidden / "index", 8)
    for name in ("x.npy", "p.npz", "run.toml", "s.parquet", "closed", "index/index.json"):
        (forbidden / name).chmod(0)
    forbidden.chmod(0o555)
    told = run_forbidden(forbidden, """
        import numpy as np
        from pathlib import Path
        import meddel_fast as mf
        from meddel_fast.common import atomic
        from meddel_fast.cli.console import explain
        from meddel_fast.cli.console import load_embeddings
        from meddel_fast.benchmark.config_file import load_config
        from meddel_fast.index import SelectionIndex
        from meddel_fast.training.predictions import Predictions

        here = Path.cwd()
        for name, call in {
            "config": lambda: load_config(here / "run.toml"),
            "array": lambda: load_embeddings(here / "x.npy"),
            "store": lambda: mf.open_store(here / "x.npy"),
            "in-closed": lambda: mf.open_store(here / "closed" / "x.npy"),
            "selection": lambda: mf.selectors.Selection.load(here / "s.parquet"),
            "predictions": lambda: Predictions.load(here / "p.npz"),
            "index": lambda: SelectionIndex.open(here / "index"),
            "new-index": lambda: SelectionIndex.create(here / "new", 8),
            "new-file": lambda: atomic.write_text(here / "new.txt", "x"),
            "to-closed": lambda: atomic.write_text(here / "closed" / "new.txt", "x"),
            "new-folder": lambda: atomic.atomic_directory(here / "a" / "b").__enter__(),
        }.items():
            try:
                call()
                print(name, "worked")
            except Exception as error:
                print(name, type(error).__name__, explain(error))
    """)  # fmt: skip
    wanted = {
        "config": "run.toml", "array": "x.npy", "store": "x.npy", "in-closed": "closed/x.npy",
        "selection": "s.parquet", "predictions": "p.npz", "index": "index/index.json",
        "new-index": "new", "new-file": ".tmp-", "to-closed": "closed/", "new-folder": "a",
    }  # fmt: skip
    lines = dict(line.split(" ", 1) for line in told.splitlines())
    for name, path in wanted.items():
        assert re.search(rf"{forbidden}/{re.escape(path)}.*Permission denied", lines[name]), told
        assert "Parquet file" not in lines[name]


def test_images_that_may_not_be_read(forbidden: Path) -> None:
    pytest.importorskip("pyarrow")
    images = frames(forbidden / "set") / "images"
    (images / "b" / "1.png").chmod(0)
    scan = """
        from pathlib import Path
        from meddel_fast.benchmark.stages.stage import listing
        from meddel_fast.cli.console import explain
        from meddel_fast.images.scan.folder import scan_folder
        from meddel_fast.images.readers.tree import Tree

        try:
            manifest = scan_folder(Path.cwd() / "set")
            print(len(manifest), manifest.skipped.to_pylist()[0]["reason"])
        except OSError as error:
            print(explain(error))
        for walk in (listing, lambda root: Tree([root])):
            try:
                walk(Path.cwd() / "set")
                print("walked")
            except OSError as error:
                print(explain(error))
    """
    told = run_forbidden(forbidden, scan).splitlines()
    assert told == ["8 cannot be read: Permission denied", "walked", "walked"]
    (images / "c").chmod(0)
    told = run_forbidden(forbidden, scan).splitlines()
    assert told == [f"{images / 'c'}: Permission denied"] * 3


def test_weights_that_may_not_be_read(forbidden: Path) -> None:
    for needed in ("torch", "transformers"):
        pytest.importorskip(needed)
    (forbidden / "encoder").mkdir()
    for name in ("config.json", "model.safetensors"):
        (forbidden / "encoder" / name).write_text("{}")
    (forbidden / "encoder" / "model.safetensors").chmod(0)
    told = run_forbidden(
        forbidden,
        """
        from meddel_fast.cli.console import explain
        from meddel_fast.training.encoders.vit import check_there

        try:
            check_there("encoder")
        except OSError as error:
            print(explain(error))
    """,
    )
    assert told == "encoder/model.safetensors: Permission denied\n"


def test_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load_embeddings(tmp_path / "a\x1b[2Jb\u202ec\udcff é.npy")
    assert explain(caught.value) == f"no file {tmp_path}/a\\x1b[2Jb\\u202ec\\udcff é.npy"


@pytest.mark.parametrize(
    ("told", "start"),
    [  # as seen with too little address space, or too few threads allowed
        ("x.parquet is not a Parquet file: Unknown error: Failed to launch worker thread: Resource "
         "temporarily unavailable", "no further thread can be started"),
        ("can't start new thread", "no further thread can be started"),
        ("Resource temporarily unavailable", "no further thread can be started"),
        ("could not create a primitive", "out of memory"),
        ("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you "
         "tried to allocate 8 bytes", "out of memory"),
        ("CUDA out of memory. Tried to allocate 2 GiB", "out of memory"),
    ],
)  # fmt: skip
def test_too_few_threads_and_too_little_memory_are_told_apart(told: str, start: str) -> None:
    assert explain(RuntimeError(told)).startswith(start)


def test_a_lack_of_threads_is_no_lack_of_memory_for_files() -> None:
    busy = BlockingIOError(11, "Resource temporarily unavailable", "lock")
    assert explain(busy) == "lock: Resource temporarily unavailable"


def test_a_refused_write_is_named(tmp_path: Path) -> None:
    def fail() -> None:
        with atomic.atomic_path(tmp_path / "x.txt"):
            raise OSError(28, "No space left on device")  # as a write to an open file says it

    with pytest.raises(OSError, match="No space left") as caught:
        fail()
    assert explain(caught.value) == (
        f"cannot write, the disk is full: [Errno 28] No space left on device: "
        f"'{tmp_path / 'x.txt'}'. Free some space and run the same again"
    )
