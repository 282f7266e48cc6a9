"""What is left at a checkpoint by a call that died: the same call goes on from there."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from breaking_group import DiedError, broken
from samples import assert_same
from sharded_cases import OPERATIONS, sample, whole
from thread_group import on_ranks

import meddel_fast as mf
from meddel_fast import _core
from meddel_fast.common import atomic, places
from meddel_fast.ops._call import needs_parts
from meddel_fast.sharded import checkpoint, kcenter, parts
from meddel_fast.sharded.fingerprint import Fingerprint
from meddel_fast.sharded.group import SoloGroup
from meddel_fast.stores.store import LocalRows

RESUMABLE = [name for name in OPERATIONS if not name.startswith("top")]
SOME = ["kmeans weighted", "kcenter", "greedy in order", "components", "semdedup", "pairs"]
HOW = {"memory": 40_000_000, "threads": 1}
STEPS = {"kmeans": 31, "kcenter": 61, "pairs": 5, "greedy": 23, "components": 13}


@pytest.fixture(autouse=True)
def saved_at_each_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "0")
    monkeypatch.setattr(atomic, "_flush", lambda path: None)  # this machine does not die
    monkeypatch.setattr(kcenter, "_OFTEN", 1)
    cut(monkeypatch, 1024)


def cut(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (rows, False))


def run(name: str, place: Any, **how: Any) -> Any:
    return OPERATIONS[name](sample("float16"), checkpoint=place, **HOW | how)


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a call die when it has saved so often."""

    def die(name: str, place: Any, saves: int) -> None:
        save = checkpoint.Checkpoint.save

        def last(self: Any, *told: Any, **arrays: Any) -> bool:
            done = save(self, *told, **arrays)
            if self.saves == saves:
                raise DiedError
            return done

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.Checkpoint, "save", last)
            with pytest.raises(DiedError):
                run(name, place)

    return die


def states(place: Path) -> list[Path]:
    return sorted(place.rglob("state.json"))


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_death_at_any_exchange(name: str, tmp_path: Path) -> None:
    """Of two, one dies at an exchange, of which each serves in some test; others go on."""
    step = STEPS.get(name.split()[0], 37)
    exchange, sizes = 1 + RESUMABLE.index(name) % step, Counter[int]()

    def work(group: Any) -> Any:
        return run(name, tmp_path, group=group)

    while broken(2, exchange % 2, exchange, work):
        size = sizes.total() % 3 + 1
        sizes[size] += 1
        for found in on_ranks(size, work):
            if isinstance(found, BaseException):
                raise found
            assert_same(found, whole(name, "float16"))
        assert list(tmp_path.iterdir()) == []
        exchange += step
    assert sizes
    assert list(tmp_path.iterdir()) == []


def test_convergence_is_seen_after_a_start(
    tmp_path: Path, dies: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assignment that follows the last save moves no row, as only the saved hash can tell."""
    x = sample("float16")
    wanted = mf.kmeans(x, 3, seed=1)
    assert wanted.converged
    monkeypatch.setitem(OPERATIONS, "kmeans", lambda rows, **how: mf.kmeans(rows, 3, seed=1, **how))
    dies("kmeans", tmp_path, wanted.iterations + 1)
    assert_same(run("kmeans", tmp_path), wanted)


KERNELS = {
    "kmeans weighted": "kmeans", "kcenter": "catch_up", "greedy in order": "greedy_in_part",
    "components": "similar_pairs", "semdedup": "earlier_in_part", "pairs": "similar_pairs",
}  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_what_was_done_is_not_done_again(
    name: str, tmp_path: Path, dies: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, wanted = 0, whole(name, "float16")
    kernel = getattr(_core, KERNELS[name])

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return kernel(*arguments)

    def calls_of(work: Callable[[], Any]) -> int:
        nonlocal calls
        calls = 0
        work()
        return calls

    monkeypatch.setattr(_core, KERNELS[name], counted)
    unbroken = calls_of(lambda: run(name, tmp_path))
    before = calls_of(lambda: dies(name, tmp_path, 2))
    after = calls_of(lambda: assert_same(run(name, tmp_path), wanted))
    assert before > 0
    assert after > 0
    # k-center asks for other rows after a start, as it learns anew how many pay.
    assert before + after == unbroken or (name == "kcenter" and before + after < unbroken + 4)


@pytest.mark.parametrize("name", ["kcenter", "semdedup", "pairs", "pairs of two"])
def test_a_death_while_saving(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each write in turn, before and after it."""
    write, gone = places.write_bytes, 0
    for last in itertools.count(1, 3 if name in ("kcenter", "semdedup") else 1):
        writes = 0

        def dying(place: str, data: bytes, last: int = last) -> None:
            nonlocal writes
            writes += 1
            if writes == last and last % 2:
                raise DiedError
            write(place, data)
            if writes == last:
                raise DiedError

        with monkeypatch.context() as patch:
            patch.setattr(places, "write_bytes", dying)
            try:
                run(name, tmp_path)
            except DiedError:
                gone += 1
            else:
                break
        assert_same(run(name, tmp_path), whole(name, "float16"))
        assert list(tmp_path.iterdir()) == []
        if last > 30:
            break
    assert gone > 3


def test_a_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The work goes on, and what was saved before stays."""
    write = places.write_bytes

    def full(place: str, data: bytes) -> None:
        if "-000001-" in place:
            raise OSError(28, "No space left on device", place)
        write(place, data)

    monkeypatch.setattr(places, "write_bytes", full)
    assert_same(run("semdedup", tmp_path), whole("semdedup", "float16"))
    assert "not saved, the state before stays: [Errno 28] No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def damages(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    record = folder / "state.json"
    own = next(folder.glob("own-*"), next(folder.glob("grown-*"), record))
    data, said = own.read_bytes(), json.loads(record.read_bytes())
    yield "must have", lambda: own.write_bytes(data[:-1])
    yield "is damaged", lambda: own.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    yield "No such file", own.unlink
    yield "Expecting", lambda: record.write_bytes(record.read_bytes()[:40])
    yield (
        "it is damaged, or of another version",
        lambda: record.write_text(json.dumps(said | {"told": {}})),
    )
    yield "it holds no record", lambda: record.write_text("[1]")
    yield "codec can't decode", lambda: record.write_bytes(b"\xff\xfe\xfd")


@pytest.mark.parametrize("name", ["kcenter", "components", "pairs"])
def test_damage(
    name: str, tmp_path: Path, dies: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(7):
        dies(name, tmp_path, 2)
        said, damage = list(damages(states(tmp_path)[0].parent))[number]
        damage()
        caplog.clear()
        assert_same(run(name, tmp_path), whole(name, "float16"))
        assert re.search(f"cannot be used .*{said}.*: begun anew", caplog.text), caplog.text
        for left in tmp_path.rglob("*"):
            assert left.is_dir(), left


def test_what_others_have_there_stays(tmp_path: Path, dies: Callable[..., None]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    dies("semdedup", tmp_path, 1)
    folder = states(tmp_path)[0].parent
    (folder / "notes.txt").write_text("mine")
    assert_same(run("semdedup", tmp_path), whole("semdedup", "float16"))
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == ["about.json", "notes.txt", "thesis.tex"]


def test_other_options_and_rows_have_other_states(
    tmp_path: Path, dies: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    dies("semdedup", tmp_path, 2)
    dies("semdedup in order", tmp_path, 2)
    dies("greedy", tmp_path, 2)
    assert len(states(tmp_path)) == 3
    assert "goes on" not in caplog.text
    assert_same(run("semdedup", tmp_path), whole("semdedup", "float16"))
    assert caplog.text.count("goes on from its state: {'rounds': 1}") == 1
    assert len(states(tmp_path)) == 2

    x = sample("float16").copy()
    x[[40, 41]] = x[[41, 40]]
    caplog.clear()
    found = mf.deduplicate(x, 0.98, rule="greedy", checkpoint=tmp_path, **HOW)
    assert_same(found, mf.deduplicate(x, 0.98, rule="greedy"))
    assert "there are states of this call on other rows, which are left as they are" in caplog.text
    assert len(states(tmp_path)) == 2
    for name in ("greedy", "semdedup in order"):
        caplog.clear()
        assert_same(run(name, tmp_path), whole(name, "float16"))
        assert "goes on" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*SOME, "pairs of two", "redundancy in groups"])
def test_with_other_parts(
    name: str,
    tmp_path: Path,
    dies: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of more memory the parts stay as they were; of less what can be used is used."""
    caplog.set_level("INFO")
    for before, after in ((1024, 2048), (2048, 1024)):
        cut(monkeypatch, before)
        dies(name, tmp_path, 1)
        cut(monkeypatch, after)
        caplog.clear()
        assert_same(run(name, tmp_path), whole(name, "float16"))
        assert "goes on from its state" in caplog.text
        again = after < before and name in (
            "components",
            "semdedup",
            "pairs",
            "redundancy in groups",
        )
        assert ("is compared again, as the parts are cut otherwise" in caplog.text) == again


def test_rows_of_each_process(tmp_path: Path, dies: Callable[..., None]) -> None:
    """A state of one process serves three that have rows of their own, and no multiple of 1,024."""
    x = sample("float16")
    for name in ("kcenter", "greedy", "semdedup", "pairs"):
        dies(name, tmp_path, 2)

        def work(group: Any, name: str = name) -> Any:
            rows = LocalRows(np.array_split(x, 3)[group.rank])
            return OPERATIONS[name](rows, group=group, checkpoint=tmp_path, **HOW)

        for found in on_ranks(3, work):
            assert not isinstance(found, BaseException), found
            assert_same(found, whole(name, "float16"))
    assert list(tmp_path.iterdir()) == []


def test_at_a_url(dies: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("fsspec")
    caplog.set_level("INFO")
    place = "memory://checkpoints/one"
    for name in ("kmeans", "pairs"):
        dies(name, place, 1)
        assert any(file.endswith("state.json") for file in places.list_files(place))
        for found in on_ranks(2, lambda group, name=name: run(name, place, group=group)):
            assert not isinstance(found, BaseException), found
            assert_same(found, whole(name, "float16"))
        assert places.list_files(place) == []
    assert caplog.text.count("goes on from its state") == 2


def test_wrong_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("something")
    for place, error, said in (
        (3, TypeError, "checkpoint must be a path or a URL, got int 3"),
        (b"x", TypeError, "checkpoint must be a path or a URL, got bytes"),
        ("", TypeError, "checkpoint must be a path or a URL, got str ''"),
        (tmp_path / "file", NotADirectoryError, "checkpoint must be a folder, .*file is a file"),
        (tmp_path / "file" / "below", NotADirectoryError, "file"),
    ):
        with pytest.raises(error, match=said):
            run("kmeans", place)
    assert (tmp_path / "file").read_text() == "something"
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "soon")
    with pytest.raises(ValueError, match="MEDDEL_CHECKPOINT_EVERY must be seconds, 0 or more"):
        run("kmeans", tmp_path)
    assert needs_parts(sample("int8"), memory=None, group=None, checkpoint=tmp_path)


def test_saving_takes_little_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second save comes after five seconds, or fifty times as long as the first one took."""
    monkeypatch.delenv("MEDDEL_CHECKPOINT_EVERY")
    now = 0.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    rows = parts.Parts("x", np.ones((4, 2), np.float32), parts.Settings(10**8, SoloGroup(), 1))
    rows.plan(everywhere=0)
    keeper = checkpoint.Checkpoint(tmp_path, "test", {}, SoloGroup(), rows)
    rows.survey()
    assert keeper.begin() is None
    now = 4.9
    assert not keeper.due()
    now = 5.1
    assert keeper.due()
    write = places.write_bytes

    def slow(place: str, data: bytes) -> None:
        nonlocal now
        now += 0.5
        write(place, data)

    monkeypatch.setattr(places, "write_bytes", slow)
    assert keeper.save({"done": 1})
    saved = now
    assert keeper.seconds == pytest.approx(0.5)
    now = saved + 24.9
    assert not keeper.due()
    now = saved + 25.1
    assert keeper.due()


def test_fingerprints() -> None:
    x = sample("float16")

    def of(rows: Any, *cuts: int) -> int:
        found = Fingerprint()
        for first, part in zip([0, *cuts], np.split(rows, cuts), strict=True):
            found.add(part, first)
        return found.of_all(SoloGroup())

    assert of(x) == of(x, 7) == of(x, 1000, 1001, 3400)
    altered = [x, x[:-1], x[::-1], x[:, ::-1], -x, np.roll(x, 1, 0), np.roll(x, 1, 1), x * 0]
    for i, j in ((0, 1), (0, 23), (22, 23)):  # two elements of a row change places, or signs
        for change in (lambda row, at: row[at[::-1]], lambda row, at: -row[at]):
            y = x.copy()
            y[9, [i, j]] = change(y[9], [i, j])
            altered.append(y)
    assert len({of(rows) for rows in altered}) == len(altered)
