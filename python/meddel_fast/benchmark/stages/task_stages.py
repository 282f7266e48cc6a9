"""Stages that evaluate tasks beyond segmentation, and encoders that the run did not train.

Segmentation of the run's own encoders, trained or not, is in `run_stages`; without other tasks and
references there is nothing here, and no ``score/tasks.csv``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from meddel_fast.benchmark.config import DataConfig, ReferenceConfig, RunConfig
from meddel_fast.benchmark.results import FULL, UNTRAINED, predictions_path, repeated
from meddel_fast.benchmark.scores.task_scores import (
    Scored,
    TaskRun,
    draw_tasks,
    task_differences,
    task_rows,
    write_tasks,
)
from meddel_fast.benchmark.stages.run_folder import NO_TRAINING, encoder_key, tags
from meddel_fast.benchmark.stages.stage import Stage, settings
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import Progress
from meddel_fast.selectors import Selection
from meddel_fast.training.tasks import TASKS

if TYPE_CHECKING:
    from meddel_fast.benchmark.stages.run_folder import RunFolder
    from meddel_fast.images.manifest import Manifest

SEGMENTATION = "segmentation"


class Evaluation(NamedTuple):
    """One encoder, one data set, one task, one seed; a reference has no repetitions."""

    tag: str
    data: DataConfig
    task: str
    seed: int
    repeat: int = 0
    reference: ReferenceConfig | None = None

    @property
    def name(self) -> str:
        """What the encoder is called."""
        return repeated(self.tag, self.repeat)

    @property
    def label(self) -> str:
        """Its place below ``evaluate/``. No data set's name has a slash, so that none clashes."""
        return f"{self.name}/{self.task}/{self.data.name}-seed{self.seed}"


def segmented(config: RunConfig) -> list[DataConfig]:
    """List the test sets that are segmented with encoders that were pre-trained."""
    trains = "pretrain" in config.measures
    return [d for d in config.data if trains and "test" in d.use and SEGMENTATION in d.tasks]


def _seeds(config: RunConfig, task: str) -> tuple[int, ...]:
    return config.seeds if TASKS[task].seeded else config.seeds[:1]


def _pairs(config: RunConfig, every: bool) -> list[tuple[DataConfig, str]]:
    """List test sets with their tasks; segmentation only if `every`."""
    return [
        (data, task)
        for data in config.data
        if "test" in data.use and "pretrain" in config.measures
        for task in data.tasks
        if every or task != SEGMENTATION
    ]


def _repeated(config: RunConfig) -> list[str]:
    """List the tags of what each repetition trains, or leaves untrained."""
    return [*(tag for tag, _, _ in tags(config)), UNTRAINED]


def evaluations(config: RunConfig) -> list[Evaluation]:
    """List what is evaluated here.

    The other tasks of each selection and of the untrained encoder, then each reference.
    """
    own = [
        Evaluation(tag, data, task, seed, repeat)
        for repeat in range(config.repeats)
        for tag in _repeated(config)
        for data, task in _pairs(config, every=False)
        for seed in _seeds(config, task)
    ]
    return own + [
        Evaluation(f"reference/{reference.name}", data, task, seed, reference=reference)
        for reference in config.references
        for data, task in _pairs(config, every=True)
        for seed in _seeds(config, task)
    ]


def check(run: RunFolder) -> None:
    """Refuse tasks without images and references that are not there, before any work."""
    for data, task in _pairs(run.config, every=False):
        training_rows(run, data, task)
        rows(run, data, task, data.test_splits)
    if run.config.references:
        from meddel_fast.training.encoders.vit import check_there

        for reference in run.config.references:
            check_there(reference.path, reference.offline)


def rows(run: RunFolder, data: DataConfig, task: str, splits: tuple[str, ...]) -> Manifest:
    """Give the rows of some splits that a task can use."""
    whole = run.manifest(run.manifest_path(data.name)).splits(splits)
    usable = TASKS[task].usable(whole, run.config.settings_of(task))
    if len(usable) == 0:
        raise ConfigError(
            f"data set '{data.name}', {task}: no image with {TASKS[task].wants} "
            f"in splits {list(splits)}" + (NO_TRAINING if splits == data.train_splits else "")
        )
    return usable


def training_rows(run: RunFolder, data: DataConfig, task: str) -> Manifest:
    """Give the rows that the heads of a task on a data set are trained on."""
    return run.training(data, lambda d: rows(run, d, task, d.train_splits))


def path_of(run: RunFolder, evaluation: Evaluation) -> Path:
    """Where the result goes."""
    return run.out / "evaluate" / f"{evaluation.label}.json"


def stages(run: RunFolder) -> list[Stage]:
    """List the stages, one for each of :func:`evaluations`."""
    return [_stage(run, evaluation) for evaluation in evaluations(run.config)]


def _stage(run: RunFolder, evaluation: Evaluation) -> Stage:
    name, (_, data, task, seed, _, reference) = evaluation.name, evaluation
    path, chosen = path_of(run, evaluation), run.config.settings_of(task)

    answers = predictions_path(path)

    def inputs() -> dict[str, Any]:
        return {
            "model": run.records.digest(run.model(name))
            if reference is None
            else encoder_key(reference.path),
            "train": training_rows(run, data, task).fingerprint,
            "test": rows(run, data, task, data.test_splits).fingerprint,
            "config": settings(chosen),
            "seed": seed,
        }

    def work(progress: Progress) -> None:
        run.use_threads()
        result = TASKS[task].evaluate(
            run.model(name) if reference is None else reference.path,
            training_rows(run, data, task),
            rows(run, data, task, data.test_splits),
            chosen,
            seed=seed,
            predictions=answers,
            device=run.config.device,
            offline=reference is None or reference.offline,
            progress=progress,
        )
        write_json(path, result)

    return Stage(f"evaluate/{evaluation.label}", (path, answers), inputs, work, unit="")


def digests(run: RunFolder) -> list[str]:
    """Give the hashes of all results here, and of what was answered."""
    paths = [path_of(run, one) for one in evaluations(run.config)]
    return [run.records.digest(p) for path in paths for p in (path, predictions_path(path))]


def write(run: RunFolder, folder: Path) -> None:
    """Write the table of all tasks and references; nothing when there are no others."""
    config, pool = run.config, len(run.manifest(run.pool_path))
    others = evaluations(config)
    if not others:
        return
    found: dict[str, dict[str, dict[str, list[TaskRun]]]] = {}
    for tag in _repeated(config):
        for data in segmented(config):
            found.setdefault(tag, {}).setdefault(SEGMENTATION, {})[data.name] = [
                TaskRun(repeat, seed, run.result(repeated(tag, repeat), data, seed))
                for repeat in range(config.repeats)
                for seed in config.seeds
            ]
    for one in others:
        sets = found.setdefault(one.tag, {}).setdefault(one.task, {})
        sets.setdefault(one.data.name, []).append(TaskRun(one.repeat, one.seed, path_of(run, one)))
    table = []
    for tag, selector, ratio in tags(config):
        kept = pool if tag == FULL else len(Selection.load(run.selection(tag)))
        table.append(Scored(selector, ratio, (kept, pool), found[tag]))
    if UNTRAINED in found:
        table.append(Scored(UNTRAINED, 0.0, None, found[UNTRAINED]))
    for reference in config.references:
        table.append(Scored(reference.name, 1.0, None, found[f"reference/{reference.name}"]))
    samples = draw_tasks(table, _groups(run))
    judged = task_differences(table, samples, config.alpha)
    write_tasks(folder, task_rows(table, samples, config.alpha), judged)


def _groups(run: RunFolder) -> dict[str, dict[str, list[str]]]:
    """Give the video or patient of the test images of each task and set."""
    groups: dict[str, dict[str, list[str]]] = {}
    for data, task in _pairs(run.config, every=True):
        tested = rows(run, data, task, data.test_splits)
        groups.setdefault(task, {})[data.name] = tested.column("group")
    return groups
