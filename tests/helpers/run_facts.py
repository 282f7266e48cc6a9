"""The files of a run as a reviewer reads them: nothing here comes from the page's own code."""

from __future__ import annotations

import csv
import json
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Key = tuple[str, float]
PROBES = {"knn": "nearest neighbours", "linear": "linear model", "mlp": "MLP"}
METRICS = {"miou": "mIoU", "image_iou": "IoU by image", "image_dice": "Dice by image"}
FLOORS = {"untrained": "untrained encoder", "nothing": "nothing segmented"}


class Facts:
    """What the files say; a missing file says nothing."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.panel = run  # the file of the selection that is told of
        self.about = self._json("run.json", {})
        self.config = self.about["config"]
        self.scores = self._json("score/scores.json", [])
        self.statistics = self._json("score/statistics.json", {})
        self.floors = self._json("score/floors.json", [])
        self.probe = self._json("score/probe.json", {})
        self.chosen = self._json("score/selections.json", [])
        self.tasks = self._json("score/tasks.json", [])
        self.across = self._json("score/generalisation.json", [])
        self.judged_beyond = [
            row
            for name in ("task", "generalisation")
            for row in self._json(f"score/{name}_differences.json", [])
        ]
        costs = run / "score" / "costs.csv"
        text = costs.read_text() if costs.is_file() else ""
        self.costs = list(csv.DictReader(text.splitlines()))
        self.repeats = int(self.config.get("repeats", 1))

    @cached_property
    def words(self) -> list[str]:
        """Sentences of the files themselves, which a page may say as they are."""
        rules = [found["rule"] for found in (self.statistics, self.probe) if "rule" in found]
        said = [r["leaves_out"].rstrip(".") + "." for r in rules if r.get("leaves_out")]
        said += [f"How that interval is made: {r['correction']}." for r in rules]
        return said + [f"Nothing is judged here: {r['why']}." for r in rules if r["why"]]

    def _json(self, name: str, nothing: Any) -> Any:
        path = self.run / name
        return json.loads(path.read_text()) if path.is_file() else nothing

    @cached_property
    def sets(self) -> list[str]:
        """Test sets, without their mean."""
        return list(dict.fromkeys(r["dataset"] for r in self.scores if r["dataset"] != "mean"))

    @property
    def place(self) -> str:
        """Where pre-training is judged."""
        return "mean" if len(self.sets) > 1 else self.sets[0]

    def groups(self, probe: bool) -> dict[str, list[Row]]:
        """Differences by what told of, the metric's name left out of theirs."""
        if not probe:
            found = self.statistics.get("differences", [])
            return {
                name: [
                    r | {k: r[f"miou_{k}"] for k in ("difference", "all_low", "all_high")}
                    for r in found
                    if r["dataset"] == name
                ]
                for name in (*self.sets, *(["mean"] if len(self.sets) > 1 else []))
            }
        grouped: dict[str, list[Row]] = {}
        first: dict[str, str] = {}  # the metric by which a probe is judged
        for row in self.probe["rows"]:
            first.setdefault(self._group(row), row["metric"])
        for row in self.probe["differences"]:
            if row["metric"] == first[self._group(row)]:
                grouped.setdefault(self._group(row), []).append(row)
        return grouped

    def _group(self, row: Row) -> str:
        several = len({r["task"] for r in self.probe["rows"]}) > 1
        name = f"{PROBES[row['probe']]} on {row['dataset']}"
        return f"{row['task']} by {name}" if several else name

    def probe_rows(self, group: str, metric: str) -> list[Row]:
        """Scores of a probe by one metric, both as they are named."""
        return [
            row
            for row in self.probe["rows"]
            if self._group(row) == group
            and METRICS.get(row["metric"], row["metric"].replace("_", " ")) == metric
        ]

    def deciding(self, probe: bool) -> dict[str, list[Row]]:
        groups = self.groups(probe)
        return groups if probe else {self.place: groups[self.place]}

    def rule(self, probe: bool) -> Row:
        return dict((self.probe if probe else self.statistics)["rule"])

    def choice(self, probe: bool) -> Key | None:
        """Choose as the page says that it is chosen."""
        groups = self.deciding(probe)
        won = []
        for key in {(r["selector"], r["ratio"]) for rows in groups.values() for r in rows}:
            chance = [r for rows in groups.values() if (r := one(rows, key, "random"))]
            words = [r["verdict"] for r in chance]
            every = [one(rows, key, "random") for rows in self.groups(probe).values()]
            worse = any(r["verdict"] == "worse" for r in every if r)
            if key[0] == "full" or "better" not in words or worse:
                continue
            full = [r for rows in groups.values() if (r := one(rows, key, "full"))]
            below = any(r["verdict"] == "worse" for r in full)
            won.append((below, -words.count("better"), key[1], -chance[0]["all_low"], key))
        return min(won)[-1] if won else None

    def kept(self, key: Key, probe: bool) -> int:
        rows = self.probe["rows"] if probe else self.scores
        return next(int(r["kept"]) for r in rows if (r["selector"], r["ratio"]) == key)

    def shown(self, probe: bool) -> tuple[str, list[Row], float]:
        """The group and the share of the picture."""
        groups, best = self.deciding(probe), self.choice(probe)
        for name, rows in groups.items():
            found = best and one(rows, best, "random")
            if best and found and found["verdict"] == "better":
                return name, rows, best[1]
        name, rows = next(iter(groups.items()))
        ratios = {r["ratio"] for each in groups.values() for r in each if r["against"] == "random"}
        return name, rows, min(ratios) if best is None else best[1]

    def clears(self, rows: list[Row], key: Key) -> bool | None:
        """Whether a selection is better than every floor; None where that is not judged."""
        words = [
            r["verdict"]
            for r in rows
            if (r["selector"], r["ratio"]) == key and r["against"] not in ("random", "full")
        ]
        return None if not words or "not judged" in words else set(words) == {"better"}

    def clear(self, rows: list[Row]) -> list[bool | None]:
        keys = {(r["selector"], r["ratio"]) for r in rows if r["against"] not in ("random", "full")}
        return [self.clears(rows, key) for key in keys]


def one(rows: list[Row], key: Key, against: str) -> Row | None:
    """The difference of one selection and another, if it is there."""
    found = (r for r in rows if (r["selector"], r["ratio"]) == key and r["against"] == against)
    return next(found, None)
