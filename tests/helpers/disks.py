"""What the tests of data sets on disks share: what `check` finds, and files by place."""

from __future__ import annotations

from pathlib import Path

from containers import tarred, zipped
from made_release import Release, pairs

from meddel_fast.images.readers.tree import Tree
from meddel_fast.images.scan.registry_check import SetReport, check


def found(root: Path, key: str = "") -> dict[str, SetReport]:
    """What `check` finds, by key, without what is missing."""
    reports = check(root, [key] if key else None, quick=True)
    return {each.key: each for each in reports if each.status != "missing"}


def counts(report: SetReport) -> dict[str, int]:
    return {part.name: part.found for part in report.parts if part.found}


def below(made: Release, folder: str) -> dict[str, bytes]:
    """The files below a folder, from there."""
    ours = {path: data for path, data in made.files.items() if path.startswith(f"{folder}/")}
    return {path.removeprefix(f"{folder}/"): data for path, data in ours.items()}


def tree(root: Path) -> Tree:
    return Tree([root], by_name=True)


def beside(root: Path, top: str, archive: str, inside: dict[str, bytes]) -> None:
    pairs(top, "jpg", "jpg").write(root)
    (root / archive).parent.mkdir(parents=True, exist_ok=True)
    packed = tarred(inside) if archive.endswith(".tar") else zipped(inside)
    (root / archive).write_bytes(packed)


SEG = pairs("Kvasir-SEG", "jpg", "jpg")
