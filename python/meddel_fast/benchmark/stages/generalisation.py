"""Cross-data-set generalisation: pre-train on a share of one set, segment every other.

Each source set becomes a small run of its own inside the run, in ``generalisation/<set>``: its
images are the pool, the run's own encoder embeds them, and all else is as in the run, repetitions
too. The table is ``score/generalisation.csv``, one row a selector, a source and a test set;
``generalisation_differences.csv`` has the verdicts on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.config import USES, DataConfig, GeneralisationConfig
from meddel_fast.benchmark.results import Result, floor_results, list_results, repeated, tag
from meddel_fast.benchmark.scores.score import write_rows
from meddel_fast.benchmark.scores.score_tables import counted, group, sample_table
from meddel_fast.benchmark.scores.statistics import COLUMNS as STATISTICS
from meddel_fast.benchmark.scores.statistics import Table, differences
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage
from meddel_fast.common.files import read_json
from meddel_fast.selectors import DRAW_NOTHING, Selection

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

COLUMNS = (
    *("selector", "ratio", "retained", "kept", "pretrained_on", "tested_on", "head"),
    *("runs", "repeats", "miou_mean", "miou_std", "miou_low", "miou_high"),
)
DIFFERENCES = ("pretrained_on", *STATISTICS["differences"])


class _Source(RunStages):
    """The run of one source set."""

    def __init__(self, whole: RunStages, across: GeneralisationConfig, source: DataConfig) -> None:
        sets = {data.name: data for data in whole.config.data}
        options = whole.config.selector_options
        config = replace(
            whole.config,
            out=whole.out / "generalisation" / source.name,
            data=tuple(
                replace(sets[name], use=USES if name == source.name else ("test",), train_on=())
                for name in across.sets
            ),
            ratios=(across.ratio,),
            selectors=across.selectors,
            selector_options={s: o for s, o in options.items() if s in across.selectors},
            references=(),
            generalisation=None,
        )
        super().__init__(config, whole.records)
        self.whole, self.across, self.source = whole, across, source

    @property
    def tags(self) -> list[tuple[str, str, float]]:
        """List what is scored: (tag, selector, ratio)."""
        return [(tag(s, self.across.ratio), s, self.across.ratio) for s in self.across.selectors]

    # What is the whole run's

    def manifest_path(self, name: str) -> Path:
        return self.whole.manifest_path(name)

    def root(self, data: DataConfig) -> Path:
        return self.whole.root(data)

    @property
    def embedding_model(self) -> Path:
        return self.whole.embedding_model

    def head_rows(self, data: DataConfig) -> Manifest:
        head = self.source.name if self.across.head == "source" else data.name
        return self.whole.head_rows(next(d for d in self.whole.config.data if d.name == head))

    def stages(self) -> list[Stage]:
        """List the stages, under names that say which source they are of."""
        ratio, repeats = self.across.ratio, range(self.config.repeats)
        stages = [
            self.pool(),
            self.embed(),
            *(
                self.select(s, repeat)
                for repeat in repeats
                for s in self.across.selectors
                if repeat == 0 or s not in DRAW_NOTHING
            ),
            *(
                self.pretrain(repeated(t, repeat), self.selected(t, s, repeat), repeat, ratio)
                for repeat in repeats
                for t, s, _ in self.tags
            ),
            *(
                self.evaluate(repeated(t, repeat), data, seed)
                for repeat in repeats
                for t, _, _ in self.tags
                for data in self.config.data
                for seed in self.config.seeds
            ),
        ]
        prefix = f"generalisation/{self.source.name}"
        return [replace(stage, name=f"{prefix}/{stage.name}") for stage in stages]

    def results(self) -> list[Result]:
        """List all results."""
        names = [data.name for data in self.config.data]
        return list_results(self.out, self.tags, names, self.config.seeds, self.config.repeats)

    def samples(self) -> Table:
        """Draw from all results; heads of the target have the run's untrained encoder below them.

        (What heads of the source make of that is not measured.)
        """
        tested = {
            d.name: self.with_masks(d, d.test_splits).column("group") for d in self.config.data
        }
        results = group(self.results())
        if self.across.head == "target":
            seeds, repeats = self.config.seeds, self.config.repeats
            results |= group(floor_results(self.whole.out, list(tested), seeds, repeats))
        return sample_table(counted(results, tested), tested)

    def differences(self, samples: Table) -> list[dict[str, Any]]:
        """Judge the selectors on each test set by the rule of all tables."""
        shares = {}
        for name, selector, ratio in self.tags:
            chosen = Selection.load(self.selection(name))
            shares[selector, ratio] = len(chosen) / chosen.n
        rows = differences(samples, shares, self.config.alpha)
        return [{"pretrained_on": self.source.name, **row} for row in rows]

    def rows(self, samples: Table) -> list[dict[str, Any]]:
        """Make the table's rows of this source."""
        results = group(self.results())
        rows = []
        for name, selector, ratio in self.tags:
            chosen = Selection.load(self.selection(name))
            for tested, found in results[selector, ratio].items():
                runs = np.array([read_json(result.path)["miou"] for result in found])
                low, high = samples[selector, ratio][tested].interval()
                rows.append(
                    {
                        "selector": selector,
                        "ratio": ratio,
                        "retained": len(chosen) / chosen.n,
                        "kept": len(chosen),
                        "pretrained_on": self.source.name,
                        "tested_on": tested,
                        "head": self.across.head,
                        "runs": len(runs),
                        "repeats": self.config.repeats,
                        "miou_mean": float(runs.mean()),
                        "miou_std": float(runs.std(ddof=1)) if len(runs) > 1 else 0.0,
                        "miou_low": low,
                        "miou_high": high,
                    }
                )
        return rows


def sources(run: RunStages) -> list[_Source]:
    """List the runs of the sources; none when the run has no ``[generalisation]``."""
    across = run.config.generalisation
    if across is None:
        return []
    return [_Source(run, across, d) for d in run.config.data if d.name in across.sets]


def stages(run: RunStages) -> list[Stage]:
    """List the stages of all sources."""
    return [stage for source in sources(run) for stage in source.stages()]


def digests(run: RunStages) -> list[str]:
    """Give the hashes of all results of the sources, and of their masks."""
    found = [result for source in sources(run) for result in source.results()]
    return [run.records.digest(path) for one in found for path in (one.path, one.predictions)]


def write(run: RunStages, folder: Path) -> None:
    """Write the table and its differences; nothing when there is no ``[generalisation]``."""
    across = run.config.generalisation
    if across is None:
        return
    rows, judged = [], []
    for source in sources(run):
        samples = source.samples()
        rows += source.rows(samples)
        judged += source.differences(samples)
    rows.sort(key=lambda row: across.selectors.index(row["selector"]))
    write_rows(folder, "generalisation", COLUMNS, rows)
    write_rows(folder, "generalisation_differences", DIFFERENCES, judged)
