"""What the selectors keep of the pool of a draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meddel_fast.arrays import check_int
from meddel_fast.benchmark.probe.deals import Rows
from meddel_fast.benchmark.scores.statistics import FULL, RANDOM, Key
from meddel_fast.common.errors import ConfigError
from meddel_fast.selectors import DRAW_NOTHING, find_selector, select_ladder


@dataclass
class Chooser:
    """The selectors of a probe, with their options; each selects by seed and draw.

    Attributes
    ----------
    selectors
        Their names; "random" is always among them, since all others are compared with it.
    ratios
        Shares of the pool; 1 is the whole pool.
    options
        Options of selectors by their names; those with a value a sample are cut to the pool.
    seed
        Draw r selects with the seed plus r.
    threads
        Of the kernels.
    """

    selectors: Sequence[str]
    ratios: Sequence[float]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    threads: int | None = None
    _last: dict[str, tuple[Rows, dict[Key, Rows]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.selectors = tuple(dict.fromkeys((RANDOM, *self.selectors)))
        for name, options in self.options.items():
            idle = sorted(
                {"selected", "exclude"} & {k for k, v in options.items() if v is not None}
            )
            if idle:
                raise ConfigError(
                    f"[selectors.{name}] {idle[0]} names samples of the whole pool, of which the "
                    "probe holds some out: leave it out"
                )

    @property
    def keys(self) -> list[Key]:
        """All selections: the whole pool where it is asked for, then by falling ratio."""
        below = sorted((r for r in self.ratios if r < 1), reverse=True)
        full = [(FULL, 1.0)] if 1.0 in self.ratios else []
        return full + [(name, ratio) for ratio in below for name in self.selectors]

    def choose(
        self, x: NDArray[np.float32], pool: Rows, samples: int, draw: int
    ) -> dict[Key, Rows]:
        """Select in one draw.

        Parameters
        ----------
        x : shape (p, d)
            The embeddings of the pool.
        pool : int64, shape (p,)
            Which of all samples these are.
        samples
            Number of all samples.
        draw
            Its number.

        Returns
        -------
        dict
            Selection -> places in the pool, ascending.
        """
        found: dict[Key, Rows] = {}
        below = sorted((r for r in self.ratios if r < 1), reverse=True)
        if 1.0 in self.ratios:
            found[FULL, 1.0] = np.arange(len(pool))
        for name in self.selectors if below else ():
            before, kept = self._last.get(name, (pool[:0], {}))
            if name not in DRAW_NOTHING or not np.array_equal(before, pool):
                ladder = select_ladder(name, x, below, **self._options(name, pool, samples, draw))
                rows = [np.asarray(one.indices, np.int64) for one in ladder]
                kept = {(name, r): one for r, one in zip(below, rows, strict=True)}
                self._last[name] = (pool, kept)
            found |= kept
        return found

    def _options(self, name: str, pool: Rows, samples: int, draw: int) -> dict[str, Any]:
        given: dict[str, Any] = {"seed": self.seed, "threads": self.threads}
        given |= self.options.get(name, {})
        given["seed"] = check_int(f"[selectors.{name}] seed", given["seed"], 0) + draw
        for option in {
            *find_selector(name).method.per_sample,
            "groups",
            "classes",
            "weights",
        } & set(given):
            values = given[option]
            if values is None:
                continue
            if len(values) != samples:
                raise ConfigError(
                    f"[selectors.{name}] {option} must have one entry for each of the {samples} "
                    f"samples, got {len(values)}"
                )
            given[option] = np.asarray(values)[pool]
        return given
