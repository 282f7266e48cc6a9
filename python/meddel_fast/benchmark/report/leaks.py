"""What the leakage audit found: test images beside the training images that they are like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meddel_fast.benchmark import audit_words, inside
from meddel_fast.benchmark.leakage import Leakage
from meddel_fast.benchmark.report.load import Run
from meddel_fast.benchmark.report.tables import DOWN, UP, Cell, Head, Row, Table, count, share
from meddel_fast.benchmark.report.text import listed, number
from meddel_fast.benchmark.report.thumbnails import Figure, Frame, Gallery, Thumbnails

PAIRS = 12  # of each test set, found and not found


def leaks(run: Run, thumbnails: Thumbnails) -> dict[str, Any] | None:
    """Give what the audit found; None when the run has none."""
    found = run.leakage
    if found is None:
        return None
    audits = [
        (name, one)
        for of, name in (("train", "training of the head"), ("val", "validation"))
        for one in run.split_leakage[of].values()
    ]
    return {
        "meant": _meant(found),
        "said": [audit_words.found(found, row, "in the pool") for row in found.summary()],
        "sight": run.sight.told() if run.sight is not None else [],
        "inside": [inside.told(row) for row in run.inside],
        "centred": found.centred,
        "any": len(found) > 0,
        "cleaned": _is_cleaned(run),
        "summary": _summary(found),
        "splits": _splits(audits),
        "split_pairs": [
            gallery for name, one in audits for gallery in _pairs(run, one, thumbnails, name)
        ],
        "ladder": _ladder(found),
        "pairs": _pairs(run, found, thumbnails),
    }


def claim(run: Run) -> dict[str, Any] | None:
    """Give what the audit found of the test images, for the words on what is measured."""
    found = run.leakage
    if found is None:
        return None
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
        told.append((str(row["dataset"]), listed(counts)))
    return {
        "meant": _meant(found),
        "found": "; ".join(f"{name} {counts or 'none'}" for name, counts in told),
        "seen": "; ".join(f"{name} {counts}" for name, counts in told if counts),
        "taken": excluded and len(found) > 0,
    }


def _is_cleaned(run: Run) -> bool:
    return bool(run.about.get("config", {}).get("leakage", {}).get("exclude", False))


def _meant(found: Leakage) -> str:
    if found.threshold is None:
        return "no cosine"
    return f"a cosine of {found.threshold:g} or more"


_COUNTS = [
    *(Head("Images", DOWN), Head("Found", DOWN), Head("Share", DOWN), Head("Counterparts", DOWN)),
    *(Head("Pairs", DOWN), Head("Same file", DOWN), Head("Highest cosine", DOWN)),
]


def _counts(row: dict[str, Any]) -> list[Cell]:
    same, highest = row["same_bytes"], row["highest"]
    return [
        *(count(row["images"]), count(row["touched"]), share(row["share"], 3)),
        *(count(row["pool_touched"]), count(row["pairs"])),
        Cell("not known", -1) if same is None else count(same),
        Cell("", -2) if highest is None else Cell(f"{highest:.4f}", highest),
    ]


def _summary(found: Leakage) -> Table:
    heads = [Head("Test set", UP), *_COUNTS]
    heads[2], heads[4] = Head("Found in the pool", DOWN), Head("Images of the pool", DOWN)
    rows = [Row(row["dataset"], _counts(row)) for row in found.summary()]
    return Table("Leakage by test set", heads, rows)


def _splits(audits: list[tuple[str, Leakage]]) -> Table | None:
    """Tell what of the test images is in training and validation; None without an audit."""
    rows = [
        Row(row["dataset"], [Cell(name), *_counts(row)])
        for name, found in audits
        for row in found.summary()
    ]
    heads = [Head("Test set", UP), Head("In", UP), *_COUNTS]
    return Table("Leakage between splits", heads, rows) if audits else None


def _ladder(found: Leakage) -> Table:
    """Tell how many test images, and images of the pool, other thresholds would have found."""
    steps = sorted({row["threshold"] for row in found.ladder})
    heads = [Head("Test set", UP), *(Head(f"≥ {step:g}", DOWN) for step in steps)]
    counts = {(r["dataset"], r["threshold"]): r for r in found.ladder}
    rows = []
    for name in found.tests:
        of_set = [counts[name, step] for step in steps]
        cells = [count(r["test_images"])._replace(small=number(r["pool_images"])) for r in of_set]
        rows.append(Row(name, cells))
    return Table("Leakage by threshold", heads, rows)


def _pairs(run: Run, found: Leakage, thumbnails: Thumbnails, other: str = "pool") -> list[Gallery]:
    """Show the most similar pairs of each test set, and the closest images that are in none."""
    data = run.folder / "data"
    tests = {name: _paths(data / f"{name}.parquet") for name in found.tests}
    others = _other_paths(data, tests, other)
    beside = "" if other == "pool" else f" in {other}"

    def frame(text: str, of: str, path: Path | None) -> Frame:
        row = thumbnails.add(path or Path(text))
        thumbnails.prepare([row])
        picture = thumbnails.picture(row, f"{text}, {of}")
        return Frame(picture, of, text.rpartition("/")[2], text)

    def figure(
        name: str, pool_id: str, test_id: str, similarity: float, same_bytes: bool
    ) -> Figure:
        frames = [
            frame(pool_id, other, others.get(pool_id)),
            frame(test_id, "test", tests[name].get(test_id)),
        ]
        told = [] if np.isnan(similarity) else [("cosine", f"{similarity:.4f}")]
        return Figure(frames, told + [("same file", "")] * same_bytes)

    shown = []
    for name in found.tests:
        rows = np.flatnonzero(found.dataset == name)
        alike = [
            (found.pool_id[r], found.test_id[r], found.similarity[r], bool(found.same_bytes[r]))
            for r in rows[:PAIRS]
        ]
        left = [
            (c["pool_id"], c["test_id"], c["similarity"], False)
            for c in found.closest
            if c["dataset"] == name and not beside
        ]
        most = f"{name}: the most similar of {number(len(rows))} pairs{beside}"
        shown.append(Gallery(most, [figure(name, *one) for one in alike]))
        least = f"{name}: not found, the closest below the threshold"
        shown.append(Gallery(least, [figure(name, *one) for one in left[:PAIRS]]))
    return [gallery for gallery in shown if gallery.figures]


def _other_paths(data: Path, tests: dict[str, dict[str, Path]], other: str) -> dict[str, Path]:
    """Find the images that the test images were compared with, by their names."""
    if other == "pool":
        whole = data / "pool.parquet"
        return _paths(whole if whole.is_file() else data / "pretrain.parquet")
    others: dict[str, Path] = {}
    for place in sorted(data.glob("*.parquet")):
        if place.stem not in ("pool", "pretrain"):
            paths = tests.get(place.stem) or _paths(place)
            # several sets that train a head have their names before the ids
            others |= {f"{place.stem}/{name}": path for name, path in paths.items()}
    return others | {name: path for one in tests.values() for name, path in one.items()}


def _paths(path: Path) -> dict[str, Path]:
    """Find the images of a manifest by their names; of one that is not there, none."""
    if not path.is_file():
        return {}
    from meddel_fast.images.manifest import Manifest

    manifest = Manifest.load(path)
    return dict(zip(manifest.ids, manifest.image_paths(), strict=True))
