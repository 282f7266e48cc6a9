"""A folder becomes a manifest by a reader that is asked for by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.plugins import find_plugin
from meddel_fast.images.address import UNION, parse
from meddel_fast.images.image_check import settle_masks
from meddel_fast.images.manifest import SPLITS, Manifest
from meddel_fast.images.masks.census import Census
from meddel_fast.images.readers.by_name import READERS, find_reader
from meddel_fast.images.readers.tree import Sample, Tree
from meddel_fast.images.scan.accounting import account
from meddel_fast.images.scan.datadel_set import listed_splits, rows_of
from meddel_fast.images.scan.folder import finished
from meddel_fast.images.sources import Sampling
from meddel_fast.images.splits import Dealing


def scan_with_reader(
    root: StrPath,
    reader: str,
    *,
    name: str | None = None,
    splits: StrPath | None = None,
    require_masks: bool = False,
    sampling: Sampling | None = None,
    min_size: int = 16,
    mask: Mapping[str, Any] | None = None,
    dealing: Dealing | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Read a folder or archive by a layout of :mod:`~meddel_fast.images.readers.by_name`.

    What the reader finds is checked: images and masks that lie in `root`, each image once, known
    splits. Every image is then read, as by
    :func:`meddel_fast.images.scan.folder.scan_folder`, whose other parameters these are.

    Parameters
    ----------
    root
        Folder or archive.
    reader
        "pairs", "classes", "plain", or what another package offers (docs/howto/plugin.md).

    Raises
    ------
    FileNotFoundError
        There is nothing at `root`.
    ValueError
        There is no such reader, it finds no sample, the masks have no one meaning, or no image can
        be used.
    meddel_fast.common.plugins.PluginError
        The reader of a package fails, or finds what cannot be; the message names the package.
    """
    layout, whole = find_reader(reader), Path(root).resolve()
    if not whole.exists():
        raise FileNotFoundError(f"root: no folder or archive {root}")
    tree = Tree([whole], sampling)
    samples = _found(layout.find, tree, reader)
    if not samples:
        raise ValueError(f"root: the reader {reader!r} finds no sample in {root}")
    base = whole if whole.is_dir() else whole.parent
    dealing = dealing or Dealing()
    table = listed_splits(splits, base, samples, dealing, reader)
    notes: list[str] = []
    census = Census()
    rows = rows_of(
        samples,
        base,
        table=table,
        require_masks=require_masks,
        min_size=min_size,
        dealing=dealing,
        notes=notes,
        census=census,
        workers=workers,
        progress=progress,
    )
    settle_masks(rows, census, mask)
    copies = {str(item.path) for item in tree.copies}
    left_out = account(base, rows, [whole], tables=tree.tables_read, splits=table, unpacked=copies)
    plugin = None if reader in READERS else find_plugin("reader", reader)
    told = "" if plugin is None else f" of {plugin.package} {plugin.version}"
    notes.append(f"found by the reader {reader}{told}")
    return finished(name or whole.name, base, rows, left_out, notes)


def _found(find: Any, tree: Tree, reader: str) -> list[Sample]:
    """Ask the reader; of a package, hold what it finds to what there can be."""
    plugin = None if reader in READERS else find_plugin("reader", reader)
    if plugin is None:
        found: list[Sample] = find(tree)
        return found
    try:
        samples = list(find(tree))
    except (OSError, ValueError):  # of what lies there: a table that is broken, say
        raise
    except Exception as error:
        raise plugin.error(f"failed: {type(error).__name__}: {error}") from error
    wrong = _wrong(samples, tree)
    if wrong:
        raise plugin.error(wrong)
    return samples


def _wrong(samples: Sequence[Any], tree: Tree) -> str:
    """Say what is wrong with what a reader found; empty where nothing is."""
    there, seen = {item.path for item in tree.items}, set()
    for sample in samples:
        if not isinstance(sample, Sample):
            return f"must find samples, got {type(sample).__name__}"
        if sample.image in seen:
            return f"must find each image once, got {sample.image} twice"
        seen.add(sample.image)
        if sample.split not in ("", *SPLITS):
            return f"must give splits of {', '.join(SPLITS)}, or none, got {sample.split!r}"
        for path in (sample.image, sample.mask):
            if path is not None and not sample.reason and not _lies_in(path, there):
                return f"must find what lies in the folder that it reads, got {path}"
    return ""


def _lies_in(path: Path, there: set[Path]) -> bool:
    """Tell whether an address leads to a file of the tree, or to a frame of one."""
    first = Path(str(path).split(UNION)[0])
    return first in there or parse(first).container in there
