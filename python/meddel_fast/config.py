"""Settings of a benchmark run, as dataclasses that refuse values out of range.

Knows nothing of the stages that use the settings, and imports nothing heavy. `config_file` reads
them from TOML.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meddel_fast.data.splits import Dealing

PRECISIONS = ("auto", "fp32", "bf16")
COMPILE = ("auto", "on", "off")
POOLINGS = ("mean", "cls")
USES = ("pretrain", "test")
SPLITS = ("train", "val", "test")
METHODS = ("mae", "simmim")
TASKS = ("segmentation", "classification", "localisation")
LABELS = ("label", "lesion")
HEAD_DATA = ("target", "source")


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""


def _check(ok: bool, owner: object, name: str, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{name} must be {wanted}, got {getattr(owner, name)!r}")


def _check_positive(owner: object, *names: str) -> None:
    for name in names:
        _check(getattr(owner, name) > 0, owner, name, "greater than 0")


def _check_name(owner: object, name: str) -> None:
    plain = getattr(owner, name).replace("-", "").replace("_", "").replace(".", "")
    _check(plain.isalnum(), owner, name, "letters, digits, '-', '_' and '.' only")


def _check_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    _check(getattr(owner, name) in choices, owner, name, "one of " + ", ".join(choices))


@dataclass(frozen=True)
class PretrainConfig:
    """Masked pre-training. The defaults are ViT-Base as in the paper; `steps` is for every ratio.

    `epochs` is another way to say how long: a table of epochs by the ratio kept, such as
    ``{"1.0" = 200, "0.5" = 400}``, from which the steps follow with the number of images
    (:meth:`at_ratio`). `method` "mae" has a decoder of its own over the patches that it sees,
    "simmim" sees mask tokens too and has one linear layer for a decoder: it has no use for
    `decoder_*` and `norm_pix_loss`.

    `checkpoint_every` and `workers` do not change the result, `compile` only how it is rounded:
    ``"auto"`` lets ``torch.compile`` have the step where a trial on a GPU shows that it pays.
    """

    image_size: int = 224
    patch_size: int = 16
    hidden_size: int = 768
    layers: int = 12
    heads: int = 12
    decoder_hidden_size: int = 512
    decoder_layers: int = 8
    decoder_heads: int = 16
    mask_ratio: float = 0.75
    norm_pix_loss: bool = True
    steps: int = 10_000
    batch_size: int = 16
    learning_rate: float = 1.5e-4
    warmup_steps: int = 500
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    crop: bool = True
    precision: str = "auto"
    compile: str = "auto"
    checkpoint_every: int = 200
    workers: int = 0
    seed: int = 0
    method: str = "mae"
    epochs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_positive(
            self,
            "image_size",
            "patch_size",
            "hidden_size",
            "layers",
            "heads",
            "steps",
            "batch_size",
        )
        _check_positive(self, "decoder_hidden_size", "decoder_layers", "decoder_heads")
        _check_positive(self, "learning_rate", "checkpoint_every")
        _check(0 < self.mask_ratio < 1, self, "mask_ratio", "between 0 and 1, both excluded")
        if not self.epochs:  # with them the steps are not known yet
            _check(self.warmup_steps <= self.steps, self, "warmup_steps", f"0 to {self.steps}")
        _check(self.warmup_steps >= 0, self, "warmup_steps", "0 or greater")
        _check(self.weight_decay >= 0, self, "weight_decay", "0 or greater")
        _check(all(0 <= b < 1 for b in self.betas), self, "betas", "two numbers in [0, 1)")
        _check(self.workers >= 0, self, "workers", "0 or greater")
        _check_choice(self, "precision", PRECISIONS)
        _check_choice(self, "compile", COMPILE)
        _check_choice(self, "method", METHODS)
        self._check_epochs()
        for whole, part in (
            ("image_size", "patch_size"),
            ("hidden_size", "heads"),
            ("decoder_hidden_size", "decoder_heads"),
        ):
            divisor = getattr(self, part)
            _check(
                getattr(self, whole) % divisor == 0,
                self,
                whole,
                f"a multiple of {part} ({divisor})",
            )

    def _check_epochs(self) -> None:
        numbers = [e for e in self.epochs.values() if type(e) in (int, float) and 0 < e < math.inf]
        ratios = {float(r) for r in self.epochs if _is_ratio(r)}
        _check(
            len(ratios) == len(numbers) == len(self.epochs),
            self,
            "epochs",
            'a table of numbers greater than 0 by ratios in (0, 1], such as {"0.5" = 400}',
        )

    def epochs_at(self, ratio: float) -> float | None:
        """Epochs that `epochs` has for a ratio; None when it has none."""
        return next((float(e) for r, e in self.epochs.items() if float(r) == ratio), None)

    def at_ratio(self, ratio: float, images: int) -> PretrainConfig:
        """Settle the steps of a run on `images` images, kept at `ratio`.

        Without `epochs` these settings as they are. With them, the steps that the ratio's epochs
        come to, at least one, and a warm-up of at most a tenth of them.
        """
        if not self.epochs:
            return self
        epochs = self.epochs_at(ratio)
        if epochs is None:
            raise ConfigError(f"epochs must have the ratio {ratio:g}, got {self.epochs!r}")
        steps = max(1, round(epochs * images / self.batch_size))
        warmup = min(self.warmup_steps, steps // 10)
        return replace(self, steps=steps, warmup_steps=warmup, epochs={})


def _is_ratio(text: str) -> bool:
    try:
        return 0 < float(text) <= 1
    except ValueError:
        return False


@dataclass(frozen=True)
class DownstreamConfig:
    """Segmentation with an MLP head on the pre-trained encoder."""

    image_size: int = 224
    head: str = "mlp"
    head_hidden: int = 256
    steps: int = 1_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    freeze_encoder: bool = False
    precision: str = "auto"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        _check_positive(self, "image_size", "head_hidden", "steps", "batch_size", "learning_rate")
        _check(self.weight_decay >= 0, self, "weight_decay", "0 or greater")
        _check(0 < self.threshold < 1, self, "threshold", "between 0 and 1, both excluded")
        _check_choice(self, "head", ("mlp",))
        _check_choice(self, "precision", PRECISIONS)


@dataclass(frozen=True)
class ClassificationConfig:
    """Classification by a linear probe and by the nearest neighbours, of a frozen encoder.

    `labels` says where an image's class comes from: ``"label"`` is the manifest's column,
    ``"lesion"`` whether its mask has any pixel set. The probe's penalty is ``l2 / 2`` times the
    squared weights, of standardised features, beside the mean cross-entropy.
    """

    image_size: int = 224
    labels: str = "label"
    pooling: str = "mean"
    neighbours: int = 20
    l2: float = 1e-3
    iterations: int = 200
    batch_size: int = 64
    precision: str = "auto"

    def __post_init__(self) -> None:
        _check_positive(self, "image_size", "neighbours", "iterations", "batch_size")
        _check(self.l2 >= 0, self, "l2", "0 or greater")
        _check_choice(self, "labels", LABELS)
        _check_choice(self, "pooling", POOLINGS)
        _check_choice(self, "precision", PRECISIONS)


@dataclass(frozen=True)
class LocalisationConfig(DownstreamConfig):
    """One box an image, from a segmentation head that is trained on filled boxes.

    Parts of a mask smaller than `min_area`, a share of the image, are no box.
    """

    min_area: float = 0.001

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(0 <= self.min_area < 1, self, "min_area", "0 or greater, and less than 1")


@dataclass(frozen=True)
class ReferenceConfig:
    """An encoder that is evaluated as it is, such as one pre-trained on ImageNet.

    `path` is a local folder or a hub name. The hub itself is asked only when `offline` is set to
    false; otherwise a name must be in the local cache.
    """

    name: str
    path: str
    offline: bool = True

    def __post_init__(self) -> None:
        _check_name(self, "name")
        _check(bool(self.path.strip()), self, "path", "a folder or a hub name")


@dataclass(frozen=True)
class GeneralisationConfig:
    """Pre-train on a share of each of some sets alone, and segment each of the sets.

    `head` says whose training images the segmentation head sees: the ``"target"`` set's, so that
    the encoder alone has to generalise, or the ``"source"`` set's, so that all of it has to.
    """

    sets: tuple[str, ...]
    ratio: float = 0.1
    selectors: tuple[str, ...] = ("random", "meddel")
    head: str = "target"

    def __post_init__(self) -> None:
        _check(len(self.sets) > 1, self, "sets", "two sets or more")
        for values in ("sets", "selectors"):
            given = getattr(self, values)
            _check(bool(given) and len(set(given)) == len(given), self, values, "given, each once")
        _check(0 < self.ratio < 1, self, "ratio", "between 0 and 1, both excluded")
        _check_choice(self, "head", HEAD_DATA)


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder that embeds the pool for the selectors.

    `path` is a local folder or a hub name. When it is empty the run uses a MAE encoder of its own,
    of the `[pretrain]` architecture: trained for `steps` steps, or, with ``steps = 0``, the very
    model that the ratio 1.0 pre-trains. With `centre` the selectors see the embeddings less their
    mean (see :attr:`meddel_fast.embed.Embeddings.centred`); the paper does not say.
    """

    path: str = ""
    steps: int = 0
    pooling: str = "mean"
    centre: bool = True
    image_size: int | None = None
    batch_size: int = 64
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_positive(self, "batch_size")
        _check(self.steps >= 0, self, "steps", "0 or greater")
        _check(self.image_size is None or self.image_size > 0, self, "image_size", "greater than 0")
        _check_choice(self, "pooling", POOLINGS)
        _check_choice(self, "dtype", ("float32", "float16"))


@dataclass(frozen=True)
class DataConfig:
    """One data set, and which of its splits serve pre-training, head training and test.

    Either a folder or archive (`path`), or frames that the run makes itself (`made`, the options of
    `data.made.make_frames`). `set` is the key of a data set of the registry (``meddel-fast data
    list``), whose reader is then used in place of that for ``images/`` and ``masks/``. Of videos
    every `stride`-th frame is taken, with `scene` above 0 only one that differs from the last by
    that much (`data.video.scenes`). `mask` says what the numbers in masks mean, where the masks
    themselves do not: ``{foreground = [1, 2], ignore = [255]}`` or ``{above = 127}``
    (`data.mask_rule.parse_mask`). `split`, `near_duplicates` and `group_by` say how images get a
    split that no list gives them (`data.splits.Dealing`). `tasks` are those that a test set is for.
    `train_on` names the sets whose `train_splits` its heads are trained on; its own if empty.
    """

    name: str
    path: Path | None = None
    made: dict[str, Any] | None = None
    set: str = ""
    stride: int = 25
    scene: float = 0.0
    splits: Path | None = None
    mask: dict[str, Any] | None = None
    split: str = ""
    near_duplicates: bool = True
    group_by: str = ""
    train_on: tuple[str, ...] = ()
    use: tuple[str, ...] = USES
    pretrain_splits: tuple[str, ...] = ("train",)
    train_splits: tuple[str, ...] = ("train",)
    test_splits: tuple[str, ...] = ("test",)
    tasks: tuple[str, ...] = ("segmentation",)

    def __post_init__(self) -> None:
        _check_name(self, "name")
        _check(
            self.name not in ("mean", "pretrain", "pool"),
            self,
            "name",
            "other than 'mean', 'pretrain' and 'pool'",
        )
        _check(
            (self.path is None) != (self.made is None), self, "path", "given, or `made`, not both"
        )
        _check(not self.set or self.path is not None, self, "set", "given with `path`")
        _check_mask(self)
        _check(self.stride > 0, self, "stride", "greater than 0")
        _check_choice(self, "split", ("", "deal", *SPLITS))
        _check(not self.split or self.splits is None, self, "split", "left out beside `splits`")
        try:
            re.compile(self.group_by)
        except re.error:
            _check(False, self, "group_by", "a regular expression")
        _check(0 <= self.scene < 1, self, "scene", "in [0, 1)")
        _check(bool(self.use) and set(self.use) <= set(USES), self, "use", f"some of {list(USES)}")
        for splits in ("pretrain_splits", "train_splits", "test_splits"):
            given = set(getattr(self, splits))
            _check(bool(given) and given <= set(SPLITS), self, splits, f"some of {list(SPLITS)}")
        known = bool(self.tasks) and set(self.tasks) <= set(TASKS)
        once = len(set(self.tasks)) == len(self.tasks)
        _check(known and once, self, "tasks", f"some of {list(TASKS)}, each once")
        overlap = set(self.test_splits) & (set(self.train_splits) | set(self.pretrain_splits))
        if "test" in self.use and overlap:
            raise ConfigError(
                f"test_splits must be disjoint from the training splits, {overlap} in both"
            )

    @property
    def dealing(self) -> Dealing:
        """How images get a split that no list gives them."""
        from meddel_fast.data.splits import Dealing

        return Dealing(self.split, self.near_duplicates, self.group_by)


def _check_mask(data: DataConfig) -> None:
    if data.mask is None:
        return
    _check(data.path is not None, data, "mask", "given with `path`")
    from meddel_fast.data.mask_rule import parse_mask

    try:
        parse_mask(data.mask)
    except ValueError as error:
        raise ConfigError(f"mask: {error}") from None


@dataclass(frozen=True)
class CostConfig:
    """Power that the machine is assumed to draw while it works, for the estimate of the energy."""

    cpu_watts: float = 65.0
    gpu_watts: float = 400.0

    def __post_init__(self) -> None:
        for name in ("cpu_watts", "gpu_watts"):
            _check(0 <= getattr(self, name) < float("inf"), self, name, "0 or greater")


@dataclass(frozen=True)
class LeakageConfig:
    """The audit for test images that the pool holds too, or nearly so (see `leakage.audit`).

    The cosine is that of the embeddings which the selectors see, centred or not. With `exclude`,
    the images of the pool that are in a pair are taken out before selection and pre-training: all
    shares are then those of what is left.
    """

    threshold: float = 0.98
    exclude: bool = False

    def __post_init__(self) -> None:
        _check(-1 <= self.threshold <= 1, self, "threshold", "a cosine, -1 to 1")


@dataclass(frozen=True)
class RunConfig:
    """A whole run. `seeds` are those of the downstream heads, `seed` that of everything before.

    Repetition r of `repeats` selects (where the method draws) and pre-trains with ``seed + r``.
    `alpha` is the weight of the tables, `alphas` those of the sweep. A selector's option ``score``
    may be ``"mae"``: how badly the encoder that the run trains itself restores each image.
    """

    name: str
    out: Path
    data: tuple[DataConfig, ...]
    seed: int = 0
    ratios: tuple[float, ...] = (1.0, 0.33, 0.1, 0.05)
    selectors: tuple[str, ...] = ("random", "kcenter", "meddel")
    seeds: tuple[int, ...] = (0, 1, 2)
    repeats: int = 1
    alpha: float = 1.0
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    device: str = "auto"
    threads: int | None = None
    selector_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    leakage: LeakageConfig = field(default_factory=LeakageConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    downstream: DownstreamConfig = field(default_factory=DownstreamConfig)
    classification: ClassificationConfig = field(default_factory=ClassificationConfig)
    localisation: LocalisationConfig = field(default_factory=LocalisationConfig)
    references: tuple[ReferenceConfig, ...] = ()
    generalisation: GeneralisationConfig | None = None
    cost: CostConfig = field(default_factory=CostConfig)

    def __post_init__(self) -> None:
        _check(bool(self.name.strip()), self, "name", "a name")
        _check(0 <= self.alpha < float("inf"), self, "alpha", "0 or greater")
        _check(
            all(0 <= a < float("inf") for a in self.alphas), self, "alphas", "numbers of 0 or more"
        )
        _check_positive(self, "repeats")
        _check(self.threads is None or self.threads > 0, self, "threads", "greater than 0")
        _check(bool(self.ratios), self, "ratios", "at least one ratio")
        _check(all(0 < r <= 1 for r in self.ratios), self, "ratios", "fractions in (0, 1]")
        for values in ("ratios", "selectors", "seeds", "alphas"):
            given = getattr(self, values)
            _check(bool(given) and len(set(given)) == len(given), self, values, "given, each once")
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
        across = self.generalisation
        named = set(self.selectors) | set(across.selectors if across else ())
        unused = sorted(set(self.selector_options) - named)
        if unused:
            raise ConfigError(
                f"[selectors.{unused[0]}] is given, but run.selectors names only: "
                + ", ".join(self.selectors)
            )
        self._check_references()
        self._check_train_on(names)
        self._check_generalisation()
        self._check_epochs()

    def settings_of(self, task: str) -> Any:
        """Give the settings of one of `TASKS`."""
        return self.downstream if task == "segmentation" else getattr(self, task)

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
