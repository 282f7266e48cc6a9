"""Files that one set holds under more than one name, in its splits or across them: by hashes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.benchmark.leakage import Leakage, Samples, audit
from meddel_fast.benchmark.results import read_run
from meddel_fast.common.atomic import write_text
from meddel_fast.images.shared_images import equal_files

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest

EQUAL, INSIDE = "equal_files.csv", "inside.json"


def inside(name: str, manifest: Manifest) -> dict[str, Any]:
    """Count the images of a set that are one file with another of it.

    Returns
    -------
    dict
        ``set``, ``images``, ``equal_images`` (one file with another), ``files`` (of these, counted
        once each) and ``across`` (files that are in more than one split).
    """
    groups = equal_files(manifest)
    across = sum(len({split for _, split in group}) > 1 for group in groups)
    equal = sum(map(len, groups))
    return {
        "set": name, "images": len(manifest), "equal_images": equal, "files": len(groups),
        "across": across,
    }  # fmt: skip


def told(row: Mapping[str, Any]) -> str:
    """Say in a line what :func:`inside` counted."""
    return (
        f"{row['set']}: {row['equal_images']:,} of {row['images']:,} images are one file with "
        f"another ({row['files']:,} files), {row['across']:,} files in more than one split"
    )


def write_equal(path: Path, manifests: Mapping[Any, Manifest]) -> None:
    """Write the names of all such images, a row an image, as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["manifest", "file", "id", "split"])
    for where, manifest in manifests.items():
        for number, group in enumerate(equal_files(manifest)):
            table.writerows([where, number, *image] for image in group)
    write_text(path, text.getvalue())


def sets_of(run_dir: Path) -> dict[str, Manifest]:
    """Give the usable images of a run's pool and of each of its data sets."""
    from meddel_fast.images.manifest import Manifest

    config, folder = read_run(run_dir)["config"], run_dir / "data"
    pool = "pool" if config.get("leakage", {}).get("exclude") else "pretrain"
    found = {"pool": Manifest.load(folder / f"{pool}.parquet").ok}
    names = [one["name"] for one in config["data"]]
    return found | {name: Manifest.load(folder / f"{name}.parquet").ok for name in names}


def by_hash(run_dir: Path) -> list[tuple[str, Leakage]]:
    """Audit a run whose data are read, by the hashes of the files alone.

    Returns
    -------
    list of (str, Leakage)
        What the test sets were compared with: the pool, then for each what trains its heads and its
        validation.
    """
    sets = sets_of(run_dir)
    config = read_run(run_dir)["config"]
    tested = [one for one in config["data"] if "test" in one["use"]]
    splits = {one["name"]: one for one in config["data"]}

    def samples(name: str, which: Any) -> Samples:
        rows = sets[name].splits(which)
        return Samples([f"{name}/{each}" for each in rows.ids], sha256=rows.column("sha256"))

    pool = Samples(sets["pool"].ids, sha256=sets["pool"].column("sha256"))
    tests = {one["name"]: samples(one["name"], one["test_splits"]) for one in tested}
    found = [("in the pool", audit(pool, {k: v for k, v in tests.items() if v.ids}))]
    for one in tested:
        rest = {"train", "val", "test"} - {*one["train_splits"], *one["test_splits"]}
        parts = [samples(n, splits[n]["train_splits"]) for n in one["train_on"] or [one["name"]]]
        train = Samples(
            [name for part in parts for name in part.ids],
            sha256=[digest for part in parts for digest in part.sha256 or ()],
        )
        only = {one["name"]: tests[one["name"]]}
        for where, other in (
            ("that train its heads", train),
            ("in validation", samples(one["name"], rest)),
        ):
            if other.ids and only[one["name"]].ids:
                found.append((where, audit(other, only)))
    return found
