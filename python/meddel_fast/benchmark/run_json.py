"""What a ``run.json`` must say before anything in the run's folder is looked for by it."""

from __future__ import annotations

from typing import Any

from meddel_fast.common.files import StrPath
from meddel_fast.common.untrusted import check_fields, described, plain_name

FORMAT = 1  # of run.json; those of earlier versions have no number, and are of this form too
_WANTED = "description of a run"


def check_run(path: StrPath, about: Any) -> dict[str, Any]:
    """Return what `path` says of a run, if its tags and its config are of the right types.

    Raises
    ------
    ValueError
        They are not, or name files outside the run's folder.
    """
    with described(path, _WANTED):
        told = {"config": {}, "tags": [], **about}
    check_fields(path, told, {"config": dict, "tags": list}, _WANTED)
    if told.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{path} is a {_WANTED} of format {told['format']!r:.80}, which needs a newer "
            f"meddel-fast: this one reads format {FORMAT}"
        )
    config = {"alpha": 1.0, "encoder": {}, **told["config"]}
    check_fields(path, config, {"alpha": (int, float), "encoder": dict}, _WANTED)
    with described(path, _WANTED):
        for tag in told["tags"]:
            plain_name(path, tag["tag"])
            check_fields(path, tag, {"selector": str, "ratio": (int, float)}, _WANTED)
            float(tag["ratio"])
        if "given" in told:
            _check_scoring(told["given"]["scoring"])
    return dict(about)


def _check_scoring(scoring: Any) -> None:
    """Refuse what does not say how given predictions were scored."""
    size = scoring["size"]
    if type(scoring["threshold"]) is not float or not (size is None or type(size) is int):
        raise TypeError(f"scoring must have a threshold and a size, got {scoring!r:.80}")


def check_results(path: StrPath, about: dict[str, Any]) -> None:
    """Check that a description names all that a finished run's results are found by.

    Raises
    ------
    ValueError
        It does not.
    """
    check_fields(path, about, {"name": str, "config": dict, "tags": list}, _WANTED)
    check_fields(path, {"floors": [], **about}, {"floors": list}, _WANTED)
    config = {"repeats": 1, "measures": ["pretrain"], **about["config"]}
    kinds = {"data": list, "seeds": list, "repeats": int, "measures": list}
    check_fields(path, config, kinds, _WANTED)
    with described(path, _WANTED):
        for data in config["data"]:
            plain_name(path, data["name"])
            lists = [data["use"], data.get("tasks", ["segmentation"])]
            if "test" in data["use"]:
                lists += [data["train_splits"], data["test_splits"]]
            if not all(isinstance(names, list) for names in lists):
                raise TypeError(f"data must list uses, tasks and splits, got {data!r:.80}")
        _check_others(path, config)
        if not all(type(seed) is int for seed in config["seeds"]):
            raise TypeError(f"seeds must be whole numbers, got {config['seeds']!r:.80}")
        if "given" in about:
            _check_given(about["given"], about)


def _check_given(given: Any, about: dict[str, Any]) -> None:
    """Refuse results of given predictions that are of no selection or no data set of the run."""
    tags = [tag["tag"] for tag in about["tags"]]
    sets = [data["name"] for data in about["config"]["data"]]
    for tag, data, repeat, seed in given["results"]:
        numbers = type(repeat) is int and type(seed) is int and repeat >= 0
        if tag not in tags or data not in sets or not numbers:
            raise TypeError(f"given results must be of its tags and sets, got {tag!r:.80}")


def _check_others(path: StrPath, config: dict[str, Any]) -> None:
    """Check what the results of other tasks, references and generalisation are found by."""
    for reference in config.get("references", []):
        plain_name(path, reference["name"])
    from meddel_fast.training.tasks import TASKS

    for data in config["data"]:
        unknown = [task for task in data.get("tasks", []) if task not in TASKS]
        if unknown:
            raise ValueError(f"tasks must be some of {list(TASKS)}, got {unknown[0]!r:.80}")
    across = config.get("generalisation")
    if across is not None:
        check_fields(
            path, across, {"ratio": (int, float), "selectors": list, "sets": list}, _WANTED
        )
        for name in (*across["selectors"], *across["sets"]):
            plain_name(path, name)
