"""No result takes the place of what a user has: inputs, other files, devices, links, folders."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.common.atomic import atomic_path, write_json, write_text
from meddel_fast.common.outputs import (
    NAMES,
    RESULT,
    FolderKind,
    Kind,
    array_file,
    check_folder,
    check_output,
    csv_table,
    folder_with,
    output_path,
    page,
    table,
)

pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from meddel_fast.cli import app  # noqa: E402

OTHERS = {
    "notes.txt": b"what matters\n",
    "x.npy": None,
    "settings.toml": b"[run]\nname = 'a'\n",
    "page.html": b"<!doctype html><title>mine</title>",
    "table.csv": b"patient,age\n1,50\n",
    "data.parquet": None,
    "list.json": b'["a"]\n',
    "dict.json": b'{"a": 1}\n',
    "archive.npz": None,
    "binary": bytes(range(256)),
}


@pytest.fixture
def theirs(tmp_path: Path) -> dict[Path, bytes]:
    """Files of all kinds that a user has, with what they hold."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, data in OTHERS.items():
        if data is not None:
            (folder / name).write_bytes(data)
    np.save(folder / "x.npy", np.eye(3, dtype=np.float32))
    np.savez(folder / "archive.npz", a=np.arange(3))
    pq.write_table(pa.table({"a": [1]}), folder / "data.parquet")
    return {path: path.read_bytes() for path in sorted(folder.iterdir())}


KINDS: dict[str, Kind] = {
    "selection": table("a saved selection", b"meddel_fast.selection"),
    "manifest": table("a manifest", b"name", b"root", b"format"),
    "result": RESULT,
    "scores": csv_table("a table of scores", "miou", "normdel"),
    "errors": array_file("a file of errors", "f", 1),
    "report": page("a report"),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_nothing_of_another_kind_is_replaced(kind: Kind, theirs: dict[Path, bytes]) -> None:
    for path in theirs:
        with pytest.raises((ValueError, FileExistsError), match=r"would hold|is there and is not"):
            check_output(path, kind)
        with pytest.raises((ValueError, FileExistsError)), output_path(path, kind) as temporary:
            temporary.write_bytes(b"")
    assert {path: path.read_bytes() for path in theirs} == theirs


def test_two_results_of_one_command_have_two_places(tmp_path: Path) -> None:
    first, link = tmp_path / "a", tmp_path / "b"
    link.symlink_to(first)
    for second in (first, link, tmp_path / "new/../a"):
        with pytest.raises(ValueError, match="or another: choose a new name"):
            check_output(second, NAMES, [None, first])


def test_a_list_replaces_a_list_alone(theirs: dict[Path, bytes]) -> None:
    assert not any(_is_allowed(path, NAMES) for path in theirs)


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("a\nb\n", True),
        ("0\n17\n4", True),
        ("/data/Ground Truth/1.png\n/data/my clip.mp4::000025\n", True),
        ("größe-1\n日本\n", True),
        ("buy milk\n", False),
        ("# Title\n", False),
        ("one\n\ntwo\n", False),
        ("one\none\n", False),
        ("name\tvalue\n", False),
        ("all:\n\tcc x.c\n", False),
    ],
)
def test_prose_is_no_list(tmp_path: Path, text: str, is_list: bool) -> None:
    for name in ("a.txt", "Makefile"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert _is_allowed(tmp_path / name, NAMES) == is_list


def _is_allowed(path: Path, kind: Kind) -> bool:
    try:
        check_output(path, kind)
    except (ValueError, FileExistsError):
        return False
    return True


def test_results_replace_results_of_their_kind(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    first, second = (mf.selectors.random(x, budget, seed=1) for budget in (5, 6))
    path = tmp_path / "sel.parquet"
    first.save(path)
    second.save(path)
    assert len(mf.selectors.Selection.load(path)) == 6
    (tmp_path / "empty.parquet").touch()  # as mktemp makes
    first.save(tmp_path / "empty.parquet")
    bare = tmp_path / "sel-0.05"  # no format's name
    first.save(bare)
    assert len(mf.selectors.Selection.load(bare)) == 5
    for suffix in (".txt", ".csv", ".npy"):
        mf.selectors.export.write_list(first, tmp_path / f"kept{suffix}")
        mf.selectors.export.write_list(second, tmp_path / f"kept{suffix}")
    assert (tmp_path / "kept.txt").read_text().split() == [str(i) for i in second]
    for name in ("y.npy", "y.csv", "y.txt", "y.PARQUET.json"):
        with pytest.raises(ValueError, match=r"whose name ends in \.parquet"):
            first.save(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_inputs_are_never_written(tmp_path: Path) -> None:
    kind = array_file("a file of errors", "f", 1)
    given = tmp_path / "given.npy"
    np.save(given, np.ones(3, np.float32))
    (tmp_path / "link.npy").symlink_to(given)
    os.link(given, tmp_path / "hard.npy")
    (tmp_path / "folder").mkdir()
    (tmp_path / "away").symlink_to(tmp_path / "folder")
    for name in ("given.npy", "link.npy", "hard.npy", "folder/../given.npy"):
        with pytest.raises(ValueError, match="is an input of this very result"):
            check_output(tmp_path / name, kind, [None, given])
    for name in ("folder/new.npy", "away/deep/new.npy"):
        with pytest.raises(ValueError, match=r"lies in .* which is an input"):
            check_output(tmp_path / name, kind, [tmp_path / "away"])
    check_output(tmp_path / "folder2.npy", kind, [tmp_path / "folder", tmp_path / "absent"])


def test_what_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file is no folder"):
        check_output(tmp_path / "file" / "a.txt", NAMES)
    with pytest.raises(IsADirectoryError, match="is a directory"):
        check_output(tmp_path, NAMES)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid():
        with pytest.raises(PermissionError, match="closed may not be changed"):
            check_output(closed / "a.txt", NAMES)
    check_output(tmp_path / "a" / "b" / "c.txt", NAMES)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_a_link(tmp_path: Path, dangling: bool) -> None:
    real = tmp_path / "real.txt"
    if not dangling:
        real.write_text("old")
        real.chmod(0o640)
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert real.read_text() == "new"
    assert dangling or real.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.txt", "real.txt"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.symlink_to(other)
    other.symlink_to(one)
    with pytest.raises(OSError, match="symbolic links"):
        check_output(one, NAMES)
    with pytest.raises(OSError, match="symbolic links"):
        write_text(one, "new")
    assert one.is_symlink()
    assert other.is_symlink()


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_text(pipe, "through")
    reader.join(20)
    assert got == [b"through"]
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_devices_stay_devices(tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    write_json("/dev/null", {"a": 1})
    after = Path("/dev/null").stat()
    assert (before.st_mode, before.st_ino, before.st_rdev) == (
        after.st_mode, after.st_ino, after.st_rdev,
    )  # fmt: skip
    with pytest.raises(FileNotFoundError, match="nothing was written"), atomic_path("/dev/null"):
        pass


@pytest.mark.parametrize("sink", ["pipe", "file"])
def test_standard_output_holds_the_result_and_nothing_else(tmp_path: Path, sink: str) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 4)))
    command = [sys.executable, "-m", "meddel_fast", "select", "x.npy", "--budget", "3"]
    command += ["--method", "random", "--out", "/dev/stdout"]
    target = tmp_path / "out"
    with target.open("wb") as file:
        out: Any = subprocess.PIPE if sink == "pipe" else file
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, cwd=tmp_path, check=True)
    data = done.stdout if sink == "pipe" else target.read_bytes()
    assert pq.read_table(io.BytesIO(data)).num_rows == 20
    assert b"3 of 20 kept by random" in done.stderr


def test_an_output_that_nobody_reads_is_no_error() -> None:
    command = f"{sys.executable} -m meddel_fast select --list; echo $? >&2"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        ["sh", "-c", command], stdout=writer, stderr=subprocess.PIPE, text=True, check=True
    )
    os.close(writer)
    assert done.stderr == "141\n"


def test_standard_output_may_be_closed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(4, dtype=np.float32))
    command = f"{sys.executable} -m meddel_fast select x.npy --budget 3 --out s.npy >&-"
    done = subprocess.run(
        ["sh", "-c", command], stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(np.load(tmp_path / "s.npy")) == 3


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    kind = folder_with("a leaderboard", "leaderboard.csv")
    check_folder(tmp_path / "new", kind)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".hidden").touch()
    check_folder(tmp_path / "empty", kind)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "leaderboard.csv").touch()
    check_folder(tmp_path / "ours", kind)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match=r"is not a leaderboard, it holds thesis\.tex"):
        check_folder(foreign, kind)
    with pytest.raises(NotADirectoryError, match=r"thesis\.tex is no folder"):
        check_folder(foreign / "thesis.tex", kind)
    with pytest.raises(ValueError, match="holds the input"):
        check_folder(foreign, FolderKind("any", lambda path: True), [foreign / "thesis.tex"])
    with pytest.raises(ValueError, match="is an input"):
        check_folder(foreign, kind, [foreign])


def test_every_command_spares_what_it_is_given(finished_run: Path, tmp_path: Path) -> None:
    """Each command with its inputs, and files of others, as what it is to write."""
    run = finished_run
    x, notes, listed = tmp_path / "x.npy", tmp_path / "notes.md", tmp_path / "files.json"
    np.save(x, np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32))
    notes.write_text("mine")
    (tmp_path / "table.csv").write_text("patient,age\n1,50\n")
    listed.write_text("{}")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    vectors = run / "embeddings"
    manifest = next((run / "data").glob("*.parquet"))
    model = next((run / "pretrain").glob("*/model"))
    budget = ("--budget", "3", "--method", "random")
    saved = next((run / "select").rglob("*.parquet"))
    index, both = tmp_path / "index", tmp_path / "both.txt"
    calls: list[tuple[Any, ...]] = [
        ("select", x, *budget, "--out", x),
        ("select", x, *budget, "--out", notes),
        ("select", vectors, *budget, "--out", vectors / "shard-00000.npy"),
        ("select", vectors, *budget, "--out", vectors / "new.parquet"),
        ("select", x, *budget, "--out", manifest),
        ("select", "--from", saved, "--out", x),
        ("select", "--from", saved, "--manifest", manifest, "--out", both, "--kept", both),
        ("select", vectors, "--manifest", manifest, *budget, "--out", both, "--kept", both),
        ("evaluate", model, manifest, "--out", tmp_path / "a", "--predictions", tmp_path / "a"),
        ("errors", manifest, "--model", model, "--out", manifest),
        ("errors", manifest, "--model", model, "--out", x),
        ("errors", manifest, "--model", model, "--out", model / "config.json"),
        ("tile", manifest, "--model", model, "--images", "1", "--out", foreign),
        ("evaluate", model, manifest, "--out", manifest),
        ("evaluate", model, manifest, "--out", model / "config.json"),
        ("evaluate", model, manifest, "--out", listed),
        ("evaluate", model, manifest, "--predictions", x),
        ("data", "build", run.parent, "--out", notes),
        ("data", "build", run.parent, "--out", saved),
        ("data", "make", tmp_path / "made", "--out", x),
        ("report", run, "--out", notes),
        ("report", run, "--out", run / "run.json"),
        ("embed", manifest, "--encoder", model, "--out", foreign),
        ("embed", manifest, "--encoder", model, "--out", manifest.parent),
        ("embed", manifest, "--encoder", model, "--out", index),
        ("pretrain", manifest, "--out", foreign),
        ("pretrain", manifest, "--out", run),
        ("leakage", x, x, "--out", foreign),
        ("leaderboard", run, "--out", foreign),
        ("leaderboard", run, "--out", run),
        ("index", "show", index, "--kept", index / "index.json"),
        ("index", "show", index, "--kept", x),
        ("score", run, "--out", tmp_path / "table.csv"),
        ("score", run, "--out", run / "score" / "costs.csv"),
        ("score", run / "score" / "scores.csv", "--out", run / "score" / "scores.csv"),
    ]
    cli = CliRunner()
    made = cli.invoke(app, ["index", "create", str(index), "--width", "4"])
    assert made.exit_code == 0, made.output
    before = _held(tmp_path) | _held(run)
    for call in calls:
        done = cli.invoke(app, [str(part) for part in call])
        assert done.exit_code == 2, (call, done.output)
        assert _held(tmp_path) | _held(run) == before, call


def _held(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
