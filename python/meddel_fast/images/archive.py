"""Members of zips and tars, read in place: nothing is ever unpacked to disk.

Archives come from strangers, and name their members in several encodings: all that is said of names
here is said of the decoded ones. A member that is a link or a device, or whose name is absolute or
leads upwards, is refused, and so is one whose size says decompression bomb, or which is packed in a
way that could grow beyond the size it states (a zip's bzip2 and LZMA); every refusal names the
member. An archive is opened once per process and shared by the threads: all reads go through
``pread``, which moves no file position, or are ranges of a remote file, one for each member.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from meddel_fast.common.files import StrPath
from meddel_fast.common.npz import check_packing
from meddel_fast.common.remote_path import RemotePath
from meddel_fast.images.address import PART, UNION, Address, ImageError, member, parse
from meddel_fast.images.known_members import state_text
from meddel_fast.images.remote_files import WHOLE, Ranges, raise_outage

MAX_MEMBER = 1 << 30
"""Members that unpack to more bytes are refused."""
MAX_RATIO = 100
"""Members that grow more than this are refused, once they are larger than :data:`FREE_BYTES`."""
FREE_BYTES = 32 << 20
"""A blank uncompressed mask shrinks a thousandfold; at this size that is harmless."""

_UTF_8_NAME = 1 << 11  # flag of a zip's member
_UNICODE_PATH = 0x7075  # extra field of a zip's member

_OPEN = 16  # archives kept open, each one descriptor
_REMOTE = 4096  # remote ones whose members are known
_UNPACKED = 2  # archives in archives kept in memory, each up to MAX_MEMBER


class _Descriptor:
    """A file open for ``pread``; closed when nobody holds it any more."""

    def __init__(self, path: StrPath) -> None:
        self._number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._number).st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._number, size, offset)

    def __del__(self) -> None:
        if hasattr(self, "_number"):
            os.close(self._number)


class _Memory:
    """Bytes with the reading side of :class:`_Descriptor`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int) -> bytes:
        return self._data[offset : offset + size]


class Span(io.RawIOBase):
    """A file-like view of a stretch of bytes, with a position of its own.

    Attributes
    ----------
    ranges
        The remote file that the bytes are of, or None.
    """

    def __init__(self, source: _Descriptor | _Memory | Ranges, start: int, size: int) -> None:
        self._source, self._start, self._size, self._at = source, start, size, 0
        self.ranges = source if isinstance(source, Ranges) else None

    def within(self, start: int, size: int) -> Span:
        """View a part of this view."""
        return Span(self._source, self._start + start, size)

    def place(self, start: int, size: int) -> tuple[int, int]:
        """Give the range that a part of this view is of the whole file."""
        return self._start + start, self._start + start + size

    def opened(self) -> BinaryIO:
        """Give the bytes as a seekable file; of a remote file they are read at once."""
        if self.ranges is None:
            return cast(BinaryIO, io.BufferedReader(self))
        if self._size > WHOLE:
            return cast(BinaryIO, io.BufferedReader(self, 1 << 20))
        data = self.ranges.range(self._start, self._start + self._size)
        if len(data) != self._size:
            raise OSError(f"{self.ranges.place} ends early: {len(data)} of {self._size} bytes")
        return io.BytesIO(data)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; beyond the end there is nothing to read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"offset: wanted a place from 0, got {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as there are bytes."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = self._source.read(self._start + self._at, wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class Archive:
    """The members of one zip or tar.

    Attributes
    ----------
    path
        Its address.
    refused
        Members that are not read, and why.
    """

    def __init__(self, path: Path, span: Span) -> None:
        self.path = path
        self._span = span
        self._members: dict[str, Any] = {}  # of a tar, offset and size; of a zip, a ZipInfo
        self._starts: list[int] = []  # of what a zip holds, and of its directory
        self.refused: dict[str, str] = {}
        try:
            self._index()
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise_outage(error)
            raise ImageError(path, f"broken archive: {error}") from error
        if span.ranges is not None:
            span.ranges.forget()

    @property
    def names(self) -> list[str]:
        """Members that can be read, in the archive's order, with plain ``/`` between folders."""
        return list(self._members)

    def read(self, name: str) -> bytes:
        """Give a member's content.

        Raises
        ------
        ImageError
            There is no such member, it is refused, or damaged.
        """
        return self.open(name).read()

    def size(self, name: str) -> int:
        """Give a member's size unpacked, in bytes; -1 where there is none that can be read."""
        found = self._members.get(name)
        if found is None:
            return -1
        return int(found[1] if isinstance(found, tuple) else found.file_size)

    def extent(self, name: str) -> tuple[int, int] | None:
        """Give the range of the remote file that is read for a member, if it is in one."""
        found = self._members.get(name)
        if found is None or self._span.ranges is None:
            return None
        if isinstance(found, tuple):
            return self._span.place(*found)
        end = self._starts[bisect_right(self._starts, found.header_offset)]
        return self._span.place(found.header_offset, end - found.header_offset)

    def plain(self, name: str) -> tuple[int, int] | None:
        """Give the range of the remote file that is a member as it is, if there is one."""
        return self.extent(name) if isinstance(self._members.get(name), tuple) else None

    def open(self, name: str) -> BinaryIO:
        """Give a member as a seekable file; in place where it is stored as it is."""
        found = self._members.get(name)
        where = member(self.path, name)
        if found is None:
            raise ImageError(where, self.refused.get(name, f"no such member in {self.path}"))
        if isinstance(found, tuple):
            return self._span.within(*found).opened()
        try:
            with self._fetched(name), self._zip.open(found) as file:
                data = file.read(found.file_size + 1)
        except Exception as error:  # zipfile's, zlib's and their kin share no base
            raise_outage(error)
            raise ImageError(where, f"broken: {error}") from error
        if len(data) != found.file_size:
            raise ImageError(where, f"truncated: {len(data)} of {found.file_size} bytes")
        return io.BytesIO(data)

    def inner(self, name: str) -> Archive:
        """Open an archive in this archive: in place in a tar, else unpacked into memory."""
        found = self._members.get(name)
        where = member(self.path, name)
        if isinstance(found, tuple):
            return Archive(where, self._span.within(*found))
        data = self.read(name)
        return Archive(where, Span(_Memory(data), 0, len(data)))

    @contextlib.contextmanager
    def _fetched(self, name: str) -> Iterator[None]:
        """Have a zip's member read by one request, where the zip is remote."""
        extent = self.extent(name)
        if extent is None or self._span.ranges is None:
            yield
            return
        with self._span.ranges.holding(*extent):
            yield

    def _index(self) -> None:
        if self.path.suffix.lower() == ".zip":
            self._zip = zipfile.ZipFile(cast(BinaryIO, self._span))
            starts = (info.header_offset for info in self._zip.infolist())
            self._starts = sorted({*starts, self._zip.start_dir})
            for info in self._zip.infolist():
                name = _name_in_zip(info)
                if info.file_size or not name.endswith(("/", "\\")):
                    self._add(name, info, _unfit_in_zip(info))
            return
        file = cast(BinaryIO, self._span)
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for entry in tar:
                if not entry.isdir():
                    found = (entry.offset_data, entry.size)
                    self._add(_name_in_tar(entry), found, _unfit_in_tar(entry))
                cast(Any, tar).members.clear()  # it would keep a record of each

    def _add(self, name: str, found: Any, unfit: str) -> None:
        plain = name.replace("\\", "/")
        unfit = unfit or _unfit_name(plain)
        if not unfit:
            plain = PurePosixPath(plain).as_posix()
        if not unfit and plain in self._members:
            unfit = "two members have this name"
            del self._members[plain]
        if unfit or plain in self.refused:
            self.refused.setdefault(plain, unfit)
        else:
            self._members[plain] = found


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """Decode a member's name.

    Without the mark that a name is UTF-8, `zipfile` takes it for code page 437. A Mac and older
    tools write UTF-8 without the mark, others the old bytes and beside them a field with the name
    in UTF-8, which counts as long as its checksum is that of the old bytes.
    """
    if info.flag_bits & _UTF_8_NAME:
        return info.filename
    raw = info.orig_filename.encode("cp437")
    name = _unicode_path(info.extra, raw)
    if name is None:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = info.orig_filename
    return name.partition("\0")[0]


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Read Info-ZIP's field 0x7075: version 1, CRC-32 of the old name, the name in UTF-8."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BI", 1, zlib.crc32(raw)):
            try:
                return field[5:].decode() or None
            except UnicodeDecodeError:
                return None
    return None


def _name_in_tar(entry: tarfile.TarInfo) -> str:
    """Decode a member's name: UTF-8, as is usual now, else Latin-1, as it was before."""
    raw = entry.name.encode(errors="surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _unfit_name(name: str) -> str:
    if name.startswith("/") or name[1:3] == ":/":
        return "refused: absolute path in an archive"
    if ".." in name.split("/"):
        return "refused: path leads out of the archive"
    if PART in name or UNION in name:
        return f"refused: name holds {PART} or {UNION}"
    return ""


def _unfit_in_zip(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "refused: link in an archive"
    if info.flag_bits & 1:
        return "refused: encrypted"
    try:
        check_packing(info)
    except ValueError as error:
        return f"refused: {error}"
    return _unfit_size(info.file_size, info.compress_size)


def _unfit_in_tar(entry: tarfile.TarInfo) -> str:
    if entry.issym() or entry.islnk():
        return "refused: link in an archive"
    if not entry.isreg() or entry.issparse():
        return "refused: not a regular file"
    return _unfit_size(entry.size, entry.size)


def _unfit_size(size: int, packed: int) -> str:
    if size > MAX_MEMBER:
        return f"refused: {size} bytes unpacked, more than {MAX_MEMBER}"
    if size > FREE_BYTES and size > MAX_RATIO * packed:
        return f"refused: {packed} bytes grow to {size}, more than {MAX_RATIO} times"
    return ""


class _Cache:
    """The archives used last, by address and state of the file.

    One thread opens an archive, while others wait for it alone.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[Any, ...], Archive] = OrderedDict()
        self._making: dict[tuple[Any, ...], threading.Lock] = {}

    def get(self, key: tuple[Any, ...], make: Callable[[], Archive]) -> Archive:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._held.get(key) or make()
            with self._lock:
                self._making.pop(key, None)
                self._held[key] = found
                self._held.move_to_end(key)
                while len(self._held) > self._limit:
                    self._held.popitem(last=False)
        return found


_OUTER, _INNER, _FAR = _Cache(_OPEN), _Cache(_UNPACKED), _Cache(_REMOTE)


def state(file: Path) -> tuple[object, ...]:
    """Tell a file from what it was before: path, inode, times of change, size.

    The time of the inode's change cannot be set back, as that of the content's can. Of a remote
    file: URL, size and etag, or what the store tells instead.
    """
    if isinstance(file, RemotePath):
        return (str(file), *file.state())
    status = file.stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return str(file), status.st_ino, *times, status.st_size


def open_archive(file: Path, within: str | None = None) -> Archive:
    """Open an archive, or the archive `within` it; kept open for the next call.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It is remote, and the store does not answer.
    ImageError
        It is no archive or a damaged one, or `within` is refused.
    """
    key = state(file)

    def make() -> Archive:
        source = Ranges(file) if isinstance(file, RemotePath) else _Descriptor(file)
        return Archive(file, Span(source, 0, source.size))

    outer = (_FAR if isinstance(file, RemotePath) else _OUTER).get(key, make)
    return outer if within is None else _INNER.get((*key, within), lambda: outer.inner(within))


def place_in_tar(path: Path) -> tuple[str | None, int | None, int | None]:
    """Give, of a member of a remote tar: the tar's state as text, where it begins, its size."""
    address = parse(path) if UNION not in path.name else Address(path)
    file, members = address.file, address.members
    if not isinstance(file, RemotePath) or not members or address.index is not None:
        return None, None, None
    extent = open_archive(file, members[0] if len(members) == 2 else None).plain(members[-1])
    if extent is None:
        return None, None, None
    return state_text(file.state()), extent[0], extent[1] - extent[0]
