"""Settings from TOML: every unknown key, wrong type and value out of range is refused by name."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from meddel_fast.config import (
    ClassificationConfig,
    ConfigError,
    CostConfig,
    DataConfig,
    DownstreamConfig,
    EncoderConfig,
    GeneralisationConfig,
    LeakageConfig,
    LocalisationConfig,
    PretrainConfig,
    ReferenceConfig,
    RunConfig,
)
from meddel_fast.extras import needs
from meddel_fast.files import why_no_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    with needs("benchmark"):
        import tomli as tomllib


def _known_keys(table: Mapping[str, Any], known: list[str], where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key '{unknown[0]}'; known keys: {', '.join(known)}")


def _scalar(value: Any, hint: type, where: str) -> Any:
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is hint:  # exact: True is no int here
        return value
    name = {Path: "path (string)", str: "string", int: "whole number", float: "number"}
    raise ConfigError(f"{where} must be a {name.get(hint, hint.__name__)}, got {value!r}")


def _convert(value: Any, hint: Any, where: str) -> Any:
    """``value`` from TOML as the annotated type ``hint``, or a ConfigError."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(value, next(a for a in args if a is not type(None)), where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, got {value!r}")
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ConfigError(f"{where} must be a list of {len(args)} values, got {value!r}")
        return tuple(_convert(v, args[0], f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} must be a table, got {value!r}")
        return dict(value)
    return _scalar(value, hint, where)


def from_table(cls: type[Any], table: Any, where: str, **given: Any) -> Any:
    """Make a settings dataclass from a TOML table.

    Parameters
    ----------
    cls
        One of the classes of this module.
    table
        Its values by key, as TOML gives them.
    where
        What the messages of errors begin with.
    **given
        Fields that have their types already and may not be in the table.

    Raises
    ------
    ConfigError
        An unknown or missing key, a wrong type, a value out of range.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, got {table!r}")
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls) if f.name not in given]
    _known_keys(table, names, where)
    values = {k: _convert(v, hints[k], f"{where} {k}") for k, v in table.items()}
    try:
        return cls(**values, **given)
    except ConfigError as error:
        raise ConfigError(f"{where} {error}") from None
    except TypeError:
        missing = [n for n in names if n not in values and _required(cls, n)]
        raise ConfigError(f"{where}: missing key '{missing[0]}'") from None


def _required(cls: type[Any], name: str) -> bool:
    spec = cls.__dataclass_fields__[name]
    missing = type(spec.default).__name__ == "_MISSING_TYPE"
    return missing and type(spec.default_factory).__name__ == "_MISSING_TYPE"


def _data_sets(tables: Any, base: Path) -> tuple[DataConfig, ...]:
    if not isinstance(tables, list) or not tables:
        raise ConfigError("at least one [[data]] table is needed")
    sets = [from_table(DataConfig, t, f"[[data]] {i + 1}") for i, t in enumerate(tables)]
    return tuple(
        replace(d, path=d.path and base / d.path, splits=d.splits and base / d.splits) for d in sets
    )


def _task_settings(tables: dict[str, Any], downstream: dict[str, Any]) -> dict[str, Any]:
    """Read ``[tasks.NAME]``; what localisation shares with segmentation is that of [downstream]."""
    given = _convert(tables.get("tasks", {}), dict[str, Any], "[tasks]")
    given = {name: _convert(t, dict[str, Any], f"[tasks.{name}]") for name, t in given.items()}
    _known_keys(given, ["classification", "localisation"], "[tasks]")
    size = {"image_size": downstream["image_size"]}
    classes, boxes = (given.get(name, {}) for name in ("classification", "localisation"))
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


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read the tables of a TOML file; an error names the file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"config file not found: {path}{why_no_file(path)}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs; values are TOML, a bare word is a string.

    Raises
    ------
    ConfigError
        An assignment without ``=``, or a key given twice.
    """
    table: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"a setting must be KEY=VALUE, got '{text}'")
        if key.strip() in table:
            raise ConfigError(f"the setting '{key.strip()}' is given twice")
        try:
            table[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key.strip()] = value.strip()
    return table


def load_config(
    path: str | Path, *, data_root: str | Path | None = None, out: str | Path | None = None
) -> RunConfig:
    """Read a run's settings from a TOML file.

    Parameters
    ----------
    path : path
        The file. Its tables: ``[run]``, one or more ``[[data]]``, ``[encoder]``,
        ``[leakage]``, ``[selectors.NAME]``, ``[pretrain]``, ``[downstream]``,
        ``[tasks.NAME]``, ``[[references]]``, ``[generalisation]``, ``[cost]``; their keys are the
        fields of the classes of `config`.
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
    known = ["run", "data", "encoder", "leakage", "selectors", "pretrain", "downstream"]
    known += ["tasks", "references", "generalisation", "cost"]
    try:
        _known_keys(tables, known, "top level")
        return _run_config(tables, path.resolve().parent, data_root, out)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _run_config(
    tables: dict[str, Any], folder: Path, data_root: str | Path | None, out: str | Path | None
) -> RunConfig:
    run = dict(tables.get("run", {}))
    given_out = run.pop("out", None)
    if out is None and given_out is None:
        raise ConfigError("[run]: missing key 'out'")
    where = (
        Path(out).resolve()
        if out is not None
        else (folder / _convert(given_out, Path, "[run] out")).resolve()
    )
    options = _convert(tables.get("selectors", {}), dict[str, Any], "[selectors]")
    pretrain: PretrainConfig = from_table(PretrainConfig, tables.get("pretrain", {}), "[pretrain]")
    downstream = {"image_size": pretrain.image_size, **tables.get("downstream", {})}
    across = tables.get("generalisation")
    base = folder if data_root is None else Path(data_root).resolve()
    config: RunConfig = from_table(
        RunConfig,
        run,
        "[run]",
        out=where,
        data=_data_sets(tables.get("data"), base),
        selector_options={
            name: _convert(table, dict[str, Any], f"[selectors.{name}]")
            for name, table in options.items()
        },
        encoder=from_table(EncoderConfig, tables.get("encoder", {}), "[encoder]"),
        leakage=from_table(LeakageConfig, tables.get("leakage", {}), "[leakage]"),
        pretrain=pretrain,
        downstream=from_table(DownstreamConfig, downstream, "[downstream]"),
        **_task_settings(tables, downstream),
        references=_references(tables.get("references", [])),
        generalisation=None
        if across is None
        else from_table(GeneralisationConfig, across, "[generalisation]"),
        cost=from_table(CostConfig, tables.get("cost", {}), "[cost]"),
    )
    return config
