"""``meddel-fast hierarchy``: a tree of clusters, for any number of balanced selections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import load_embeddings, say_result, show_work, unchanged
from meddel_fast.cli.documents import HierarchyDocument
from meddel_fast.cli.options import SetOption
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings

if TYPE_CHECKING:
    from meddel_fast.selectors import HierarchyResult


def hierarchy(
    embeddings: Annotated[
        Path, typer.Argument(help="A .npy, .safetensors or .parquet file, or a folder of embed.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the tree goes, a .npz file.")],
    levels: Annotated[
        str | None,
        typer.Option(help="Clusters from fine to coarse, as 100000,5000,200; by n if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of k-means.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    set_: SetOption = None,
) -> HierarchyDocument:
    """Cluster embeddings level by level, for select --method hierarchical --array hierarchy=FILE.

    --set takes resamplings, metric, max_iterations and memory.
    """
    from meddel_fast.common.outputs import check_output
    from meddel_fast.selectors import build_hierarchy
    from meddel_fast.selectors.hierarchy import SAVED

    settings = parse_settings(set_ or [])
    known = {"resamplings", "metric", "max_iterations", "memory"}
    if wrong := sorted(set(settings) - known):
        raise ConfigError(f"--set takes {', '.join(sorted(known))}, got {wrong[0]}")
    counts = None if levels is None else [_count(text) for text in levels.split(",")]
    check_output(out, SAVED, [embeddings])
    x = load_embeddings(embeddings, whole=False)

    def work(progress: Any) -> HierarchyResult:
        with unchanged(embeddings):
            tree = build_hierarchy(
                x, counts, seed=seed, threads=threads, progress=progress, **settings
            )
        tree.save(out)
        return tree

    tree = show_work("hierarchy", "", work)
    say_result(out, f"{tree.n} samples in {' / '.join(map(str, tree.levels))} clusters")
    return {"out": out, "n": tree.n, "levels": list(tree.levels)}


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"--levels must be counts as 5000,200, got '{text}'") from None
