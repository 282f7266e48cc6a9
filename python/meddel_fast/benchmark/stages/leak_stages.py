"""The stages of a run that look for test images in the pool and in what trains its heads.

What is found in the pool is taken out of it where the config asks for that.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.config import SPLITS, DataConfig
from meddel_fast.benchmark.inside import EQUAL, INSIDE, inside, sets_of, write_equal
from meddel_fast.benchmark.leakage import PAIRS, SUMMARY, Leakage, Samples, audit
from meddel_fast.benchmark.leakage import SPLITS as AUDITS
from meddel_fast.benchmark.sight import SIGHT, Sight
from meddel_fast.benchmark.stages.run_folder import encoder_key
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import Progress

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


def stages(run: RunStages) -> list[Stage]:
    """Embed each test set with the pool's encoder, then compare it with what trains.

    How well that encoder tells copies is measured, and equal files inside the sets are counted.
    """
    tested = [d for d in run.config.data if "test" in d.use]
    embedded = [
        run.embedding(f"leakage/embed-{d.name}", _embeddings(run, d), partial(_outside, run, d))
        for d in _embedded(run, tested)
    ]
    return [*embedded, _audit(run, tested), _sight(run), _inside(run)]


def _embeddings(run: RunStages, data: DataConfig) -> Path:
    return run.out / "leakage" / "sets" / data.name


def _embedded(run: RunStages, tested: list[DataConfig]) -> list[DataConfig]:
    """List the sets that are tested on, and those that train their heads."""
    names = {name for d in tested for name in (d.name, *d.train_on)}
    return [d for d in run.config.data if d.name in names]


def _whole(run: RunStages, data: DataConfig) -> Manifest:
    return run.manifest(run.manifest_path(data.name)).splits(SPLITS)


def _outside(run: RunStages, data: DataConfig) -> Manifest:
    """Give the images of a set that are not embedded with the pool, whatever they are for.

    If all are, the first one: no embeddings of nothing can be written.
    """
    rows = _whole(run, data)
    pool = set(run.manifest(run.pool_path).ids)
    left = [i for i, name in enumerate(rows.ids) if f"{data.name}/{name}" not in pool]
    return rows.take(left or [0])


class Sets:
    """The images of a run's sets by split, with their embeddings."""

    def __init__(self, run: RunStages, sets: list[DataConfig]) -> None:
        from meddel_fast.training.embed import Embeddings

        pool = run.manifest(run.pool_path)
        x = Embeddings.load(run.embeddings).array
        self.run, self.x, self.sets = run, x, sets
        self.pool = Samples(pool.ids, x, pool.column("sha256"))
        self._found = {name: (x, row) for row, name in enumerate(pool.ids)}
        for data in sets:
            ids = _outside(run, data).ids
            y = Embeddings.load(_embeddings(run, data)).array
            self._found |= {f"{data.name}/{name}": (y, row) for row, name in enumerate(ids)}

    def samples(self, data: DataConfig, splits: Collection[str], prefix: str = "") -> Samples:
        """Give the images of some splits of a set."""
        rows = self.run.manifest(self.run.manifest_path(data.name)).splits(splits)
        found = (self._found[f"{data.name}/{name}"] for name in rows.ids)
        x = np.array([y[row] for y, row in found]).reshape(-1, self.x.shape[1])
        return Samples([prefix + name for name in rows.ids], x, rows.column("sha256"))

    def training(self, data: DataConfig) -> Samples:
        """Give the images that the heads of a test set are trained on."""
        if not data.train_on:
            return self.samples(data, data.train_splits)
        sets = [d for d in self.run.config.data if d.name in data.train_on]
        parts = [self.samples(d, d.train_splits, f"{d.name}/") for d in sets]
        return Samples(
            [name for part in parts for name in part.ids],
            np.concatenate([part.embeddings for part in parts]),
            [digest for part in parts for digest in part.sha256 or ()],
        )


def _audit(run: RunStages, tested: list[DataConfig]) -> Stage:
    folder = run.leaked_pairs.parent

    def inputs() -> dict[str, Any]:
        digest = run.records.digest
        return {
            "pool": [run.pool_fingerprint(), digest(run.embeddings)],
            "tests": [[d.name, d.train_splits, d.test_splits, d.train_on] for d in tested],
            "sets": [
                [d.name, _whole(run, d).fingerprint, digest(_embeddings(run, d))]
                for d in _embedded(run, tested)
            ],
            "centre": run.config.encoder.centre,
            "threshold": run.config.leakage.threshold,
        }

    def work(progress: Progress) -> None:
        sets = Sets(run, _embedded(run, tested))
        centre = run.config.encoder.centre
        find = partial(
            audit,
            threshold=run.config.leakage.threshold,
            centre=centre,
            mean=np.asarray(sets.x.mean(axis=0, dtype=np.float64)) if centre else None,
            threads=run.config.threads,
        )
        tests = {d.name: sets.samples(d, d.test_splits) for d in tested}
        find(sets.pool, tests).save(folder)
        for at, data in enumerate(tested):
            rest = set(SPLITS) - {*data.train_splits, *data.test_splits}
            for of, other in (
                ("train", sets.training(data)),
                ("val", sets.samples(data, rest)),
            ):
                if len(other.ids):
                    only = {data.name: tests[data.name]}
                    find(other, only).save(folder / AUDITS / of / data.name)
            progress(at + 1, len(tested))

    outputs = (folder / PAIRS, folder / SUMMARY, folder / AUDITS)
    return Stage("leakage/audit", outputs, inputs, work, unit="")


def _sight(run: RunStages) -> Stage:
    """Measure which altered copies of the pool's images the audit would find."""
    folder, encoder = run.leaked_pairs.parent, run.config.encoder
    where = encoder.path or str(run.embedding_model)
    offline = not encoder.path or Path(where).is_dir()

    def inputs() -> dict[str, Any]:
        own = not encoder.path
        return {
            "pool": [run.pool_fingerprint(), run.records.digest(run.embeddings)],
            "encoder": run.records.digest(run.embedding_model) if own else encoder_key(where),
            "settings": [encoder.image_size, encoder.pooling, encoder.centre],
            "threshold": run.config.leakage.threshold,
        }

    def work(progress: Progress) -> None:
        from meddel_fast.training.embed import Embeddings

        run.use_threads()
        sight = Sight.measure(
            run.manifest(run.pool_path),
            where,
            Embeddings.load(run.embeddings).array,
            run.config.leakage.threshold,
            encoder.centre,
            image_size=encoder.image_size,
            pooling=encoder.pooling,
            device=run.config.device,
            offline=offline,
            progress=progress,
        )
        sight.save(folder)

    return Stage("leakage/sight", (folder / SIGHT,), inputs, work, unit="")


def _inside(run: RunStages) -> Stage:
    """Count and name the equal files inside the pool and inside each set."""
    folder = run.leaked_pairs.parent
    outputs = (folder / INSIDE, folder / EQUAL)

    def inputs() -> dict[str, Any]:
        paths = [run.pool_path, *(run.manifest_path(d.name) for d in run.config.data)]
        return {"sets": [run.records.digest(path) for path in paths]}

    def work(progress: Progress) -> None:
        sets = sets_of(run.out)
        write_json(folder / INSIDE, [inside(name, rows) for name, rows in sets.items()])
        write_equal(folder / EQUAL, sets)
        progress(1, 1)

    return Stage("leakage/inside", outputs, inputs, work, unit="")


def clean(whole: RunStages, run: RunStages) -> Stage:
    """Make the pool and its embeddings that `run` works on: `whole`'s, less what leaked."""

    def inputs() -> dict[str, Any]:
        digest = whole.records.digest
        return {
            "pool": whole.pool_fingerprint(),
            "embeddings": digest(whole.embeddings),
            "pairs": digest(whole.leaked_pairs),
        }

    def work(progress: Progress) -> None:
        from meddel_fast.training.embed import Embeddings

        pool = whole.manifest(whole.pool_path)
        touched = Leakage.load(whole.leaked_pairs.parent).pool_rows
        left = np.setdiff1d(np.arange(len(pool)), touched)
        if len(left) == 0:
            raise ConfigError(
                f"[leakage] threshold must be higher than {whole.config.leakage.threshold} for "
                "this encoder: every image of the pool is like one of a test set"
            )
        rows = pool.take(left)
        rows.save(run.pool_path)
        Embeddings.load(whole.embeddings).take(left, rows, run.embeddings)
        progress(len(left), len(left))

    outputs = (run.pool_path, run.embeddings)
    return Stage("leakage/clean", outputs, inputs, work, unit="")
