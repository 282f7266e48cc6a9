"""Files are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from meddel_fast.common import atomic, files, hashes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_path_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "file.npy"
    for content in (b"one", b"two"):
        with atomic.atomic_path(target) as temporary:
            assert temporary.name == target.name  # writers that look at the suffix
            assert target.parent in temporary.parents
            temporary.write_bytes(content)
            assert list(target.parent.glob("*.npy")) == ([target] if content == b"two" else [])
        assert target.read_bytes() == content
    assert names(target.parent) == ["file.npy"]


def test_file_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        atomic.write_text(tmp_path / "x", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_on_errors(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic.atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_atomic_path_refuses_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="wanted a file"), atomic.atomic_path(tmp_path):
        pytest.fail("the block must not run")
    with (
        pytest.raises(FileNotFoundError, match="nothing was written"),
        atomic.atomic_path(tmp_path / "x"),
    ):
        pass
    assert names(tmp_path) == []


def test_atomic_directory(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic.atomic_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert not target.exists()
    assert (target / "sub" / "a").read_text() == "1"
    with pytest.raises(FileExistsError, match="not empty"), atomic.atomic_directory(target):
        pytest.fail("the block must not run")

    def fail_half_way() -> None:
        with atomic.atomic_directory(target, replace=True) as folder:
            (folder / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert names(target) == ["sub"]
    with atomic.atomic_directory(target, replace=True) as folder:
        (folder / "b").write_text("2")
    assert names(target) == ["b"]
    with pytest.raises(FileExistsError, match="is a file"), atomic.atomic_directory(target / "b"):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["model"]


def test_kill_leaves_no_half_file_and_leftovers_are_swept(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, signal, sys
        from meddel_fast.common import atomic
        with atomic.atomic_path(sys.argv[1] + "/f.json") as path:
            path.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.json")) == []
    assert atomic.remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == []
    assert atomic.remove_leftovers(tmp_path / "absent") == 0


@dataclasses.dataclass
class Settings:
    steps: int
    out: Path


def test_json_round_trip(tmp_path: Path) -> None:
    value = {
        "settings": Settings(3, Path("a/b")),
        "scalar": np.float32(0.5),
        "count": np.int64(7),
        "array": np.arange(3),
        "text": "Größe",
    }
    atomic.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == {
        "settings": {"steps": 3, "out": "a/b"},
        "scalar": 0.5,
        "count": 7,
        "array": [0, 1, 2],
        "text": "Größe",
    }
    assert (tmp_path / "x.json").read_text(encoding="utf-8").endswith("}\n")


def test_json_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "x.json", {"a": float("nan")})
    with pytest.raises(TypeError, match="object has no JSON form"):
        atomic.write_json(tmp_path / "x.json", object())
    assert names(tmp_path) == []
    (tmp_path / "bad.json").write_bytes(b'{"a": ')
    with pytest.raises(ValueError, match=r"bad\.json is not a JSON file"):
        files.read_json(tmp_path / "bad.json")
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00\x80\x81")
    with pytest.raises(ValueError, match=r"bad\.json is not a JSON file"):
        files.read_json(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "absent.json")


def test_hashes(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 7)
    atomic.write_bytes(tmp_path / "x", data)
    assert hashes.sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()
    assert hashes.sha256_json({"a": 1, "b": [1, 2]}) == hashes.sha256_json({"b": (1, 2), "a": 1})
    assert hashes.sha256_json({"a": 1}) != hashes.sha256_json({"a": 2})
    expected = hashlib.sha256('{"a":"ü"}'.encode()).hexdigest()
    assert hashes.sha256_json({"a": "ü"}) == expected
