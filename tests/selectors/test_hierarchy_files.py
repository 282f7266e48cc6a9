"""Trees of clusters in files: what is written is read, and what is damaged is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import clustered

from meddel_fast.selectors import HierarchyResult, build_hierarchy


@pytest.fixture(scope="module")
def tree() -> HierarchyResult:
    return build_hierarchy(clustered(np.random.default_rng(0), 90, 5), [12, 4, 2])


def test_saved_and_loaded(tree: HierarchyResult, tmp_path: Path) -> None:
    path = tmp_path / "tree.npz"
    tree.save(path)
    tree.save(path)  # in place of its own kind
    found = HierarchyResult.load(path)
    assert repr(found) == repr(tree) == "<HierarchyResult of 90 samples in 12 / 4 / 2>"
    assert (found.settings, found.data_sha256) == (tree.settings, tree.data_sha256)
    for mine, theirs in (
        (tree.assignments, found.assignments),
        (tree.centroids, found.centroids),
        ((tree.distance,), (found.distance,)),
    ):
        for a, b in zip(mine, theirs, strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["tree.npz"]


def test_labels_of_levels(tree: HierarchyResult) -> None:
    first, second, third = tree.assignments
    assert np.array_equal(tree.labels(0), first)
    assert np.array_equal(tree.labels(1), second[first])
    assert np.array_equal(tree.labels(-1), third[second[first]])
    for level in (3, -4):
        with pytest.raises(ValueError, match="level must be from -3 to 2"):
            tree.labels(level)


def test_what_it_must_not_replace_or_read(tree: HierarchyResult, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", a=np.zeros(3))
    with pytest.raises(FileExistsError, match="is not a saved hierarchy"):
        tree.save(tmp_path / "mine.npz")
    with pytest.raises(ValueError, match=r"mine\.npz holds no saved hierarchy"):
        HierarchyResult.load(tmp_path / "mine.npz")
    with pytest.raises(ValueError, match="npz"):
        tree.save(tmp_path / "tree.parquet")
    with pytest.raises(FileNotFoundError, match="no saved hierarchy at"):
        HierarchyResult.load(tmp_path / "absent.npz")


def changed(path: Path, **members: Any) -> None:
    """Write a saved tree again with other members."""
    with np.load(path) as file:
        held = dict(file)
    held |= {k: v for k, v in members.items() if v is not None}
    np.savez(path, **{k: v for k, v in held.items() if k not in members or members[k] is not None})


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"centroids_1": None}, "centroids_1"),
        ({"assignment_0": np.full(90, 12)}, "wanted clusters 0 to 11"),
        ({"assignment_0": np.full(90, -1)}, "wanted clusters 0 to 11"),
        ({"assignment_0": np.zeros(90, np.int64)}, "members in each of 12 clusters"),
        ({"assignment_0": np.zeros(90, np.int32)}, "wanted assignment_0 of <i8"),
        ({"assignment_1": np.zeros(11, np.int64)}, "wanted assignment_1 of <i8 and shape"),
        ({"distance": np.full(90, np.nan)}, "finite distances"),
        ({"distance": np.full(90, -1.0)}, "finite distances"),
        ({"distance": np.zeros((90, 2))}, "wanted"),
        ({"centroids_0": np.zeros((12, 6), np.float32)}, "wanted centroids_1"),
        ({"centroids_0": np.float32(1)}, "holds no saved hierarchy"),
        ({"about": np.frombuffer(b"{}", np.uint8)}, "format"),
        ({"about": np.frombuffer(b"no", np.uint8)}, "holds no saved hierarchy"),
        ({"about": np.frombuffer(json.dumps({"format": 2}).encode(), np.uint8)}, "wanted format 1"),
        (
            {
                "about": np.frombuffer(
                    json.dumps(
                        {"format": 1, "levels": 65, "settings": {}, "data_sha256": ""}
                    ).encode(),
                    np.uint8,
                )
            },
            "wanted 1 to 64 levels",
        ),
        (
            {"about": np.frombuffer(json.dumps({"format": 1, "levels": "3"}).encode(), np.uint8)},
            "wanted levels of type int",
        ),
    ],
)
def test_damaged_files_are_refused(
    tree: HierarchyResult, tmp_path: Path, members: dict[str, Any], text: str
) -> None:
    path = tmp_path / "tree.npz"
    tree.save(path)
    changed(path, **members)
    with pytest.raises(ValueError, match=text) as told:
        HierarchyResult.load(path)
    assert str(path) in str(told.value)


def test_truncated_files_are_refused(tree: HierarchyResult, tmp_path: Path) -> None:
    path = tmp_path / "tree.npz"
    tree.save(path)
    data = path.read_bytes()
    for length in range(0, len(data), 397):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="holds no saved hierarchy"):
            HierarchyResult.load(path)
    assert not zipfile.is_zipfile(path)


# What is refused
