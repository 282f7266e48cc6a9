"""What is no array of numbers is refused by its kind, by every way in; results are in kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import assert_same

import meddel_fast as mf
from meddel_fast.sharded.memory import check_memory
from meddel_fast.stores.store import LocalRows

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


def sparse(name: str) -> Any:
    return getattr(pytest.importorskip("scipy.sparse"), name)(X)


def tensor(change: Callable[[Any], Any]) -> Any:
    torch = pytest.importorskip("torch")
    return change(torch.from_numpy(X))


KINDS: dict[str, tuple[Callable[[], Any], str]] = {
    "masked": (lambda: np.ma.array(X, mask=X > 2), "x must not be a masked array"),
    "masked nothing": (lambda: np.ma.array(X), "x must not be a masked array"),
    "csr_matrix": (lambda: sparse("csr_matrix"), r"x must be dense, got .*csr_matrix"),
    "coo_array": (lambda: sparse("coo_array"), r"x must be dense, got .*coo_array"),
    "sparse tensor": (lambda: tensor(lambda t: t.to_sparse()), r"x must be dense, got .*Tensor"),
    "generator": (lambda: (row for row in X), r"got a generator: pass numpy.stack"),
    "iterator": (lambda: iter(X.tolist()), r"got a list_iterator: pass numpy.stack"),
    "text": (lambda: "abc", "x must be an array, got a str"),
    "bytes": (lambda: b"abc", "x must be an array, got a bytes"),
    "mapping": (lambda: {1: [2.0]}, "x must be an array, got a dict"),
    "set": (lambda: {1.0}, "x must be an array, got a set"),
    "None": (lambda: None, "x must be an array, got a NoneType"),
    "objects": (lambda: X.astype(object), "x must be float32, .* got object in a numpy.ndarray"),
    "rows of objects": (lambda: np.array([None, 1]), "x must be float32, .* got object in"),
    "texts": (lambda: X.astype("U9"), "x must be float32, .* got <U9"),
    "complex": (lambda: X.astype(complex), "x must be float32, .* got complex128"),
    "bool": (lambda: X > 0, "x must be float32, .* got bool"),
    "int64": (lambda: X.astype(np.int64), "x must be float32, .* got int64"),
    "dates": (lambda: X.astype("M8[s]"), "x must be float32, .* got datetime64"),
    "bool tensor": (lambda: tensor(lambda t: t > 0), "x must be float32, .* got bool"),
    "complex tensor": (lambda: tensor(lambda t: t * 1j), "x must be float32, .* got complex64"),
    "fp8 tensor": (
        lambda: tensor(lambda t: t.to(__import__("torch").float8_e4m3fn)),
        "x must be float32, .* got torch.float8_e4m3fn",
    ),
    "meta tensor": (lambda: tensor(lambda t: t.to("meta")), "x must be on the CPU|device must be"),
    "ragged": (lambda: [[1.0, 2.0], [3.0]], "x must be an array, with rows of one length"),
    "number": (lambda: 5.0, r"x must be a 2-d float array, got shape \(\)"),
}
WAYS: dict[str, Callable[[Any], Any]] = {
    "in memory": mf.redundancy,
    "in parts": lambda x: mf.redundancy(x, memory="1GB"),
    "selector": lambda x: mf.selectors.random(x, 2),
    "selector in parts": lambda x: mf.selectors.kcenter(x, 2, memory="1GB"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_array_of_numbers_is_refused_by_its_kind(kind: str, way: str) -> None:
    make, said = KINDS[kind]
    x = make()
    with pytest.raises((TypeError, ValueError), match=said):
        WAYS[way](x)


@pytest.mark.parametrize("name", ["exclude", "groups", "weights", "selected"])
def test_masked_options_are_refused(name: str) -> None:
    value = np.ma.array(np.ones(20, dtype=int), mask=[True] + [False] * 19)
    with pytest.raises(TypeError, match=f"{name} must not be a masked array"):
        mf.selectors.random(X, 2, **{name: value})


OPERATIONS: dict[str, Callable[..., Any]] = {
    "kcenter": lambda x, **o: mf.kcenter_greedy(x, 4, **o),
    "pairs": lambda x, **o: mf.similar_pairs(x, threshold=0.1, **o),
    "chunks": lambda x, **o: next(mf.iter_similar_pairs(x, threshold=0.1, **o)),
    "redundancy": mf.redundancy,
    "topk": lambda x, **o: mf.topk_similarity(x, k=2, **o),
    "kmeans": lambda x, **o: mf.kmeans(x, 3, **o),
    "deduplicate": lambda x, **o: mf.deduplicate(x, 0.5, **o),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_tensor_with_a_budget_gives_tensors(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(X)
    wanted = OPERATIONS[name](x)
    for found in (OPERATIONS[name](x, memory="40MB"), OPERATIONS[name](LocalRows(x))):
        assert [type(field) for field in found] == [type(field) for field in wanted]
        assert_same(found[:2], [field.numpy() for field in wanted[:2]])


def test_budgets_may_be_written_with_any_unit() -> None:
    sizes = {
        "500M": 500_000_000, "500 mb": 500_000_000, "1.5g": 1_500_000_000, "2T": 2 * 10**12,
        "3k": 3000, "7": 7, "7B": 7, "64Mi": 2**26, "1 GiB": 2**30, "1gib": 2**30,
    }  # fmt: skip
    assert {text: check_memory(text) for text in sizes} == sizes
    for text in ("", "M", "1.5.2G", "-3G", "3 parsecs", "1e9", "5P"):
        with pytest.raises(ValueError, match="memory must be bytes, or a text such as"):
            check_memory(text)


def test_nothing_left_to_choose_is_said_so() -> None:
    for options in ({"k": 1}, {"radius": 0.5}):
        with pytest.raises(
            ValueError, match=r"k has no value to take: there are 0 \(the rows of x"
        ):
            mf.kcenter_greedy(X, selected=np.arange(20), **options)


def test_an_index_takes_an_empty_delivery(tmp_path: Any) -> None:
    pytest.importorskip("pyarrow")
    from meddel_fast.index import SelectionIndex

    index = SelectionIndex.create(tmp_path / "i", 4)
    for _ in range(2):
        added = index.add(X[:0], [])
        assert (len(added.keep), added.kept, added.covered) == (0, 0, 0)
        with pytest.raises(ValueError, match="ids must be one for each of 0 rows"):
            index.add(X[:0], ["a"])
        with pytest.raises(ValueError, match="x must have 4 columns"):
            index.add(X[:0, :3], [])
        if not len(index):
            index.add(X, [str(k) for k in range(20)])
    assert len(index) == 20
