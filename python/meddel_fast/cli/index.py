"""``meddel-fast index``: a deduplication index on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meddel_fast.cli.console import guarded, load_embeddings, say, show_work
from meddel_fast.cli.documents import (
    IndexAddDocument,
    IndexDocument,
    IndexRemoveDocument,
    IndexShowDocument,
)
from meddel_fast.cli.groups import Commands
from meddel_fast.common.errors import ConfigError

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Keep a deduplication index on disk, which samples come to and leave.",
)

IndexArgument = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.")]
NamesOption = Annotated[
    Path | None, typer.Option("--ids", help="File with one name a line.", metavar="FILE")
]
ManifestOption = Annotated[
    Path | None, typer.Option("--manifest", help="Manifest of the samples: gives their names.")
]
ThreadsOption = Annotated[int | None, typer.Option(help="Threads; all by default.")]


@app.command()
@guarded
def create(
    path: IndexArgument,
    width: Annotated[int, typer.Option(help="Numbers a sample.")],
    dtype: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    threshold: Annotated[float, typer.Option(help="Cosine from which on two repeat.")] = 0.95,
) -> IndexDocument:
    """Make an empty index."""
    from meddel_fast.index import SelectionIndex

    index = SelectionIndex.create(path, width, dtype=dtype, threshold=threshold)
    say(f"{path}: an empty index of {width} numbers a sample, threshold {threshold}")
    return _document(path, index)


@app.command()
@guarded
def add(
    path: IndexArgument,
    embeddings: Annotated[
        Path, typer.Argument(help="A .npy file (samples, features), or a folder of embed.")
    ],
    manifest: ManifestOption = None,
    ids: NamesOption = None,
    threads: ThreadsOption = None,
) -> IndexAddDocument:
    """Add samples; those that an earlier kept one covers are not kept."""
    from meddel_fast.index import SelectionIndex

    index, x, names = SelectionIndex.open(path), load_embeddings(embeddings), _names(manifest, ids)
    added = show_work(
        "index", "samples", lambda p: index.add(x, names, threads=threads, progress=p)
    )
    say(f"{path}: {added.kept} of {len(added.keep)} new samples kept, {_counts(index)}")
    return {
        **_document(path, index),
        "added": len(added.keep),
        "added_kept": int(added.kept),
    }


@app.command()
@guarded
def remove(
    path: IndexArgument,
    names: Annotated[list[str] | None, typer.Argument(help="Names of samples.")] = None,
    manifest: ManifestOption = None,
    ids: NamesOption = None,
    threads: ThreadsOption = None,
) -> IndexRemoveDocument:
    """Remove samples; what only they had covered is kept again."""
    from meddel_fast.index import SelectionIndex

    if names and (manifest is not None or ids is not None):
        raise ConfigError("name the samples in one way: NAMES, --manifest or --ids")
    index = SelectionIndex.open(path)
    found = index.remove(names or _names(manifest, ids), threads=threads)
    say(
        f"{path}: {found.removed} removed, {len(found.readmitted)} kept again, "
        f"{len(found.covered)} no longer kept, {_counts(index)}"
    )
    return {
        **_document(path, index),
        "removed": int(found.removed),
        "readmitted": len(found.readmitted),
        "covered": len(found.covered),
    }


@app.command()
@guarded
def compact(path: IndexArgument, threads: ThreadsOption = None) -> IndexDocument:
    """Write the files anew, without the samples that were removed."""
    from meddel_fast.index import SelectionIndex

    index = SelectionIndex.open(path)
    index.compact(threads=threads)
    say(f"{path}: {_counts(index)}")
    return _document(path, index)


@app.command()
@guarded
def verify(path: IndexArgument, threads: ThreadsOption = None) -> IndexDocument:
    """Check all files, and recompute what is kept from the samples."""
    from meddel_fast.index import SelectionIndex

    index = SelectionIndex.open(path)
    wrong = show_work("verify", "samples", lambda p: index.verify(threads=threads, progress=p))
    if wrong:
        raise ValueError("; ".join(wrong))
    say(f"{path}: whole, {_counts(index)}")
    return _document(path, index)


@app.command()
@guarded
def show(
    path: IndexArgument,
    kept: Annotated[Path | None, typer.Option(help="List the kept samples here.")] = None,
) -> IndexShowDocument:
    """Tell what an index holds."""
    from meddel_fast.common.outputs import NAMES, check_output, output_path
    from meddel_fast.index import SelectionIndex

    if kept is not None:
        check_output(kept, NAMES, [path])
    index = SelectionIndex.open(path)
    settings = ", ".join(f"{name} {value}" for name, value in index.settings.items())
    say(f"{path}: {_counts(index)}; {settings}")
    if kept is not None:
        with output_path(kept, NAMES) as target:
            target.write_text("".join(f"{name}\n" for name in index.kept), "utf-8", newline="")
    return {**_document(path, index), "kept_list": kept}


def _names(manifest: Path | None, ids: Path | None) -> list[str]:
    if manifest is not None and ids is None:
        from meddel_fast.images.manifest import Manifest

        return list(Manifest.load(manifest).ids)
    if ids is None or manifest is not None:
        raise ConfigError("name the samples: give --manifest or --ids")
    return ids.read_text().splitlines()


def _document(path: Path, index: Any) -> IndexDocument:
    return {
        "index": path,
        "samples": len(index),
        "kept": len(index.kept),
        "settings": dict(index.settings),
    }


def _counts(index: Any) -> str:
    return f"{len(index.kept)} of {len(index)} kept"
