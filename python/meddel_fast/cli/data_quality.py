"""``meddel-fast data quality``: images measured by their pixels, and those that break a limit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import say, say_result, show_work
from meddel_fast.cli.documents import QualityDocument
from meddel_fast.cli.errors import printable
from meddel_fast.common.columns import aligned
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from meddel_fast.images.manifest import Manifest

_SHOWN = 5  # images that could not be read
_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def quality(
    manifest: Annotated[Path, typer.Argument(help="What 'data build' or a run wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="The manifest with columns of what was measured.")
    ] = None,
    flawed: Annotated[
        Path | None,
        typer.Option(help="Which images break a limit: .npy for select's exclude, or .csv."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON=COLUMN:LOW:HIGH",
            help="Beside or in place of the usual limits: blurred=sharpness:20:, cold=warmth:0:; "
            "blurred= takes one away. Repeatable.",
        ),
    ] = None,
    hash_: Annotated[
        list[str] | None,
        typer.Option("--hash", help="Also phash, dhash, average_hash or whash. Repeatable."),
    ] = None,
    size: Annotated[int, typer.Option(help="Side at which images are measured.")] = 256,
    workers: Annotated[int | None, typer.Option(help="Threads that read.")] = None,
) -> QualityDocument:
    """Measure sharpness, exposure, noise, black border; tell which images break a limit."""
    from meddel_fast.common.outputs import check_output
    from meddel_fast.images.manifest import KIND, Manifest
    from meddel_fast.images.quality import judge, measure_manifest

    limits = _limits(limit or [])
    if out is not None:
        check_output(out, KIND, [manifest, flawed])
    if flawed is not None:
        check_output(flawed, _flawed_kind(flawed), [manifest, out])
    rows = Manifest.load(manifest)
    found = show_work(
        "quality",
        "images",
        lambda p: measure_manifest(
            rows, size=size, hashes=hash_ or (), workers=workers, progress=p
        ),
    )
    reasons = judge(found.manifest, limits)
    say("\n".join(map(printable, _lines(found.manifest, found.unread, reasons, limits))))
    if out is not None:
        found.manifest.save(out)
        say_result(out, f"{len(found.manifest)} images with columns of quality")
    if flawed is not None:
        _write_flawed(flawed, found.manifest.ids, reasons)
        say_result(flawed, f"{int((reasons != '').sum())} of {len(reasons)} images break a limit")
    counts = _broken(reasons)
    return {
        "out": out,
        "flawed": flawed,
        "images": len(reasons),
        "columns": _quantiles(found.manifest),
        "limits": {
            reason: {"column": name, "low": low, "high": high, "broken": counts[reason]}
            for reason, (name, low, high) in limits.items()
        },
        "broken": int((reasons != "").sum()),
        "unread": dict(found.unread),
    }


def _limits(texts: list[str]) -> dict[str, tuple[str, float | None, float | None]]:
    """Read limits, to be added to the usual ones."""
    from meddel_fast.images.quality import LIMITS, Measures

    limits = dict(LIMITS)
    for text in texts:
        reason, equals, rest = text.partition("=")
        parts = rest.split(":")
        if equals and reason in limits and not rest:
            del limits[reason]
            continue
        try:
            name, low, high = parts
            ends = [float(end) if end else None for end in (low, high)]
            if any(end != end for end in ends):
                raise ValueError
        except ValueError:
            ends = []
        told = [end for end in ends if end is not None]
        # reasons are listed with "; " between them
        if not (reason and equals and told and sorted(told) == told) or ";" in reason:
            raise ConfigError(f"--limit must be REASON=COLUMN:LOW:HIGH, got '{text}'")
        if name not in Measures._fields:
            raise ConfigError(f"--limit: {name!r} is none of {', '.join(Measures._fields)}")
        limits[reason] = (name, ends[0], ends[1])
    return limits


def _lines(
    manifest: Manifest,
    unread: dict[str, str],
    reasons: npt.NDArray[np.str_],
    limits: dict[str, tuple[str, float | None, float | None]],
) -> list[str]:
    """Say what was measured, as quantiles, and how many images break which limit."""
    lines = [("", *(f"{100 * q:g} %" for q in _QUANTILES))]
    for name, ends in _quantiles(manifest).items():
        lines.append((name, *(f"{value:.4g}" for value in ends)))
    told = aligned(lines, 1)
    counts = _broken(reasons)
    for reason, (name, low, high) in limits.items():
        broken = [f"below {low}"] * (low is not None) + [f"above {high}"] * (high is not None)
        told.append(f"{reason}: {counts[reason]} ({name} {' or '.join(broken)})")
    told.append(f"{int((reasons != '').sum())} of {len(reasons)} images break a limit")
    told += [f"not read: {name}: {why}" for name, why in sorted(unread.items())[:_SHOWN]]
    if len(unread) > _SHOWN:
        told.append(f"not read: {len(unread) - _SHOWN} more")
    return told


def _quantiles(manifest: Manifest) -> dict[str, list[float]]:
    """Return what was measured, as quantiles; measures that no image has are left out."""
    import numpy as np

    from meddel_fast.images.quality import Measures

    told = {}
    for name in Measures._fields:
        values = [value for value in manifest.column(name) if value is not None]
        if values:
            told[name] = np.quantile(values, _QUANTILES, method="inverted_cdf").tolist()
    return told


def _broken(reasons: npt.NDArray[np.str_]) -> Counter[str]:
    """Count the images that break each limit."""
    return Counter(part for text in reasons.tolist() if text for part in text.split("; "))


def _flawed_kind(path: Path) -> Any:
    from meddel_fast.common.outputs import array_file, csv_table

    kinds = {
        ".npy": array_file("a mask of images", "b", 1),
        ".csv": csv_table("a list of flaws", "id", "reasons"),
    }
    if path.suffix not in kinds:
        raise ConfigError(f"--flawed must end in .npy or .csv, got {path}")
    return kinds[path.suffix]


def _write_flawed(path: Path, ids: list[str], reasons: npt.NDArray[np.str_]) -> None:
    import csv
    import io

    import numpy as np

    from meddel_fast.common.outputs import output_path

    with output_path(path, _flawed_kind(path)) as target:
        if path.suffix == ".npy":
            np.save(target, reasons != "")
            return
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["id", "reasons"])
        rows.writerows(row for row in zip(ids, reasons.tolist(), strict=True) if row[1])
        target.write_text(text.getvalue(), encoding="utf-8", newline="")
