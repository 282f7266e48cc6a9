"""The whole job on one machine: what it is made of, killed at every stage, with other options."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("transformers")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from curate_driver import OPTIONS
from object_stores import web_server
from pictures import write_encoder, write_pictures

import meddel_fast as mf
from meddel_fast.cluster import curate
from meddel_fast.common.hashes import sha256_file
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection
from meddel_fast.training.embed import Embeddings, embed

DRIVER = Path(__file__).resolve().parents[1] / "helpers" / "curate_driver.py"
LISTS = ("duplicates.parquet", "selection.parquet", "kept.parquet", "kept.txt")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an encoder, and a place where they were curated."""
    folder = tmp_path_factory.mktemp("curate")
    write_pictures(folder / "pictures")
    (folder / "pictures" / "a" / "broken.png").write_bytes(b"no picture")
    write_encoder(folder / "encoder")
    curate(folder / "pictures", folder / "whole", encoder=folder / "encoder", **OPTIONS)
    return folder


def content(place: Path) -> dict[str, str]:
    """What decides, and what is kept, by hashes."""
    names = [*LISTS, "manifest.parquet", "embeddings/index.json"]
    shards = sorted(path.relative_to(place) for path in place.glob("embeddings/*.npy"))
    return {str(name): sha256_file(place / name) for name in [*names, *shards]}


def record(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "curate.json").read_text())
    return found


def again(base: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Curate the pictures; the record."""
    given = {**OPTIONS, "encoder": base / "encoder", **options}
    return curate(base / "pictures", out, **given).record


@pytest.fixture
def done(base: Path, tmp_path: Path) -> Path:
    """A copy of the finished place."""
    return Path(shutil.copytree(base / "whole", tmp_path / "done"))


def test_is_what_the_three_steps_give(base: Path, tmp_path: Path) -> None:
    whole = base / "whole"
    manifest = Manifest.load(whole / "manifest.parquet")
    alone = embed(manifest, base / "encoder", tmp_path / "e", batch_size=4, device="cpu")
    np.testing.assert_array_equal(Embeddings.load(whole / "embeddings").array, alone.array)
    assert len(manifest) == 38  # 24, and 8 copies and 6 near ones

    found = mf.deduplicate(alone.array, 0.99)
    table = pq.read_table(whole / "duplicates.parquet").to_pydict()
    ids = manifest.ids
    assert table["id"] == ids
    assert table["keep"] == found.keep.tolist()
    assert 8 <= (~found.keep).sum() <= 14
    assert table["representative"] == [ids[row] for row in found.representative]
    dropped = [s for s in table["similarity"] if s is not None]
    assert dropped == found.similarity[~found.keep].tolist()

    count = int(0.3 * 38 + 0.5)
    wanted = mf.selectors.meddel(alone.array, count, exclude=~found.keep)
    assert Selection.load(whole / "selection.parquet").order.tolist() == wanted.order.tolist()
    kept = manifest.take(wanted.indices)
    assert Manifest.load(whole / "kept.parquet").table.equals(kept.table)
    assert (whole / "kept.txt").read_text().splitlines() == list(map(str, kept.image_paths()))


def test_the_record_and_the_page_tell(base: Path) -> None:
    told = record(base / "whole")
    counts = {name: stage["counts"] for name, stage in told["stages"].items()}
    assert counts["manifest"]["images"] == 38
    assert counts["manifest"]["skipped"] == {"not an image": 1}
    assert counts["embeddings"] == {"shards": 10, "made": 10, "width": 16}
    assert counts["selection"]["kept"] == counts["kept"]["kept"] == 11
    assert told["again"] == []
    assert told["format"] == 1
    page = (base / "whole" / "report.html").read_text()
    assert "11 of 38 kept" in page
    assert page.count("data:image/jpeg") > 12
    assert "not an image" in page
    assert "http:" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers(base: Path, tmp_path: Path, workers: int) -> None:
    again(base, tmp_path / "out", workers=workers, threads=workers)
    assert content(tmp_path / "out") == content(base / "whole")


def test_what_is_done_is_not_done_again(base: Path, done: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.[pn]*")}
    told = again(base, done)
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*.[pn]*")} == before
    assert told["again"] == []


def test_killed_at_every_stage(base: Path, tmp_path: Path) -> None:
    targets = ["manifest:begin", "manifest:end", "embeddings:begin", "embeddings:3"]
    targets += ["embeddings:2", "embeddings:end", "duplicates:begin", "duplicates:end"]
    targets += ["selection:begin", "selection:end", "kept:begin", "kept:end", "report:begin"]
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, DRIVER, base / "pictures", base / "encoder", out, *targets],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("killed") == len(targets)
    assert content(out) == content(base / "whole")
    told = [(one["stage"], one["what"]) for one in record(out)["again"]]
    for stage in ("manifest", "embeddings", "duplicates", "selection", "kept"):
        assert (stage, "begun again: interrupted") in told
    assert ("embeddings", "10 of 10 shards were there") in told
    some = [what for _, what in told if what.endswith("shards were there")]
    assert 3 <= int(some[0].split()[0]) < 10


@pytest.mark.parametrize(
    ("options", "anew"),
    [
        ({"budget": 5}, ["selection", "kept"]),
        ({"method": "kcenter"}, ["selection", "kept"]),
        ({"options": {"epsilon": 0.2}}, ["selection"]),
        ({"dedup": 0.5}, ["duplicates", "selection", "kept"]),
        ({"dedup": None}, ["selection", "kept"]),
        ({"dtype": "float16"}, ["embeddings", "duplicates", "selection"]),
    ],
)
def test_other_options_do_anew_what_depends_on_them(
    base: Path, done: Path, tmp_path: Path, options: dict[str, Any], anew: list[str]
) -> None:
    told = again(base, done, **options)["again"]
    assert set(anew) <= {one["stage"] for one in told if "begun again: other" in one["what"]}
    assert "manifest" not in {one["stage"] for one in told}
    again(base, tmp_path / "new", **options)
    assert (done / "kept.txt").read_bytes() == (tmp_path / "new" / "kept.txt").read_bytes()


def test_a_changed_picture_is_seen(base: Path, done: Path, tmp_path: Path) -> None:
    pictures = shutil.copytree(base / "pictures", tmp_path / "pictures")
    options = {**OPTIONS, "encoder": base / "encoder"}
    curate(pictures, tmp_path / "out", **options)
    shutil.copy(pictures / "a" / "000.png", pictures / "a" / "001.png")
    told = curate(pictures, tmp_path / "out", **options).record["again"]
    assert [one["stage"] for one in told][:2] == ["manifest", "embeddings"]
    assert told[0]["what"] == "begun again: other files"


def test_damage_is_seen(base: Path, done: Path) -> None:
    shard, kept = done / "embeddings" / "shard-00002.npy", done / "kept.txt"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    kept.write_text("other\n")
    (done / "selection.parquet").unlink()
    told = [(one["stage"], one["what"]) for one in again(base, done)["again"]]
    assert ("embeddings", "9 of 10 shards were there") in told
    assert ("selection", "begun again: selection.parquet is missing") in told
    assert ("kept", "begun again: kept.txt is damaged") in told
    assert content(done) == content(base / "whole")


def test_places_of_others_are_left_alone(base: Path, done: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty and is not a place of curate"):
        again(base, other)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]
    shutil.copytree(base / "pictures", tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"holds what was curated of .*pictures, not of"):
        curate(tmp_path / "pictures", done, encoder=base / "encoder", **OPTIONS)
    for place in (base / "pictures" / "out", base):
        with pytest.raises(ValueError, match="input"):
            again(base, place)
    (done / "report.html").write_text("my own page")
    with pytest.raises(FileExistsError, match=r"report\.html is there and is not a report"):
        again(base, done)
    assert (done / "report.html").read_text() == "my own page"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"budget": 0.0}, r"budget must be a share in \(0, 1\], got 0"),
        ({"budget": 0}, "budget must be"),
        ({"method": "best"}, "method must be"),
        ({"method": "loss"}, "method: loss needs score, which curate has not"),
        ({"options": {"cluster": 3}}, "meddel: no option cluster"),
        ({"options": {"exclude": [1]}}, "options: exclude cannot be set here"),
        ({"dedup": 1.5}, "dedup must be"),
        ({"rule": "first"}, "rule must be"),
        ({"encoder": None}, "encoder must be given for images"),
        ({"encoder": "/nonexistent/encoder"}, "encoder"),
        ({"split": ["dev"]}, "split must be one of train, val, test, got 'dev'"),
        ({"engine": "dask"}, "engine must be"),
        ({"address": "auto"}, "address would have no effect with the engine local"),
        ({"workers": 0}, "workers must be"),
        ({"pooling": "max"}, "pooling: wanted one of"),
        ({"memory": "lots"}, "memory must be"),
    ],
)
def test_wrong_options_come_before_any_work(
    base: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=told):
        again(base, tmp_path / "out", **options)
    assert not [path for path in tmp_path.rglob("*") if path.name not in ("out", ".lock")]


def test_embeddings_as_the_source(base: Path, tmp_path: Path) -> None:
    whole = Embeddings.load(base / "whole" / "embeddings").array
    ids = Manifest.load(base / "whole" / "manifest.parquet").ids
    np.save(tmp_path / "x.npy", whole)
    rows = Selection.load(base / "whole" / "selection.parquet").indices
    options = {k: OPTIONS[k] for k in ("budget", "dedup")}
    for source in (base / "whole" / "embeddings", tmp_path / "x.npy"):
        place = tmp_path / f"of-{source.name}"
        found = curate(source, place, **options)
        assert found.ids == [str(row) for row in rows]
        assert pq.read_table(place / "kept.parquet")["row"].to_pylist() == rows.tolist()
        assert (place / "kept.txt").read_text().split() == found.ids
        assert set(found.record["stages"]) == {"duplicates", "selection", "kept"}
    for part in range(2):
        here = slice(part * 20, part * 20 + 20)
        columns = {"id": ids[here], "embedding": list(whole[here])}
        (tmp_path / "parquet").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), tmp_path / "parquet" / f"{part}.parquet")
    found = curate(tmp_path / "parquet", tmp_path / "of-parquet", **options)
    assert found.ids == [ids[row] for row in rows]
    with pytest.raises(ValueError, match="encoder would have no effect"):
        curate(tmp_path / "x.npy", tmp_path / "y", encoder=base / "encoder", **options)


def test_more_than_there_are_is_told_before_the_long_work(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="budget must be at most the 38 samples, got 39"):
        again(base, tmp_path / "out", budget=39)
    assert set(record(tmp_path / "out")["stages"]) == {"manifest"}
    np.save(tmp_path / "x.npy", Embeddings.load(base / "whole" / "embeddings").array)
    with pytest.raises(ValueError, match="budget must be at most the 38 samples, got 39"):
        curate(tmp_path / "x.npy", tmp_path / "rows", budget=39)
    assert not (tmp_path / "rows" / "curate.json").exists()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("stages", "kept", "counts"), None, "'counts' must be dict, got None"),
        (("stages", "kept", "seconds"), "1", "'seconds' must be int or float, got '1'"),
        (("stages", "selection", "outputs"), {}, "selection has no output selection.parquet"),
        (("again",), [1], "must be an object, got 1"),
    ],
)
def test_a_damaged_record_is_refused(
    base: Path, done: Path, path: tuple[str, ...], value: Any, told: str
) -> None:
    found = at = record(done)
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    text = json.dumps(found)
    (done / "curate.json").write_text(text)
    with pytest.raises(ValueError, match=rf"curate\.json is no record of a curation: {told}"):
        again(base, done)
    assert (done / "curate.json").read_text() == text


def test_fewer_are_left_than_wanted(base: Path, tmp_path: Path) -> None:
    told = again(base, tmp_path / "out", budget=36)["stages"]["selection"]["counts"]
    left = again(base, tmp_path / "out")["stages"]["duplicates"]["counts"]["kept"]
    assert told["wanted"] == 36
    assert told["kept"] == told["left"] == left < 36


def test_splits_of_a_manifest(base: Path, tmp_path: Path) -> None:
    manifest = Manifest.load(base / "whole" / "manifest.parquet")
    names = manifest.table["id"].to_pylist()
    splits = ["test" if name.startswith("b/") else "train" for name in names]
    place = manifest.table.column_names.index("split")
    table = manifest.table.set_column(place, "split", [splits])
    Manifest("m", manifest.root, table).save(tmp_path / "m.parquet")
    options = {**OPTIONS, "encoder": base / "encoder", "split": "train"}
    found = curate(tmp_path / "m.parquet", tmp_path / "out", **options)
    assert found.record["stages"]["manifest"]["counts"]["splits"] == {"train": 30}
    assert len(found.ids) == 9
    assert not any(name.startswith("b/") for name in found.ids)
    with pytest.raises(ValueError, match="no image is of val, they are of"):
        curate(tmp_path / "m.parquet", tmp_path / "two", **{**options, "split": "val"})


def test_a_remote_folder_is_listed_once_to_be_read(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meddel_fast.cluster.source import ImageSource
    from meddel_fast.common import places, remote_path

    listings: list[str] = []
    make = remote_path._Listing.__init__

    def counted(self: Any, root: str) -> None:
        listings.append(root)
        make(self, root)

    for path in (base / "pictures").rglob("*.png"):
        places.put_file(path, places.join("memory://once/set", path.name))
    monkeypatch.setattr(remote_path._Listing, "__init__", counted)
    assert len(ImageSource("memory://once/set", False).manifest((), None)) > 3
    assert listings == ["memory://once/set"]


def test_places_by_url(base: Path, tmp_path: Path) -> None:
    """Images and results in an object store, here one in this process's memory."""
    from meddel_fast.common import places

    where = f"memory://{tmp_path.name}"
    for path in (base / "pictures").rglob("*.png"):
        places.put_file(path, places.join(where, *path.relative_to(base).parts))
    source, out = places.join(where, "pictures"), places.join(where, "out")
    given = {**OPTIONS, "encoder": base / "encoder"}
    found = curate(source, out, **given)
    for name in ("duplicates.parquet", "selection.parquet", "embeddings/shard-00003.npy"):
        assert (
            places.read_bytes(places.join(out, *name.split("/")))
            == (base / "whole" / name).read_bytes()
        )
    wanted = [line.rpartition("/pictures/")[2] for line in lines(base / "whole")]
    kept = places.read_bytes(places.join(out, "kept.txt")).decode().splitlines()
    assert kept == [f"{source}/{name}" for name in wanted]
    assert found.record["again"] == []
    assert curate(source, out, **given).record["again"] == []
    places.remove(places.join(out, "selection.parquet"))
    told = curate(source, out, **given).record["again"]
    assert [one["what"] for one in told] == ["begun again: selection.parquet is missing"]
    with pytest.raises(FileExistsError, match="is not a place of curate"):
        curate(base / "pictures", places.join(where, "pictures"), **given)


def lines(place: Path) -> list[str]:
    return (place / "kept.txt").read_text().splitlines()


def test_a_signed_address_is_read_and_its_signature_is_nowhere(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    table = pa.table({
        "id": [f"name {row}" for row in range(20)],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 4),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "rows.parquet")
    options: dict[str, Any] = {"budget": 5, "method": "random", "dedup": None}
    with web_server({"rows.parquet": (tmp_path / "rows.parquet").read_bytes()}) as (url, _):
        signed = f"{url}/rows.parquet?sign=secret"
        found = curate(f"{signed}1", tmp_path / "out", **options)
        assert all(name.startswith("name ") for name in found.ids)
        assert found.record["source"] == f"{url}/rows.parquet?..."
        finished = found.record["stages"]["selection"]["finished"]
        later = curate(f"{signed}2", tmp_path / "out", **options).record  # signed anew
        assert later["stages"]["selection"]["finished"] == finished
        assert later["again"] == []
        with pytest.raises(FileNotFoundError, match="nothing at") as caught:
            curate(f"{url}/none.parquet?sign=secret", tmp_path / "none", **options)
        assert "secret" not in str(caught.value)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"secret" not in path.read_bytes(), path
