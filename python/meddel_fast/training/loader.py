"""Decoded images in memory, and batches prepared while the network is busy.

A frame is decoded once per process and size: the MAE runs of every ratio, and the encoder that
embeds the pool, look at the same frames. They are kept as uint8 (12 KB at 64 pixels, 150 KB at
224) as long as they fit into half of the free memory; a set that does not fit is decoded again
each time, ahead of its use.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.pool import Pool
from meddel_fast.common.resources import cores, free_memory
from meddel_fast.images.image_check import content
from meddel_fast.images.load_images import ImageError, load_image
from meddel_fast.images.load_masks import load_mask, meanings
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.rule import Meaning
from meddel_fast.images.prefetch import reading
from meddel_fast.training.device import Stream, rng_at

_AHEAD = 2  # batches prepared beforehand; more only costs memory

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741


class Sized(Protocol):
    """What a :class:`Store` holds."""

    @property
    def nbytes(self) -> int:
        """Bytes it may come to occupy."""


S = TypeVar("S", bound=Sized)


class Store(Generic[S]):
    """The last used values by key, as many as fit into a share of the free memory."""

    def __init__(self, share: float = 0.5) -> None:
        self._share = share
        self._items: OrderedDict[Hashable, S] = OrderedDict()

    def room(self, nbytes: int) -> bool:
        """Drop the values longest unused until `nbytes` more fit; False when they never will."""
        held = sum(item.nbytes for item in self._items.values())
        limit = self._share * (free_memory() + held)  # what is held can be dropped
        while self._items and held + nbytes > limit:
            held -= self._items.popitem(last=False)[1].nbytes
        return nbytes <= limit

    def get(self, key: Hashable) -> S | None:
        """Value of `key`, now the most recently used, or None."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: Hashable, value: S) -> None:
        """Hold `value`. Ask for :meth:`room` first."""
        self._items[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()


class Frames:
    """The images, or masks, of a list of files, squeezed to one size.

    ``frames[indices]`` is uint8, ``(b, size, size, 3)`` for images and ``(b, size, size)`` for
    masks (0 and 1, and 255 for ignored pixels). Files are decoded when first asked for, by a pool
    of threads.

    Parameters
    ----------
    paths
        Files; ``None`` (no mask) may stand in the list as long as nobody asks for it.
    size
        Side in pixels.
    masks
        Whether the files are masks.
    keep
        Keep what was decoded. Costs ``n * size * size`` bytes a channel once all are in use.
    workers
        Decoding threads; 0 is one per core.
    meanings
        What the masks mean, file by file; see `load_masks.meanings`.
    sha256
        Hash of each file, as a manifest has it, or nothing. What is another file by now is refused
        when it is first decoded.
    """

    def __init__(
        self,
        paths: list[Path] | list[Path | None],
        size: int,
        *,
        masks: bool = False,
        keep: bool = True,
        workers: int = 0,
        meanings: Sequence[Meaning | None] | None = None,
        sha256: Sequence[str | None] = (),
    ) -> None:
        self.paths = paths
        self._sha256 = list(sha256) or [None] * len(paths)
        self.size = size
        self._masks, self._meanings = masks, meanings
        self._shape = (size, size) if masks else (size, size, 3)
        self._workers = workers or cores()
        # Untouched pages of an empty array cost nothing until a frame is written into them.
        self._pixels = np.empty((len(paths), *self._shape), np.uint8) if keep else None
        self._decoded = np.zeros(len(paths), bool)
        self._checked = np.zeros(len(paths), bool)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def nbytes(self) -> int:
        """Bytes that the kept frames come to when all are decoded."""
        return 0 if self._pixels is None else self._pixels.nbytes

    def __getitem__(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self._pixels is None:
            out = np.empty((len(indices), *self._shape), np.uint8)
            self._decode([(int(i), out[k]) for k, i in enumerate(indices)])
            return out
        missing = np.unique(indices[~self._decoded[indices]])
        self._decode([(int(i), self._pixels[i]) for i in missing])
        self._decoded[missing] = True
        return self._pixels[indices]

    def _decode(self, jobs: list[tuple[int, NDArray[np.uint8]]]) -> None:
        def work(number: int) -> Path | None:
            with ahead.using(number):
                return decode(jobs[number])

        def decode(job: tuple[int, NDArray[np.uint8]]) -> Path | None:
            path = self.paths[job[0]]
            if path is None:
                raise ValueError(f"sample {job[0]} has no mask")
            if not self._is_as_told(job[0], path):
                return path
            if self._masks:
                meaning = None if self._meanings is None else self._meanings[job[0]]
                job[1][...] = load_mask(path, self.size, meaning)
            else:
                job[1][...] = load_image(path, self.size)
            return None

        with reading([(self.paths[row],) for row, _ in jobs]) as ahead:
            if len(jobs) <= 1 or self._workers == 1:
                changed = [work(number) for number in range(len(jobs))]
            else:
                with Pool(min(self._workers, len(jobs))) as pool:
                    changed = list(pool.map(work, range(len(jobs))))
        if others := [path for path in changed if path is not None]:
            raise ImageError(
                others[0],
                "is not the file that the manifest was made of, it was changed since (as were "
                f"{len(others)} of {len(jobs)} read together): make the manifest again",
            )

    def _is_as_told(self, row: int, path: Path) -> bool:
        """Compare a file's content with its hash, the first time; it is then in the page cache."""
        wanted = self._sha256[row]
        if wanted and not self._checked[row]:
            self._checked[row] = content(path) == wanted
        return not wanted or bool(self._checked[row])


_FRAMES: Store[Frames] = Store()


def frames(manifest: Manifest, size: int, *, masks: bool = False, workers: int = 0) -> Frames:
    """Frames of a manifest's usable rows; the same object for the same rows, size and kind."""
    paths = manifest.mask_paths() if masks else manifest.image_paths()
    key = (manifest.fingerprint, str(manifest.root), size, masks)
    held = _FRAMES.get(key)
    if held is None:
        keep = _FRAMES.room(len(paths) * size * size * (1 if masks else 3))
        told = meanings(manifest) if masks else None
        sha256 = manifest.column("mask_sha256" if masks else "sha256")
        held = Frames(
            paths, size, masks=masks, keep=keep, workers=workers, meanings=told, sha256=sha256
        )
        if keep:
            _FRAMES.put(key, held)
    return held


def batch_indices(seed: int, step: int, size: int, n: int) -> NDArray[np.int64]:
    """Give the samples (size,) of the batch that `step` sees out of `n`.

    The batches cut one endless sequence of epochs, each a new permutation; `n` may be smaller
    than a batch.
    """
    places = np.arange(step * size, (step + 1) * size)
    epochs = places // n
    return np.concatenate(
        [_permutation(seed, int(e), n)[places[epochs == e] % n] for e in np.unique(epochs)]
    )


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return rng_at(seed, Stream.ORDER, epoch).permutation(n)


def prefetch(fetch: Callable[[I], T], items: Iterable[I]) -> Iterator[T]:
    """Yield ``fetch(item)`` in order, with the next ones prepared by a thread meanwhile."""
    pool = Pool(1)
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(fetch, item))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
