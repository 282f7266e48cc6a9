"""Files that earlier versions wrote are read: tests/data/formats has one of each format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.index import SelectionIndex, segments
from meddel_fast.selectors import hierarchy, selection
from meddel_fast.selectors.hierarchy import HierarchyResult
from meddel_fast.selectors.selection import Selection
from meddel_fast.stores import embedding_files

FILES = Path(__file__).parents[1] / "data" / "formats"
X = (np.arange(240).reshape(40, 6) ** 2 % 17 - 8).astype(np.float32)
IDS = [f"frame-{i:02d}" for i in range(40)]


def test_there_is_one_of_every_format() -> None:
    """Who raises a number adds a file, and keeps those of the numbers before."""
    pytest.importorskip("torch")
    from meddel_fast.images import manifest
    from meddel_fast.training import checkpoint

    newest = {
        "checkpoint": int(checkpoint.FORMAT),
        "embeddings": embedding_files.FORMAT,
        "hierarchy": hierarchy._FORMAT,
        "index": segments._FORMAT,
        "manifest": int(manifest.FORMAT),
        "selection": selection._FORMAT,
    }
    unnumbered = ("checkpoint", "embeddings")  # at first
    wanted = {
        f"{k}-{n}" for k, last in newest.items() for n in range(k not in unnumbered, last + 1)
    }
    assert {path.stem for path in FILES.iterdir()} == wanted


@pytest.mark.parametrize("version", [1, 2, 3])
def test_manifests(version: int) -> None:
    pytest.importorskip("pyarrow")
    from meddel_fast.images.manifest import Manifest

    found = Manifest.load(FILES / f"manifest-{version}.parquet")
    assert (found.name, str(found.root)) == ("three", "/nowhere")
    assert found.table.column("id").to_pylist() == IDS[:3]
    label = None if version == 1 else "polyp"
    assert found.table.column("label").to_pylist() == [label] * 3
    assert found.table.column("mask_meaning").null_count == 3


def test_selections() -> None:
    pytest.importorskip("pyarrow")
    found, wanted = Selection.load(FILES / "selection-1.parquet"), mf.selectors.kcenter(X, 5)
    np.testing.assert_array_equal(found.order, wanted.order)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert selection.read_ids(FILES / "selection-1.parquet") == IDS
    assert selection.read_about(FILES / "selection-1.parquet")["method"] == "kcenter"


def test_hierarchies() -> None:
    found = HierarchyResult.load(FILES / "hierarchy-1.npz")
    assert [len(c) for c in found.centroids] == [8, 3]
    assert found.data_sha256 == mf.selectors.provenance.data_sha256(X)


def test_indexes(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    shutil.copytree(FILES / "index-1", tmp_path / "index")
    index = SelectionIndex.open(tmp_path / "index")
    assert len(index) == 38
    assert index.verify() == []
    added = index.add(X[:1], ["the same again"])
    assert (added.kept, len(index)) == (0, 39)


@pytest.mark.parametrize("version", [0, 1])
def test_embeddings(version: int) -> None:
    store = mf.open_store(FILES / f"embeddings-{version}")
    np.testing.assert_array_equal(store.rows(0, 40), X)


@pytest.mark.parametrize("version", [0, 1])
def test_checkpoints(version: int) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from meddel_fast.training import checkpoint

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    path = FILES / f"checkpoint-{version}.safetensors"
    assert checkpoint.load(path, model, optimizer, "another run") == 0
    assert checkpoint.load(path, model, optimizer, "the run") == 2
    assert optimizer.state[model.weight]["exp_avg"].abs().sum() > 0
    np.testing.assert_allclose(model.bias.detach(), [-0.4, 0.4], atol=0.5)


def bent(kind: str, folder: Path) -> Path:
    """The newest file of a kind as a later version might write it."""
    if kind == "embeddings":
        shutil.copytree(FILES / "embeddings-1", folder / kind)
        told: dict[str, Any] = json.loads((folder / kind / "index.json").read_text())
        (folder / kind / "index.json").write_text(json.dumps(told | {"format": 9}))
        return folder / kind
    import pyarrow.parquet as pq

    table = pq.read_table(FILES / "manifest-3.parquet")
    path = folder / "manifest.parquet"
    pq.write_table(table.replace_schema_metadata(table.schema.metadata | {b"format": b"9"}), path)
    return path


def test_later_formats_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    from meddel_fast.images.manifest import Manifest

    with pytest.raises(ValueError, match="needs a newer meddel-fast: this one reads format 1"):
        mf.open_store(bent("embeddings", tmp_path))
    with monkeypatch.context() as later:
        later.setattr(segments, "_FORMAT", 9)
        SelectionIndex.create(tmp_path / "index", 4)
    with pytest.raises(ValueError, match="wanted format 1, got 9"):
        SelectionIndex.open(tmp_path / "index")
    with pytest.raises(ValueError, match="wanted a manifest of format 3, has 9"):
        Manifest.load(bent("manifest", tmp_path))


def test_a_later_checkpoint_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from meddel_fast.training import checkpoint

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "FORMAT", "9")
        checkpoint.save(tmp_path / "c.safetensors", model, optimizer, "the run", 2)
    with pytest.raises(checkpoint.DamagedCheckpointError, match="of format 9, which needs a newer"):
        checkpoint.load(tmp_path / "c.safetensors", model, optimizer, "the run")
