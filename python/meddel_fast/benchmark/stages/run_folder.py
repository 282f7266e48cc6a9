"""The folder of a run: where its parts are, what they are called, and what is read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.config import DataConfig, RunConfig
from meddel_fast.benchmark.leakage import PAIRS
from meddel_fast.benchmark.results import FULL, UNTRAINED, repeated, result_path, tag
from meddel_fast.benchmark.stages.stage import Records, listing
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.selectors import DRAW_NOTHING

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

NO_TRAINING = (
    " for its heads to train on: of a set that is all for testing, `train_on` names other sets for "
    'that, or split = "deal" deals it'
)


def tags(config: RunConfig) -> list[tuple[str, str, float]]:
    """List what is scored: (tag, selector, ratio), the full pool first, then by falling ratio."""
    ratios = sorted(config.ratios, reverse=True)
    full = [(FULL, "full", 1.0)] if 1.0 in ratios else []
    return full + [(tag(s, r), s, r) for r in ratios if r < 1 for s in config.selectors]


def encoder_key(where: str) -> Mapping[str, Any] | str:
    """Identify a given encoder: a folder by its files, a hub name by itself."""
    folder = Path(where)
    return {"files": listing(folder)} if folder.is_dir() else where


class RunFolder:
    """The places of one run, and what its stages read from them.

    `pool` is "pretrain", or "pool" for the stages that see the pool with what leaked into it.
    """

    def __init__(self, config: RunConfig, records: Records, pool: str = "pretrain") -> None:
        self.config = config
        self.records = records
        self.out = config.out
        self.pool_path = self.out / "data" / f"{pool}.parquet"
        beside = "" if pool == "pretrain" else "leakage"
        self.embeddings = self.out / beside / "embeddings"
        self._manifests: dict[tuple[Path, str], Manifest] = {}
        self._trained: dict[str, tuple[str, Path]] = {}  # inputs -> stage and folder that has them

    # Where things are

    def manifest_path(self, name: str) -> Path:
        """Place of the manifest of a data set."""
        return self.out / "data" / f"{name}.parquet"

    def root(self, data: DataConfig) -> Path:
        """Folder or archive of a data set."""
        return self.out / "data" / data.name if data.path is None else data.path

    def roots(self, data: DataConfig) -> list[Path]:
        """Folders and archives of a data set.

        A set of the registry may be in several (:meth:`DataSet.places`).
        """
        root = self.root(data)
        if not data.set:
            return [root]
        from meddel_fast.images.datadel.registry import known_set

        return known_set(data.set).places(root)

    @property
    def leaked_pairs(self) -> Path:
        """Place of the pairs of like images that the audit found."""
        return self.out / "leakage" / PAIRS

    def model(self, name: str) -> Path:
        """Place of the encoder that a selection was pre-trained to, or of an untrained one."""
        floors = [repeated(UNTRAINED, repeat) for repeat in range(self.config.repeats)]
        return self.out / ("untrained" if name in floors else "pretrain") / name / "model"

    def selection(self, name: str) -> Path:
        """Place of a selection."""
        return self.out / "select" / f"{name}.parquet"

    def selected(self, name: str, selector: str, repeat: int) -> Path | None:
        """Give the selection of a repetition; None for all data."""
        if name == FULL:
            return None
        return self.selection(name if selector in DRAW_NOTHING else repeated(name, repeat))

    def result(self, name: str, data: DataConfig, seed: int) -> Path:
        """Place of the result of one head."""
        return result_path(self.out, name, data.name, seed)

    @property
    def embedding_model(self) -> Path:
        """The run's own encoder."""
        own = self.out / "encoder" / "model"
        return own if self.config.encoder.steps else self.model(FULL)

    # What the stages share

    def manifest(self, path: Path) -> Manifest:
        """Read a manifest, once while it does not change."""
        from meddel_fast.images.manifest import Manifest

        key = (path, self.records.digest(path))
        if key not in self._manifests:
            self._manifests[key] = Manifest.load(path)
        return self._manifests[key]

    def pool_fingerprint(self) -> str:
        """Give what tells the pool from any other."""
        return self.manifest(self.pool_path).fingerprint

    def with_masks(self, data: DataConfig, splits: tuple[str, ...]) -> Manifest:
        """Give the usable rows of some splits that have a mask."""
        rows = self.manifest(self.manifest_path(data.name)).splits(splits).with_masks()
        if len(rows) == 0:
            raise ConfigError(
                f"data set '{data.name}': no image with a mask in splits {list(splits)}"
                + (NO_TRAINING if splits == data.train_splits else "")
                + "".join(f"; {note}" for note in rows.notes)
            )
        return rows

    def head_rows(self, data: DataConfig) -> Manifest:
        """Give the rows that the head which segments a data set is trained on."""
        return self.training(data, lambda d: self.with_masks(d, d.train_splits))

    def training(self, data: DataConfig, rows: Callable[[DataConfig], Manifest]) -> Manifest:
        """Join what `rows` gives of each set that the heads of a data set are trained on."""
        from meddel_fast.images.manifest import Manifest

        if not data.train_on:
            return rows(data)
        sets = {d.name: d for d in self.config.data}
        return Manifest.concat([rows(sets[name]) for name in data.train_on], "heads")

    def truths(self) -> dict[str, Path]:
        """Find what was planted, for the sets of the pool that say so."""
        paths = {d.name: self.root(d) / "truth.parquet" for d in self.config.data}
        return {
            d.name: paths[d.name]
            for d in self.config.data
            if "pretrain" in d.use and paths[d.name].is_file()
        }

    def use_threads(self) -> None:
        """Keep torch to as many threads as the run may use."""
        if self.config.threads is not None:
            with needs("benchmark"):
                import torch

            torch.set_num_threads(self.config.threads)
