"""A selector that died goes on: what its operations have finished is not done again either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sharded_cases import sample
from thread_group import on_ranks

import meddel_fast as mf
from meddel_fast.common import atomic
from meddel_fast.sharded import checkpoint, kcenter, parts


class DiedError(Exception):
    pass


@pytest.fixture(autouse=True)
def saved_at_each_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDDEL_CHECKPOINT_EVERY", "0")
    monkeypatch.setattr(atomic, "_flush", lambda path: None)
    monkeypatch.setattr(kcenter, "_OFTEN", 1)
    monkeypatch.setattr(parts.Parts, "_rows_a_part", lambda self, left: (1024, False))


def choose(name: str, place: Path | None, **how: Any) -> list[Any]:
    found = mf.selectors.select(
        name, sample("float16"), 200, exclude=np.arange(3500) % 7 == 0, checkpoint=place, **how
    )
    return [found.order, found.scores, found.cluster]


@pytest.mark.parametrize(
    ("name", "last"),
    [("meddel", "redundancy"), ("kcenter", "kcenter_greedy"), ("d4", "redundancy")],
)
def test_it_goes_on(
    name: str,
    last: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    wanted, save = choose(name, None), checkpoint.Checkpoint.save

    def dying(self: Any, *told: Any, **arrays: Any) -> bool:
        done = save(self, *told, **arrays)
        if self._operation == last and self.saves == 2:
            raise DiedError
        return done

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "save", dying)
        with pytest.raises(DiedError):
            choose(name, tmp_path)
    begun = {path.parent.parent.name.split("-")[0] for path in tmp_path.rglob("state.json")}
    assert last in begun
    for found in on_ranks(2, lambda group: choose(name, tmp_path, group=group)):
        assert not isinstance(found, BaseException), found
        for its, all_its in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(its, all_its)
    for operation in begun:
        assert f"checkpoint of {operation} at {tmp_path}: goes on from its state" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_where_one_process_works_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="checkpoint must be None for herding, which one process"):
        mf.selectors.herding(sample("int8"), 5, checkpoint=tmp_path)
    with pytest.raises(TypeError, match="checkpoint must be a path or a URL, got int 3"):
        mf.selectors.meddel(sample("int8"), 5, checkpoint=3)
