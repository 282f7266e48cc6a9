"""The manifest: one table that says which images a data set has, where, and in which split.

Everything but :attr:`Manifest.table` speaks of the usable rows (status "ok") in table order, so
that row i of the embeddings, of a selection and of ``image_paths()`` are one image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.common.extras import needs
from meddel_fast.common.files import StrPath, why_no_file
from meddel_fast.common.outputs import output_path, table
from meddel_fast.common.remote_path import RemotePath, common_folder, path_of
from meddel_fast.common.untrusted import read_parquet
from meddel_fast.common.urls import is_remote, shown
from meddel_fast.images.address import PART
from meddel_fast.images.known_members import remember
from meddel_fast.images.left_out import LeftOut
from meddel_fast.images.masks.rule import Meaning

with needs("benchmark"):
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

FORMAT = "3"
# What earlier formats that are still read had no columns for.
_OLDER = {"1": ("label", "boxes", "mask_meaning"), "2": ("mask_meaning",)}
SPLITS = ("train", "val", "test")
KIND = table("a manifest", b"name", b"root", b"format")

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("mask", pa.string()),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("mask_sha256", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("mode", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("boxes", pa.string()),
        pa.field("mask_meaning", pa.string()),
    ]
)
"""The columns of a manifest.

``id`` is unique; ``image`` and ``mask`` are posix paths relative to the root, or addresses of parts
of files (`address`), whose hashes and sizes are those of `sources`; ``width`` and
``height`` are those of the upright image (EXIF applied), 0 where the file could not be read;
``mode`` is Pillow's name for the pixels as stored; ``split`` is train, val or test ("" in rows that
were skipped before they got one); ``group`` is the video, sequence or patient; ``frame`` its
number there or -1; ``status`` is "ok" or "skipped", and ``reason`` says why; ``label`` is the
class; ``boxes`` a JSON list of ``[x0, y0, x1, y1]`` in pixels of the upright image, x1 and y1
excluded; ``mask_meaning`` says, as JSON, which numbers of the mask are lesion and which do not
count (`masks.rule.Meaning`). Null stands for what nobody has told: an image without a finding has
the boxes ``[]``. Rows with a mask and no meaning, as formats 1 and 2 have them, are taken for one
data set, whose meaning is settled over their masks when these are first read (`masks.meanings`).
"""

HASHES = ("phash", "dhash", "average_hash", "whash")
_MEASURES = (
    "border", "inset", "brightness", "dark", "bright", "contrast", "sharpness", "noise", "warmth",
)  # fmt: skip
QUALITY = pa.schema(
    [pa.field(name, pa.float64()) for name in _MEASURES]
    + [pa.field(name, pa.string()) for name in HASHES]
)
"""Columns that a manifest may have beside: what :mod:`meddel_fast.images.quality` measures.

Null where nothing was measured. No result of a run depends on them: they follow from the images.
"""

IN_TARS = pa.schema(
    [
        pa.field("tar", pa.string()),
        pa.field("image_at", pa.int64()),
        pa.field("mask_at", pa.int64()),
        pa.field("mask_bytes", pa.int64()),
    ]
)
"""Columns beside of images in remote tars: the tar's state, as JSON, and where in it they lie.

So a later process reads an image by one request, without the list of the tar's members, as long as
the tar has that state. Null elsewhere. No result depends on them.
"""


@dataclass(frozen=True)
class Manifest:
    """A named data set: a root folder and a table of :data:`SCHEMA`.

    With some of :data:`QUALITY`, and with :data:`IN_TARS`, where they are known.

    Parameters
    ----------
    name
        The data set's name; it prefixes the ids when manifests are concatenated.
    root
        Absolute folder, or URL of one, that the paths in the table are relative to. For data that
        have moved:
        ``dataclasses.replace(manifest, root=new_root)``.
    table
        All rows, the skipped ones included.
    left_out
        What the scan that made it left out and noticed; ``None`` for a part of a data set.
    notes
        What the scan has to say to people, such as how the splits came about.

    Raises
    ------
    ValueError
        A column is absent, or an id occurs twice.
    """

    name: str
    root: Path
    table: pa.Table
    left_out: LeftOut | None = field(default=None, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", path_of(self.root).resolve())
        missing = [field for field in SCHEMA.names if field not in self.table.column_names]
        if missing:
            raise ValueError(f"table: wanted the columns of a manifest, without {missing} here")
        more = [f for f in (*QUALITY, *IN_TARS) if f.name in self.table.column_names]
        schema = pa.schema([*SCHEMA, *more])
        table = self.table.select(schema.names).cast(schema).combine_chunks()
        object.__setattr__(self, "table", table.replace_schema_metadata(None))
        counts = pc.value_counts(self.table["id"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        if len(twice):
            raise ValueError(f"table: wanted unique ids, has {twice[0].as_py()!r} twice")

    @classmethod
    def from_rows(cls, name: str, root: StrPath, rows: Iterable[Mapping[str, Any]]) -> Manifest:
        """Make a manifest of dictionaries, one a row, sorted by id."""
        ordered = sorted(map(dict, rows), key=lambda row: str(row["id"]))
        more = IN_TARS if any(row.get("tar") for row in ordered) else ()
        table = pa.Table.from_pylist(ordered, schema=pa.schema([*SCHEMA, *more]))
        return cls(name, path_of(root), table)

    @classmethod
    def load(cls, path: StrPath) -> Manifest:
        """Read what :meth:`save` wrote, by path or by URL.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is no Parquet file, or no manifest, or one of another format version.
        """
        if not is_remote(path) and not Path(path).is_file():
            raise FileNotFoundError(f"no manifest at {path}{why_no_file(path)}")
        table = read_parquet(path, {}, "manifest")
        metadata = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in _metadata(table).items()
        }
        version = metadata.get("format")
        known = version == FORMAT or version in _OLDER
        if not known or "root" not in metadata or "name" not in metadata:
            raise ValueError(f"{shown(path)}: wanted a manifest of format {FORMAT}, has {version}")
        for column in _OLDER.get(str(version), ()):
            table = table.append_column(SCHEMA.field(column), pa.nulls(len(table), pa.string()))
        try:
            notes = json.loads(metadata.get("notes", "[]"))
            if not isinstance(notes, list):
                raise ValueError(f"notes must be a list, got {notes!r:.80}")
            told = metadata.get("left_out")
            left_out = None if told is None else LeftOut.parse(told)
            return cls(
                metadata["name"], path_of(metadata["root"]), table, left_out, tuple(map(str, notes))
            )
        except (ValueError, pa.ArrowException) as error:  # also of a root that is no path
            raise ValueError(f"{shown(path)} is no manifest: {error}") from error

    def save(self, path: StrPath) -> None:
        """Write the manifest to a Parquet file, by path or by URL, atomically.

        Raises
        ------
        ValueError, FileExistsError
            Something else may be meant, or is there: :mod:`meddel_fast.common.outputs`.
        """
        metadata = {"name": self.name, "root": str(self.root), "format": FORMAT}
        if self.notes:
            metadata["notes"] = json.dumps(self.notes)
        if self.left_out is not None:
            metadata["left_out"] = self.left_out.as_json()
        with output_path(path, KIND) as temporary:
            pq.write_table(self.table.replace_schema_metadata(metadata), temporary)

    @classmethod
    def concat(cls, manifests: Sequence[Manifest], name: str) -> Manifest:
        """Join data sets into one.

        Ids become ``<name of the set>/<id>``; the root becomes the deepest folder that holds all
        roots, and the paths are made relative to it, so that they stay resolvable. Groups get the
        same prefix, since two sets may both have a video "1". Rows are sorted by id.

        Raises
        ------
        ValueError
            There is nothing to join, or two sets have one name.
        """
        if not manifests:
            raise ValueError("manifests: wanted at least one, got none")
        names = [manifest.name for manifest in manifests]
        if len(set(names)) != len(names):
            raise ValueError(f"manifests: wanted different names, got {sorted(names)}")
        root = common_folder([manifest.root for manifest in manifests])
        tables = [_prefixed(manifest, root) for manifest in manifests]
        told = [m.left_out.under(f"{m.name}/") for m in manifests if m.left_out is not None]
        left_out = LeftOut.joined(told) if told else None
        notes = tuple(f"{m.name}: {note}" for m in manifests for note in m.notes)
        joined = pa.concat_tables(tables, promote_options="default")
        return cls(name, root, joined.sort_by("id"), left_out, notes)

    @cached_property
    def ok(self) -> Manifest:
        """The usable rows alone."""
        if pc.all(self._usable).as_py() is not False:
            return self
        return self._with(self.table.filter(self._usable))

    @cached_property
    def skipped(self) -> pa.Table:
        """The rows that cannot be used, with their reasons."""
        return self.table.filter(pc.invert(self._usable))

    def split(self, name: str) -> Manifest:
        """Give the usable rows of one split ("train", "val" or "test")."""
        return self.splits([name])

    def splits(self, names: Iterable[str]) -> Manifest:
        """Give the usable rows of several splits.

        Raises
        ------
        ValueError
            A name is no split's.
        """
        wanted = [names] if isinstance(names, str) else list(names)
        unknown = [name for name in wanted if name not in SPLITS]
        if unknown:
            raise ValueError(f"names: wanted some of {list(SPLITS)}, got {unknown}")
        inside = pc.is_in(self.ok.table["split"], value_set=pa.array(wanted, pa.string()))
        return self._with(self.ok.table.filter(inside))

    def with_masks(self) -> Manifest:
        """Give the usable rows that have a mask."""
        return self._with(self.ok.table.filter(pc.is_valid(self.ok.table["mask"])))

    def take(self, indices: npt.ArrayLike) -> Manifest:
        """Give the usable rows at `indices`, in the order given.

        Parameters
        ----------
        indices
            Integers (k,) in [0, len(self)), no two equal.

        Raises
        ------
        TypeError
            The indices are not integers.
        ValueError
            One is out of range, or occurs twice.
        """
        rows = np.asarray(indices)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise TypeError(f"indices: wanted integers (k,), got {rows.dtype} {rows.shape}")
        outside = rows[(rows < 0) | (rows >= len(self))]
        if outside.size:
            raise ValueError(f"indices: wanted values in [0, {len(self)}), got {outside[0]}")
        if np.unique(rows).size != rows.size:
            raise ValueError("indices: wanted each row at most once, got one twice")
        return self._with(self.ok.table.take(pa.array(rows)))

    def __len__(self) -> int:
        """Count the usable rows."""
        return int(self.ok.table.num_rows)

    @property
    def ids(self) -> list[str]:
        """The ids of the usable rows."""
        return self.column("id")

    def column(self, name: str) -> list[Any]:
        """One column of the usable rows, as Python values.

        Raises
        ------
        ValueError
            There is no such column.
        """
        if name not in self.table.column_names:
            raise ValueError(f"name: wanted one of {self.table.column_names}, got {name!r}")
        values: list[Any] = self.ok.table[name].to_pylist()
        return values

    def image_paths(self) -> list[Path]:
        """Absolute paths of the images; below a URL, :class:`RemotePath`."""
        self._tell_places("image", "image_at", "bytes")
        return [self.root / path for path in self.column("image")]

    def mask_paths(self) -> list[Path | None]:
        """Absolute paths of the masks, ``None`` where an image has none."""
        self._tell_places("mask", "mask_at", "mask_bytes")
        return [None if path is None else self.root / path for path in self.column("mask")]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what the usable rows say, in order: all that a result depends on.

        Ids, contents, splits, masks and their meaning, labels, boxes. It does not depend on where
        the data lie: a copy of a data set elsewhere has the same. Rows without label and boxes, and
        plain masks of black and white, count as they did before manifests had columns for them.
        """
        texts = self.column("mask_meaning")
        marks = {t: Meaning.from_json(t).mark for t in set(texts) - {None}}
        columns = (self.column(name) for name in ("id", "sha256", "split", "mask_sha256"))
        told = zip(self.column("label"), self.column("boxes"), strict=True)
        digest = hashlib.sha256()
        for row, more, text in zip(zip(*columns, strict=True), told, texts, strict=True):
            full = row if more == (None, None) else row + more
            mark = marks.get(text)
            digest.update(repr((*full, mark) if mark else full).encode())
        return digest.hexdigest()

    def _tell_places(self, *columns: str) -> None:
        """Tell where members of remote tars lie, so that their lists need not be read."""
        if "tar" not in self.table.column_names or not isinstance(self.root, RemotePath):
            return
        told = zip(*(self.column(name) for name in ("tar", *columns)), strict=True)
        remember(
            (f"{self.root}/{tar}", state, name, start, size)
            for state, path, start, size in told
            if state is not None and start is not None
            for tar, _, name in [path.partition(PART)]
        )

    @property
    def _usable(self) -> Any:
        return pc.equal(self.table["status"], "ok")

    def _with(self, table: pa.Table) -> Manifest:
        return Manifest(self.name, self.root, table, notes=self.notes)


def _metadata(table: pa.Table) -> dict[bytes, bytes]:
    return dict(table.schema.metadata or {})


def _prefixed(manifest: Manifest, root: Path) -> pa.Table:
    """Give the table of one set as it stands in a joint one with `root`."""
    below = manifest.root.relative_to(root).as_posix()
    folder = "" if below == "." else f"{below}/"
    prefix = f"{manifest.name}/"

    def put_before(text: str, column: str) -> Any:
        return pc.binary_join_element_wise(text, manifest.table[column], "")

    group = manifest.table["group"]
    changed = {
        "id": put_before(prefix, "id"),
        "image": put_before(folder, "image"),
        "mask": put_before(folder, "mask"),
        "group": pc.if_else(pc.equal(group, ""), group, put_before(prefix, "group")),
    }
    table = manifest.table
    for column, values in changed.items():
        place = table.schema.get_field_index(column)
        table = table.set_column(place, table.schema.field(column), values)
    return table
