"""``meddel-fast leakage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from meddel_fast.cli.console import load_embeddings, say_place, show_work
from meddel_fast.cli.context import given
from meddel_fast.cli.documents import LeakageDocument
from meddel_fast.cli.options import (
    ConfigOption,
    DeviceOption,
    OutOption,
    RootOption,
    need,
    run_stages,
)
from meddel_fast.common.errors import ConfigError

if TYPE_CHECKING:
    from meddel_fast.benchmark.leakage import Samples
    from meddel_fast.benchmark.sight import Sight
    from meddel_fast.images.manifest import Manifest

By = Literal["hash", "embedding"]


def leakage(
    pool: Annotated[
        Path | None, typer.Argument(help="Manifest of the pool, or its embeddings.")
    ] = None,
    tests: Annotated[
        list[Path] | None, typer.Argument(help="The same of one or more test sets.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder for manifests: a folder, or a name on the hub. Without one only equal "
            "files are found."
        ),
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="hash: files alone, of manifests or, with --config, of a run whose data are read; "
            "embedding: what is alike too. By default whatever is given."
        ),
    ] = None,
    out: OutOption = None,
    threshold: Annotated[float, typer.Option(help="Cosine of near duplicates.")] = 0.98,
    centre: Annotated[
        bool, typer.Option(help="Subtract the mean of the pool's embeddings first.")
    ] = True,
    pool_splits: Annotated[
        str | None, typer.Option(help="Splits of the pool's manifest, as train,val.")
    ] = None,
    test_splits: Annotated[
        str | None, typer.Option(help="Splits of the test sets' manifests.")
    ] = None,
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> LeakageDocument:
    """Find test images that the pool holds too, or nearly so, and equal files of manifests.

    Of one manifest alone, its splits: what is for val and test is compared with train.
    """
    if config is not None:
        return _audit_run(config, data_root, out, by)
    from meddel_fast.benchmark.inside import EQUAL, write_equal
    from meddel_fast.cli.audit_told import tell_equal

    sources = [need(pool, "a manifest, or embeddings, of the pool"), *(tests or [])]
    manifests = {path: _manifest(path) for path in sources if path.suffix == ".parquet"}
    _check(sources, manifests, encoder, by, out)
    if len(sources) == 1 and (pool_splits or test_splits):
        raise ConfigError("--pool-splits and --test-splits need a test set to compare with")
    for option, splits in (("--pool-splits", pool_splits), ("--test-splits", test_splits)):
        _check_splits(option, splits)
    equal = [tell_equal(path, manifest) for path, manifest in manifests.items()]
    if out is not None and manifests:
        write_equal(out / EQUAL, manifests)
    parts = [
        (_name(path), path, test_splits if i else pool_splits) for i, path in enumerate(sources)
    ]
    if len(parts) == 1:
        parts = _own_splits(sources[0], manifests[sources[0]])
    document: LeakageDocument = {"equal": equal, "leaks": [], "sight": []}
    if len(parts) > 1:
        options = {"threshold": threshold, "centre": centre, "threads": threads}
        document |= _compare(parts, manifests, encoder, out, device, options)
    document["out"] = None if out is None else say_place(out)
    return document


def _check(
    sources: list[Path],
    manifests: dict[Path, Manifest],
    encoder: str | None,
    by: str | None,
    out: Path | None,
) -> None:
    """Refuse what cannot be compared, before any work."""
    from meddel_fast.benchmark.leakage import FOLDER
    from meddel_fast.common.outputs import check_folder

    if out is not None:
        check_folder(out, FOLDER, [*sources, None if encoder is None else Path(encoder)])
    names = [_name(path) for path in sources[1:]]
    if len(set(names)) < len(names):
        raise ConfigError(f"the test sets need different names, got {', '.join(names)}")
    arrays = len(set(sources)) > len(manifests)
    if by == "hash":
        if encoder is not None:
            raise ConfigError("--encoder would have no effect with --by hash: leave it out")
        if arrays:
            raise ConfigError("--by hash needs manifests: embeddings have no files")
    if not names and not manifests:
        raise ConfigError("a manifest, or embeddings, of a test set is needed")
    if encoder is not None or arrays or by == "embedding":
        need(out, "--out FOLDER")
        if manifests:
            need(encoder, "--encoder")
    elif idle := given("threshold", "centre", "device", "threads"):
        raise ConfigError(
            f"--{sorted(idle)[0]} would have no effect on equal files, which are all that is "
            "looked for without --encoder: leave it out"
        )


def _check_splits(option: str, splits: str | None) -> None:
    from meddel_fast.images.manifest import SPLITS

    unknown = [name for name in (splits or SPLITS[0]).split(",") if name not in SPLITS]
    if unknown:
        raise ConfigError(f"{option} must be some of {', '.join(SPLITS)}, got {unknown[0]!r}")


def _compare(
    parts: list[tuple[str, Path, str | None]],
    manifests: dict[Path, Manifest],
    encoder: str | None,
    out: Path | None,
    device: str,
    options: dict[str, Any],
) -> LeakageDocument:
    """Audit the first of some sets against the others, tell what was found, and keep it."""
    from meddel_fast.benchmark.leakage import audit
    from meddel_fast.cli.audit_told import tell, tell_sight

    (_, pool, splits), *tests = parts
    folders = [out and out / "pool", *(out and out / "test" / name for name, *_ in tests)]
    found = [
        _samples(path, manifests.get(path), some, encoder, folder, device)
        for (_, path, some), folder in zip(parts, folders, strict=True)
    ]
    sets = {name: one for (name, *_), one in zip(tests, found[1:], strict=True)}
    leaks = audit(found[0], sets, **options)
    if out is not None:
        leaks.save(out)
    inside = all(path == pool for _, path, _ in tests) and splits is not None
    told = tell(leaks, f"in its split {splits}" if inside else "in the pool")
    if encoder is None or out is None:
        return {"leaks": told}
    rows, known = _rows(manifests[pool], splits), (options["threshold"], options["centre"])
    sight = _measure_sight(rows, found[0], encoder, known, device, out)
    tell_sight(sight)
    return {"leaks": told, "sight": list(sight.told())}


def _audit_run(
    config: Path, data_root: Path | None, out: Path | None, by: str | None
) -> LeakageDocument:
    """Audit a run: as its stage does, or by the hashes of its data alone."""
    from meddel_fast.cli.audit_told import tell_hashes, tell_run

    if by == "hash":
        run = run_stages(config, data_root, out, "data", "by")
        equal, leaks = tell_hashes(run)
        return {"equal": equal, "leaks": leaks}
    run = run_stages(config, data_root, out, "leakage", "by")
    return {"leaks": tell_run(run), "out": say_place(run / "leakage")}


def _own_splits(path: Path, manifest: Manifest) -> list[tuple[str, Path, str | None]]:
    """List what of one set is compared: its training split with the others that it has."""
    from meddel_fast.benchmark.config import SPLITS

    present = [name for name in SPLITS if name in set(manifest.column("split"))]
    if present[:1] != ["train"]:
        return []
    return [(f"{_name(path)} {name}", path, name) for name in present]


def _name(path: Path) -> str:
    return path.stem if path.suffix in (".parquet", ".npy") else path.name


def _manifest(path: Path) -> Manifest:
    from meddel_fast.images.manifest import Manifest

    return Manifest.load(path).ok


def _samples(
    path: Path,
    manifest: Manifest | None,
    splits: str | None,
    encoder: str | None,
    folder: Path | None,
    device: str,
) -> Samples:
    """Read embeddings, whose names are their rows, or embed a manifest into `folder`."""
    from meddel_fast.benchmark.leakage import Samples

    if manifest is None:
        if splits is not None:
            raise ConfigError(f"only a manifest has splits, {path} holds embeddings")
        x = load_embeddings(path)
        return Samples([f"row {i}" for i in range(len(x))], x)
    rows = _rows(manifest, splits)
    if encoder is None or folder is None:
        return Samples(rows.ids, sha256=rows.column("sha256"))

    def work(progress: Any) -> Any:
        from meddel_fast.training.embed import embed

        offline = Path(encoder).is_dir()
        return embed(rows, encoder, folder, device=device, offline=offline, progress=progress)

    return Samples(rows.ids, show_work("embed", "images", work).array, rows.column("sha256"))


def _rows(manifest: Manifest, splits: str | None) -> Manifest:
    return manifest if splits is None else manifest.splits(splits.split(","))


def _measure_sight(
    rows: Manifest,
    pool: Samples,
    encoder: str,
    known: tuple[float, bool],
    device: str,
    out: Path,
) -> Sight:
    """Measure which copies of the pool's images the encoder sees, and keep it beside the audit."""
    import numpy as np

    from meddel_fast.benchmark.sight import Sight

    def work(progress: Any) -> Any:
        x, offline = np.asarray(pool.embeddings), Path(encoder).is_dir()
        return Sight.measure(
            rows, encoder, x, *known, device=device, offline=offline, progress=progress
        )

    sight: Sight = show_work("alter copies", "kinds", work)
    sight.save(out)
    return sight
