"""All files below a data set's root are held against the rows that a scan made of them."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meddel_fast.common.remote_path import is_remote, odd_keys, path_of, walk
from meddel_fast.common.suffixes import ARCHIVES, HOLDERS, IMAGES
from meddel_fast.images.address import PART, UNION, ImageError, member, parse, place, union
from meddel_fast.images.archive import open_archive
from meddel_fast.images.image_check import READ, File
from meddel_fast.images.left_out import FIRST, LeftOut, Tally
from meddel_fast.images.remote_files import raise_outage
from meddel_fast.images.splits import Splits, plain_stem

_HIDDEN = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_PACKED = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz|tzst|rar|7z|zipx|z\d\d)$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.\w{1,12}")
_MANY = 20  # suffixes that are counted each for itself
_NEAR = 0.02  # sides that are rounded apart have one shape


def account(
    base: Path,
    rows: Sequence[Mapping[str, Any]],
    roots: Sequence[Path],
    *,
    tables: Collection[Path] = (),
    splits: Splits | None = None,
    unpacked: Collection[str] = (),
    without: Collection[Path] = (),
    follow_links: bool = False,
    noticed: Sequence[Tally] = (),
) -> LeftOut:
    """Count what is below `roots` and in no row, and what is odd about the rows.

    Parameters
    ----------
    base
        Folder that names are told from, absolute.
    rows
        Rows of :func:`meddel_fast.images.image_check.make_row`.
    roots
        Folders and archives, absolute.
    tables
        Files, or members of archives, that something was read from.
    splits
        The table of splits that the rows were made with.
    unpacked
        Addresses of members of archives that were read where they lie unpacked.
    without
        Folders and archives that another account speaks of.
    follow_links
        Whether the scan followed links to folders.
    noticed
        What the reader has noticed itself.
    """
    rows = sorted(rows, key=lambda row: str(row["id"]))  # they come as threads were done
    read = [row[READ] for row in rows if READ in row]
    used = _Used(read, [*tables, *([splits.path.resolve()] if splits else [])])
    found = _Survey(used, frozenset(map(str, without)), follow_links)
    for root in roots:
        found.add(str(root))
    kinds: Counter[str] = Counter()
    left = _Left(str(base), list(map(str, roots)), used, found.refused, unpacked)
    for leaf in found.leaves:
        kind = used.kind(leaf)
        kinds[kind] += 1
        if not kind:
            left.add(leaf)
    odd = [*_noticed(rows), *_unlisted(rows, splits), *found.tallies(str(base)), *noticed]
    counts = (len(found.leaves), kinds["image"], kinds["mask"], kinds["table"])
    return LeftOut(*counts, tuple(left.tallies()), tuple(odd))


class _Used:
    """The files that rows and tables are made of, and the folders above them, as addresses."""

    def __init__(self, read: Sequence[tuple[File, File | None]], tables: Iterable[Path]) -> None:
        self._kinds: dict[str, str] = {str(path): "table" for path in tables}
        self.above: dict[str, set[str]] = {"image": set(), "mask": set(), "table": set()}
        for mask in (str(mask.path) for _, mask in read if mask is not None):
            for part in [mask, *(map(str, union(mask)) if UNION in mask else ())]:
                self._kinds[_whole(part)] = "mask"
        for image in (str(image.path) for image, _ in read):
            self._kinds[image] = self._kinds[_whole(image)] = "image"
        for path, kind in self._kinds.items():
            known, folder = self.above[kind], _above(path)
            while folder and folder not in known:
                known.add(folder)
                folder = _above(folder)

    def kind(self, leaf: str) -> str:
        """Tell what a file was used for; empty if for nothing."""
        return self._kinds.get(leaf, "")

    def is_above(self, folder: str) -> bool:
        """Tell whether anything that was used lies below a folder or archive."""
        return any(folder in found for found in self.above.values())


class _Survey:
    """The files below some folders and in archives, as addresses; what could not be looked at."""

    def __init__(self, used: _Used, without: frozenset[str], follow_links: bool) -> None:
        self._used, self._without, self._follow = used, without, follow_links
        self.leaves: list[str] = []
        self.refused: dict[str, str] = {}
        self._unlisted: list[str] = []
        self._empty: list[str] = []
        self._odd: list[str] = []
        self._seen: set[str] = set()

    def add(self, root: str) -> None:
        """Look at a folder or file."""
        if root in self._without:
            return
        if is_remote(root):
            self._add_remote(root)
            return
        if not os.path.isdir(root):  # noqa: PTH112 - strings are several times as fast here
            self.leaves += self._held(root)
            return
        self._seen.add(os.path.realpath(root))

        def fail(error: OSError) -> None:
            self._unlisted.append(os.fspath(error.filename))

        for parent, below, names in os.walk(root, onerror=fail, followlinks=True):
            inside = [os.path.join(parent, name) for name in sorted(below)]  # noqa: PTH118
            kept = [path for path in inside if self._is_walked(path)]
            below[:] = [os.path.basename(path) for path in kept]  # noqa: PTH119
            self.leaves += [path for path in inside if path not in kept and os.path.islink(path)]  # noqa: PTH114
            if not names and not inside:
                self._empty.append(parent)
            for name in sorted(names):
                path = os.path.join(parent, name)  # noqa: PTH118
                if path not in self._without:
                    self.leaves += self._held(path)

    def _add_remote(self, root: str) -> None:
        if not path_of(root).is_dir():
            self.leaves += self._held(root)
            return
        self._odd += odd_keys(root)
        for parent, below, names in walk(root):
            below[:] = [name for name in below if f"{parent}/{name}" not in self._without]
            for path in (f"{parent}/{name}" for name in names):
                if path not in self._without:
                    self.leaves += self._held(path)

    def tallies(self, base: str) -> Iterator[Tally]:
        """Count the folders that could not be listed, those without a file, names of no path."""
        for what, paths in (
            ("folders cannot be listed", self._unlisted),
            ("empty folders", self._empty),
            ("names in the store that no path has", self._odd),
        ):
            if paths:
                yield Tally.of(what, (_name(path, base) for path in paths))

    def _is_walked(self, folder: str) -> bool:
        if folder in self._without:
            return False
        if self._is_foreign(folder):
            return False
        real = os.path.realpath(folder)
        again = real in self._seen  # links may run in a circle
        self._seen.add(real)
        return not again or self._used.is_above(folder)

    def _is_foreign(self, path: str) -> bool:
        """Tell whether a folder or archive is a link that the scan did not follow."""
        linked = not is_remote(path) and os.path.islink(path)  # noqa: PTH114
        return linked and not self._follow and not self._used.is_above(path)

    def _held(self, path: str) -> list[str]:
        """List an archive's members, where it can be listed; else the file itself."""
        if os.path.splitext(path)[1].lower() not in ARCHIVES:  # noqa: PTH122
            return [path]
        if self._is_foreign(path):  # a data set does not choose which names of yours are told
            return [path]
        try:
            address = parse(path)
            if len(address.members) > 1 or not address.file.is_file():
                return [path]
            archive = open_archive(address.file, *address.members)
        except (ImageError, OSError) as error:
            raise_outage(error)
            return [path]
        found: list[str] = []
        for name in archive.names:
            where = str(member(path, name))
            # an archive in an archive is unpacked into memory: only where a row lies in it
            found += self._held(where) if self._used.is_above(where) else [where]
        for name, why in archive.refused.items():
            where = str(member(path, name))
            self.refused[where] = why
            found.append(where)
        return found or [path]


class _Left:
    """Files that are in no row, counted by why."""

    def __init__(
        self,
        base: str,
        roots: Sequence[str],
        used: _Used,
        refused: Mapping[str, str],
        unpacked: Collection[str],
    ) -> None:
        self._base, self._roots, self._used, self._refused = base, roots, used, refused
        self._unpacked = unpacked
        self._names: dict[str, list[str]] = defaultdict(list)
        self._over: Counter[str] = Counter()
        self._suffixes: dict[str, list[str]] = defaultdict(list)

    def add(self, leaf: str) -> None:
        """Count a file."""
        name = _name(leaf, self._base)
        suffix = os.path.splitext(leaf)[1].lower()  # noqa: PTH122
        if is_hidden(name):
            self._names["hidden files"].append(name)
        elif leaf in self._unpacked:
            self._names["members of archives that lie unpacked too"].append(name)
        elif leaf in self._refused:
            self._names["refused members of archives"].append(f"{name} ({self._refused[leaf]})")
        elif PART not in leaf and not _is_regular(leaf):
            self._names["links and special files"].append(name)
        elif is_packed(leaf):
            self._names["packed files, to be unpacked first"].append(name)
        elif suffix in IMAGES | HOLDERS:
            self._add_picture(leaf, name)
        else:
            known = bool(_SUFFIX.fullmatch(suffix)) and not suffix[1:].isdecimal()
            self._suffixes[suffix if known else ""].append(name)

    def _add_picture(self, leaf: str, name: str) -> None:
        """Tell a mask without image, or an image that a layout does not take, by its folder."""
        images, masks = self._used.above["image"], self._used.above["mask"]
        top = max((len(root) for root in self._roots if leaf.startswith(root)), default=0)
        folders = [folder for folder in _folders(leaf) if len(folder) > top]
        near = next((f for f in reversed(folders) if self._used.is_above(f)), None)
        if near in masks and near not in images:
            self._names["masks without an image"].append(name)
        elif folders and near == folders[-1] and near not in masks:
            what = "images without a mask" if masks else "images that the layout does not take"
            self._names[what].append(name)
        else:
            over = next((folder for folder in folders if not self._used.is_above(folder)), leaf)
            self._over[_name(over, self._base)] += 1

    def tallies(self) -> Iterator[Tally]:
        """Give the counts."""
        if self._over:
            most = self._over.most_common(FIRST)
            named = tuple(f"{place} ({count:,})" if count > 1 else place for place, count in most)
            more = len(self._over) > FIRST
            yield Tally("images in places passed over", self._over.total(), named, more)
        for what in sorted(self._names):
            yield Tally.of(what, self._names[what])
        by_count = sorted(self._suffixes.items(), key=lambda found: (-len(found[1]), found[0]))
        for suffix, names in by_count[:_MANY]:
            yield Tally.of(f"{suffix} files" if suffix else "files without a suffix", names)
        if rest := [name for _, names in by_count[_MANY:] for name in names]:
            yield Tally.of("files of other suffixes", rest)


def is_packed(name: str) -> bool:
    """Tell by the name whether a file is packed in a way that is not read in place."""
    return _PACKED.search(name) is not None


def is_hidden(name: str) -> bool:
    """Tell whether a path, seen from the data set, is one that systems keep for themselves."""
    parts = re.split(f"/|{PART}", name)
    return any(
        part.casefold() in _HIDDEN or (part.startswith(".") and part.strip(".")) for part in parts
    )


def _noticed(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    """Count what is odd about the usable rows."""
    usable = [row for row in rows if row["status"] == "ok"]
    bare = [row["id"] for row in usable if row["mask"] is None]
    if bare and len(bare) < len(usable):
        yield Tally.of("images without a mask, though others have one", bare)
    checks = (_odd_masks(usable), _shared_masks(usable), _split_groups(usable), _equal(usable))
    for found in (*checks, _one_stem(usable)):
        yield from found


def _unlisted(rows: Sequence[Mapping[str, Any]], splits: Splits | None) -> Iterator[Tally]:
    """Count the lines of a table of splits that no row is of."""
    if splits is None:
        return
    missing = {plain_stem(Path(row["id"]).name) for row in rows if READ not in row}
    absent = [n for n in splits.unused() if plain_stem(Path(n).name) not in missing]
    if absent:
        yield Tally.of(f"lines of {splits.path.name} name no image", absent)


def _odd_masks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    shapes: list[str] = []
    sizes: list[str] = []
    for row in rows:
        mask = row[READ][1] if READ in row else None
        if mask is None or not mask.info.width:
            continue
        width, height = row["width"], row["height"]
        if (mask.info.width, mask.info.height) == (width, height):
            continue
        told = f"{row['id']} ({mask.info.width}x{mask.info.height} on {width}x{height})"
        ratio = mask.info.width * height / (mask.info.height * width)
        (sizes if abs(ratio - 1) <= _NEAR else shapes).append(told)
    if shapes:
        yield Tally.of("masks of another shape than their image (squeezed)", shapes)
    if sizes:
        yield Tally.of("masks of another size than their image", sizes)


def _shared_masks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    named = Counter(row["mask"] for row in rows if row["mask"] is not None)
    if shared := sorted(mask for mask, count in named.items() if count > 1):
        yield Tally.of("masks of several images", shared)


def _split_groups(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row["group"]:
            splits[row["group"]].add(row["split"])
    told = [f"{g} ({', '.join(sorted(s))})" for g, s in sorted(splits.items()) if len(s) > 1]
    if told:
        yield Tally.of("groups (videos, patients) lie in two splits", told)


def _equal(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    by_hash: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_hash[row["sha256"]].append(row)
    same = [found for key, found in by_hash.items() if key and len(found) > 1]
    for what, apart in (("equal files", False), ("equal files lie in two splits", True)):
        told = []
        for found in same:
            if (len({row["split"] for row in found}) > 1) == apart:
                told += [f"{row['id']} = {found[0]['id']}" for row in found[1:]]
        if told:
            yield Tally.of(what, sorted(told))


def _one_stem(rows: Sequence[Mapping[str, Any]]) -> Iterator[Tally]:
    stems: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        stems[os.path.splitext(place(row["id"]))[0]].append(row["id"])  # noqa: PTH122
    told = sorted(" = ".join(names) for names in stems.values() if len(names) > 1)
    if told:
        yield Tally.of("names that differ in their suffix alone", told)


def _whole(address: str) -> str:
    """Give the file or member that an address leads to or into."""
    try:
        return str(parse(address).container) if PART in address else address
    except ImageError:  # leads through too many archives; told by its row
        return address


def _above(address: str) -> str:
    """Give the folder or archive that something lies in; empty above all."""
    return address[: max(0, address.rfind("/"), address.rfind(PART))]


def _folders(address: str) -> list[str]:
    """Give the folders and archives above an address, the highest first."""
    return [address[: cut.start()] for cut in re.finditer(f"/|{PART}", address)]


def _name(address: str, base: str) -> str:
    name = address.removeprefix(base).lstrip("/") or "."
    return name.encode(errors="backslashreplace").decode()


def _is_regular(path: str) -> bool:
    if is_remote(path):
        return True
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
