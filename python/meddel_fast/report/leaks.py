"""What the leakage audit found: test images beside the training images that they are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.benchmark.leakage import Leakage
from meddel_fast.report.load import Run
from meddel_fast.report.tables import DOWN, UP, number_cell, sortable
from meddel_fast.report.text import escape, number, percent
from meddel_fast.report.thumbnails import Thumbnails

PAIRS = 12  # of each test set, found and not found


def leaks(run: Run, thumbnails: Thumbnails) -> str:
    """Show the audit; empty when the run has none."""
    found = run.leakage
    if found is None:
        return ""
    kind = "embeddings less the pool's mean" if found.centred else "embeddings as they are"
    fate = (
        "They were taken out of the pool before selection: all shares are those of what was left."
        if _is_cleaned(run)
        else "They stayed in the pool."
    )
    return (
        f"<p>Images of the pool and of the test sets with {_meant(found)} ({kind}), and files that "
        "are the same byte for byte. What a cosine means depends on the "
        f"encoder: look at the pairs. {fate if len(found) else ''}</p>"
        f"{_summary(found)}{_splits(run, thumbnails)}{_ladder(found)}"
        f"{_Pairs(run, found, thumbnails).blocks()}"
    )


def claim(run: Run) -> str:
    """Say what the audit found of the test images, for the words on what is measured."""
    found = run.leakage
    if found is None:
        return "No leakage audit tells whether a training saw these, or images like them."
    excluded = _is_cleaned(run)
    told = []
    for row in found.summary():
        places = [] if excluded else [("in the pool", row)]
        trained = run.split_leakage["train"].get(row["dataset"])
        if trained is not None:
            places.append(("among what its head is trained on", trained.summary()[0]))
        counts = [
            f"{number(one['touched'])} of {number(one['images'])} {where}"
            for where, one in places
            if one["touched"]
        ]
        told.append(f"{escape(row['dataset'])} {' and '.join(counts) or 'none'}")
    taken = " What was in the pool was taken out of it." if excluded and len(found) else ""
    return (
        '<a href="#leakage">The leakage audit</a> looked for test images that a training saw: the '
        f"same file, or {_meant(found)}. It found, by test set: {'; '.join(told)}.{taken}"
    )


def _is_cleaned(run: Run) -> bool:
    return bool(run.about.get("config", {}).get("leakage", {}).get("exclude", False))


def _meant(found: Leakage) -> str:
    if found.threshold is None:
        return "no cosine"
    return f"a cosine of {found.threshold:g} or more"


_COUNTS = [("Images", DOWN), ("Found", DOWN), ("Share", DOWN), ("Counterparts", DOWN),
           ("Pairs", DOWN), ("Same file", DOWN), ("Highest cosine", DOWN)]  # fmt: skip


def _counts(row: dict[str, Any]) -> str:
    cells = [number_cell(row[k], number(row[k])) for k in ("images", "touched")]
    cells.append(number_cell(row["share"], percent(row["share"], 3)))
    cells += [number_cell(row[k], number(row[k])) for k in ("pool_touched", "pairs")]
    same, highest = row["same_bytes"], row["highest"]
    known = number_cell(-1, "not known") if same is None else number_cell(same, number(same))
    near = number_cell(-2, "") if highest is None else number_cell(highest, f"{highest:.4f}")
    cells += [known, near]
    return "".join(cells)


def _summary(found: Leakage) -> str:
    heads = [("Test set", UP), *_COUNTS]
    heads[2], heads[4] = ("Found in the pool", DOWN), ("Images of the pool", DOWN)
    lines = [
        f'<tr><th scope="row">{escape(row["dataset"])}</th>{_counts(row)}</tr>'
        for row in found.summary()
    ]
    return sortable("Leakage by test set", heads, lines)


def _splits(run: Run, thumbnails: Thumbnails) -> str:
    """Show what of the test images is in training and validation; nothing without an audit."""
    audits = [
        (name, found)
        for of, name in (("train", "training of the head"), ("val", "validation"))
        for found in run.split_leakage[of].values()
    ]
    if not audits:
        return ""
    lines = [
        f'<tr><th scope="row">{escape(row["dataset"])}</th><td>{name}</td>{_counts(row)}</tr>'
        for name, found in audits
        for row in found.summary()
    ]
    pairs = "".join(_Pairs(run, found, thumbnails, name).blocks() for name, found in audits)
    table = sortable("Leakage between splits", [("Test set", UP), ("In", UP), *_COUNTS], lines)
    return f"<h3>Between splits</h3><p>The same, against the other splits.</p>{table}{pairs}"


def _ladder(found: Leakage) -> str:
    """Show how many test images, and images of the pool, other thresholds would have found."""
    steps = sorted({row["threshold"] for row in found.ladder})
    heads = [("Test set", UP), *((f"≥ {step:g}", DOWN) for step in steps)]
    counts = {(r["dataset"], r["threshold"]): r for r in found.ladder}
    lines = []
    for name in found.tests:
        cells = "".join(
            number_cell(
                row["test_images"],
                f"{number(row['test_images'])} <small>{number(row['pool_images'])}</small>",
            )
            for row in (counts[name, step] for step in steps)
        )
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    table = sortable("Leakage by threshold", heads, lines)
    return (
        "<h3>By threshold</h3><p>Test images with a counterpart in the pool, and, small, images of "
        f"the pool with one in the test set, at other cosines.</p>{table}"
    )


class _Pairs:
    """Writes pairs with their pictures."""

    def __init__(
        self, run: Run, found: Leakage, thumbnails: Thumbnails, other: str = "pool"
    ) -> None:
        self._found, self._thumbnails, self._other = found, thumbnails, other
        data = run.folder / "data"
        self._tests = {name: _paths(data / f"{name}.parquet") for name in found.tests}
        if other == "pool":
            whole = data / "pool.parquet"
            self._others = _paths(whole if whole.is_file() else data / "pretrain.parquet")
            return
        self._others = {}
        for place in sorted(data.glob("*.parquet")):
            if place.stem not in ("pool", "pretrain"):
                paths = self._tests.get(place.stem) or _paths(place)
                # several sets that train a head have their names before the ids
                self._others |= {f"{place.stem}/{name}": path for name, path in paths.items()}
        self._others |= {name: path for one in self._tests.values() for name, path in one.items()}

    def blocks(self) -> str:
        """Show the most similar pairs of each test set, and the closest images that are in none."""
        beside = "" if self._other == "pool" else f" in {self._other}"
        found, blocks = self._found, ""
        for name in found.tests:
            rows = np.flatnonzero(found.dataset == name)
            told = [
                (found.pool_id[r], found.test_id[r], found.similarity[r], bool(found.same_bytes[r]))
                for r in rows[:PAIRS]
            ]
            left = [
                (c["pool_id"], c["test_id"], c["similarity"], False)
                for c in found.closest
                if c["dataset"] == name and not beside
            ]
            for title, shown in (
                (f"{name}: the most similar of {number(len(rows))} pairs{beside}", told),
                (f"{name}: not found, the closest below the threshold", left[:PAIRS]),
            ):
                figures = "".join(self._figure(name, *one) for one in shown)
                if figures:
                    blocks += f'<h4>{escape(title)}</h4><div class="frames">{figures}</div>'
        return blocks

    def _figure(
        self, name: str, pool_id: str, test_id: str, similarity: float, same_bytes: bool
    ) -> str:
        images = (
            (pool_id, self._other, self._others.get(pool_id)),
            (test_id, "test", self._tests[name].get(test_id)),
        )
        frames = "".join(self._frame(text, of, path) for text, of, path in images)
        told = [] if np.isnan(similarity) else [f"cosine <b>{similarity:.4f}</b>"]
        told += ["same file"] if same_bytes else []
        return (
            f'<figure class="pair"><div>{frames}</div>'
            f"<figcaption>{', '.join(told)}</figcaption></figure>"
        )

    def _frame(self, text: str, of: str, path: Path | None) -> str:
        row = self._thumbnails.add(path or Path(text))
        self._thumbnails.prepare([row])
        short, picture = text.rpartition("/")[2], self._thumbnails.tag(row, f"{text}, {of}")
        return (
            f'<div class="frame" title="{escape(text)}">{picture}'
            f'<span class="badge">{of}</span><span class="name">{escape(short)}</span></div>'
        )


def _paths(path: Path) -> dict[str, Path]:
    """Find the images of a manifest by their names; of one that is not there, none."""
    if not path.is_file():
        return {}
    from meddel_fast.data.manifest import Manifest

    manifest = Manifest.load(path)
    return dict(zip(manifest.ids, manifest.image_paths(), strict=True))
