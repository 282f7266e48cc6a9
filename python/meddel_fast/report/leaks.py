"""What the leakage audit found: test images beside the images of the pool that they are like."""

from __future__ import annotations

from pathlib import Path

from meddel_fast.leakage import Leakage
from meddel_fast.report.load import Run
from meddel_fast.report.tables import DOWN, UP, number_cell, sortable
from meddel_fast.report.text import escape, number, percent
from meddel_fast.report.thumbnails import Thumbnails

PAIRS = 16  # of each test set


def leaks(run: Run, thumbnails: Thumbnails) -> str:
    """Show the audit; empty when the run has none."""
    found = run.leakage
    if found is None:
        return ""
    kind = "embeddings less the pool's mean" if found.centred else "embeddings as they are"
    excluded = run.about.get("config", {}).get("leakage", {}).get("exclude", False)
    fate = (
        "They were taken out of the pool before selection: all shares are those of what was left."
        if excluded
        else "They stayed in the pool."
    )
    return (
        f"<p>Images of the pool and of the test sets with a cosine of {found.threshold:g} or more "
        f"({kind}), and files that are the same byte for byte. What a cosine means depends on the "
        f"encoder: look at the pairs. {fate if len(found) else ''}</p>"
        f"{_summary(found)}{_ladder(found)}{_Pairs(run, found, thumbnails).blocks()}"
    )


def _summary(found: Leakage) -> str:
    heads = [("Test set", UP), ("Images", DOWN), ("Found in the pool", DOWN), ("Share", DOWN),
             ("Images of the pool", DOWN), ("Pairs", DOWN), ("Same file", DOWN),
             ("Highest cosine", DOWN)]  # fmt: skip
    lines = []
    for row in found.summary():
        cells = [number_cell(row[k], number(row[k])) for k in ("images", "touched")]
        cells.append(number_cell(row["share"], percent(row["share"], 3)))
        cells += [number_cell(row[k], number(row[k])) for k in ("pool_touched", "pairs")]
        cells.append(number_cell(row["same_bytes"], number(row["same_bytes"])))
        cells.append(number_cell(row["highest"], f"{row['highest']:.4f}"))
        lines.append(f'<tr><th scope="row">{escape(row["dataset"])}</th>{"".join(cells)}</tr>')
    return sortable("Leakage by test set", heads, lines)


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

    def __init__(self, run: Run, found: Leakage, thumbnails: Thumbnails) -> None:
        self._found = found
        self._thumbnails = thumbnails
        data = run.folder / "data"
        whole = data / "pool.parquet"
        self._pool = _paths(whole if whole.is_file() else data / "pretrain.parquet")
        self._tests = {name: _paths(data / f"{name}.parquet") for name in found.tests}

    def blocks(self) -> str:
        """Show the most similar pairs of each test set, or the closest one where none was found."""
        blocks = ""
        for closest in self._found.closest:
            name = closest["dataset"]
            rows = (self._found.dataset == name).nonzero()[0]
            if len(rows):
                title = f"{name}: the most similar of {number(len(rows))} pairs"
                figures = "".join(
                    self._figure(
                        name,
                        self._found.pool_id[row],
                        self._found.test_id[row],
                        float(self._found.similarity[row]),
                        bool(self._found.same_bytes[row]),
                    )
                    for row in rows[:PAIRS]
                )
            else:
                title = f"{name}: no pair; the closest call"
                figures = self._figure(
                    name, closest["pool_id"], closest["test_id"], closest["similarity"], False
                )
            blocks += f'<h4>{escape(title)}</h4><div class="frames">{figures}</div>'
        return blocks

    def _figure(
        self, name: str, pool_id: str, test_id: str, similarity: float, same_bytes: bool
    ) -> str:
        images = (
            (pool_id, "pool", self._pool.get(pool_id)),
            (test_id, "test", self._tests[name].get(test_id)),
        )
        frames = "".join(self._frame(text, of, path) for text, of, path in images)
        same = ", same file" if same_bytes else ""
        return (
            f'<figure class="pair"><div>{frames}</div>'
            f"<figcaption>cosine <b>{similarity:.4f}</b>{same}</figcaption></figure>"
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
