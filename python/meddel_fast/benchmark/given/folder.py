"""The run directory of given predictions: what a run leaves, but for what nobody told.

There is a ``run.json`` with ``given`` in it, the manifests of the test sets, results and saved
predictions below ``evaluate/``, and ``score/``. There is no pool, no selection, no model.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.config import DataConfig, RunConfig
from meddel_fast.benchmark.given import tables
from meddel_fast.benchmark.given.scoring import Scored, Scoring
from meddel_fast.benchmark.machine import hardware, versions
from meddel_fast.benchmark.results import (
    FULL,
    NOTHING,
    UNTRAINED,
    predictions_path,
    read_run,
    repeated,
    result_path,
    tag,
)
from meddel_fast.benchmark.run_json import FORMAT
from meddel_fast.benchmark.scores.statistics import MEAN
from meddel_fast.common.atomic import remove_leftovers, write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import read_json
from meddel_fast.common.lock import lock
from meddel_fast.common.outputs import FolderKind, check_folder

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

RESERVED = (MEAN, UNTRAINED, NOTHING)
"""Names that tables use for other things than selectors."""
LONGEST = 100
"""Characters of a name: it becomes a folder's."""

KIND = FolderKind(
    "a run of given predictions", lambda path: "given" in read_json(path / "run.json")
)


@dataclass(frozen=True)
class Given:
    """What a folder of predictions is of.

    Attributes
    ----------
    selector
        Name of the method that chose the training data, or of the model.
    retained
        Share of the data that it was trained on, in (0, 1].
    repeat
        Number of the repetition: another selection or training under the same name.
    seed
        Seed of the head, or whatever else differs within a repetition.
    """

    selector: str
    retained: float
    repeat: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.selector.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise ConfigError(
                f"--selector must be letters, digits, '-', '_', '.', got {self.selector!r}"
            )
        if len(self.selector) > LONGEST:
            raise ConfigError(
                f"--selector must have at most {LONGEST} characters, got {len(self.selector)}"
            )
        if self.selector in RESERVED:
            raise ConfigError(f"--selector must be other than {', '.join(RESERVED)}, "
                              f"got {self.selector!r}")  # fmt: skip
        if not 0 < self.retained <= 1:
            raise ConfigError(f"--retained must be a fraction in (0, 1], got {self.retained:g}")
        if self.selector == "full" and self.retained != 1:
            raise ConfigError(f"--retained of 'full', all data, must be 1, got {self.retained:g}")
        if self.repeat < 0:
            raise ConfigError(f"--repeat must be 0 or greater, got {self.repeat}")

    @property
    def tag(self) -> str:
        """The selection's name: ``kcenter-5``, or ``full-100`` of all data."""
        if self.retained == 1 and self.selector != "full":
            return f"{self.selector}-100"
        return FULL if self.selector == "full" else tag(self.selector, self.retained)


class GivenRun:
    """A run directory that predictions are added to, there or not yet.

    Parameters
    ----------
    folder
        The run directory.
    name
        What the run is called; that of the folder when it is empty.
    alpha
        NormDEL's weight; that of the run, or 1, when it is None.
    scoring
        How its predictions are scored.

    Raises
    ------
    ConfigError
        The run there has another name, weight or scoring.
    FileExistsError
        Something else is in the folder.
    ValueError
        Its ``run.json`` is damaged.
    """

    def __init__(self, folder: Path, name: str, alpha: float | None, scoring: Scoring) -> None:
        check_folder(folder, KIND)
        self.folder = folder
        self._there = (folder / "run.json").is_file()
        self._about = read_run(folder) if self._there else _new(folder, name, alpha, scoring)
        config = self._about["config"]
        told = {"name": name or None, "alpha": alpha}
        for key, wanted in told.items():
            if wanted is not None and config[key] != wanted:
                raise ConfigError(
                    f"--{key} must be that of the run in {folder}, {config[key]}, got {wanted}"
                )
        if self._about["given"]["scoring"] != asdict(scoring):
            before = ", ".join(f"{k} {v}" for k, v in self._about["given"]["scoring"].items())
            raise ConfigError(
                f"predictions of a run must be scored in one way, those in {folder} were with "
                f"{before}: say so again, or choose another --run"
            )

    def check(self, given: Given, manifest: Manifest, split: str, replace: bool) -> None:
        """Refuse what cannot be added, before it is scored.

        Raises
        ------
        ConfigError
            The result is there already, or one name would stand for two things.
        """
        try:
            DataConfig(name=manifest.name, path=manifest.root)
        except ConfigError as error:
            raise ConfigError(f"the manifest's name: {error}") from None
        for known in self._about["tags"]:
            if known["tag"] == given.tag and known["ratio"] != given.retained:
                raise ConfigError(
                    f"--retained {given.retained!r} is too close to {known['ratio']!r} of the same "
                    "selector in this run to be told apart"
                )
        for data in self._about["config"]["data"]:
            if data["name"] == manifest.name:
                self._check_same(data, manifest, split)
        if self._key(given, manifest) in self._about["given"]["results"] and not replace:
            raise ConfigError(
                f"{given.selector} at {given.retained:g} on '{manifest.name}', repetition "
                f"{given.repeat}, seed {given.seed}, is in {self.folder} already: give --repeat or "
                "--seed, or --replace"
            )

    def _check_same(self, data: dict[str, Any], manifest: Manifest, split: str) -> None:
        from meddel_fast.images.manifest import Manifest as Stored

        before = Stored.load(self.folder / "data" / f"{manifest.name}.parquet")
        if data["test_splits"] != [split] or before.fingerprint != manifest.fingerprint:
            raise ConfigError(
                f"'{manifest.name}' in {self.folder} has other images, masks or splits: the "
                "predictions of one run are of the same test images"
            )

    def add(self, given: Given, manifest: Manifest, split: str, scored: Scored) -> list[str]:
        """Write a result and the tables of the run; say which results the tables leave out.

        The result is entered last, so that of a stopped call nothing is left that refuses it.
        """
        path = result_path(
            self.folder, repeated(given.tag, given.repeat), manifest.name, given.seed
        )
        with lock(self.folder):
            remove_leftovers(self.folder)
            if not self._there:  # from here on the folder is a run, whatever stops this
                write_json(self.folder / "run.json", self._about)
            manifest.save(self.folder / "data" / f"{manifest.name}.parquet")
            scored.predictions.save(predictions_path(path))
            finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            write_json(path, {**scored.result, "seed": given.seed, "finished": finished})
            self._enter(given, manifest, split)
            notes = tables.write(self.folder, self._about)
            write_json(self.folder / "run.json", self._about)
            return notes

    def _key(self, given: Given, manifest: Manifest) -> list[Any]:
        return [given.tag, manifest.name, given.repeat, given.seed]

    def _enter(self, given: Given, manifest: Manifest, split: str) -> None:
        """Put a result into the run's description."""
        about, config = self._about, self._about["config"]
        if manifest.name not in [data["name"] for data in config["data"]]:
            data = asdict(DataConfig(name=manifest.name, path=manifest.root, use=("test",)))
            # Nobody told what was trained on.
            config["data"].append({**data, "train_splits": [], "test_splits": [split]})
        if given.tag not in [known["tag"] for known in about["tags"]]:
            about["tags"].append(
                {"tag": given.tag, "selector": given.selector, "ratio": given.retained}
            )
        about["tags"].sort(key=lambda known: (known["selector"] != "full", -known["ratio"]))
        results = about["given"]["results"]
        if self._key(given, manifest) not in results:
            results.append(self._key(given, manifest))
        results.sort()
        names = [known["selector"] for known in about["tags"] if known["selector"] != "full"]
        config["selectors"] = list(dict.fromkeys(names))
        config["ratios"] = sorted({known["ratio"] for known in about["tags"]}, reverse=True)
        runs = tables.common(about) or {(repeat, seed) for *_, repeat, seed in results}
        config["repeats"] = len({repeat for repeat, _ in runs})
        config["seeds"] = sorted({seed for _, seed in runs})


def _new(folder: Path, name: str, alpha: float | None, scoring: Scoring) -> dict[str, Any]:
    """Describe a run without results."""
    name = name or folder.resolve().name
    config = {
        "name": name,
        "out": str(folder),
        "data": [],
        "seed": 0,
        "ratios": [],
        "selectors": [],
        "seeds": [],
        "repeats": 1,
        "alpha": 1.0 if alpha is None else alpha,
        "alphas": list(RunConfig.alphas),
        "scoring": asdict(scoring),
    }
    return {
        "format": FORMAT,
        "name": name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": config,
        "tags": [],
        "versions": versions(),
        "hardware": hardware(),
        "given": {"scoring": asdict(scoring), "results": []},
    }
