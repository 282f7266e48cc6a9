"""Cross-data-set generalisation: pre-train on a share of one set, segment every other.

Each source set becomes a small run of its own inside the run, in ``generalisation/<set>``: its
images are the pool, the run's own encoder embeds them, and all else is as in the run. The table is
``score/generalisation.csv``, one row a selector, a source and a test set.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from meddel_fast.benchmark.config import USES, DataConfig, GeneralisationConfig
from meddel_fast.benchmark.scores.score import as_csv
from meddel_fast.benchmark.stages.run_folder import tag
from meddel_fast.benchmark.stages.run_stages import RunStages
from meddel_fast.benchmark.stages.stage import Stage
from meddel_fast.common.atomic import write_json, write_text
from meddel_fast.common.files import read_json
from meddel_fast.selectors import Selection

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

COLUMNS = (
    *("selector", "ratio", "retained", "kept", "pretrained_on", "tested_on", "head"),
    *("seeds", "miou_mean", "miou_std"),
)


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
            repeats=1,
            selector_options={s: o for s, o in options.items() if s in across.selectors},
            references=(),
            generalisation=None,
        )
        super().__init__(config, whole.records)
        self.whole, self.across, self.source = whole, across, source

    @property
    def tags(self) -> list[tuple[str, str]]:
        """Names of the selections, each with its selector."""
        return [(tag(s, self.across.ratio), s) for s in self.across.selectors]

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
        stages = [
            self.pool(),
            self.embed(),
            *(self.select(selector) for selector in self.across.selectors),
            *(self.pretrain(t, self.selection(t), ratio=self.across.ratio) for t, _ in self.tags),
            *(
                self.evaluate(t, data, seed)
                for t, _ in self.tags
                for data in self.config.data
                for seed in self.config.seeds
            ),
        ]
        prefix = f"generalisation/{self.source.name}"
        return [replace(stage, name=f"{prefix}/{stage.name}") for stage in stages]

    def results(self) -> list[Path]:
        """Where all results are."""
        return [
            self.result(t, data, seed)
            for t, _ in self.tags
            for data in self.config.data
            for seed in self.config.seeds
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Make the table's rows of this source."""
        rows = []
        for name, selector in self.tags:
            chosen = Selection.load(self.selection(name))
            for data in self.config.data:
                runs = [read_json(self.result(name, data, s))["miou"] for s in self.config.seeds]
                rows.append(
                    {
                        "selector": selector,
                        "ratio": self.across.ratio,
                        "retained": len(chosen) / chosen.n,
                        "kept": len(chosen),
                        "pretrained_on": self.source.name,
                        "tested_on": data.name,
                        "head": self.across.head,
                        "seeds": len(runs),
                        "miou_mean": float(np.mean(runs)),
                        "miou_std": float(np.std(runs, ddof=1)) if len(runs) > 1 else 0.0,
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
    """Give the hashes of all results of the sources."""
    paths = [path for source in sources(run) for path in source.results()]
    return [run.records.digest(path) for path in paths]


def write(run: RunStages, folder: Path) -> None:
    """Write ``generalisation.csv`` and ``.json``; nothing when there is no ``[generalisation]``."""
    across = run.config.generalisation
    if across is not None:
        rows = [row for source in sources(run) for row in source.rows()]
        rows.sort(key=lambda row: across.selectors.index(row["selector"]))
        write_text(folder / "generalisation.csv", as_csv(COLUMNS, rows))
        write_json(folder / "generalisation.json", rows)
