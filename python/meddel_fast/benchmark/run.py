"""The whole run of a `config.RunConfig`, or up to a group of stages."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.checks import check_run
from meddel_fast.benchmark.config import RunConfig
from meddel_fast.benchmark.machine import hardware, versions
from meddel_fast.benchmark.plan import build
from meddel_fast.benchmark.results import UNTRAINED
from meddel_fast.benchmark.run_json import FORMAT
from meddel_fast.benchmark.stages.run_folder import tags
from meddel_fast.benchmark.stages.stage import Records, settings
from meddel_fast.common.atomic import remove_leftovers, write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.lock import lock
from meddel_fast.selectors import DRAW_NOTHING, find_selector

if TYPE_CHECKING:
    from rich.console import Console


def run(config: RunConfig, *, until: str | None = None, console: Console | None = None) -> Path:
    """Run the benchmark, or the stages up to and with the group `until`; skip what is valid.

    Parameters
    ----------
    config
        The settings; ``config.out`` is made when it is not there.
    until
        One of `plan.GROUPS`; None runs all.
    console
        Where progress goes; a terminal gets a live list, anything else plain lines. None: stderr.

    Returns
    -------
    Path
        The run directory.

    Raises
    ------
    ConfigError
        Settings that cannot be used; a directory that holds another run, or something else.
    LockedError
        Another process works in the directory.
    """
    with needs("benchmark"):
        from rich.console import Console

    from meddel_fast.benchmark.display import watch

    records = Records(config.out)
    stages = build(config, records)
    check_run(config)
    if until is not None:
        groups = [stage.group for stage in stages]
        if until not in groups:
            raise ConfigError(
                f"this run has no stage '{until}': {', '.join(dict.fromkeys(groups))}"
            )
        stages = stages[: len(groups) - groups[::-1].index(until)]
    if config.threads is not None:
        os.environ["MEDDEL_THREADS"] = str(config.threads)
    with lock(config.out):
        remove_leftovers(config.out)
        write_json(config.out / "run.json", _description(config))
        with watch(stages, console or Console(stderr=True)) as watcher:
            for stage in stages:
                records.execute(stage, watcher)
    return config.out


def _description(config: RunConfig) -> dict[str, Any]:
    """Everything that ``run.json`` says."""
    return {
        "format": FORMAT,
        "name": config.name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": settings(config),
        "selectors": _selectors(config),
        "tags": [{"tag": t, "selector": s, "ratio": r} for t, s, r in tags(config)],
        "floors": [UNTRAINED] if "pretrain" in config.measures else [],
        "versions": versions(),
        "hardware": hardware(),
    }


def _selectors(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Give every option of each selector, defaults included, and the seeds of its repetitions.

    A method that draws nothing selects once, whatever the seed: it has none.
    """
    across = config.generalisation.selectors if config.generalisation else ()
    every = {}
    for name in dict.fromkeys((*config.selectors, *across)):
        options = find_selector(name).method.settled(config.selector_options.get(name, {}))
        first = config.selector_options.get(name, {}).get("seed", config.seed)
        del options["seed"]
        repeats = 0 if name in DRAW_NOTHING else config.repeats
        every[name] = {**options, "seeds": [first + repeat for repeat in range(repeats)]}
    return every
