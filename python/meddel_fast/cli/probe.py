"""``meddel-fast probe``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import load_embeddings, say, show_work
from meddel_fast.cli.documents import ProbeDocument
from meddel_fast.cli.options import (
    ConfigOption,
    OutOption,
    RootOption,
    SetOption,
    need,
    run_stages,
)
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meddel_fast.benchmark.probe.labels import Labels
    from meddel_fast.images.manifest import Manifest


def probe(
    embeddings: Annotated[
        Path | None,
        typer.Argument(help="A .npy, .safetensors or .parquet file, or a folder of embed."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Classes: a .npy or .txt file, a value a sample, or FILE.csv:COLUMN."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the samples, for --by in place of --labels.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Classes by a manifest: sequence, label, folder or lesion.")
    ] = "sequence",
    groups: Annotated[
        str | None,
        typer.Option(help="Video or patient of each sample, as --labels; else the manifest's."),
    ] = None,
    splits: Annotated[
        str | None,
        typer.Option(
            help="Split of each sample, as --labels, or manifest: those of test are asked about, "
            "those of train are the pool. Without it a share of each class is held out."
        ),
    ] = None,
    selector: Annotated[list[str] | None, typer.Option(help="A method; repeatable.")] = None,
    ratios: Annotated[str, typer.Option(help="Shares of the pool.")] = "1,0.33,0.1,0.05",
    probes: Annotated[str, typer.Option(help="Some of knn,linear,mlp.")] = "knn,linear",
    draws: Annotated[int, typer.Option(help="How often is selected and held out.")] = 20,
    held_out: Annotated[float, typer.Option(help="Share of each class held out.")] = 0.2,
    centre: Annotated[
        bool, typer.Option(help="Subtract the mean of the pool's embeddings first.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of the first draw.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    set_: SetOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> ProbeDocument:
    """Train small models on the selected samples alone, many times, and say what they learnt.

    --set takes further settings of [probe] (neighbours=5) and, as METHOD.OPTION, those of methods.
    """
    from meddel_fast.benchmark.probe.table import FOLDER, as_text, join, tables, write_tables
    from meddel_fast.common.files import read_json

    if config is not None:
        run = run_stages(config, data_root, out, "probe")
        tasks = read_json(run / "run.json")["config"]["probe"]["tasks"]
        found = join([read_json(run / "probe" / f"{task}.json") for task in tasks])
        say(as_text(found))
        return {"tables": found, "out": run / "probe"}
    from meddel_fast.benchmark.probe.choose import Chooser
    from meddel_fast.benchmark.probe.probe import probe_classes
    from meddel_fast.benchmark.probe_settings import ProbeConfig
    from meddel_fast.common.outputs import check_folder
    from meddel_fast.common.settings import from_table
    from meddel_fast.selectors import check_options

    source = need(embeddings, "a file of embeddings")
    if out is not None:
        check_folder(out, FOLDER, [source, manifest])
    settings, options = _settings(set_ or [])
    settings |= {"probes": probes.split(","), "draws": draws, "held_out": held_out}
    values = from_table(ProbeConfig, settings, "--set")
    names = tuple(selector or ("random", "facility", "kcenter", "meddel"))
    for name in (*names, *options):
        check_options(name, options.get(name, {}))
    x = load_embeddings(source)
    rows = _manifest(manifest, source, len(x))
    labelled = _labels(labels, groups, rows, by, len(x))
    tested = None
    if splits is not None:
        kept, tested = _split(splits, rows, len(x))
        x, labelled, tested = x[kept], labelled.take(kept), tested[kept]
    chooser = Chooser(names, _ratios(ratios), options, seed, threads)

    def work(progress: Any) -> Any:
        return probe_classes(
            x,
            labelled,
            chooser,
            values,
            name=source.stem,
            tested=tested,
            centre=centre,
            progress=progress,
        )

    found = tables(*show_work("probe", "", work))
    if out is not None:
        write_tables(out, found)
    say(as_text(found))
    say(_told(found["data"][0]))
    return {"tables": found, "out": out}


def _settings(texts: list[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Part the settings of the probe from the options of methods."""
    settings: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    own = [text for text in texts if "." not in text.partition("=")[0]]
    settings |= parse_settings(own)
    for text in texts:
        if text not in own:
            method, _, rest = text.partition(".")
            options.setdefault(method, {}).update(parse_settings([rest]))
    return settings, options


def _ratios(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < ratio <= 1 for ratio in found):
        raise ConfigError(f"--ratios must be shares in (0, 1], as 0.1,0.05, got '{text}'")
    return found


def _manifest(path: Path | None, source: Path, samples: int) -> Manifest | None:
    """Read the manifest, and hold it against the embeddings."""
    if path is None:
        return None
    from meddel_fast.images.manifest import Manifest

    rows = Manifest.load(path)
    if len(rows) != samples:
        raise ConfigError(f"{path} has {len(rows)} images, {source} {samples} rows")
    if source.is_dir():
        from meddel_fast.training.embed import Embeddings

        if Embeddings.load(source).index["manifest"] != rows.fingerprint:
            raise ConfigError(f"{source} holds embeddings of other images than {path}")
    return rows


def _labels(
    labels: str | None, groups: str | None, rows: Manifest | None, by: str, samples: int
) -> Labels:
    from meddel_fast.arrays import check_choice
    from meddel_fast.benchmark.probe.labels import BY, Labels, read_column, read_labels

    if (labels is None) == (rows is None):
        raise ConfigError("--labels FILE is needed, or --manifest with --by, and not both")
    check_choice("--by", by, BY)
    if rows is None:
        told = read_column(str(labels), samples)
        together = None if groups is None else read_column(groups, samples)
    else:
        told = read_labels(rows, by)
        together = rows.column("group") if groups is None else read_column(groups, samples)
    return Labels.of(told, together)


def _split(
    splits: str, rows: Manifest | None, samples: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Give the samples of train and test, and which of all are of test."""
    import numpy as np

    from meddel_fast.benchmark.probe.labels import read_column

    if splits == "manifest":
        if rows is None:
            raise ConfigError("--splits manifest needs --manifest")
        told = np.array(rows.column("split"))
    else:
        told = np.array(read_column(splits, samples))
    counts = {name: int((told == name).sum()) for name in ("train", "test")}
    if not all(counts.values()):
        raise ConfigError(
            f"--splits must have samples of train and of test, got {counts['train']} and "
            f"{counts['test']} of {samples}"
        )
    return np.flatnonzero(np.isin(told, ["train", "test"])), told == "test"


def _told(about: dict[str, Any]) -> str:
    """Say in a line what the scores were counted on."""
    parts = [
        f"{about['classes']} classes",
        f"pool of {about['pool']:.0f}",
        f"{about['tested']:.0f} asked about ({about['test']})",
        f"{about['draws']} draws",
    ]
    if about["without_class"]:
        parts.append(f"{about['without_class']} of {about['samples']} without a class")
    if about["classes_of_one"]:
        parts.append(f"{about['classes_of_one']} classes of one sample, not asked about")
    return "\n" + ", ".join(parts)
