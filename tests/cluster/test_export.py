"""The kept images as data sets of others: read back by those that they are written for."""

from __future__ import annotations

import gc
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")
pytest.importorskip("torch")

from accounts import write
from containers import mask_png, png, zipped
from PIL import Image
from releases import RELEASES

from meddel_fast.cluster.export import Exported, export
from meddel_fast.images.load_masks import load_mask
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.build import scan
from meddel_fast.images.sources import read_bytes
from meddel_fast.selectors.selection import Selection, make_selection

MASK = mask_png(rows=7)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Images with masks in a folder and a zip, and pages."""
    root = write(
        tmp_path_factory.mktemp("data") / "set",
        {
            **{f"images/v{n % 2}/a.{n}.png": png(n) for n in range(4)},
            **{f"masks/v{n % 2}/a.{n}.png": MASK for n in range(3)},
            "images/packed.zip": zipped({"1.png": png(11), "2.png": png(12)}),
        },
    )
    pages = [Image.fromarray(np.full((30, 40), 60 * n, np.uint8)) for n in range(2)]
    pages[0].save(root / "images" / "stack.tif", save_all=True, append_images=pages[1:])
    return scan(root)


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Images with boxes and labels."""
    root = tmp_path_factory.mktemp("boxed")
    RELEASES["kvasir-capsule"]().write(root)
    return scan(root / "Kvasir-Capsule", "kvasir-capsule")


def keep(manifest: Manifest | range, rows: list[int]) -> Selection:
    return make_selection("kcenter", np.array(rows), np.zeros(len(manifest)), {"budget": len(rows)})


def kept(manifest: Manifest, selection: Selection) -> dict[str, bytes | None]:
    """Bytes of the kept images, by id; None of a page."""
    rows = manifest.take(selection.indices)
    paths = zip(rows.ids, rows.image_paths(), strict=True)
    return {name: None if "tif::" in name else read_bytes(path) for name, path in paths}


def hashes(manifest: Manifest, selection: Selection) -> dict[str, str]:
    rows = manifest.take(selection.indices)
    return dict(zip(rows.ids, rows.column("sha256"), strict=True))


def test_a_folder_is_scanned_as_what_was_kept(data: Manifest, tmp_path: Path) -> None:
    chosen = keep(data, [7, 0, 3, 4])
    made = export(data, chosen, tmp_path / "out", "folder")
    assert made == Exported("folder", 4, 1, 0, 6)
    again, wanted = scan(tmp_path / "out"), data.take(chosen.indices)
    whole = {digest for name, digest in hashes(data, chosen).items() if "tif::" not in name}
    assert again.ids == ["images/packed/1.png", "images/stack/000001.png", "images/v0/a.0.png",
                         "images/v1/a.3.png"]  # fmt: skip
    assert sorted(again.column("split")) == sorted(wanted.column("split"))
    assert whole < {*again.column("sha256")}
    assert [mask and mask.read_bytes() for mask in again.mask_paths()] == [None, None, MASK, None]


@pytest.mark.filterwarnings("ignore:unclosed file")  # webdataset 1.0.2 leaves tars open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(data: Manifest, tmp_path: Path) -> None:
    chosen = keep(data, [0, 3, 4, 5, 6])
    made = export(data, chosen, tmp_path / "out", "webdataset", shard_bytes=6000)
    shards = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    assert (made.images, made.masks, made.files) == (5, 3, len(shards))
    assert len(shards) > 1
    whole = {digest for name, digest in hashes(data, chosen).items() if "tif::" not in name}
    assert whole < {*scan(tmp_path / "out").column("sha256")}
    wds = pytest.importorskip("webdataset")
    found = list(wds.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    wanted = list(kept(data, chosen).items())
    assert [sample["json"]["id"] for sample in found] == [name for name, _ in wanted]
    for sample, (_, content) in zip(found, wanted, strict=True):
        if content is not None:
            assert np.array_equal(sample["png"], np.asarray(Image.open(io.BytesIO(content))))
    gc.collect()


def test_datasets_reads_the_folder(
    data: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    chosen = keep(data, [1, 3, 4, 5, 6, 7])
    made = export(data, chosen, tmp_path / "out", "huggingface", shard_bytes=5000)
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    rows = [row for split in found.values() for row in split]
    assert (made.images, made.masks) == (6, 3) == (len(rows), sum(bool(r["mask"]) for r in rows))
    wanted = kept(data, chosen)
    assert {row["id"] for row in rows} == wanted.keys()
    for row in rows:
        content = wanted[row["id"]]
        assert content is None or np.array_equal(row["image"], Image.open(io.BytesIO(content)))
    named = {"train": "train", "val": "validation", "test": "test"}
    assert {*found} == {named[split] for split in data.take(chosen.indices).column("split")}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "6 of 8 images, selected by `kcenter`" in card
    assert '"budget": 6' in card


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools 2.0.11
def test_pycocotools_reads_boxes_and_masks(data: Manifest, boxed: Manifest, tmp_path: Path) -> None:
    export(data, keep(data, [4, 5, 6, 7]), tmp_path / "masks", "coco")
    export(boxed, keep(boxed, [0, 1, 2]), tmp_path / "boxes", "coco")
    tables = {
        name: [json.loads(p.read_text()) for p in sorted((tmp_path / name).glob("annotations/*"))]
        for name in ("masks", "boxes")
    }
    shapes = [shape for table in tables["boxes"] for shape in table["annotations"]]
    assert [shape["bbox"] for shape in shapes] == [[1, 2, 19, 20]] * 2
    coco = pytest.importorskip("pycocotools.coco")
    found = 0
    for path in sorted((tmp_path / "masks").glob("annotations/*.json")):
        table = coco.COCO(str(path))
        for shape in table.loadAnns(table.getAnnIds()):
            truth = load_mask(data.mask_paths()[4] or "", None) == 1
            assert np.array_equal(table.annToMask(shape), truth)
            assert shape["bbox"] == [0, 0, 40, 7]
            found += 1
    assert found == 3


def test_yolo_has_shares_and_leaves_out_what_nothing_is_told_of(
    data: Manifest, boxed: Manifest, tmp_path: Path
) -> None:
    made = export(boxed, keep(boxed, [0, 1, 2]), tmp_path / "out", "yolo")
    assert (made.images, made.boxes, made.left_out) == (3, 2, 0)
    lines = [p.read_text() for p in sorted((tmp_path / "out" / "labels").rglob("*.txt"))]
    labels = sorted({*boxed.column("label")})
    first = labels.index(boxed.column("label")[0])
    assert f"{first} {10.5 / 32!r} {12 / 24!r} {19 / 32!r} {20 / 24!r}\n" in lines
    assert lines.count("") == 1  # told to have none
    names = (tmp_path / "out" / "data.yaml").read_text()
    assert all(f'  {number}: "{label}"' in names for number, label in enumerate(labels))
    with pytest.raises(ValueError, match="yolo needs boxes"):
        export(data, keep(data, [0]), tmp_path / "none", "yolo")
    assert not (tmp_path / "none").exists()


def test_nothing_is_overwritten_and_nothing_is_left_half(data: Manifest, tmp_path: Path) -> None:
    chosen = keep(data, [0, 1])
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        export(data, chosen, tmp_path / "there", "folder")
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["mine.txt"]

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(data, chosen, tmp_path / "new", "webdataset", progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["there"]
    with pytest.raises(ValueError, match="manifest must be 3 long"):
        export(data, keep(range(3), [0]), tmp_path / "new", "folder")
    with pytest.raises(ValueError, match="kind must be one of folder"):
        export(data, chosen, tmp_path / "new", "tfrecord")


def test_the_command_tells_what_it_wrote(cli: Any, data: Manifest, tmp_path: Path) -> None:
    from meddel_fast.cli import app

    data.save(tmp_path / "m.parquet")
    keep(data, [0, 3]).save(tmp_path / "s.parquet", data.ids)
    arguments = ["export", str(tmp_path / "s.parquet"), str(tmp_path / "m.parquet"), "--out"]
    done = cli.invoke(app, [*arguments, str(tmp_path / "out"), "--as", "webdataset"])
    assert done.exit_code == 0, done.output
    assert "images 2" in done.output
    keep(data, [0]).save(tmp_path / "s.parquet", data.ids[::-1])
    done = cli.invoke(app, [*arguments, str(tmp_path / "other")])
    assert done.exit_code != 0
    assert not (tmp_path / "other").exists()
