"""Where the results of a run are, told from its ``run.json``: for all that reads a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.run_json import check_results, check_run
from meddel_fast.common.files import read_json
from meddel_fast.common.urls import local_path

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest


FULL = "full-100"
"""The name of all data, see :func:`tag`."""
UNTRAINED, NOTHING = "untrained", "nothing"
"""The floors of a run: an encoder with its first weights, and the empty mask. No selector may have
their names."""


def tag(selector: str, ratio: float) -> str:
    """Name a selection: ``kcenter-5``; ratio 1 is the same for all selectors."""
    return FULL if ratio == 1 else f"{selector}-{100 * ratio:g}"


def repeated(name: str, repeat: int) -> str:
    """Name the repetition of a selection; the first one has the selection's own name."""
    return f"{name}-repeat{repeat}" if repeat else name


def result_path(out: Path, name: str, data: str, seed: int) -> Path:
    """Place of the result of one head; its predictions are beside it."""
    return out / "evaluate" / name / f"{data}-seed{seed}.json"


def predictions_path(result: Path) -> Path:
    """Place of the predicted masks of a result."""
    return result.with_suffix(".npz")


@dataclass(frozen=True)
class Result:
    """One scored head: of which selection, repetition and seed, on which data set.

    Attributes
    ----------
    tag
        The selection's name, the same for all repetitions.
    selector, ratio
        What was asked for.
    repeat, seed
        Number of the repetition, seed of the head.
    data
        Name of the test set.
    path
        The result's JSON file.
    task
        What was measured.
    below
        For a result beside those of the run's own segmentation: the folders above it, each with its
        slash.
    """

    tag: str
    selector: str
    ratio: float
    repeat: int
    seed: int
    data: str
    path: Path
    task: str = "segmentation"
    below: str = ""

    @property
    def name(self) -> str:
        """The result's place in the run, without ``evaluate/`` and its suffix."""
        return f"{self.below}{self.path.parent.name}/{self.path.stem}"

    @property
    def predictions(self) -> Path:
        """The file of the predicted masks."""
        return predictions_path(self.path)


def read_run(run_dir: Path) -> dict[str, Any]:
    """Read the description of a run.

    Raises
    ------
    FileNotFoundError
        `run_dir` holds no ``run.json``.
    ValueError
        It is damaged.
    """
    path = local_path(run_dir, "run_dir") / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"run_dir must be a run directory, {run_dir} has no run.json")
    about = check_run(path, read_json(path))
    check_results(path, about)
    return about


def list_results(
    out: Path,
    tags: Sequence[tuple[str, str, float]],
    data: Sequence[str],
    seeds: Sequence[int],
    repeats: int,
) -> list[Result]:
    """List the results that a run has when it is complete, there or not.

    Parameters
    ----------
    out
        The run directory.
    tags
        What is scored: (tag, selector, ratio).
    data
        Names of the test sets.
    seeds, repeats
        Seeds of the heads, number of repetitions.
    """
    return [
        Result(
            tag, selector, ratio, repeat, seed, d, result_path(out, repeated(tag, repeat), d, seed)
        )
        for repeat in range(repeats)
        for tag, selector, ratio in tags
        for d in data
        for seed in seeds
    ]


def results_of_run(run_dir: Path, about: dict[str, Any]) -> list[Result]:
    """Give :func:`list_results` by what ``run.json`` says; of given predictions, those there."""
    config = about["config"]
    tags = [(tag["tag"], tag["selector"], float(tag["ratio"])) for tag in about["tags"]]
    if "given" in about:
        of = {tag[0]: tag for tag in tags}
        return [
            Result(*of[tag], repeat, seed, d, result_path(run_dir, repeated(tag, repeat), d, seed))
            for tag, d, repeat, seed in about["given"]["results"]
        ]
    return list_results(
        run_dir,
        tags,
        [data["name"] for data in segmented_sets(config)],
        config["seeds"],
        config.get("repeats", 1),
    )


def floor_results(
    out: Path, data: Sequence[str], seeds: Sequence[int], repeats: int
) -> list[Result]:
    """List the results of the untrained encoders, as :func:`list_results` does."""
    return list_results(out, [(UNTRAINED, UNTRAINED, 0.0)], data, seeds, repeats)


def floors_of_run(run_dir: Path, about: dict[str, Any]) -> list[Result]:
    """Give :func:`floor_results` by what ``run.json`` says; none of a run of before there were."""
    config = about["config"]
    names = [data["name"] for data in segmented_sets(config)]
    there = _floor_tags(about)
    repeats = config.get("repeats", 1)
    return floor_results(run_dir, names, config["seeds"], repeats) if there else []


def _floor_tags(about: dict[str, Any]) -> list[dict[str, Any]]:
    there = UNTRAINED in about.get("floors", [])
    return [{"tag": UNTRAINED, "selector": UNTRAINED, "ratio": 0.0}] if there else []


def others_of_run(run_dir: Path, about: dict[str, Any]) -> list[Result]:
    """List the results of other tasks, of references and of generalisation, by ``run.json``.

    None of a run of before they had predictions, or of one that trains nothing.
    """
    from meddel_fast.training.tasks import TASKS

    config = about["config"]
    if "selectors" not in about or not _trains(config):
        return []
    repeats, seeds = config.get("repeats", 1), config["seeds"]
    own = [
        (repeated(tag["tag"], repeat), tag["selector"], float(tag["ratio"]), repeat)
        for repeat in range(repeats)
        for tag in (*about["tags"], *_floor_tags(about))
    ]
    given = [(f"reference/{r['name']}", r["name"], 1.0, 0) for r in config.get("references", [])]
    found = []
    for name, selector, ratio, repeat in [*own, *given]:
        for data in config["data"]:
            if "test" not in data["use"]:
                continue
            for task in data.get("tasks", ["segmentation"]):
                if name.startswith("reference/") or task != "segmentation":
                    folder = run_dir / "evaluate" / name / task
                    found += [
                        Result(
                            name, selector, ratio, repeat, seed, data["name"],
                            folder / f"{data['name']}-seed{seed}.json", task, f"{name}/",
                        )
                        for seed in (seeds if TASKS[task].seeded else seeds[:1])
                    ]  # fmt: skip
    return found + _across(run_dir, config, seeds, repeats)


def _across(
    run_dir: Path, config: dict[str, Any], seeds: Sequence[int], repeats: int
) -> list[Result]:
    """List the results of the trainings on single sets."""
    across = config.get("generalisation")
    if not across:
        return []
    ratio = float(across["ratio"])
    tags = [(tag(s, ratio), s, ratio) for s in across["selectors"]]
    tested = [data["name"] for data in config["data"] if data["name"] in across["sets"]]
    return [
        replace(result, below=f"generalisation/{source}/")
        for source in tested
        for result in list_results(
            run_dir / "generalisation" / source, tags, tested, seeds, repeats
        )
    ]


def segmented_sets(config: dict[str, Any]) -> list[dict[str, Any]]:
    """List the test sets that are segmented by what was trained, as ``run.json`` has them."""
    return [
        data
        for data in config["data"]
        if _trains(config)
        and "test" in data["use"]
        and "segmentation" in data.get("tasks", ["segmentation"])
    ]


def _trains(config: dict[str, Any]) -> bool:
    """Whether selections are measured by what is pre-trained on them; else by the probe alone."""
    return "pretrain" in config.get("measures", ["pretrain"])


def masked_rows(run_dir: Path, data: dict[str, Any], which: str) -> Manifest:
    """Give the rows of a data set that its heads are trained (``"train"``) or tested on."""
    from meddel_fast.images.manifest import Manifest

    manifest = Manifest.load(run_dir / "data" / f"{data['name']}.parquet")
    return manifest.splits(data[f"{which}_splits"]).with_masks()
