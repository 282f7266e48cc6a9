"""What is left at a checkpoint by a call that died: the same call goes on from there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from breaking_group import broken
from samples import assert_same
from sharded_cases import OPERATIONS, sample, whole
from thread_group import on_ranks

from meddel_fast.common import atomic
from meddel_fast.sharded import kcenter, parts

RESUMABLE = [name for name in OPERATIONS if not name.startswith("top")]
HOW = {"memory": 40_000_000, "threads": 1}


@pytest.fixture(autouse=True)
def saved_at_each_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "0")
    monkeypatch.setattr(atomic, "_flush", lambda path: None)  # this machine does not die
    monkeypatch.setattr(kcenter, "_OFTEN", 1)
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (1024, False))


def finished(name: str, size: int, place: Path, x: Any = None) -> None:
    """Start it again, in so many processes, and look at what comes out."""
    rows = sample("float16") if x is None else x
    for found in on_ranks(
        size, lambda group: OPERATIONS[name](rows, group=group, checkpoint=place, **HOW)
    ):
        if isinstance(found, BaseException):
            raise found
        assert_same(found, whole(name, "float16"))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", RESUMABLE)
def test_a_death_at_any_exchange(name: str, tmp_path: Path) -> None:
    """Of two, one dies at each exchange in turn; one, two or three go on."""
    exchange, step = 1, 7
    sizes = Counter[int]()
    while broken(
        2, exchange % 2, exchange,
        lambda g: OPERATIONS[name](sample("float16"), group=g, checkpoint=tmp_path, **HOW),
    ):  # fmt: skip
        sizes[size := exchange % 3 + 1] += 1
        finished(name, size, tmp_path)
        exchange += step
    assert len(sizes) == 3
    assert list(tmp_path.iterdir()) == []
