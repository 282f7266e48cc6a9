"""Settings of a benchmark run: `RunConfig` puts together what stages and trainings take.

Knows nothing of the stages that use the settings, and imports nothing heavy. `config_file` reads
them from TOML. Longer than 450 lines because each setting is said what it does, for the schema too.
"""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from meddel_fast.benchmark.probe_settings import ProbeConfig
from meddel_fast.benchmark.results import NOTHING, UNTRAINED
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.extras import needs
from meddel_fast.common.settings import (
    CONFIG,
    OF_PYTHON,
    BelowOne,
    Between,
    Each,
    Flag,
    Name,
    NotNegativeNumber,
    Positive,
    Whole,
    each_once,
    must,
    one_line,
    wanted,
)
from meddel_fast.training.settings import (
    ClassificationConfig,
    DownstreamConfig,
    EncoderConfig,
    LocalisationConfig,
    PretrainConfig,
)

with needs("benchmark"):
    from pydantic import Field
    from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from meddel_fast.images.splits import Dealing

Use = Literal["pretrain", "test"]
Split = Literal["train", "val", "test"]
Task = Literal["segmentation", "classification", "localisation"]
Measure = Literal["pretrain", "probe"]
USES: tuple[Use, ...] = get_args(Use)
SPLITS: tuple[Split, ...] = get_args(Split)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


Ratio = Annotated[float, Field(strict=True, gt=0, le=1), OF_PYTHON, wanted("a fraction in (0, 1]")]
Cosine = Annotated[float, Field(strict=True, ge=-1, le=1), OF_PYTHON, wanted("a cosine, -1 to 1")]
Uses = Annotated[tuple[Use, ...], Field(min_length=1), wanted(f"some of {list(USES)}")]
Splits = Annotated[tuple[Split, ...], Field(min_length=1), wanted(f"some of {list(SPLITS)}")]
Tasks = Annotated[Each[Task], wanted(f"some of {list(get_args(Task))}, each once")]
Pattern = Annotated[str, must("a regular expression", _is_pattern)]


@one_line
@dataclass(frozen=True, config=CONFIG)
class ReferenceConfig:
    """An encoder that is evaluated as it is, such as one pre-trained on ImageNet.

    Attributes
    ----------
    name
        What tables call it.
    path
        A local folder or a hub name.
    offline
        Whether a hub name must be in the local cache; only when false the hub itself is asked.
    """

    name: Name
    path: Annotated[str, must("a folder or a hub name", lambda text: bool(text.strip()))]
    offline: Flag = True


@one_line
@dataclass(frozen=True, config=CONFIG)
class GeneralisationConfig:
    """Pre-train on a share of each of some sets alone, and segment each of the sets.

    Attributes
    ----------
    sets
        Names of two data sets or more.
    ratio
        Share of a set that is kept.
    selectors
        Selectors that choose it.
    head
        Whose training images the segmentation head sees: the "target" set's, so that the encoder
        alone has to generalise, or the "source" set's, so that all of it has to.
    """

    sets: Annotated[
        tuple[str, ...],
        Field(min_length=2, json_schema_extra={"uniqueItems": True}),
        must("given, each once", each_once),
        wanted("two sets or more, given each once"),
    ]
    ratio: Between = 0.1
    selectors: Each[str] = ("random", "meddel")
    head: Literal["target", "source"] = "target"


@one_line
@dataclass(frozen=True, config=CONFIG)
class DataConfig:
    """One data set, and which of its splits serve pre-training, head training and test.

    Attributes
    ----------
    name
        What tables and folders call it.
    path
        Its folder or archive; either this or `made` is given.
    made
        Frames that the run makes itself: the options of ``meddel-fast data make``.
    set
        Key of a data set of the registry (``meddel-fast data list``), whose reader is then used in
        place of that for ``images/`` and ``masks/``.
    stride
        Of videos, every which frame is taken.
    scene
        Above 0, of these frames only one that differs from the last by that much is taken.
    splits
        A CSV file that lists which image is in which split.
    mask
        What the numbers in masks mean, where the masks themselves do not say it: ``{foreground =
        [1, 2], ignore = [255]}`` or ``{above = 127}``.
    split
        A split for all images of the set; "deal" deals them although the registry names one.
    near_duplicates
        Whether images that look alike stay together when a split is dealt.
    group_by
        A regular expression: images in whose path it finds the same stay together when a split is
        dealt.
    train_on
        Names of the sets on whose `train_splits` the heads are trained; by default this one's.
    use
        Whether the set is for pre-training, for test, or for both.
    pretrain_splits
        Splits that are pre-trained on.
    train_splits
        Splits that heads are trained on.
    test_splits
        Splits that are tested on.
    tasks
        Tasks that a test set is for.
    """

    name: Name
    path: Path | None = None
    made: dict[str, Any] | None = None
    set: str = ""
    stride: Positive = 25
    scene: BelowOne = 0.0
    splits: Path | None = None
    mask: dict[str, Any] | None = None
    split: Literal["", "deal", "train", "val", "test"] = ""
    near_duplicates: Flag = True
    group_by: Pattern = ""
    train_on: tuple[str, ...] = ()
    use: Uses = USES
    pretrain_splits: Splits = ("train",)
    train_splits: Splits = ("train",)
    test_splits: Splits = ("test",)
    tasks: Tasks = ("segmentation",)

    def __post_init__(self) -> None:
        if self.name in ("mean", "pretrain", "pool"):
            raise ConfigError(
                f"name must be other than 'mean', 'pretrain' and 'pool', got {self.name!r}"
            )
        if (self.path is None) == (self.made is None):
            got = None if self.path is None else str(self.path)
            raise ConfigError(f"path must be given, or `made`, not both, got {got!r}")
        if self.set and self.path is None:
            raise ConfigError(f"set must be given with `path`, got {self.set!r}")
        self._check_mask()
        if self.split and self.splits is not None:
            raise ConfigError(f"split must be left out beside `splits`, got {self.split!r}")
        overlap = {*self.test_splits} & {*self.train_splits, *self.pretrain_splits}
        if "test" in self.use and overlap:
            raise ConfigError(
                f"test_splits must be disjoint from the training splits, {overlap} in both"
            )

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        if self.path is None:
            raise ConfigError(f"mask must be given with `path`, got {self.mask!r}")
        from meddel_fast.images.masks.rule import parse_mask

        try:
            parse_mask(self.mask)
        except ValueError as error:
            raise ConfigError(f"mask: {error}") from None

    @property
    def dealing(self) -> Dealing:
        """How images get a split that no list gives them."""
        from meddel_fast.images.splits import Dealing

        return Dealing(self.split, self.near_duplicates, self.group_by)


@one_line
@dataclass(frozen=True, config=CONFIG)
class CostConfig:
    """Power that the machine is assumed to draw while it works, for the estimate of the energy.

    Attributes
    ----------
    cpu_watts
        Watts of the machine without its GPU.
    gpu_watts
        Watts of the GPU, when one is used.
    """

    cpu_watts: NotNegativeNumber = 65.0
    gpu_watts: NotNegativeNumber = 400.0


@one_line
@dataclass(frozen=True, config=CONFIG)
class LeakageConfig:
    """The audit for test images that the pool holds too, or nearly so (see `leakage.audit`).

    Attributes
    ----------
    threshold
        Cosine from which two images are a pair: that of the embeddings which the selectors see,
        centred or not.
    exclude
        Whether images of the pool that are in a pair are taken out before selection and
        pre-training: all shares are then those of what is left.
    """

    threshold: Cosine = 0.98
    exclude: Flag = False


@one_line
@dataclass(frozen=True, config=CONFIG)
class QualityConfig:
    """What becomes of images of the pool that break a limit of `images.quality.LIMITS`.

    Attributes
    ----------
    flawed
        "ignore": nothing is measured. "tell": the page tells which limits how many images break,
        and how many of them each selection keeps. "exclude": they are taken out of the pool before
        anything else, and told of; all shares are then those of what is left.
    """

    flawed: Literal["ignore", "tell", "exclude"] = "ignore"


@one_line
@dataclass(frozen=True, config=CONFIG)
class RunConfig:
    """A whole run.

    Attributes
    ----------
    name
        Name of the run.
    out
        Folder of the run.
    data
        The data sets.
    seed
        Seed of everything before the heads. Repetition r of `repeats` selects (where the method
        draws) and pre-trains with the seed plus r.
    ratios
        Shares of the pool that are kept; 1.0 pre-trains on all of it.
    selectors
        Methods that choose what is kept.
    seeds
        Seeds of the downstream heads.
    repeats
        How often is selected and pre-trained. With 1 no difference is judged.
    measures
        What the selections are measured by: "pretrain" trains an encoder on each and a head on
        that, "probe" a small model on frozen features. By default the first, and both where there
        is a table ``[probe]``.
    alpha
        Weight of the retained share in the tables' NormDEL.
    alphas
        Weights of the sweep.
    device
        "auto", "cpu", "cuda", "cuda:1" ...
    threads
        Threads of the kernels; by default as many as there are cores.
    selector_options
        Options of the selectors by their names. The option ``score`` may be "mae": how badly the
        encoder that the run trains itself restores each image.
    encoder
        The encoder that embeds the pool.
    leakage
        The audit for images that pool and test sets share.
    quality
        Images of the pool that are blurred, black or the like.
    pretrain
        Pre-training.
    downstream
        The segmentation head.
    classification
        The task of that name.
    localisation
        The task of that name.
    references
        Encoders that are evaluated as they are.
    generalisation
        Pre-training on single sets, if that is wanted.
    cost
        For the estimate of the energy.
    probe
        The probe.
    """

    name: Annotated[str, must("a name", lambda text: bool(text.strip()))]
    out: Path
    data: tuple[DataConfig, ...]
    seed: Whole = 0
    ratios: Each[Ratio] = (1.0, 0.33, 0.1, 0.05)
    selectors: Each[str] = ("random", "kcenter", "meddel")
    seeds: Each[Whole] = (0, 1, 2)
    repeats: Positive = 3
    measures: Annotated[Each[Measure], wanted(f"some of {list(get_args(Measure))}, each once")] = (
        "pretrain",
    )
    alpha: NotNegativeNumber = 1.0
    alphas: Each[NotNegativeNumber] = (0.0, 0.5, 1.0, 2.0)
    device: str = "auto"
    threads: Positive | None = None
    selector_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    downstream: DownstreamConfig = field(default_factory=DownstreamConfig)
    classification: ClassificationConfig = field(default_factory=ClassificationConfig)
    localisation: LocalisationConfig = field(default_factory=LocalisationConfig)
    references: tuple[ReferenceConfig, ...] = ()
    generalisation: GeneralisationConfig | None = None
    cost: CostConfig = field(default_factory=CostConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)

    def __post_init__(self) -> None:
        names = [d.name for d in self.data]
        if len(set(names)) < len(names):
            raise ConfigError(f"[[data]] names must differ, got {names}")
        for use in USES:
            if not any(use in d.use for d in self.data):
                raise ConfigError(f'no [[data]] set has "{use}" in its `use`: at least one must')
        if self.leakage.exclude and not self.encoder.path and not self.encoder.steps:
            raise ConfigError(
                "[leakage] exclude needs an encoder that is there before the pool is cleaned: "
                "[encoder] must have a path, or steps greater than 0"
            )
        self._check_names()
        across = self.generalisation
        named = set(self.selectors) | set(across.selectors if across else ())
        unused = sorted(set(self.selector_options) - named)
        if unused:
            raise ConfigError(
                f"[selectors.{unused[0]}] is given, but run.selectors names only: "
                + ", ".join(self.selectors)
            )
        if "pretrain" not in self.measures and (self.references or across):
            raise ConfigError(
                '[run] measures must have "pretrain" where [[references]] or [generalisation] are '
                f"given, got {list(self.measures)}"
            )
        self._check_references()
        self._check_train_on(names)
        self._check_generalisation()
        self._check_epochs()

    def settings_of(self, task: str) -> Any:
        """Give the settings of one of the tasks."""
        return self.downstream if task == "segmentation" else getattr(self, task)

    def _check_names(self) -> None:
        """Refuse what tables call the floors as the name of anything else."""
        taken = (UNTRAINED, NOTHING)
        across = self.generalisation.selectors if self.generalisation else ()
        for where, names in (
            ("run.selectors", self.selectors),
            ("[generalisation] selectors", across),
            ("[[references]] names", [reference.name for reference in self.references]),
        ):
            for name in set(taken) & set(names):
                raise ConfigError(
                    f"{where} must be other than {taken[0]!r} and {taken[1]!r}, which are the "
                    f"floors of every run, got {name!r}"
                )

    def _check_references(self) -> None:
        names = [r.name for r in self.references]
        clash = sorted(set(names) & {"full", *self.selectors})
        if len(set(names)) < len(names) or clash:
            raise ConfigError(
                f"[[references]] names must differ from one another and from selectors, got {names}"
            )

    def _check_train_on(self, names: list[str]) -> None:
        for data in self.data:
            for name in data.train_on:
                if name not in names:
                    raise ConfigError(
                        f"[[data]] '{data.name}' train_on must name data sets of the run, "
                        f"got {name!r}: there are {', '.join(names)}"
                    )

    def _check_generalisation(self) -> None:
        if self.generalisation is None:
            return
        tested = [d.name for d in self.data if "test" in d.use and "segmentation" in d.tasks]
        unknown = [name for name in self.generalisation.sets if name not in tested]
        if unknown:
            raise ConfigError(
                f"[generalisation] sets must be test sets with the task segmentation, "
                f"got {unknown[0]!r}; such sets: {', '.join(tested)}"
            )

    def _check_epochs(self) -> None:
        """Refuse a ratio without epochs before the work, not when its turn comes."""
        if not self.pretrain.epochs:
            return
        wanted = {*self.ratios, *([self.generalisation.ratio] if self.generalisation else [])}
        if not self.encoder.path and not self.encoder.steps:
            wanted.add(1.0)  # the encoder that embeds is that of all images
        for ratio in sorted(wanted):
            if self.pretrain.epochs_at(ratio) is None:
                raise ConfigError(
                    f"[pretrain] epochs must have every ratio of the run, got none for {ratio:g}"
                )
