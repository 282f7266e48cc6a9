"""Checks of a run before any of its work: settings, folders, encoders, devices.

`plan.build` refuses unknown selectors and data sets; ``run`` and ``run --plan`` look here for what
the machine lacks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from meddel_fast.benchmark.config import RunConfig
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.files import read_json
from meddel_fast.selectors import check_options, find_selector

MAE_LOSS = "mae"  # for a selector's option `score`
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)  # what may be fetched yet
_GIVEN = {"threads": "[run] threads"}  # what a selector's options must not repeat


def check_run(config: RunConfig) -> None:
    """Refuse what would fail later; nothing is written.

    Raises
    ------
    ConfigError
        It names the setting and what is wrong with it.
    """
    check_plan(config)
    for told in not_there_yet(config):
        raise ConfigError(told)


def check_plan(config: RunConfig) -> None:
    """Refuse what is wrong whether or not all is fetched yet; raises as :func:`check_run`."""
    check_directory(config)
    for data in config.data:
        if data.splits is not None and not data.splits.is_file():
            raise ConfigError(f"[[data]] '{data.name}' splits: there is no file {data.splits}")
    for where, path, _ in _encoders(config):
        if not Path(path).is_dir() and not _HUB_NAME.fullmatch(path) and not _is_cached(path):
            raise ConfigError(f"{where} path: there is no folder {path}")
    _check_device(config)


def not_there_yet(config: RunConfig) -> list[str]:
    """Say which data and encoders a run needs and will not find."""
    from meddel_fast.images.datadel.registry import known_set

    told = []
    for data in config.data:
        if data.path is not None:
            places = known_set(data.set).places(data.path) if data.set else [data.path]
            if not any(place.exists() for place in places):
                told.append(f"data folder not found: {data.path}")
    for where, path, offline in _encoders(config):
        try:
            _look_up(path, offline)
        except (OSError, ValueError) as error:
            told.append(f"{where} path: {error}")
    return told


def check_selectors(config: RunConfig, n: int | None = None) -> None:
    """Refuse unknown selectors, and options that they do not have or cannot use.

    Parameters
    ----------
    config
        The settings.
    n
        Number of images of the pool, where that is known: some options depend on it.
    """
    across = config.generalisation.selectors if config.generalisation else ()
    for name in dict.fromkeys((*config.selectors, *across)):
        options = config.selector_options.get(name, {})
        where = f"[selectors.{name}]"
        for option in set(options) & set(_GIVEN):
            raise ConfigError(f"{where} {option} is given by {_GIVEN[option]}")
        try:
            check_options(name, options, n)
        except (TypeError, ValueError) as error:
            where = "selectors:" if str(error).startswith("name must be") else where
            raise ConfigError(f"{where} {error}") from None
        given = options.get("score")
        if "score" in options and (given != MAE_LOSS or config.encoder.path):
            raise ConfigError(
                f'{where} score must be "{MAE_LOSS}", the loss of the encoder that the '
                f"run trains itself, got {given!r}"
                + (" with an encoder given by [encoder] path" if config.encoder.path else "")
            )
        shared = {"exclude", "groups", "classes", "weights", "selected"}
        one_each = {*find_selector(name).method.per_sample, *shared}
        for option in sorted(one_each & set(options) - {"score"}):
            value = options[option]
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise ConfigError(f"{where} {option} must be a list, got {value!r}")
            if n is not None and option != "selected" and len(value) != n:
                raise ConfigError(
                    f"{where} {option} must have one entry for each of the {n} images of the "
                    f"pool, got {len(value)}"
                )


def check_sets(config: RunConfig) -> None:
    """Refuse data sets that the registry does not have, and made ones that cannot be made.

    A pool of made frames alone has a size that is known, so that what selectors are asked for is
    held against it.
    """
    from meddel_fast.images.datadel.registry import known_set

    pool, is_known = 0, not config.leakage.exclude
    for data in config.data:
        is_known &= data.made is not None or "pretrain" not in data.use
        if data.set:
            try:
                known_set(data.set)
            except ValueError as error:
                raise ConfigError(f"[[data]] '{data.name}' set: {error}") from None
        if data.made is not None:
            from meddel_fast.images.made.frames import check_made

            try:
                frames = check_made({"seed": config.seed, **data.made})
            except (TypeError, ValueError) as error:
                raise ConfigError(f"[[data]] '{data.name}' made: {error}") from None
            if "pretrain" in data.use:
                pool += sum(frames[split] for split in data.pretrain_splits)
    if pool and is_known:
        check_selectors(config, pool)


def check_directory(config: RunConfig) -> None:
    """Refuse a run directory that is not this run's, or that cannot be written."""
    out, description = config.out, config.out / "run.json"
    if out.exists() and not out.is_dir():
        raise ConfigError(f"the run directory {out} is a file")
    if description.is_file():
        found = read_json(description)
        if "given" in found:
            raise ConfigError(f"{out} holds given predictions: choose another folder with --out")
        name = found.get("name")
        if name != config.name:
            raise ConfigError(
                f"{out} holds the run '{name}', this config is of the run '{config.name}': "
                "choose another folder with --out, or change run.name"
            )
    elif out.is_dir() and any(p.name != ".lock" for p in out.iterdir()):
        raise ConfigError(f"{out} is not empty and holds no run: choose another folder with --out")
    there = next(p for p in (out, *out.parents) if p.exists())
    if not there.is_dir():
        raise ConfigError(f"the run directory {out} cannot be made: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(
            f"the run directory {out} cannot be written: {there} is not yours to write"
        )


def _encoders(config: RunConfig) -> list[tuple[str, str, bool]]:
    """List the encoders of others: where they are set, their path or name, whether offline."""
    asked = [("[encoder]", config.encoder.path, False)] if config.encoder.path else []
    return asked + [(f"[[references]] '{r.name}'", r.path, r.offline) for r in config.references]


def _is_cached(name: str) -> bool:
    try:
        _look_up(name, offline=True)
    except (OSError, ValueError):
        return False
    return True


def _look_up(path: str, offline: bool) -> None:
    from meddel_fast.training.encoders.vit import check_there

    check_there(path, offline)
    if offline or Path(path).is_dir():
        return
    try:  # in the cache, which tells more than the network could
        check_there(path, offline=True)
    except FileNotFoundError:
        with needs("benchmark"):
            from transformers import AutoConfig

        # asks the hub, for a small file
        AutoConfig.from_pretrained(path, local_files_only=offline, trust_remote_code=False)


def _check_device(config: RunConfig) -> None:
    if config.device in ("auto", "cpu"):
        return
    from meddel_fast.training.device import choose

    try:
        choose(config.device)
    except ValueError as error:
        raise ConfigError(f"[run] {error}") from None


def check_pool(config: RunConfig, n: int) -> None:
    """Refuse what a pool of n images cannot serve; known before anything is trained."""
    check_selectors(config, n)
