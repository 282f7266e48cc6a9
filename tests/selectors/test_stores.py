"""Every selector on every kind of store: what the same call gives on the array, bit for bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import clustered

import meddel_fast as mf
from meddel_fast.selectors import SELECTORS, Selection
from meddel_fast.selectors.provenance import data_sha256
from meddel_fast.stores.store import Store, as_store, open_store

N, D = 130, 12
MEMORY = "40MB"
FIELDS = (
    *("indices", "order", "scores", "reason", "duplicate_of", "similarity", "distance", "cluster"),
)
RNG = np.random.default_rng(0)
X = clustered(RNG, N, D, centres=6)
SCORE = RNG.gamma(2.0, size=N)
EXCLUDE = RNG.random(N) < 0.2
GROUPS = np.array([f"patient {i}" for i in RNG.integers(5, size=N)])
WEIGHTS = RNG.uniform(0.5, 1.0, N)
SELECTED = np.flatnonzero(~EXCLUDE)[[9, 70, 3]]
LABELS = RNG.integers(3, size=N)

LIKE = clustered(RNG, 7, D, centres=6)
pytestmark = pytest.mark.filterwarnings(
    "ignore:retrieve. kept", "ignore:combine. .* are near copies"
)

COMMON: dict[str, dict[str, Any]] = {
    "plain": {},
    "exclude": {"exclude": EXCLUDE, "seed": 5},
    "classes": {"classes": LABELS, "exclude": EXCLUDE, "target": {"1": 0.4, "2": 0.3}},
    "cover": {"groups": GROUPS, "threads": 1},
    "split": {"groups": GROUPS, "group_rule": "split"},
    "weights": {"weights": WEIGHTS},
    "selected": {"selected": SELECTED},
    "all": {"exclude": EXCLUDE, "groups": GROUPS, "group_rule": "split", "selected": SELECTED},
    "all, weighted": {
        "exclude": EXCLUDE, "groups": GROUPS, "weights": WEIGHTS, "selected": SELECTED
    },
}  # fmt: skip
OWN: dict[str, list[dict[str, Any]]] = {
    "stratified": [{"strata": LABELS}],
    "kcenter": [{"metric": "cosine", "start": 9}],
    "semdedup": [{"keep": "near", "clusters": 1}],
    "meddel": [
        {"rule": "greedy", "clusters": 3},
        {"rule": "components", "disruptive_fraction": 0.1, "deviations": 0, "keep": "random"},
    ],
    "prototypes": [{"keep": "easy", "clusters": 7}],
    "d4": [{"dedup": 0.4, "sweep": "near", "keep": "easy", "clusters": 4}],
    "density": [{"keep": "easy", "nearest": 2, "clusters": 5}],
    "hierarchical": [{"levels": [20, 6, 3], "inside": "closest", "metric": "cosine"}],
    "moderate": [{"labels": LABELS}],
    "facility": [{"neighbors": 6}, {"greedy": "stochastic", "epsilon": 0.3}],
    "craig": [{"neighbors": 5}],
    "coverage": [{"labels": LABELS, "neighbors": 6}, {"hops": 1, "kernel": "top-hat"}],
    "graphcut": [{"neighbors": 7, "trade_off": 0.4}],
    "d2": [{"neighbors": 4, "forward": 0.5}],
    "ccs": [{"strata": 4, "cutoff": 0.1, "clusters": 3}],
    "loss": [{"keep": "low"}],
    "retrieve": [
        {"mode": "cluster", "dedup": 0.9, "clusters": 5, "pick": "near"},
        {"each": 3, "dedup": 0.8, "unlike": X[:2]},
    ],
    "combine": [{"objectives": {"like": 1, "diversity": 1, "dedup": 0.7}, "like": X[:3]}],
}
CASES = [(name, dict(COMMON[common])) for name in SELECTORS for common in COMMON] + [
    (name, options | {"exclude": EXCLUDE}) for name in OWN for options in OWN[name]
]


def needed(name: str) -> dict[str, Any]:
    """What a method is called with in all cases."""
    given = {"score": SCORE, "like": LIKE}
    return {
        option: given[option]
        for option in (*SELECTORS[name].method.needs, *["score"] * (name == "d2"))
    }


def takes(name: str, options: dict[str, Any]) -> bool:
    return "weights" not in options or bool(SELECTORS[name].method.weights)


CASES = [(name, options) for name, options in CASES if takes(name, options)]


def call(number: int, x: Any, **more: Any) -> list[Selection]:
    name, options = CASES[number]
    own = needed(name)
    return SELECTORS[name](x, [20, 0.5], **own, **options, **more)


@functools.cache
def wanted(number: int) -> list[Selection]:
    """What the call gives on the array."""
    return call(number, X)


def assert_equal(found: list[Selection], expected: list[Selection]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.settings == other.settings
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), field)


def _npy(folder: Path) -> list[Path]:
    paths = [folder / "a.npy", folder / "b.npy"]
    for path, rows in zip(paths, np.split(X, [40]), strict=True):
        np.save(path, rows)
    return paths


def _safetensors(folder: Path) -> list[Path]:
    pytest.importorskip("safetensors")
    from safetensors.numpy import save_file

    save_file({"x": X}, folder / "x.safetensors")
    return [folder / "x.safetensors"]


def _parquet(folder: Path) -> list[Path]:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"x": pa.array(X.tolist(), pa.list_(pa.float32()))})
    pq.write_table(table, folder / "x.parquet", row_group_size=50)
    return [folder / "x.parquet"]


FILES: dict[str, Callable[[Path], list[Path]]] = {
    "npy": _npy, "safetensors": _safetensors, "parquet": _parquet
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module", params=FILES)
def store(folder: Path, request: pytest.FixtureRequest) -> Store:
    return open_store(FILES[request.param](folder), memory=MEMORY)


def _title(number: int) -> str:
    name, options = CASES[number]
    return f"{name}-{'+'.join(options) or 'plain'}"


@pytest.mark.parametrize("number", range(len(CASES)), ids=_title)
def test_a_store_gives_what_the_array_gives(store: Store, number: int) -> None:
    assert_equal(call(number, store), wanted(number))


@pytest.mark.parametrize("number", range(len(CASES)), ids=_title)
def test_a_budget_for_an_array_changes_nothing(number: int) -> None:
    assert_equal(call(number, X, memory=MEMORY), wanted(number))


@pytest.mark.parametrize("name", SELECTORS)
def test_a_bfloat16_tensor_with_a_budget(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X).to(torch.bfloat16)
    own = needed(name)
    expected = [mf.selectors.select(name, x, 20, exclude=EXCLUDE, **own)]
    found = [mf.selectors.select(name, x, 20, exclude=EXCLUDE, memory=MEMORY, **own)]
    assert_equal(found, expected)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_budget_too_small_says_what_is_needed(folder: Path, name: str) -> None:
    if name in ("random", "loss"):
        pytest.skip("reads no rows")
    own = needed(name)
    with pytest.raises(ValueError, match=r"memory must be at least \d+ bytes for .*, got 1000"):
        mf.selectors.select(name, open_store(_npy(folder), memory=1000), 20, **own)


def test_nan_is_named_with_its_row_by_every_selector_that_is_given_a_budget() -> None:
    x = X.copy()
    x[77, 3] = np.nan
    for name in SELECTORS:
        with pytest.raises(ValueError, match=r"x must be finite in fp32, got NaN .* row 77$"):
            mf.selectors.select(name, x, 20, memory=MEMORY, **needed(name))


def test_some_rows_of_a_store(store: Store) -> None:
    which = np.array([100, 3, 3, 129, 0])
    some = store[which]
    assert some.memory == MEMORY
    np.testing.assert_array_equal(some.rows(1, 4), X[which][1:4])
    np.testing.assert_array_equal(
        some[np.array([4, 0])].take(np.array([1, 0, 1])), X[[100, 0, 100]]
    )
    before = store.rows_read
    some.rows(0, 5)
    assert store.rows_read > before


def test_a_selection_may_be_saved_with_a_store(store: Store) -> None:
    assert data_sha256(store) == data_sha256(X) == data_sha256(as_store("x", X))


@pytest.mark.parametrize(
    "name", ["herding", "facility", "craig", "coverage", "graphcut", "d2", "kcenter"]
)
def test_steps_are_reported(store: Store, name: str) -> None:
    calls: list[tuple[int, int]] = []
    mf.selectors.select(name, store, 20, progress=lambda done, total: calls.append((done, total)))
    assert (20, 20) in calls
