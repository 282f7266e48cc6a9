"""Settings of a benchmark run, as dataclasses that refuse values out of range.

Knows nothing of the stages that use the settings, and imports nothing heavy. `config_file` reads
them from TOML.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRECISIONS = ("auto", "fp32", "bf16")
COMPILE = ("auto", "on", "off")
POOLINGS = ("mean", "cls")
USES = ("pretrain", "test")
SPLITS = ("train", "val", "test")


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""


def _check(ok: bool, owner: object, name: str, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{name} must be {wanted}, got {getattr(owner, name)!r}")


def _check_positive(owner: object, *names: str) -> None:
    for name in names:
        _check(getattr(owner, name) > 0, owner, name, "greater than 0")


def _check_choice(owner: object, name: str, choices: tuple[str, ...]) -> None:
    _check(getattr(owner, name) in choices, owner, name, "one of " + ", ".join(choices))


@dataclass(frozen=True)
class PretrainConfig:
    """MAE pre-training. The defaults are ViT-Base as in the paper; `steps` is for every ratio.

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
        _check(0 <= self.warmup_steps <= self.steps, self, "warmup_steps", f"0 to {self.steps}")
        _check(self.weight_decay >= 0, self, "weight_decay", "0 or greater")
        _check(all(0 <= b < 1 for b in self.betas), self, "betas", "two numbers in [0, 1)")
        _check(self.workers >= 0, self, "workers", "0 or greater")
        _check_choice(self, "precision", PRECISIONS)
        _check_choice(self, "compile", COMPILE)
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
    that much (`data.video.scenes`).
    """

    name: str
    path: Path | None = None
    made: dict[str, Any] | None = None
    set: str = ""
    stride: int = 25
    scene: float = 0.0
    splits: Path | None = None
    use: tuple[str, ...] = USES
    pretrain_splits: tuple[str, ...] = ("train",)
    train_splits: tuple[str, ...] = ("train",)
    test_splits: tuple[str, ...] = ("test",)

    def __post_init__(self) -> None:
        plain = self.name.replace("-", "").replace("_", "").replace(".", "")
        _check(plain.isalnum(), self, "name", "letters, digits, '-', '_' and '.' only")
        _check(
            self.name not in ("mean", "pretrain"), self, "name", "other than 'mean' and 'pretrain'"
        )
        _check(
            (self.path is None) != (self.made is None), self, "path", "given, or `made`, not both"
        )
        _check(not self.set or self.path is not None, self, "set", "given with `path`")
        _check(self.stride > 0, self, "stride", "greater than 0")
        _check(0 <= self.scene < 1, self, "scene", "in [0, 1)")
        _check(bool(self.use) and set(self.use) <= set(USES), self, "use", f"some of {list(USES)}")
        for splits in ("pretrain_splits", "train_splits", "test_splits"):
            given = set(getattr(self, splits))
            _check(bool(given) and given <= set(SPLITS), self, splits, f"some of {list(SPLITS)}")
        overlap = set(self.test_splits) & (set(self.train_splits) | set(self.pretrain_splits))
        if "test" in self.use and overlap:
            raise ConfigError(
                f"test_splits must be disjoint from the training splits, {overlap} in both"
            )


@dataclass(frozen=True)
class RunConfig:
    """A whole run. `seeds` are those of the downstream heads, `seed` that of everything before."""

    name: str
    out: Path
    data: tuple[DataConfig, ...]
    seed: int = 0
    ratios: tuple[float, ...] = (1.0, 0.33, 0.1, 0.05)
    selectors: tuple[str, ...] = ("random", "kcenter", "meddel")
    seeds: tuple[int, ...] = (0, 1, 2)
    alpha: float = 1.0
    device: str = "auto"
    threads: int | None = None
    selector_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    downstream: DownstreamConfig = field(default_factory=DownstreamConfig)

    def __post_init__(self) -> None:
        _check(bool(self.name.strip()), self, "name", "a name")
        _check(self.alpha >= 0, self, "alpha", "0 or greater")
        _check(self.threads is None or self.threads > 0, self, "threads", "greater than 0")
        _check(bool(self.ratios), self, "ratios", "at least one ratio")
        _check(all(0 < r <= 1 for r in self.ratios), self, "ratios", "fractions in (0, 1]")
        for values in ("ratios", "selectors", "seeds"):
            given = getattr(self, values)
            _check(bool(given) and len(set(given)) == len(given), self, values, "given, each once")
        names = [d.name for d in self.data]
        if len(set(names)) < len(names):
            raise ConfigError(f"[[data]] names must differ, got {names}")
        for use in USES:
            if not any(use in d.use for d in self.data):
                raise ConfigError(f'no [[data]] set has "{use}" in its `use`: at least one must')
        unused = sorted(set(self.selector_options) - set(self.selectors))
        if unused:
            raise ConfigError(
                f"[selectors.{unused[0]}] is given, but run.selectors names only: "
                + ", ".join(self.selectors)
            )
