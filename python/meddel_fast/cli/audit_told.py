"""What ``meddel-fast leakage`` and ``meddel-fast run`` print of an audit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.audit_words import found, looked_for
from meddel_fast.benchmark.inside import INSIDE, by_hash, inside, sets_of, told
from meddel_fast.benchmark.leakage import PAIRS, Leakage, split_audits
from meddel_fast.benchmark.sight import Sight
from meddel_fast.cli.console import say
from meddel_fast.common.files import read_json
from meddel_fast.images.shared_images import equal_files

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

_NAMED = 10  # pairs, and files that are there more than once, that are named


def tell_equal(path: Path | str, manifest: Manifest) -> dict[str, Any]:
    """Print which images of one manifest are one file, and return how many."""
    groups = equal_files(manifest)
    across = [group for group in groups if len({split for _, split in group}) > 1]
    row = inside(str(path), manifest)
    say(told(row))
    across_first = [*across, *(group for group in groups if group not in across)]
    _echo(" = ".join(f"{name} ({split})" for name, split in group) for group in across_first)
    return row


def _echo(lines: Iterable[str]) -> None:
    """Print some lines, and how many there are besides."""
    listed = list(lines)
    for line in listed[:_NAMED]:
        say(f"    {line}")
    if len(listed) > _NAMED:
        say(f"    and {len(listed) - _NAMED} more")


def tell_run(run: Path) -> list[dict[str, Any]]:
    """Print what the audit of a run found, if it has one; return a row a comparison."""
    folder = run / "leakage"
    if not (folder / PAIRS).is_file():
        return []
    rows = tell(Leakage.load(folder))
    for of, where in (("train", "that train its heads"), ("val", "in validation")):
        for leaks in split_audits(folder, of).values():
            for row in leaks.summary():
                say(f"  {found(leaks, row, where)}")
                rows.append(row | {"where": where})
    tell_sight(Sight.load(folder))
    if (folder / INSIDE).is_file():
        for row in read_json(folder / INSIDE):
            say(f"  {told(row)}")
    return rows


def tell_hashes(run: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Print what the files of a run tell without any embeddings; return it as rows.

    First those of each set by itself, then a row a comparison of two.
    """
    equal = [tell_equal(name, manifest) for name, manifest in sets_of(run).items()]
    rows = []
    audits = by_hash(run)
    say(f"{looked_for(audits[0][1])}:")
    for where, leaks in audits:
        for row in leaks.summary():
            say(f"  {found(leaks, row, where)}")
            _echo(_same(leaks, row["dataset"]))
            rows.append(row | {"where": where})
    return equal, rows


def tell(leaks: Leakage, where: str = "in the pool") -> list[dict[str, Any]]:
    """Print what was looked for, and found; return a row a comparison."""
    say(f"{looked_for(leaks)}:")
    rows = [row | {"where": where} for row in leaks.summary()]
    for row in rows:
        say(f"  {found(leaks, row, where)}")
        steps = [s for s in leaks.ladder if s["dataset"] == row["dataset"]]
        counts = ", ".join(f"{s['threshold']:g}: {s['test_images']}" for s in steps)
        if counts:
            say(f"    test images by threshold: {counts}")
        _echo(_same(leaks, row["dataset"]))
    return rows


def tell_sight(sight: Sight | None) -> None:
    """Print which copies the audit can see, where that was measured."""
    for line in sight.told() if sight is not None else ():
        say(f"  {line}")


def _same(leaks: Leakage, name: str) -> Sequence[str]:
    of = (leaks.dataset == name) & leaks.same_bytes
    pairs = zip(leaks.test_id[of], leaks.pool_id[of], strict=True)
    return [f"{test} = {pool}, the same file" for test, pool in pairs]
