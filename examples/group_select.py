"""Leave out near duplicates and select, by all processes that torchrun started.

    torchrun --nproc-per-node 2 examples/group_select.py EMBEDDINGS --budget 0.05 --out FOLDER

``FOLDER/selection.parquet`` is what one process would write, bit for bit, and with ``--manifest``
``FOLDER/kept.txt`` lists the images. EMBEDDINGS is what ``meddel-fast embed`` wrote, or any file
that ``meddel_fast.open_store`` takes; all processes must see it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import meddel_fast as mf
from meddel_fast.cluster import join_group
from meddel_fast.images.manifest import Manifest


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("--budget", required=True, help="a share (0.05) or a count (500)")
    parser.add_argument("--method", default="meddel")
    parser.add_argument("--threshold", type=float, default=0.95)
    parser.add_argument("--memory", help="budget of a process, 8GB say; half of what is free")
    parser.add_argument("--manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    wanted = float(options.budget) if "." in options.budget else int(options.budget)

    with join_group() as group:
        how = {"group": group, "memory": options.memory}
        store = mf.open_store(options.embeddings)
        keep = mf.deduplicate(store, options.threshold, **how).keep
        share = isinstance(wanted, float)
        count = min(int(keep.sum()), int(wanted * len(store) + 0.5) if share else wanted)
        chosen = mf.selectors.select(options.method, store, count, exclude=~keep, **how)
        if group.rank == 0:
            chosen.save(options.out / "selection.parquet")
            if options.manifest is not None:
                images = Manifest.load(options.manifest).take(chosen.indices)
                text = "".join(f"{path}\n" for path in images.image_paths())
                (options.out / "kept.txt").write_text(text, encoding="utf-8")
            print(f"{options.out}: {len(chosen)} of {len(store)} kept")


if __name__ == "__main__":
    main()
