"""The plan of a run: its stages in the order of their work, and what must hold before any."""

from __future__ import annotations

from meddel_fast.benchmark.checks import check_selectors, check_sets
from meddel_fast.benchmark.config import RunConfig
from meddel_fast.benchmark.results import FULL, UNTRAINED, repeated
from meddel_fast.benchmark.stages import (
    generalisation,
    leak_stages,
    probe_stages,
    score_stages,
    task_stages,
)
from meddel_fast.benchmark.stages.run_folder import tags
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Records, Stage
from meddel_fast.selectors import DRAW_NOTHING

GROUPS = (
    *("make", "data", "encoder", "pretrain", "embed", "leakage", "select"),
    *("probe", "untrained", "evaluate", "generalisation", "score", "report"),
)


def build(config: RunConfig, records: Records) -> list[Stage]:
    """List the stages of a run in the order of their work.

    Raises
    ------
    ConfigError
        An unknown selector or data set, or an option that it does not have or cannot use.
    """
    check_selectors(config)
    check_sets(config)
    run = RunStages(config, records)
    clean = config.leakage.exclude
    whole = RunStages(config, records, "pool") if clean else run
    own = not config.encoder.path
    repeats = range(config.repeats)
    trains = "pretrain" in config.measures
    full_first = (own and not config.encoder.steps) or (trains and 1.0 in config.ratios)
    full = [run.pretrain(FULL, None)] if full_first else []
    return [
        *(run.make(d) for d in config.data if d.made is not None),
        *(run.scan(d) for d in config.data),
        whole.pool(),
        *([whole.own_encoder()] if own and config.encoder.steps else []),
        *([] if clean else full),
        whole.embed(),
        *leak_stages.stages(whole),
        *([leak_stages.clean(whole, run), *full] if clean else []),
        *(
            run.select(s, repeat)
            for repeat in repeats
            for s in config.selectors
            if min(config.ratios) < 1 and (repeat == 0 or s not in DRAW_NOTHING)
        ),
        *probe_stages.stages(run),
        *(_measured_by_training(run) if trains else []),
        score_stages.score(run),
        score_stages.report(run),
    ]


def _measured_by_training(run: RunStages) -> list[Stage]:
    """List the stages that train an encoder on each selection, and measure it."""
    config = run.config
    scored, repeats = tags(config), range(config.repeats)
    return [
        *(
            run.pretrain(repeated(t, repeat), run.selected(t, s, repeat), repeat, ratio)
            for repeat in repeats
            for t, s, ratio in scored
            if (t, repeat) != (FULL, 0)
        ),
        *map(run.untrained, repeats),
        *(
            run.evaluate(repeated(t, repeat), d, seed)
            for repeat in repeats
            for t in (*(t for t, _, _ in scored), UNTRAINED)
            for d in task_stages.segmented(config)
            for seed in config.seeds
        ),
        *task_stages.stages(run),
        *generalisation.stages(run),
    ]
