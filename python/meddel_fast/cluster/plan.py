"""The settings of a curation, all of them checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meddel_fast.arrays import check_choice, check_float, check_int
from meddel_fast.cluster.record import KIND
from meddel_fast.cluster.source import ImageSource, RowSource, check_splits, find_source
from meddel_fast.common import places
from meddel_fast.common.outputs import check_folder
from meddel_fast.common.urls import StrPath
from meddel_fast.selectors import METHODS, check_options
from meddel_fast.selectors.method import HOW, PER_SAMPLE
from meddel_fast.sharded.memory import check_memory
from meddel_fast.training.encoders.vit import fingerprint

ENGINES = ("local", "ray")
RULES = ("semdedup", "greedy", "components")
_OF_IMAGES = ("encoder", "image_size", "pooling")  # what embeddings have no use for
_ENCODER = (
    "encoder must be given for images: the folder of a vision transformer as transformers saves "
    "it, or its name on the Hugging Face Hub. There is none by default: what counts as alike is "
    "the encoder's choice, and one that has learned nothing would choose at random"
)


@dataclass(frozen=True)
class Plan:
    """What is to be curated, and how. See :func:`meddel_fast.cluster.curate`.

    Raises
    ------
    ValueError, TypeError, OSError
        From :meth:`check`.
    """

    source: str
    out: str
    budget: int | float
    method: str = "meddel"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    dedup: float | None = 0.95
    rule: str = "semdedup"
    encoder: str | None = None
    image_size: int | None = None
    batch_size: int = 64
    dtype: str = "float32"
    pooling: str = "mean"
    precision: str = "fp32"
    device: str = "auto"
    split: tuple[str, ...] = ()
    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    cpus: int = 1
    memory: int | str | None = None
    threads: int | None = None

    def check(self) -> ImageSource | RowSource:
        """Refuse all that can be known to be wrong; return what the source is."""
        check_choice("engine", self.engine, ENGINES)
        self._check_budget()
        check_choice("rule", self.rule, RULES)
        if self.dedup is not None:
            check_float("dedup", self.dedup, -1.0, 1.0)
        self._check_options()
        self._check_engine()
        check_splits(self.split)
        check_int("batch_size", self.batch_size, 1)
        check_choice("precision", self.precision, ("fp32", "bf16"))
        source = find_source(self.source)
        folder = [self.encoder] if self.encoder is not None and self.has_folder else []
        check_folder(self.out, KIND, [self.source, *folder], remote=True)
        if isinstance(source, ImageSource) and self.encoder is None:
            raise ValueError(_ENCODER)
        if isinstance(source, RowSource):
            idle = [name for name in _OF_IMAGES if getattr(self, name) not in (None, "mean")]
            if idle or self.split:
                what = ", ".join([*idle, *(["split"] if self.split else [])])
                raise ValueError(
                    f"{what} would have no effect: {places.shown(self.source)} holds embeddings"
                )
        return source

    def _check_budget(self) -> None:
        if isinstance(self.budget, float):
            if not 0 < self.budget <= 1:
                raise ValueError(f"budget must be a share in (0, 1], got {self.budget:g}")
        else:
            check_int("budget", self.budget, 1)

    def _check_options(self) -> None:
        check_choice("method", self.method, tuple(METHODS))
        of_all = (*PER_SAMPLE, *HOW, "seed", "selected", "target", "group_rule")
        ours = [name for name in self.options if name in of_all]
        if ours:
            raise ValueError(f"options: {ours[0]} cannot be set here")
        needs = [n for n in METHODS[self.method].needs if n not in self.options]
        if needs:
            raise ValueError(
                f"method: {self.method} needs {', '.join(needs)}, which curate has not: use "
                "meddel-fast select on the embeddings"
            )
        check_options(self.method, {"seed": self.seed, **self.options})

    def _check_engine(self) -> None:
        for name in ("workers", "threads"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 1)
        check_int("cpus", self.cpus, 1)
        if self.memory is not None:
            check_memory(self.memory)
        if self.engine == "local":
            idle = [n for n in ("address", "cpus") if getattr(self, n) not in (None, 1)]
            if idle:
                raise ValueError(f"{idle[0]} would have no effect with the engine local")
        elif self.threads is not None:
            raise ValueError("threads would have no effect with the engine ray: cpus= are theirs")

    @property
    def has_folder(self) -> bool:
        """Whether the encoder is a folder, not a name on the Hub."""
        return self.encoder is not None and Path(self.encoder).is_dir()

    @property
    def embedder(self) -> dict[str, Any]:
        """What :class:`~meddel_fast.training.embedder.Embedder` takes."""
        names = ("encoder", "image_size", "batch_size", "dtype", "pooling", "precision", "device")
        return {**{n: getattr(self, n) for n in names}, "offline": self.has_folder}

    @property
    def embedding(self) -> dict[str, Any]:
        """All that embeddings depend on beside the images."""
        names = ("image_size", "batch_size", "dtype", "pooling", "precision")
        assert self.encoder is not None
        return {"encoder": fingerprint(self.encoder), **{n: getattr(self, n) for n in names}}

    def count(self, n: int) -> int:
        """Return the budget as a number of n samples, as the selectors count a share.

        Raises
        ------
        ValueError
            It is more than there are.
        """
        if isinstance(self.budget, float):
            return max(1, int(self.budget * n + 0.5))
        if self.budget > n:
            raise ValueError(f"budget must be at most the {n} samples, got {self.budget}")
        return self.budget

    def about(self) -> dict[str, Any]:
        """Return what the record says of the whole."""
        return {
            "source": places.shown(self.source),
            "budget": self.budget,
            "method": self.method,
            "dedup": self.dedup,
            "encoder": self.encoder,
            "engine": self.engine,
            "workers": self.workers,
        }


def make_plan(source: StrPath, out: StrPath, split: Sequence[str] = (), **options: Any) -> Plan:
    """Make a plan, with local places by their absolute paths."""
    if isinstance(split, str):
        split = (split,)
    encoder = options.pop("encoder", None)
    if encoder is not None:
        local = not places.is_remote(encoder) and Path(encoder).exists()
        options["encoder"] = _absolute(encoder) if local else str(encoder)
    return Plan(_absolute(source), _absolute(out), split=tuple(split), **options)


def _absolute(place: StrPath) -> str:
    place = places.as_place(place)
    return place if places.is_remote(place) else str(Path(place).absolute())
