"""The whole job: from images, or embeddings, to the list of what is kept, at one place.

Stages are done in turn, each once: ``curate.json`` at the place tells which are done, of what, and
what was done again. The long ones are the engine's; see :mod:`meddel_fast.cluster.engine`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.benchmark.stages.stage import Stage, Watcher
from meddel_fast.cluster import tables
from meddel_fast.cluster.curate_page import EXAMPLES, write_page
from meddel_fast.cluster.engine import Engine, Tell
from meddel_fast.cluster.local import LocalEngine
from meddel_fast.cluster.plan import Plan, make_plan
from meddel_fast.cluster.record import Record
from meddel_fast.cluster.shards import ShardJob, shards_state
from meddel_fast.cluster.source import ImageSource, RowSource, counts
from meddel_fast.common import places
from meddel_fast.common.files import Progress
from meddel_fast.common.lock import lock
from meddel_fast.common.urls import StrPath
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import Selection
from meddel_fast.stores.embedding_files import (
    INDEX,
    lost_shards,
    read_index,
    shard_name,
    take_stock,
)
from meddel_fast.training.embedder import Embedder

MANIFEST, EMBEDDINGS, CHECKPOINTS = "manifest.parquet", "embeddings", "checkpoints"
DUPLICATES, SELECTION = "duplicates.parquet", "selection.parquet"
KEPT, KEPT_LIST, PAGE = "kept.parquet", "kept.txt", "report.html"


@dataclass(frozen=True)
class Curated:
    """What was curated.

    Attributes
    ----------
    place
        Where all of it lies.
    ids
        Names of what is kept, in the order of the source.
    record
        What ``curate.json`` says.
    """

    place: str
    ids: list[str]
    record: dict[str, Any]


class Silent:
    """A watcher that shows nothing."""

    def begin(self, stage: Stage, reason: str) -> None:
        """See `benchmark.stages.stage.Watcher`."""

    def progress(self, done: int, total: int) -> None:
        """See `benchmark.stages.stage.Watcher`."""

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        """See `benchmark.stages.stage.Watcher`."""


def curate(
    source: StrPath, out: StrPath, *, watcher: Watcher | None = None, **options: Any
) -> Curated:
    """Choose the images that are worth keeping, from a folder of them to a list.

    Reads the images (``manifest.parquet``), embeds them (``embeddings/``), leaves out near
    duplicates (``duplicates.parquet``), selects (``selection.parquet``), lists what is kept
    (``kept.parquet``, ``kept.txt``) and reports (``report.html``). What is kept is what
    :func:`~meddel_fast.training.embed.embed`, :func:`meddel_fast.deduplicate` and
    :func:`meddel_fast.selectors.select` (with ``exclude=`` of the duplicates) give, bit for bit,
    by whatever engine and with any number of workers.

    Started again after a kill it goes on: stages that are done are not done again, embedding goes
    on at the shards that are not there, the operations at their checkpoints. With other options the
    stages that depend on them are done anew. What was done again is in the record.

    Parameters
    ----------
    source
        Images: a folder (with ``images`` in it, or of images themselves), an archive, WebDataset
        tars, a manifest. Or embeddings: the folder that ``embed`` writes, a .npy, .safetensors or
        .parquet file, or a folder of such. A path or a URL.
    out
        Place of the results, a new one or that of an earlier call; a path or a URL.
    watcher
        Is told what happens, see :class:`meddel_fast.benchmark.stages.stage.Watcher`.
    **options
        ``budget``, which is needed: a count (int), or a share in (0, 1] (float) of all samples that
        can be used. Where duplicates leave less, all that is left is kept.

        ``method`` ("meddel"), ``seed`` (0), and ``options``, a dict of the method's own.
        ``dedup`` (0.95), the cosine from which on two samples are near duplicates, None for no such
        stage; ``rule`` ("semdedup").

        Of images ``encoder``, which is needed, ``image_size``, ``batch_size``, ``dtype``,
        ``pooling``, ``precision`` and ``device`` as of ``embed``; ``split``, names of splits: only
        images of these.

        ``engine`` ("local" or "ray"), with ``workers``, by default one a core or GPU; ``memory`` of
        a worker's operations; ``threads`` of the local engine's. Of Ray ``address``, as
        :func:`ray.init` takes it, and ``cpus``, the cores of a worker (1).

    Returns
    -------
    Curated
        Also of what was done before.

    Raises
    ------
    ValueError, TypeError, OSError
        An option out of range, no such source, a place that holds something else, or the results of
        another source: before any work.
    meddel_fast.common.lock.LockedError
        Another process works at this place.
    """
    plan = make_plan(source, out, **options)
    found = plan.check()
    with contextlib.ExitStack() as stack:
        if not places.is_remote(plan.out):
            stack.enter_context(lock(Path(plan.out)))
        record = Record(plan.out, plan.about())
        return _Curation(plan, found, record, watcher or Silent()).run()


def stages(plan: Plan, source: ImageSource | RowSource) -> list[Stage]:
    """Return the stages of a curation, for those who show them."""
    of_images = isinstance(source, ImageSource)
    names = {
        "manifest": "files" if of_images else None,
        "embeddings": "images" if of_images else None,
        "duplicates": None if plan.dedup is None else "samples",
        "selection": "",
        "kept": "",
        "report": "",
    }
    return [
        Stage(name, (), dict, lambda progress: None, unit=unit)
        for name, unit in names.items()
        if unit is not None
    ]


class _Curation:
    """One call of :func:`curate`."""

    def __init__(
        self, plan: Plan, source: ImageSource | RowSource, record: Record, watcher: Watcher
    ) -> None:
        self._plan, self._source, self._record, self._watcher = plan, source, record, watcher
        self._stages = {stage.name: stage for stage in stages(plan, source)}
        self._checkpoint = places.join(plan.out, CHECKPOINTS)
        self._manifest: Manifest | None = None
        self._loaded: Embedder | None = None

    def run(self) -> Curated:
        for stage in ("manifest", "embeddings", "duplicates"):
            if stage not in self._stages:
                self._record.leave_out(stage)
        with _make_engine(self._plan, self._record.tell_again) as engine:
            if isinstance(self._source, ImageSource):
                rows = self._embed(self._source, engine)
                ids, state = self._images.ids, shards_state(rows.place)
            else:
                rows = self._source
                ids, state = rows.ids(len(rows.open())), rows.state()
                self._plan.count(len(ids))
            if "duplicates" in self._stages:
                self._deduplicate(engine, rows, state, ids)
            self._select(engine, rows, state, ids)
        with self._record.local(SELECTION) as path:
            selection = Selection.load(path)
        self._keep(selection, ids)
        self._report(selection, ids)
        kept = [ids[row] for row in selection.indices.tolist()]
        return Curated(self._plan.out, kept, self._record.as_dict())

    # The stages.

    def _embed(self, source: ImageSource, engine: Engine) -> RowSource:
        """Read the images and embed them."""
        plan, folder = self._plan, places.join(self._plan.out, EMBEDDINGS)
        embedding = plan.embedding
        if self._record.stages.get("embeddings", {}).get("state") != "done":
            self._embedder()  # what is wrong with it comes before hours of reading images

        def read(progress: Progress) -> dict[str, Any]:
            self._manifest = source.manifest(plan.split, progress)
            with self._record.output("manifest", MANIFEST) as path:
                self._manifest.save(path)
            return counts(self._manifest)

        made_of = {"files": source.state(), "split": list(plan.split)}
        self._do("manifest", made_of, read)
        plan.count(len(self._images))  # too many are refused before hours of embedding
        made_of = {"manifest": self._images.fingerprint, **embedding}

        def embed(progress: Progress) -> dict[str, Any]:
            job = ShardJob(folder, self._images, plan.embedder, self._embedder())
            about = job.about
            take_stock(folder, about, job.count)
            there = {shard["name"] for shard in read_index(folder)["shards"]}
            missing = [n for n in range(job.count) if shard_name(n) not in there]
            if there:
                found = f"{len(there)} of {job.count} shards were there"
                self._record.tell_again("embeddings", found)
            if missing:
                engine.embed(job, missing, progress)
                take_stock(folder, about, job.count, fresh=True)
            self._record.holds("embeddings", f"{EMBEDDINGS}/{INDEX}")
            return {"shards": job.count, "made": len(missing), "width": about["shape"][1]}

        self._do("embeddings", made_of, embed)
        return RowSource(folder, (folder,))

    def _deduplicate(self, engine: Engine, rows: RowSource, state: str, ids: Sequence[str]) -> None:
        plan = self._plan
        assert plan.dedup is not None
        threshold = plan.dedup

        def work(progress: Progress) -> dict[str, Any]:
            found = engine.deduplicate(rows, threshold, plan.rule, self._checkpoint, progress)
            with self._record.output("duplicates", DUPLICATES) as path:
                tables.write_duplicates(path, ids, found)
            kept = int(np.count_nonzero(found.keep))
            return {"samples": len(ids), "kept": kept, "dropped": len(ids) - kept}

        made_of = {"embeddings": state, "threshold": threshold, "rule": plan.rule}
        self._do("duplicates", made_of, work)

    def _select(self, engine: Engine, rows: RowSource, state: str, ids: Sequence[str]) -> None:
        plan, n = self._plan, len(ids)
        wanted, left, exclude = plan.count(n), n, None
        made_of: dict[str, Any] = {"embeddings": state}
        if "duplicates" in self._stages:
            made_of["duplicates"] = self._record.digest("duplicates", DUPLICATES)
            with self._record.local(DUPLICATES) as path:
                exclude = ~tables.read_keep(path)
            left = n - int(np.count_nonzero(exclude))
        count = min(wanted, left)

        def work(progress: Progress) -> dict[str, Any]:
            options = {"seed": plan.seed, **plan.options}
            if left < n:
                options["exclude"] = exclude
            found = engine.select(rows, plan.method, count, options, self._checkpoint, progress)
            with self._record.output("selection", SELECTION) as path:
                found.save(path, ids)
            return {"samples": n, "wanted": wanted, "kept": count, "left": left, **found.counts()}

        made_of |= {"method": plan.method, "count": count, "seed": plan.seed}
        self._do("selection", made_of | {"options": dict(plan.options)}, work)

    def _keep(self, selection: Selection, ids: Sequence[str]) -> None:
        """List what is kept: of images a manifest and their paths, else names and row numbers."""
        kept = selection.indices
        of_images = isinstance(self._source, ImageSource)
        ours = "kept" in self._record.stages

        def work(progress: Progress) -> dict[str, Any]:
            if of_images:
                images = self._images.take(kept)
                names = [str(path) for path in images.image_paths()]
            else:
                names = [ids[row] for row in kept.tolist()]
            with self._record.output("kept", KEPT) as path:
                if of_images:
                    images.save(path)
                else:
                    tables.write_kept(path, ids, kept)
            with self._record.output("kept", KEPT_LIST) as path:
                tables.write_list(path, names, ours=ours)
            return {"kept": len(kept)}

        made_of = {"selection": self._record.digest("selection", SELECTION)}
        if of_images:
            made_of["manifest"] = self._record.digest("manifest", MANIFEST)
        self._do("kept", made_of, work)

    def _report(self, selection: Selection, ids: Sequence[str]) -> None:
        """Write the page: each time, as it tells what was done again."""
        stage = self._stages["report"]
        self._watcher.begin(stage, "new")
        begun = time.monotonic()
        images = self._images if isinstance(self._source, ImageSource) else None
        dropped: list[tuple[str, str, float]] = []
        if "duplicates" in self._stages:
            with self._record.local(DUPLICATES) as path:
                dropped = tables.nearest_dropped(path, EXAMPLES)
        with self._record.written(PAGE) as path:
            write_page(path, self._record.as_dict(), images, selection, ids, dropped)
        self._record.write()
        self._watcher.end(stage, skipped=False, seconds=time.monotonic() - begun)

    # What they share.

    @property
    def _images(self) -> Manifest:
        if self._manifest is None:
            with self._record.local(MANIFEST) as path:
                self._manifest = Manifest.load(path)
        return self._manifest

    def _embedder(self) -> Embedder:
        """Load the encoder; for Ray's actors to be compared with, which have the GPUs."""
        if self._loaded is None:
            here = {"device": "cpu"} if self._plan.engine == "ray" else {}
            self._loaded = Embedder(**{**self._plan.embedder, **here})
        return self._loaded

    def _do(
        self, name: str, made_of: Mapping[str, Any], work: Callable[[Progress], dict[str, Any]]
    ) -> None:
        """Make a stage valid: pass it over when it is, else do its work and note it."""
        stage, why = self._stages[name], self._record.why(name, made_of)
        if not why and name == "embeddings":
            why = self._lost_shards()
        if not why:
            seconds = float(self._record.stages[name]["seconds"])
            self._watcher.end(stage, skipped=True, seconds=seconds)
            return
        self._record.begin(name, made_of, why)
        self._watcher.begin(stage, why)
        begun = time.monotonic()
        found = work(self._watcher.progress)
        seconds = time.monotonic() - begun
        self._record.done(name, found, seconds)
        self._watcher.end(stage, skipped=False, seconds=seconds)

    def _lost_shards(self) -> str:
        """Say whether shards are missing or damaged; empty when they are whole."""
        lost = lost_shards(places.join(self._plan.out, EMBEDDINGS))
        return f"{len(lost)} shards are missing or damaged, {lost[0]} first" if lost else ""


def _make_engine(plan: Plan, tell: Tell) -> Engine:
    if plan.engine == "local":
        return LocalEngine(plan.workers, threads=plan.threads, memory=plan.memory)
    from meddel_fast.cluster.ray_engine import RayEngine

    return RayEngine(plan.address, plan.workers, cpus=plan.cpus, memory=plan.memory, tell=tell)
