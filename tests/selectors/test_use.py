"""What is done with a selection: samplers, subsets, tables, shards, lists, provenance."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from meddel_fast import __version__, selectors
from meddel_fast.selectors import Selection, export
from meddel_fast.selectors.provenance import data_sha256, ids_sha256
from meddel_fast.selectors.selection import read_about, read_ids

N = 30


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    x = np.random.default_rng(2).normal(size=(N, 5)).astype(np.float32)
    x[7] = x[3]
    return x


@pytest.fixture(scope="module")
def selection(x: np.ndarray) -> Selection:
    return selectors.semdedup(x, 12, clusters=1)


def test_iterates_over_the_kept_samples(selection: Selection) -> None:
    assert list(selection) == selection.indices.tolist()
    assert all(type(i) is int for i in selection)


def test_torch(selection: Selection, x: np.ndarray) -> None:
    pytest.importorskip("torch")
    from torch import from_numpy
    from torch.utils.data import DataLoader, Subset, TensorDataset

    dataset = TensorDataset(from_numpy(x))
    loader = DataLoader(dataset, batch_size=5, sampler=selection)
    assert len(loader) == 3
    np.testing.assert_array_equal(np.concatenate([b[0] for b in loader]), x[selection.indices])
    part = selection.subset(dataset)
    assert isinstance(part, Subset)
    assert part.indices == selection.indices.tolist()
    np.testing.assert_array_equal(part[3][0], x[selection.indices[3]])
    np.testing.assert_array_equal(selection.filter(from_numpy(x)), x[selection.indices])
    with pytest.raises(ValueError, match="dataset must be 30 long, as what was selected from"):
        selection.subset(part)


def test_tables(selection: Selection, x: np.ndarray) -> None:
    wanted = selection.indices.tolist()
    np.testing.assert_array_equal(selection.filter(x), x[wanted])
    assert selection.filter(list(range(N))) == wanted
    assert selection.filter(tuple(range(N))) == tuple(wanted)
    for bad in (dict.fromkeys(range(N), 0), "a" * N, set(range(N)), SimpleNamespace(), iter([])):
        with pytest.raises(TypeError, match="table must be of pandas, Polars"):
            selection.filter(bad)
    for n in (3, 31):
        message = f"table must be 30 long, as what was selected from, got {n}"
        with pytest.raises(ValueError, match=message):
            selection.filter([1] * n)


def test_more_samples_than_python_keeps_small_numbers_for(tmp_path: Path) -> None:
    """Lengths above 256 are equal without being one object."""
    n = 300
    many = selectors.kcenter(np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32), 280)
    ids = [f"n{i}" for i in range(n)]
    assert many.filter(list(range(n))) == many.indices.tolist()
    export.write_list(many, tmp_path / "x.txt", ids)
    assert (tmp_path / "x.txt").read_text().split() == [ids[i] for i in many.indices]
    pytest.importorskip("pyarrow")
    many.save(tmp_path / "x.parquet", ids)
    assert read_ids(tmp_path / "x.parquet") == ids
    np.testing.assert_array_equal(Selection.load(tmp_path / "x.parquet").order, many.order)


@pytest.mark.parametrize("library", ["pyarrow", "pandas", "polars", "datasets"])
def test_tables_of(selection: Selection, library: str) -> None:
    module = pytest.importorskip(library)
    columns = {"row": list(range(N)), "name": [f"n{i}" for i in range(N)]}
    wanted = selection.indices.tolist()
    if library == "pyarrow":
        table = module.table(columns)
        assert selection.filter(table).to_pydict() == {
            "row": wanted,
            "name": [f"n{i}" for i in wanted],
        }
        assert selection.filter(table["row"]).to_pylist() == wanted
    elif library == "datasets":
        assert selection.filter(module.Dataset.from_dict(columns))["row"][:] == wanted
    else:
        frame = module.DataFrame(columns)
        assert type(selection.filter(frame)) is type(frame)
        assert selection.filter(frame)["row"].to_list() == wanted
        assert selection.filter(frame["row"]).to_list() == wanted


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Three shards of 11, 0 and 19 samples of two files each, in folders, and other files."""
    paths, begin = [], 0
    for shard, count in enumerate((11, 0, 19)):
        paths.append(str(tmp_path / f"shard-{shard}.tar"))
        with tarfile.open(paths[-1], "w") as tar:
            for name in ["README", ".hidden"]:
                tar.addfile(tarfile.TarInfo(name), io.BytesIO())
            for i in range(begin, begin + count):
                for suffix in ("x.seg.png", "cls"):
                    info = tarfile.TarInfo(f"part.a/{i:04d}.{suffix}")
                    data = f"{i} {suffix}".encode()
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        begin += count
    return paths


def test_shards(selection: Selection, shards: list[str], tmp_path: Path) -> None:
    keys = export.shard_keys(shards)
    assert list(map(len, keys.values())) == [11, 0, 19]
    kept = export.kept_keys(selection, keys)
    assert list(kept) == shards
    flat = [key for names in kept.values() for key in names]
    assert flat == [f"part.a/{i:04d}" for i in selection]
    export.write_kept_keys(kept, tmp_path / "kept.json")
    for source in (kept, tmp_path / "kept.json"):
        keep = export.is_kept(source)
        for shard, names in keys.items():
            for where in (shard, f"elsewhere/{Path(shard).name}"):
                found = [k for k in names if keep({"__url__": where, "__key__": k})]
                assert found == kept[shard]
        with pytest.raises(KeyError):
            keep({"__url__": "shard-9.tar", "__key__": "0"})
    export.write_shards(kept, tmp_path / "small")
    copies = sorted(map(str, (tmp_path / "small").iterdir()))
    assert [Path(c).name for c in copies] == ["shard-0.tar", "shard-2.tar"]  # one had nothing
    assert list(export.shard_keys(copies).values()) == [kept[shards[0]], kept[shards[2]]]
    with tarfile.open(copies[0]) as tar:
        member = tar.extractfile(f"{kept[shards[0]][0]}.cls")
        assert member is not None
        assert member.read() == f"{selection.indices[0]} cls".encode()
    with pytest.raises(ValueError, match="keys must be 30 long"):
        export.kept_keys(selection, {shards[0]: ["a"]})
    twice = {"a/x.tar": ["k"], "b/x.tar": ["k"]}
    for refused in (export.is_kept, lambda kept: export.write_shards(kept, tmp_path / "other")):
        with pytest.raises(ValueError, match="no two shards of one file name"):
            refused(twice)


def test_shards_in_a_webdataset_pipeline(
    selection: Selection, shards: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("webdataset")
    import webdataset as wds

    keys = export.shard_keys(shards)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        every = wds.WebDataset(shards, shardshuffle=False, empty_check=False)
        assert [s["__key__"] for s in every] == [key for names in keys.values() for key in names]
        kept = export.is_kept(export.kept_keys(selection, keys))
        found = wds.WebDataset(shards, shardshuffle=False, empty_check=False).select(kept)
        assert [int(sample["cls"].split()[0]) for sample in found] == list(selection)


@pytest.fixture
def saved(selection: Selection, x: np.ndarray, tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    path = tmp_path / "selection.parquet"
    selection.save(path, ids=[f"frame {i}" for i in range(N)], data=x)
    return path


def test_provenance(selection: Selection, x: np.ndarray, saved: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    about = read_about(saved)
    assert about["version"] == __version__
    assert about["method"] == "semdedup"
    assert about["settings"] == selection.settings
    assert about["ids_sha256"] == ids_sha256([f"frame {i}" for i in range(N)])
    assert about["data_sha256"] == hashlib.sha256(b"<f4 (30, 5)" + x.tobytes()).hexdigest()
    assert data_sha256(np.asfortranarray(x)) == about["data_sha256"]
    assert data_sha256(x.reshape(N * 5, 1)) != about["data_sha256"]
    long = np.arange(40_000, dtype=np.int8)[:, None]
    whole = hashlib.sha256(b"|i1 (40000, 1)" + long.tobytes()).hexdigest()
    assert data_sha256(long) == whole
    again = tmp_path / "again.parquet"
    selection.save(again, ids=[f"frame {i}" for i in range(N)], data=x)
    assert again.read_bytes() == saved.read_bytes()  # no time, no machine
    selection.save(again)
    assert read_ids(again) is None
    assert {"ids_sha256", "data_sha256"}.isdisjoint(read_about(again))
    assert Selection.load(saved).settings == selection.settings
    rank = parquet.read_table(saved)["rank"].to_numpy()
    assert rank[selection.order].tolist() == list(range(12))
    assert np.all(rank[~selection.mask] == -1)


@pytest.mark.parametrize(
    ("column", "value"),
    [("rank", 12), ("rank", -1), ("reason", "lost"), ("reason", "budget"), ("duplicate_of", N),
     ("duplicate_of", -2)],
)  # fmt: skip
def test_columns_that_no_selection_has(saved: Path, column: str, value: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(saved)
    values = table[column].to_pylist()
    values[table["rank"].to_pylist().index(5)] = value
    place, kind = table.schema.get_field_index(column), table.schema.field(column).type
    parquet.write_table(table.set_column(place, column, pa.array(values).cast(kind)), saved)
    with pytest.raises(ValueError, match=f"its column '{column}' is damaged"):
        Selection.load(saved)


def test_lists(selection: Selection, tmp_path: Path) -> None:
    ids = [f"a,{i}" for i in range(N)]
    export.write_list(selection, tmp_path / "x.txt", ids)
    assert (tmp_path / "x.txt").read_text().splitlines() == [ids[i] for i in selection]
    export.write_list(selection, tmp_path / "x.txt")
    assert (tmp_path / "x.txt").read_text().split() == [str(i) for i in selection]
    export.write_list(selection, tmp_path / "x.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), selection.indices)
    export.write_list(selection, tmp_path / "x.csv", ids)
    with (tmp_path / "x.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ids
    assert [int(row["index"]) for row in rows if row["kept"] == "1"] == list(selection)
    order = sorted((int(row["rank"]), int(row["index"])) for row in rows if row["kept"] == "1")
    assert [i for _, i in order] == selection.order.tolist()
    assert {row["rank"] for row in rows if row["kept"] == "0"} == {"-1"}
    assert [row["reason"] for row in rows] == selection.reason.tolist()
    repeats = {int(r["index"]): r["duplicate_of"] for r in rows if r["duplicate_of"]}
    assert repeats == {int(i): ids[j] for i, j in enumerate(selection.duplicate_of) if j >= 0}
    for name in ("x.json", "x.zip", "x"):
        with pytest.raises(ValueError, match=re.escape("path must end in .txt, .csv or .npy")):
            export.write_list(selection, tmp_path / name)
    with pytest.raises(ValueError, match="ids must be 30 long"):
        export.write_list(selection, tmp_path / "x.txt", ["a"])


def command(*arguments: Any) -> Any:
    pytest.importorskip("typer")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    return CliRunner().invoke(app, ["select", *map(str, arguments)])


def test_command(selection: Selection, saved: Path, tmp_path: Path) -> None:
    done = command("--from", saved, "--out", tmp_path / "kept.txt")
    assert done.exit_code == 0, done.output
    assert "12 of 30 kept by semdedup" in done.output
    for said in ("kept: 12", "clusters: 1", f"version: {__version__}", "data_sha256: "):
        assert said in done.output
    kept = (tmp_path / "kept.txt").read_text().splitlines()
    assert kept == [f"frame {i}" for i in selection]
    for arguments, message in (
        (("--from", tmp_path / "none.parquet"), "none.parquet"),
        (("--from", saved, "--out", tmp_path / "x.json"), "must end in .txt"),
        (("--from", saved, "--kept", tmp_path / "x"), "--manifest and --kept together"),
    ):
        done = command(*arguments)
        assert done.exit_code == 2
        assert message in done.output


def test_command_lists_the_images_of_a_manifest(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("PIL")
    from frames import blob_frames

    rows = blob_frames(tmp_path / "frames", 6, 8)
    rows.save(tmp_path / "manifest.parquet")
    chosen = selectors.random(np.eye(6, dtype=np.float32), 3)
    chosen.save(tmp_path / "s.parquet", rows.ids)
    ask = ("--manifest", tmp_path / "manifest.parquet", "--kept", tmp_path / "kept")
    done = command("--from", tmp_path / "s.parquet", *ask)
    assert done.exit_code == 0, done.output
    listed = [Path(line).name for line in (tmp_path / "kept").read_text().splitlines()]
    assert listed == [f"{i:03d}.png" for i in chosen]
    for names, message in ((None, "has no names"), (["other"] * 6, "does not hold the images")):
        chosen.save(tmp_path / "s.parquet", names)
        done = command("--from", tmp_path / "s.parquet", *ask)
        assert done.exit_code == 2
        assert message in done.output


def test_importing_selectors_imports_no_library() -> None:
    code = (
        "import sys, meddel_fast.selectors.export, meddel_fast.compat, meddel_fast.compat.faiss\n"
        "import meddel_fast.compat.apricot, meddel_fast.compat.deepcore\n"
        "import meddel_fast.compat.semdedup, meddel_fast.compat.nemo_curator\n"
        "print({'torch', 'pyarrow', 'pandas', 'sklearn', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_without_pyarrow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, x: np.ndarray
) -> None:
    path = tmp_path / "selection.parquet"
    selection = selectors.random(x, 3)
    selection.save(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pyarrow: pip install 'meddel-fast\[benchmark\]'"):
        selection.save(path)
    with pytest.raises(ImportError, match=r"pyarrow: pip install 'meddel-fast\[benchmark\]'"):
        Selection.load(path)
