"""The leakage audit: every pair and no other, in a run and on the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq
from frames import blob_frames
from PIL import Image
from test_benchmark import TINY

from meddel_fast import reference
from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.leakage import CLOSEST, LADDER, Leakage, Samples, audit, split_audits
from meddel_fast.benchmark.sight import Sight
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest

if TYPE_CHECKING:
    from typer.testing import CliRunner


def samples(x: np.ndarray, prefix: str = "p", hashes: str = "") -> Samples:
    """Name the rows; row i has the hash that the i-th letter of `hashes` stands for."""
    ids = [f"{prefix}{i}" for i in range(len(x))]
    return Samples(ids, x, [hashes[i] if i < len(hashes) else ids[i] for i in range(len(x))])


@pytest.fixture
def pool(rng: np.random.Generator) -> np.ndarray:
    return (rng.normal(size=(60, 19)) + 4).astype(np.float32)


@pytest.fixture
def tested(pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Copies of pool rows 0 to 9, moved by a growing step, zeros, and rows of their own."""
    step = np.geomspace(1e-3, 2, 10)[:, None]
    moved = pool[:10] + step * rng.normal(size=(10, 19))
    rest = rng.normal(size=(15, 19)) + 4
    return np.concatenate([moved, np.zeros((1, 19)), rest]).astype(np.float32)


@pytest.mark.parametrize("centre", [False, True])
@pytest.mark.parametrize("threshold", [0.7, 0.95, 1.0])
def test_finds_what_the_reference_finds(
    pool: np.ndarray, tested: np.ndarray, centre: bool, threshold: float
) -> None:
    # Files: test 0 is pool 0, test 10 (zeros) is pool 1 and pool 2, whatever their cosines.
    sets = {"one": samples(tested, "t", "0123456789=="), "two": samples(tested[5:], "u")}
    sets["one"].sha256[11] = "other"  # type: ignore[index]
    found = audit(samples(pool, "p", "0=="), sets, threshold=threshold, centre=centre)
    mean = pool.mean(axis=0, dtype=np.float64) if centre else 0.0
    x = pool if not centre else (pool - mean).astype(np.float32)
    for name, y in (("one", tested), ("two", tested[5:])):
        y = y if not centre else (y - mean).astype(np.float32)
        cosine = reference.cosine(reference.widen(x), reference.widen(y))
        wanted = cosine >= threshold
        same = np.zeros_like(wanted)
        if name == "one":
            same[[0, 1, 2], [0, 10, 10]] = True
        i, j = np.nonzero(wanted | same)
        order = np.lexsort((j, i, -cosine[i, j]))
        of = found.dataset == name
        assert np.array_equal(found.pool_row[of], i[order])
        assert np.array_equal(found.test_row[of], j[order])
        assert np.array_equal(found.similarity[of], cosine[i, j][order])
        assert np.array_equal(found.same_bytes[of], same[i, j][order])
        left = np.flatnonzero(~(wanted | same).any(axis=0))
        left = left[np.argsort(-cosine.max(axis=0)[left], kind="stable")][:CLOSEST]
        closest = [c for c in found.closest if c["dataset"] == name]
        assert [c["similarity"] for c in closest] == cosine.max(axis=0)[left].tolist()
        assert [int(c["test_id"][1:]) for c in closest] == left.tolist()
        assert [c["pool_id"] for c in closest] == [f"p{i}" for i in cosine.argmax(axis=0)[left]]
        steps = [s for s in found.ladder if s["dataset"] == name]
        assert [s["threshold"] for s in steps] == list(LADDER)
        for s in steps:
            near = cosine >= s["threshold"]
            assert s["test_images"] == near.any(axis=0).sum()
            assert s["pool_images"] == near.any(axis=1).sum()
    assert found.pool_id.tolist() == [f"p{i}" for i in found.pool_row]
    assert found.test_id[0].startswith("t")
    assert found.tests == {"one": 26, "two": 21}
    first, second = found.summary()
    assert first["touched"] == len(set(found.test_row[found.dataset == "one"]))
    assert first["share"] == first["touched"] / 26
    assert first["same_bytes"] == 3
    assert second["same_bytes"] == 0
    assert second["highest"] == cosine.max()


def test_a_common_component_hides_what_is_near_unless_it_is_taken_out(
    rng: np.random.Generator,
) -> None:
    common = 30 * np.ones(24)
    pool = (rng.normal(size=(50, 24)) + common).astype(np.float32)
    test = np.concatenate([pool[:3] + 0.01, rng.normal(size=(40, 24)) + common]).astype(np.float32)
    (raw,) = audit(samples(pool), {"t": samples(test, "t")}, centre=False).summary()
    (centred,) = audit(samples(pool), {"t": samples(test, "t")}).summary()
    assert raw["touched"] == 43
    assert centred["touched"] == 3


def test_equal_files_are_found_without_embeddings(tmp_path: Path) -> None:
    pool = Samples(list("abcd"), sha256=["1", "2", "2", "3"])
    tests = {
        "one": Samples(list("wxyz"), sha256=["2", "4", "1", "1"]),
        "two": Samples(["v"], sha256=["9"]),
    }
    found = audit(pool, tests)
    pairs = zip(found.dataset, found.pool_id, found.test_id, strict=True)
    assert sorted(pairs) == [
        *(("one", *pair) for pair in [("a", "y"), ("a", "z"), ("b", "w"), ("c", "w")])
    ]
    assert found.threshold is None
    assert found.same_bytes.all()
    assert np.isnan(found.similarity).all()
    one, two = found.summary()
    assert (one["touched"], one["pool_touched"], one["same_bytes"]) == (3, 3, 4)
    assert (two["touched"], two["same_bytes"], two["highest"]) == (0, 0, None)
    found.save(tmp_path / "audit")
    again = Leakage.load(tmp_path / "audit")
    assert again.summary() == found.summary()
    assert read_json(tmp_path / "audit" / "summary.json")["threshold"] is None


def test_files_that_nobody_knows_are_not_said_to_differ(
    pool: np.ndarray, tested: np.ndarray
) -> None:
    known, unknown = samples(tested, "t"), Samples(list("ab"), tested[:2])
    found = audit(samples(pool), {"known": known, "unknown": unknown})
    assert found.files == {"known": True, "unknown": False}
    assert [row["same_bytes"] for row in found.summary()] == [0, None]
    assert audit(Samples(samples(pool).ids, pool), {"t": known}).files == {"t": False}


def test_a_given_mean_is_taken_away_instead_of_the_pools(
    pool: np.ndarray, tested: np.ndarray
) -> None:
    mean = np.full(19, 3.5)
    found = audit(samples(pool), {"t": samples(tested, "t")}, threshold=0.5, mean=mean)
    moved = [(rows - mean).astype(np.float32) for rows in (pool, tested)]
    wanted = audit(samples(moved[0]), {"t": samples(moved[1], "t")}, threshold=0.5, centre=False)
    assert len(found) == len(wanted) > 0
    assert np.array_equal(found.similarity, wanted.similarity)


def test_audits_of_the_first_format_are_read(
    pool: np.ndarray, tested: np.ndarray, tmp_path: Path
) -> None:
    """They do not say whether files were compared: where equal ones were found, they were."""
    sets = {"one": samples(tested, "t", "a"), "two": samples(tested[5:], "u")}
    audit(samples(pool, "p", "a"), sets, threshold=0.9).save(tmp_path)
    path = tmp_path / "pairs.parquet"
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"meddel_fast.leakage"])
    del about["files"]
    about["format"] = 1
    text = {b"meddel_fast.leakage": json.dumps(about)}
    pq.write_table(table.replace_schema_metadata(text), path)
    assert Leakage.load(tmp_path).files == {"one": True, "two": False}


def test_saved_audits_are_read_again(pool: np.ndarray, tested: np.ndarray, tmp_path: Path) -> None:
    found = audit(samples(pool, hashes="a"), {"t": samples(tested, "t", "a")}, threshold=0.9)
    assert 0 < len(found) < 60
    found.save(tmp_path / "audit")
    again = Leakage.load(tmp_path / "audit")
    for name in Leakage.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(found, name)), name
    said = read_json(tmp_path / "audit" / "summary.json")
    assert said["sets"] == found.summary()
    assert said["threshold"] == 0.9
    columns = pq.read_table(tmp_path / "audit" / "pairs.parquet").column_names
    assert columns[:5] == ["dataset", "pool_id", "test_id", "cosine", "same_bytes"]
    assert sorted(p.name for p in (tmp_path / "audit").iterdir()) == [
        "pairs.parquet",
        "summary.json",
    ]


def test_damaged_audits_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Leakage.load(tmp_path)
    (tmp_path / "pairs.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match=r"pairs\.parquet is not a Parquet file"):
        Leakage.load(tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "pairs.parquet")
    with pytest.raises(ValueError, match="is not a saved leakage audit of format 1"):
        Leakage.load(tmp_path)


def test_wrong_input_is_refused(pool: np.ndarray, tested: np.ndarray) -> None:
    good = {"t": samples(tested)}
    with pytest.raises(ValueError, match=r"threshold must be from -1 to 1, got 1\.5"):
        audit(samples(pool), good, threshold=1.5)
    with pytest.raises(ValueError, match="at least one test set, got none"):
        audit(samples(pool), {})
    with pytest.raises(ValueError, match=r"'t' must have .* 19 columns, got shape \(26, 18\)"):
        audit(samples(pool), {"t": samples(tested[:, 1:])})
    with pytest.raises(ValueError, match=r"'t' must have 1 or more rows .* got shape \(0, 19\)"):
        audit(samples(pool), {"t": samples(tested[:0])})
    with pytest.raises(ValueError, match=r"threshold must be higher than -1\.0 .* 't'"):
        audit(samples(pool), good, threshold=-1.0, max_pairs=100)
    with pytest.raises(ValueError, match=r"ids must be one for each of 26 rows .* got 2"):
        Samples(["a", "b"], tested)
    with pytest.raises(ValueError, match=r"embeddings must be a 2-d array, got shape \(19,\)"):
        Samples(["a"], tested[0])
    with pytest.raises(ValueError, match=r"sha256 must be one for each of 2 ids .* got none"):
        Samples(["a", "b"])
    with pytest.raises(ValueError, match=r"sha256 must be one for each of 2 ids .* got 1"):
        Samples(["a", "b"], sha256=["1"])
    files = Samples(["a"], sha256=["1"])
    with pytest.raises(ValueError, match="embeddings: 'f' must have them, since other sets have"):
        audit(samples(pool), {"t": samples(tested), "f": files})
    with pytest.raises(ValueError, match="embeddings: the pool must have them"):
        audit(files, good)
    with pytest.raises(ValueError, match="'f' must have 1 or more images, got none"):
        audit(files, {"f": Samples([], sha256=[])})


def test_cleaning_needs_an_encoder_from_before(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TINY + "[leakage]\nexclude = true\n")
    with pytest.raises(ConfigError, match="exclude needs an encoder that is there before"):
        load_config(path)
    path.write_text(TINY + "[leakage]\nthreshold = 2\n")
    with pytest.raises(ConfigError, match=r"\[leakage\] threshold must be a cosine"):
        load_config(path)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config of a run whose test frames 20 and 21 are frames 3 and 5 of the pool.

    20 is a copy of the file, 21 holds the same pixels in another file; 23 has no mask.
    """
    folder = tmp_path_factory.mktemp("leaky")
    blob_frames(folder / "data", n=24)
    images = folder / "data" / "images"
    shutil.copy(images / "003.png", images / "020.png")
    Image.open(images / "005.png").save(images / "021.png", compress_level=1)
    (folder / "data" / "masks" / "023.png").unlink()
    split = ["train"] * 20 + ["test"] * 4
    rows = [f"images/{i:03}.png,{s}" for i, s in enumerate(split)]
    (folder / "splits.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    start, end = TINY.index("made = "), TINY.index("[pretrain]")
    text = TINY[:start] + 'path = "data"\nsplits = "splits.csv"\n\n' + TINY[end:]
    text += "[encoder]\nsteps = 2\n[leakage]\nthreshold = 0.999999\n"
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def test_a_run_audits_its_pool_and_cleans_it_if_asked(leaky: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from meddel_fast.benchmark.run import run
    from meddel_fast.selectors import Selection
    from meddel_fast.training.embed import Embeddings, embed

    config = load_config(leaky)
    out = run(config, until="select")
    found = Leakage.load(out / "leakage")
    assert found.pool == 20
    assert found.tests == {"made": 4}
    pairs = zip(found.pool_id, found.test_id, found.same_bytes.tolist(), strict=True)
    assert sorted(pairs) == [
        ("made/images/003.png", "images/020.png", True),
        ("made/images/005.png", "images/021.png", False),
    ]
    assert Selection.load(out / "select" / "kcenter-25.parquet").n == 20
    (train,) = split_audits(out / "leakage", "train").values()  # the pool is what trains the head
    assert train.tests == found.tests
    assert np.array_equal(train.similarity, found.similarity)
    assert train.pool_id.tolist() == [name.removeprefix("made/") for name in found.pool_id]
    assert split_audits(out / "leakage", "val") == {}

    cleaned = replace(config, leakage=replace(config.leakage, exclude=True))
    out = run(cleaned, until="select")
    whole, left = (Manifest.load(out / "data" / f"{n}.parquet") for n in ("pool", "pretrain"))
    assert len(whole) == 20
    assert left.ids == [i for i in whole.ids if i not in found.pool_id]
    assert Selection.load(out / "select" / "kcenter-25.parquet").n == 18
    taken = Embeddings.load(out / "embeddings")
    rows = np.delete(np.arange(20), [3, 5])
    assert np.array_equal(taken.array, Embeddings.load(out / "leakage" / "embeddings").array[rows])
    # what is written is what embedding the cleaned pool would have written: nothing is left to do
    before = (out / "embeddings" / "shard-00000.npy").stat().st_mtime_ns
    embed(left, out / "encoder" / "model", out / "embeddings")
    assert (out / "embeddings" / "shard-00000.npy").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="rows must be one for each of 18 images, got 20"):
        taken.take(np.arange(20), left, out / "no")
    everything = replace(cleaned, leakage=replace(cleaned.leakage, threshold=-1.0))
    with pytest.raises(ConfigError, match="every image of the pool is like one of a test set"):
        run(everything, until="select")


def test_command_line(leaky: Path, tmp_path: Path, cli: CliRunner) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from command_line import lines

    said = partial(lines, cli, "leakage")

    found = (
        "made: 2 pairs at or above 0.999999 of 80 compared; 1 equal file: 2 of 4 test images "
        "(50.0 %) and 2 of 20 in the pool"
    )
    told = said("--config", leaky, "--out", tmp_path / "run")
    assert found in told
    assert found.replace("in the pool", "that train its heads") in told
    assert "pool: 0 of 20 images are one file with another" in told
    assert "made: 2 of 24 images are one file with another (1 files), 1 files in more" in told
    sight = Sight.load(tmp_path / "run" / "leakage")
    assert sight is not None
    assert all(line in told for line in sight.told())
    manifest, encoder = tmp_path / "run/data/made.parquet", tmp_path / "run/encoder/model"
    manifests = (manifest, manifest, "--pool-splits", "train", "--test-splits", "test")
    rest = ("--encoder", encoder, "--threshold", "0.999999", "--out", tmp_path / "a")
    assert found.replace("in the pool", "in its split train") in said(*manifests, *rest)
    assert Sight.load(tmp_path / "a") == sight
    assert len(Leakage.load(tmp_path / "a")) == 2
    assert not (tmp_path / "b").exists()
    files = " ".join(said(*manifests).split())
    assert "the same file, byte for byte; what is alike without being equal was not" in files
    assert f"{manifest}: 2 of 24 images are one file with another (1 files), 1 files in" in files
    assert "images/003.png (train) = images/020.png (test)" in files
    equal = (
        "made: 1 equal file of 80 pairs compared: 1 of 4 test images (25.0 %) and 1 of 20 in its "
        "split train"
    )
    assert equal in files
    assert "images/020.png = images/003.png, the same file" in files
    assert said(*manifests, "--out", tmp_path / "b").endswith(f"{tmp_path / 'b'}\n")
    assert len(Leakage.load(tmp_path / "b")) == 1
    table = (tmp_path / "b" / "equal_files.csv").read_text().splitlines()
    assert table == [
        "manifest,file,id,split",
        f"{manifest},0,images/003.png,train",
        f"{manifest},0,images/020.png,test",
    ]
    assert "images/003.png (train) = images/020.png (test)" in said(manifest)
    assert "need a test set to compare with" in said(manifest, *manifests[2:4], status=2)

    x = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", x[:5])
    arrays = (tmp_path / "x.npy", tmp_path / "y.npy", "--out", tmp_path / "c")
    told = said(*arrays)
    assert "y: 5 pairs at or above 0.98 of 150 compared; whether files are equal is not" in told
    assert "5 of 5 test images (100.0 %) and 5 of 30 in the pool" in told
    assert "same file" not in told
    assert "copied and altered" not in told  # whose encoder is not known
    assert "--encoder is needed" in said(*arrays[:1], manifest, *arrays[2:], status=2)
    assert "--out FOLDER is needed" in said(*arrays[:2], status=2)
    assert sorted(Leakage.load(tmp_path / "c").pool_id) == [f"row {i}" for i in range(5)]
    assert "only a manifest has splits" in said(*arrays, "--pool-splits", "train", status=2)
    assert "of a test set is needed" in said(arrays[0], "--out", tmp_path / "c", status=2)
    assert "need different names, got y, y" in said(arrays[0], arrays[1], *arrays[1:], status=2)


def test_hashes_alone_need_no_encoder(leaky: Path, tmp_path: Path, cli: CliRunner) -> None:
    """Neither of manifests, whose own splits are compared, nor of a run, which is not trained."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from command_line import lines

    said = partial(lines, cli, "leakage")
    told = said("--config", leaky, "--out", tmp_path / "run", "--by", "hash")
    counts = "1 of 4 test images (25.0 %) and 1 of 20"
    assert f"made: 1 equal file of 80 pairs compared: {counts} in the pool" in told
    assert f"made: 1 equal file of 80 pairs compared: {counts} that train its heads" in told
    assert "made/images/020.png = made/images/003.png, the same file" in told
    assert not (tmp_path / "run" / "encoder").exists()
    assert not (tmp_path / "run" / "leakage").exists()
    manifest = tmp_path / "run" / "data" / "made.parquet"
    for options in ((), ("--by", "hash")):
        told = said(manifest, *options)
        assert f"made test: 1 equal file of 80 pairs compared: {counts} in its split train" in told
    clean = tmp_path / "clean.parquet"
    whole = Manifest.load(manifest)
    whole.take([i for i, name in enumerate(whole.ids) if name != "images/020.png"]).save(clean)
    assert "clean test: 0 equal files of 60 pairs compared (in its split train)" in said(clean)
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    refused = partial(said, status=2)
    arrays = (tmp_path / "x.npy", manifest, "--by", "hash", "--out", tmp_path / "o")
    assert "--by hash needs manifests" in refused(*arrays)
    assert "--encoder would have no effect" in refused(manifest, "--by", "hash", "--encoder", "e")
    assert "--threshold would have no effect" in refused(manifest, "--threshold", 0.9)
    told = "meddel-fast: error: --pool-splits must be some of train, val, test, got 'tset'\n"
    assert refused(manifest, clean, "--pool-splits", "train,tset").startswith(told)  # at once
    assert "--out FOLDER is needed" in refused(manifest, "--by", "embedding")
    assert "--encoder is needed" in refused(manifest, "--by", "embedding", "--out", tmp_path / "o")


def test_a_set_is_compared_with_itself(leaky: Path, tmp_path: Path, cli: CliRunner) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from command_line import lines

    from meddel_fast.benchmark.run import run

    out = run(replace(load_config(leaky), out=tmp_path / "run"), until="encoder")
    manifest, encoder = out / "data" / "made.parquet", out / "encoder" / "model"
    rest = ("--threshold", "0.999999", "--out", tmp_path / "a")
    told = lines(cli, "leakage", manifest, "--encoder", encoder, *rest)
    assert "made test: 2 pairs at or above 0.999999 of 80 compared; 1 equal file" in told
    assert set(Leakage.load(tmp_path / "a").test_id) == {"images/020.png", "images/021.png"}


def test_real_frames(real_data: Path) -> None:
    """Kvasir-SEG against CVC-ClinicDB, and ClinicDB's own splits, on the embeddings given."""
    import csv

    with (real_data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    x = np.load(real_data / "embeddings_effnet_lite0_f32.npy")
    kvasir = np.array([r["dataset"] == "kvasir_seg" and r["split"] == "train" for r in rows])
    clinic = np.array([r["dataset"] == "cvc_clinicdb" for r in rows])
    train = clinic & np.array([r["split"] == "train" for r in rows])
    across = audit(samples(x[kvasir]), {"clinic": samples(x[clinic], "t")}, centre=False)
    within = audit(samples(x[train]), {"clinic": samples(x[clinic & ~train], "t")}, centre=False)
    assert [len(across), len(within)] == [0, 0]
    # What no cosine of 0.98 tells: the official split has frames on both sides, with other insets.
    val = np.array([r["dataset"] == "kvasir_seg" and r["split"] == "val" for r in rows])
    names = [
        [Path(r["file"]).stem for r, k in zip(rows, m, strict=True) if k] for m in (kvasir, val)
    ]
    pool, test = (Samples(n, x[m]) for n, m in zip(names, (kvasir, val), strict=True))
    found = audit(pool, {"val": test}, centre=False)
    assert len(found) == 0
    closest = found.closest[0]
    assert closest["pool_id"] == "cju77g99iyxc00817zqi2ppor"
    assert closest["test_id"] == "cjyztzaqtrv430848l8xgcerw"
    cut = x[kvasir][:80], x[clinic][:60]
    cosine = reference.cosine(*map(reference.widen, cut))
    found = audit(samples(cut[0]), {"c": samples(cut[1], "t")}, threshold=0.7, centre=False)
    assert 0 < len(found) == (cosine >= 0.7).sum()
    assert np.array_equal(found.similarity, cosine[found.pool_row, found.test_row])
