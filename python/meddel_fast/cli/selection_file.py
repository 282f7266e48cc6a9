"""``meddel-fast select --from``: what a saved selection says, as other lists, for other files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.cli.console import say
from meddel_fast.cli.documents import KeptDocument
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from meddel_fast.selectors import Selection


def about(selection: Selection, path: Path) -> KeptDocument:
    """Return what there is to tell of a selection, and where it lies."""
    return {
        "out": path,
        "method": selection.method,
        "n": selection.n,
        "kept": len(selection),
        "counts": selection.counts(),
        "settings": selection.settings,
    }


def reuse(saved: Path, out: Path | None, manifest: Path | None, kept: Path | None) -> KeptDocument:
    """Show a saved selection; write it as a list, or the kept images of a manifest."""
    from meddel_fast.common.atomic import write_text
    from meddel_fast.common.outputs import NAMES, check_output
    from meddel_fast.common.urls import shown
    from meddel_fast.selectors import Selection
    from meddel_fast.selectors.export import LISTS, write_list
    from meddel_fast.selectors.selection import read_about, read_ids

    if (manifest is None) != (kept is None):
        raise ConfigError("--from takes --manifest and --kept together, or neither")
    if out is not None and out.suffix in LISTS:
        check_output(out, LISTS[out.suffix], [saved, manifest])
    if kept is not None:
        check_output(kept, NAMES, [saved, manifest, out])
    found = Selection.load(saved)
    ids = read_ids(saved)
    say(f"{shown(saved)}: {len(found)} of {found.n} kept by {found.method}")
    for line in _said(found.counts(), read_about(saved)):
        say(f"  {line}")
    if out is not None:
        write_list(found, out, ids)
        say(f"{shown(out)}: written")
    if manifest is not None and kept is not None:
        from meddel_fast.images.manifest import Manifest

        rows = Manifest.load(manifest)
        if ids is None:
            raise ConfigError(f"{saved} has no names to be checked against {manifest}")
        if list(rows.ids) != ids:
            raise ConfigError(f"{manifest} does not hold the images that {saved} chose from")
        write_text(kept, "".join(f"{p}\n" for p in rows.take(found.indices).image_paths()))
        say(f"{shown(kept)}: written")
    return about(found, saved)


def _said(counts: dict[str, int], about: dict[str, Any]) -> list[str]:
    lines = [f"{reason}: {count}" for reason, count in counts.items() if count]
    lines += [f"{key}: {value}" for key, value in sorted(about["settings"].items())]
    hashes = ("version", "ids_sha256", "data_sha256")
    return lines + [f"{key}: {about[key]}" for key in hashes if key in about]
