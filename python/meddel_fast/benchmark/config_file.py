"""Settings of a run from a TOML file: what is wrong in it is refused by file, table and key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.config import (
    CostConfig,
    DataConfig,
    GeneralisationConfig,
    LeakageConfig,
    QualityConfig,
    ReferenceConfig,
    RunConfig,
)
from meddel_fast.benchmark.probe_settings import ProbeConfig
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.settings import from_table, known_keys
from meddel_fast.common.toml import read_toml
from meddel_fast.common.urls import local_path
from meddel_fast.training.settings import (
    ClassificationConfig,
    DownstreamConfig,
    EncoderConfig,
    LocalisationConfig,
    PretrainConfig,
)

# Tables of a file with the field of `RunConfig` that each becomes; other fields are keys of [run].
TABLES = {
    "data": "data",
    "encoder": "encoder",
    "leakage": "leakage",
    "quality": "quality",
    "selectors": "selector_options",
    "pretrain": "pretrain",
    "downstream": "downstream",
    "tasks": "",  # of which each is a field of its own
    "references": "references",
    "generalisation": "generalisation",
    "cost": "cost",
    "probe": "probe",
}
TASKS = ("classification", "localisation")


def load_config(
    path: str | Path, *, data_root: str | Path | None = None, out: str | Path | None = None
) -> RunConfig:
    """Read a run's settings from a TOML file.

    Parameters
    ----------
    path : path
        The file. Its tables: ``[run]``, one or more ``[[data]]``, ``[encoder]``,
        ``[leakage]``, ``[quality]``, ``[selectors.NAME]``, ``[pretrain]``, ``[downstream]``,
        ``[tasks.NAME]``, ``[[references]]``, ``[generalisation]``, ``[cost]``, ``[probe]``; their
        keys are the fields of the classes of `benchmark.config` and `training.settings`.
    data_root : path, optional
        Data paths are relative to it; without it, to the folder of the file.
    out : path, optional
        The run directory, instead of ``run.out``; relative to the working directory.

    Returns
    -------
    RunConfig
        With absolute paths. Without an ``image_size``, ``[downstream]`` takes that of
        ``[pretrain]``, and the tasks that of ``[downstream]``; localisation takes all that it
        shares with ``[downstream]`` from there.

    Raises
    ------
    FileNotFoundError
        No such file.
    ConfigError
        Malformed TOML, an unknown key (the known ones are listed), a wrong type or value.
    """
    path = Path(path)
    tables = read_toml(path)
    folder = path.resolve().parent
    base = folder if data_root is None else Path(data_root).resolve()
    try:
        known_keys(tables, ["run", *TABLES], "top level")
        run = dict(_table(tables.get("run", {}), "[run]"))
        if out is not None:
            run["out"] = Path(out).resolve()
        if "probe" in tables:
            run.setdefault("measures", ["pretrain", "probe"])
        config = from_table(RunConfig, run, "[run]", **_given(tables, base))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return replace(config, out=(folder / config.out).resolve())


def _given(tables: dict[str, Any], base: Path) -> dict[str, Any]:
    """Read all tables but ``[run]``."""
    options = _table(tables.get("selectors", {}), "[selectors]")
    pretrain = from_table(PretrainConfig, tables.get("pretrain", {}), "[pretrain]")
    downstream = {
        "image_size": pretrain.image_size,
        **_table(tables.get("downstream", {}), "[downstream]"),
    }
    across = tables.get("generalisation")
    return {
        "data": _data_sets(tables.get("data"), base),
        "selector_options": {k: _table(t, f"[selectors.{k}]") for k, t in options.items()},
        "encoder": from_table(EncoderConfig, tables.get("encoder", {}), "[encoder]"),
        "leakage": from_table(LeakageConfig, tables.get("leakage", {}), "[leakage]"),
        "quality": from_table(QualityConfig, tables.get("quality", {}), "[quality]"),
        "pretrain": pretrain,
        "downstream": from_table(DownstreamConfig, downstream, "[downstream]"),
        **_task_settings(tables.get("tasks", {}), downstream),
        "references": _references(tables.get("references", [])),
        "generalisation": None
        if across is None
        else from_table(GeneralisationConfig, across, "[generalisation]"),
        "cost": from_table(CostConfig, tables.get("cost", {}), "[cost]"),
        "probe": from_table(ProbeConfig, tables.get("probe", {}), "[probe]"),
    }


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, got {value!r}")
    return value


def _data_sets(tables: Any, base: Path) -> tuple[DataConfig, ...]:
    if not isinstance(tables, list) or not tables:
        raise ConfigError("at least one [[data]] table is needed")
    sets = [from_table(DataConfig, t, f"[[data]] {i + 1}") for i, t in enumerate(tables)]
    for number, data in enumerate(sets, start=1):
        for name, place in (("path", data.path), ("splits", data.splits)):
            if place is not None:
                _check_local(place, f"[[data]] {number} {name}")
    return tuple(
        replace(d, path=d.path and base / d.path, splits=d.splits and base / d.splits) for d in sets
    )


def _check_local(place: Path, what: str) -> None:
    try:
        local_path(place, what)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _task_settings(tables: Any, downstream: dict[str, Any]) -> dict[str, Any]:
    """Read ``[tasks.NAME]``; what localisation shares with segmentation is that of [downstream]."""
    known_keys(_table(tables, "[tasks]"), TASKS, "[tasks]")
    classes, boxes = (_table(tables.get(name, {}), f"[tasks.{name}]") for name in TASKS)
    size = {"image_size": downstream["image_size"]}
    return {
        "classification": from_table(
            ClassificationConfig, size | classes, "[tasks.classification]"
        ),
        "localisation": from_table(LocalisationConfig, downstream | boxes, "[tasks.localisation]"),
    }


def _references(tables: Any) -> tuple[ReferenceConfig, ...]:
    if not isinstance(tables, list):
        raise ConfigError(f"[[references]] must be a list of tables, got {tables!r}")
    return tuple(
        from_table(ReferenceConfig, t, f"[[references]] {i + 1}") for i, t in enumerate(tables)
    )
