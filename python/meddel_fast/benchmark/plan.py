"""The plan of a run: its stages in the order of their work, and what must hold before any."""

from __future__ import annotations

from meddel_fast.benchmark import beyond, leak_stages, task_stages
from meddel_fast.benchmark.places import FULL, tags
from meddel_fast.benchmark.results import repeated
from meddel_fast.benchmark.run_stages import MAE_LOSS, RunStages
from meddel_fast.benchmark.stage import Records, Stage
from meddel_fast.config import ConfigError, RunConfig
from meddel_fast.selectors import DRAW_NOTHING

GROUPS = (
    *("make", "data", "encoder", "pretrain", "embed", "leakage", "select"),
    *("evaluate", "generalisation", "score", "report"),
)


def build(config: RunConfig, records: Records) -> list[Stage]:
    """List the stages of a run in the order of their work.

    Raises
    ------
    ConfigError
        An unknown selector, or an option that it does not have.
    """
    check_selectors(config)
    check_sets(config)
    plan = RunStages(config, records)
    clean = config.leakage.exclude
    whole = RunStages(config, records, "pool") if clean else plan
    own = not config.encoder.path
    scored, repeats = tags(config), range(config.repeats)
    full_first = (own and not config.encoder.steps) or 1.0 in config.ratios
    full = [plan.pretrain(FULL, None)] if full_first else []
    return [
        *(plan.make(d) for d in config.data if d.made is not None),
        *(plan.scan(d) for d in config.data),
        whole.pool(),
        *([whole.own_encoder()] if own and config.encoder.steps else []),
        *([] if clean else full),
        whole.embed(),
        *leak_stages.stages(whole),
        *([leak_stages.clean(whole, plan), *full] if clean else []),
        *(
            plan.select(s, repeat)
            for repeat in repeats
            for s in config.selectors
            if min(config.ratios) < 1 and (repeat == 0 or s not in DRAW_NOTHING)
        ),
        *(
            plan.pretrain(repeated(t, repeat), plan.selected(t, s, repeat), repeat, ratio)
            for repeat in repeats
            for t, s, ratio in scored
            if (t, repeat) != (FULL, 0)
        ),
        *(
            plan.evaluate(repeated(t, repeat), d, seed)
            for repeat in repeats
            for t, _, _ in scored
            for d in task_stages.segmented(config)
            for seed in config.seeds
        ),
        *beyond.stages(plan),
        plan.score(),
        plan.report(),
    ]


def check_selectors(config: RunConfig) -> None:
    """Refuse unknown selectors and unknown options of selectors."""
    from meddel_fast.selectors import check_options

    across = config.generalisation.selectors if config.generalisation else ()
    for name in dict.fromkeys((*config.selectors, *across)):
        options = config.selector_options.get(name, {})
        try:
            check_options(name, options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"selectors: {error}") from None
        if "score" in options and (options["score"] != MAE_LOSS or config.encoder.path):
            raise ConfigError(
                f'[selectors.{name}] score must be "{MAE_LOSS}", the loss of the encoder that the '
                f"run trains itself, got {options['score']!r}"
                + (" with an encoder given by [encoder] path" if config.encoder.path else "")
            )


def check_sets(config: RunConfig) -> None:
    """Refuse data sets that the registry does not have."""
    from meddel_fast.data.registry import known_set

    for data in config.data:
        if data.set:
            try:
                known_set(data.set)
            except ValueError as error:
                raise ConfigError(f"[[data]] '{data.name}' set: {error}") from None
