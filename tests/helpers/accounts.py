"""What a manifest tells of the files below its root, and small trees to ask it about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from containers import mask_png, png

from meddel_fast.images.left_out import LeftOut
from meddel_fast.images.manifest import Manifest

Files = Mapping[str, bytes]


def write(root: Path, files: Files) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def pairs(count: int, kind: str = "png") -> dict[str, bytes]:
    """Images 0, 1 ... with their masks."""
    images = {f"images/{n}.{kind}": png(n) for n in range(count)}
    return images | {f"masks/{n}.png": mask_png(rows=n + 1) for n in range(count)}


def told(manifest: Manifest) -> LeftOut:
    assert manifest.left_out is not None
    account = manifest.left_out
    used = account.images + account.masks + account.tables
    assert account.files == used + sum(tally.count for tally in account.left)
    return account


def left(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """What was left out, each kind with all its names."""
    tallies = told(manifest).left
    assert all(tally.count == len(tally.first) or "passed over" in tally.what for tally in tallies)
    return {tally.what: tally.first for tally in tallies}


def noticed(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    return {tally.what: tally.first for tally in told(manifest).noticed}


def reasons(manifest: Manifest) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in manifest.skipped.to_pylist()}
