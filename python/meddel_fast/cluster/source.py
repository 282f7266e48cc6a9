"""What SOURCE is: a manifest, images to make one of, or embeddings that are there already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.stages.stage import listing
from meddel_fast.common import places
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_json
from meddel_fast.common.remote_path import listed, path_of
from meddel_fast.common.untrusted import read_parquet, read_parquet_schema
from meddel_fast.images.left_out import reason_kind
from meddel_fast.images.manifest import KIND as MANIFEST
from meddel_fast.images.manifest import SPLITS, Manifest
from meddel_fast.images.scan.build import scan
from meddel_fast.images.scan.folder import has_images
from meddel_fast.images.scan.webdataset import are_shards
from meddel_fast.images.splits import Dealing
from meddel_fast.stores.embedding_files import INDEX
from meddel_fast.stores.store import open_store

if TYPE_CHECKING:
    from meddel_fast.stores.store import Store

with needs("benchmark"):
    import pyarrow as pa
    import pyarrow.compute as pc

_ROWS = (".npy", ".safetensors", ".parquet")
_ID = "id"


@dataclass(frozen=True)
class ImageSource:
    """Images: a manifest of them, or what one is made of.

    Attributes
    ----------
    place
        Path or URL.
    is_manifest
        Whether it is a manifest.
    """

    place: str
    is_manifest: bool

    def state(self) -> str:
        """Hash what tells whether any of it has changed: names, sizes, and when or which tag."""
        if not places.is_remote(self.place):
            return listing(Path(self.place))
        if places.is_folder(self.place):
            return sha256_json(places.listing(self.place).sizes)
        return sha256_json(places.state(self.place))

    def manifest(self, splits: Sequence[str], progress: Progress | None) -> Manifest:
        """Read the manifest, or make one; of some splits alone where they are named.

        Raises
        ------
        ValueError
            No image of these splits is there.
        FileNotFoundError, OSError, ValueError
            As :func:`meddel_fast.images.scan.build.scan`.
        """
        if self.is_manifest:
            found = Manifest.load(self.place)
        else:
            with listed(self.place):  # once, for a look at it and for the scan
                found = scan(self.place, progress=progress, **self._reader())
        if not splits:
            return found
        usable = pc.equal(found.table["status"], "ok")
        inside = pc.is_in(found.table["split"], value_set=pa.array(list(splits), pa.string()))
        table = found.table.filter(pc.or_(pc.invert(usable), inside))
        chosen = replace(found, table=table)
        if not len(chosen):
            there = dict(Counter(found.column("split")))
            raise ValueError(f"split: no image is of {', '.join(splits)}, they are of {there}")
        return chosen

    def _reader(self) -> dict[str, Any]:
        """Options of the reader: images may lie in the place itself, in whatever folders.

        Nobody is to be dealt a split where no list gives any.
        """
        root = path_of(self.place)
        if not has_images(root) and not are_shards(root):
            parts = {
                part for name in places.list_files(self.place) for part in name.split("/")[:-1]
            }
            sets = sorted(parts & {"images", "masks"})
            if sets:
                raise ValueError(
                    f"source: {places.shown(self.place)} has folders {' and '.join(sets)} below "
                    "others, so it looks like several data sets: make a manifest of them "
                    "(meddel-fast data build) and give that"
                )
            return {"bare": True, "dealing": Dealing("train")}
        listed = places.exists(places.join(self.place, "splits.csv"))
        return {} if listed else {"dealing": Dealing("train")}


@dataclass(frozen=True)
class RowSource:
    """Embeddings in files.

    Attributes
    ----------
    place
        Path or URL of a file, or of a folder.
    files
        What :func:`meddel_fast.open_store` takes.
    """

    place: str
    files: tuple[str, ...]

    def state(self) -> str:
        """Hash what tells whether any of it has changed: names, sizes, and when or which tag."""
        own = [places.join(self.files[0], INDEX)] if self.files == (self.place,) else []
        looked = own if own and places.exists(own[0]) else list(self.files)
        return sha256_json([[places.shown(name), *map(str, places.state(name))] for name in looked])

    def open(self, memory: int | str | None = None) -> Store:
        """Open the rows."""
        return open_store(list(self.files), memory=memory)

    def ids(self, n: int) -> list[str]:
        """Return the names of n rows: those of a Parquet column ``id``, else their numbers.

        Raises
        ------
        ValueError
            A name is null, or comes twice.
        """
        if not all(_has_ids(file) for file in self.files):
            return [str(row) for row in range(n)]
        parts = [read_parquet(file, {}, "table of embeddings")[_ID] for file in self.files]
        if any(part.null_count for part in parts):
            raise ValueError(f"{places.shown(self.place)} has a row without id")
        names = [str(name) for part in parts for name in part.to_pylist()]
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ValueError(f"{places.shown(self.place)} has the id {twice[0]!r} twice")
        return names


def find_source(place: str) -> ImageSource | RowSource:
    """Tell what a place holds.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    """
    if not places.exists(place):
        raise FileNotFoundError(f"source: nothing at {places.shown(place)}")
    if not places.is_folder(place):
        suffix = places.suffix_of(place).lower()
        if suffix == ".parquet" and MANIFEST.is_one(Path(place)):
            return ImageSource(place, True)
        return RowSource(place, (place,)) if suffix in _ROWS else ImageSource(place, False)
    if places.exists(places.join(place, INDEX)):
        return RowSource(place, (place,))
    names = [n for n in places.list_files(place) if not _is_hidden(n)]
    if names and all(PurePosixPath(name).suffix.lower() in _ROWS for name in names):
        return RowSource(place, tuple(places.join(place, *name.split("/")) for name in names))
    return ImageSource(place, False)


def check_splits(splits: Sequence[str]) -> None:
    """Refuse what is no split's name."""
    unknown = [name for name in splits if name not in SPLITS]
    if unknown:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {unknown[0]!r}")


def counts(manifest: Manifest) -> dict[str, Any]:
    """Count the usable images of a manifest, by split, and what was skipped, by reason."""
    skipped = Counter(map(reason_kind, manifest.skipped["reason"].to_pylist()))
    left_out = [] if manifest.left_out is None else manifest.left_out.lines()
    return {
        "images": len(manifest),
        "splits": dict(sorted(Counter(manifest.column("split")).items())),
        "skipped": dict(sorted(skipped.items())),
        "left_out": list(left_out),
        "notes": list(manifest.notes),
    }


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _has_ids(file: str) -> bool:
    is_parquet = places.suffix_of(file).lower() == ".parquet"
    return is_parquet and _ID in read_parquet_schema(file).names
