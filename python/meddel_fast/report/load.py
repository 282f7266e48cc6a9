"""A run directory, read for the report: what is there, in plain Python and numpy."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.files import read_json
from meddel_fast.leakage import PAIRS, Leakage
from meddel_fast.selectors import Selection

if TYPE_CHECKING:
    from meddel_fast.data.manifest import Manifest

FULL = "full"


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
    costs: list[dict[str, Any]]
    selections: dict[str, Selection]
    pool: Manifest | None
    embeddings: NDArray[Any] | None
    leakage: Leakage | None
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
    folder = Path(folder).resolve()
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"run_dir: wanted a run directory, {folder} has no run.json")
    about = read_json(folder / "run.json")
    tags = [Tag(t["tag"], t["selector"], float(t["ratio"])) for t in about.get("tags", [])]
    selections = {
        tag.name: Selection.load(path)
        for tag in tags
        if (path := folder / "select" / f"{tag.name}.parquet").is_file()
    }
    scores, leakage = folder / "score" / "scores.json", folder / "leakage"
    statistics = folder / "score" / "statistics.json"
    return Run(
        folder=folder,
        about=about,
        tags=tags,
        scores=read_json(scores) if scores.is_file() else [],
        planted=_planted(folder / "score" / "planted.csv"),
        statistics=read_json(statistics) if statistics.is_file() else {},
        costs=_costs(folder / "score" / "costs.csv"),
        selections=selections,
        pool=_pool(folder / "data" / "pretrain.parquet"),
        embeddings=_embeddings(folder / "embeddings"),
        leakage=Leakage.load(leakage) if (leakage / PAIRS).is_file() else None,
        losses=_losses(folder / "pretrain", tags),
        seconds=_seconds(folder / "stages"),
    )


def _pool(path: Path) -> Manifest | None:
    if not path.is_file():
        return None
    from meddel_fast.data.manifest import Manifest

    return Manifest.load(path).ok


def _embeddings(folder: Path) -> NDArray[Any] | None:
    """Read the shards without the module that writes them: that one imports torch."""
    if not (folder / "index.json").is_file():
        return None
    index = read_json(folder / "index.json")
    paths = [folder / shard["name"] for shard in index["shards"]]
    if not index.get("complete", True) or not all(path.is_file() for path in paths):
        return None
    shards = [np.load(path, mmap_mode="r") for path in paths]
    return shards[0] if len(shards) == 1 else np.concatenate(shards)


def _planted(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {
                "selector": row["selector"],
                "kind": row["kind"],
                "ratio": float(row["ratio"]),
                "planted": int(row["planted"]),
                "removed": int(row["removed"]),
                "share_of_kept": float(row["share_of_kept"]),
            }
            for row in csv.DictReader(file)
        ]


def _costs(path: Path) -> list[dict[str, Any]]:
    """Read numbers as such; None where there is none."""
    if not path.is_file():
        return []
    words = ("selector", "device")
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {k: v if k in words else float(v) if v else None for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def _losses(folder: Path, tags: list[Tag]) -> dict[str, NDArray[np.float64]]:
    """Read step and loss of each pre-training, as arrays of shape (steps, 2)."""
    losses = {}
    for tag in tags:
        path = folder / tag.name / "loss.csv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [(float(r["step"]), float(r["loss"])) for r in csv.DictReader(file)]
            if rows:
                losses[tag.name] = np.array(rows)
    return losses


def _seconds(folder: Path) -> dict[str, float]:
    """Sum the wall time of the finished stages by group, in the order in which they ended."""
    records = [read_json(path) for path in sorted(folder.rglob("*.json"))]
    done = [record for record in records if record.get("state") == "done"]
    seconds: dict[str, float] = {}
    for record in sorted(done, key=lambda r: str(r.get("finished", ""))):
        group = str(record.get("stage", record.get("name", "?"))).partition("/")[0]
        seconds[group] = seconds.get(group, 0.0) + float(record.get("seconds", 0.0))
    return seconds
