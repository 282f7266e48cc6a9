"""A run directory, read for the report: what is there, in plain Python and numpy."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.benchmark.inside import INSIDE
from meddel_fast.benchmark.leakage import PAIRS, Leakage, split_audits
from meddel_fast.benchmark.run_json import check_run
from meddel_fast.benchmark.scores.statistics import FULL
from meddel_fast.benchmark.sight import Sight
from meddel_fast.common.files import read_json
from meddel_fast.common.untrusted import described
from meddel_fast.common.urls import local_path
from meddel_fast.selectors import Selection
from meddel_fast.stores.embedding_files import INDEX, read_index, read_rows

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


@dataclass(frozen=True)
class Tag:
    """One selection of the run: its name, the method, the share asked for."""

    name: str
    selector: str
    ratio: float


@dataclass(frozen=True)
class Run:
    """What a run directory holds; parts that its stages have not made yet are empty or None."""

    folder: Path
    about: dict[str, Any]
    tags: list[Tag]
    scores: list[dict[str, Any]]
    planted: list[dict[str, Any]]
    statistics: dict[str, Any]
    floors: list[dict[str, Any]]
    probe: dict[str, Any]
    chosen: list[dict[str, Any]]  # settings of the selections, and what each shares a training with
    tasks: list[dict[str, Any]]
    task_differences: list[dict[str, Any]]
    generalisation: list[dict[str, Any]]
    generalisation_differences: list[dict[str, Any]]
    costs: list[dict[str, Any]]
    selections: dict[str, Selection]
    pool: Manifest | None
    embeddings: NDArray[Any] | None
    leakage: Leakage | None
    sight: Sight | None  # what the audit could see
    inside: list[dict[str, Any]]  # equal files inside the pool and each set
    quality: dict[str, Any]  # which images of the pool break which limits
    split_leakage: dict[str, dict[str, Leakage]]  # "train" and "val", by test set
    losses: dict[str, NDArray[np.float64]]
    seconds: dict[str, float]

    @property
    def name(self) -> str:
        """The run's name, or that of its folder."""
        return str(self.about.get("name") or self.folder.name)

    @property
    def selectors(self) -> list[str]:
        """Methods in the order of the config, without the full pool."""
        return list(dict.fromkeys(t.selector for t in self.tags if t.selector != FULL))

    @cached_property
    def compared(self) -> NDArray[Any] | None:
        """The embeddings as the selectors saw them: less their mean if the run was set so."""
        x = self.embeddings
        if x is None or not self.about.get("config", {}).get("encoder", {}).get("centre", False):
            return x
        centred: NDArray[Any] = (x - x.mean(axis=0, dtype=np.float64)).astype(np.float32)
        return centred

    @property
    def differences(self) -> list[dict[str, Any]]:
        """Differences with their verdicts; none of a run scored before there was a rule."""
        rows = self.statistics["differences"] if "rule" in self.statistics else []
        return list(rows)

    @property
    def repeats(self) -> int:
        """How often was selected and pre-trained."""
        return int(self.about.get("config", {}).get("repeats", 1))

    @property
    def is_given(self) -> bool:
        """Whether its results are predictions that were handed over: it has no pool, no models."""
        return "given" in self.about

    @property
    def alpha(self) -> float:
        """NormDEL's weight of the retained share."""
        return float(self.about.get("config", {}).get("alpha", 1.0))


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a run directory.

    Raises
    ------
    FileNotFoundError
        `folder` holds no ``run.json``.
    ValueError
        A file in it is damaged; the message names it.
    """
    folder = local_path(folder, "run_dir").resolve()
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"run_dir: wanted a run directory, {folder} has no run.json")
    about = check_run(folder / "run.json", read_json(folder / "run.json"))
    tags = [Tag(t["tag"], t["selector"], float(t["ratio"])) for t in about.get("tags", [])]
    selections = {
        tag.name: Selection.load(path)
        for tag in tags
        if (path := folder / "select" / f"{tag.name}.parquet").is_file()
    }
    leakage = folder / "leakage"
    return Run(
        folder=folder,
        about=about,
        tags=tags,
        scores=_json(folder / "score" / "scores.json", []),
        planted=_planted(folder / "score" / "planted.csv"),
        statistics=_json(folder / "score" / "statistics.json", {}),
        floors=_json(folder / "score" / "floors.json", []),
        probe=_json(folder / "score" / "probe.json", {}),
        chosen=_json(folder / "score" / "selections.json", []),
        tasks=_json(folder / "score" / "tasks.json", []),
        task_differences=_json(folder / "score" / "task_differences.json", []),
        generalisation=_json(folder / "score" / "generalisation.json", []),
        generalisation_differences=_json(folder / "score" / "generalisation_differences.json", []),
        costs=_costs(folder / "score" / "costs.csv"),
        selections=selections,
        pool=_pool(folder / "data" / "pretrain.parquet"),
        embeddings=_embeddings(folder / "embeddings"),
        leakage=Leakage.load(leakage) if (leakage / PAIRS).is_file() else None,
        sight=Sight.load(leakage),
        inside=_json(leakage / INSIDE, []),
        quality=_json(folder / "data" / "quality.json", {}),
        split_leakage={of: split_audits(leakage, of) for of in ("train", "val")},
        losses=_losses(folder / "pretrain", tags),
        seconds=_seconds(folder / "stages"),
    )


def _pool(path: Path) -> Manifest | None:
    if not path.is_file():
        return None
    from meddel_fast.images.manifest import Manifest

    return Manifest.load(path).ok


def _embeddings(folder: Path) -> NDArray[Any] | None:
    """Read the shards without the module that writes them: that one imports torch."""
    if not (folder / INDEX).is_file():
        return None
    index = read_index(folder)
    there = all((folder / shard["name"]).is_file() for shard in index["shards"])
    return read_rows(folder, index) if index["complete"] and there else None


def _json(path: Path, nothing: Any) -> Any:
    """Read a list of rows or an object, whichever `nothing` is, and give that without a file."""
    if not path.is_file():
        return nothing
    found = read_json(path)
    rows = found if isinstance(found, list) else []
    if type(found) is not type(nothing) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold {type(nothing).__name__}, got {found!r:.80}")
    return found


@contextmanager
def _rows(path: Path, wanted: str) -> Iterator[Iterator[dict[str, str]]]:
    with described(path, wanted), path.open(newline="", encoding="utf-8") as file:
        yield csv.DictReader(file)


def _planted(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with _rows(path, "table of what was planted") as rows:
        return [
            {
                "selector": row["selector"],
                "kind": row["kind"],
                "ratio": float(row["ratio"]),
                "planted": int(row["planted"]),
                "removed": int(row["removed"]),
                "share_of_kept": float(row["share_of_kept"]),
            }
            for row in rows
        ]


def _costs(path: Path) -> list[dict[str, Any]]:
    """Read numbers as such; None where there is none."""
    if not path.is_file():
        return []
    words = ("selector", "encoder", "device")
    with _rows(path, "table of costs") as rows:
        return [
            {k: v if k in words else float(v) if v else None for k, v in row.items()}
            for row in rows
        ]


def _losses(folder: Path, tags: list[Tag]) -> dict[str, NDArray[np.float64]]:
    """Read step and loss of each pre-training, as arrays of shape (steps, 2)."""
    losses = {}
    for tag in tags:
        path = folder / tag.name / "loss.csv"
        if path.is_file():
            with _rows(path, "table of losses") as rows:
                steps = [(float(row["step"]), float(row["loss"])) for row in rows]
            if steps:
                losses[tag.name] = np.array(steps)
    return losses


def _seconds(folder: Path) -> dict[str, float]:
    """Sum the wall time of the finished stages by group, in the order in which they ended."""
    records = [(path, _json(path, {})) for path in sorted(folder.rglob("*.json"))]
    done = [(path, record) for path, record in records if record.get("state") == "done"]
    seconds: dict[str, float] = {}
    for path, record in sorted(done, key=lambda pair: str(pair[1].get("finished", ""))):
        group = str(record.get("stage", record.get("name", "?"))).partition("/")[0]
        with described(path, "record of a stage"):
            seconds[group] = seconds.get(group, 0.0) + float(record.get("seconds", 0.0))
    return seconds
