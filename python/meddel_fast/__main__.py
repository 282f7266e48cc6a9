"""The command line: ``meddel-fast run|data|embed|select|pretrain|evaluate|score|report|info``.

Every command but ``run`` and ``info`` works in two ways: on files given as arguments, or, with
``--config``, on a run, of which it brings the stages up to its own up to date.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
except ImportError:
    sys.exit("meddel-fast: the command line needs: pip install 'meddel-fast[benchmark]'")

from meddel_fast.config import ConfigError, DownstreamConfig, PretrainConfig
from meddel_fast.config_file import from_table, load_config, parse_settings
from meddel_fast.console import (
    guarded,
    load_embeddings,
    parse_budget,
    show_tracebacks,
    show_work,
    summary,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Bring the stages of this run up to date instead.")
]
RootOption = Annotated[
    Path | None, typer.Option("--data-root", help="Folder that the config's data paths start from.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Where the result goes.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 ...")]


def _version(wanted: bool) -> None:
    if wanted:
        from meddel_fast import __version__

        typer.echo(f"meddel-fast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error came from.")
    ] = False,
) -> None:
    """Choose the data a foundation model is pre-trained on, and measure what it is worth."""
    if traceback:
        show_tracebacks()


def _run_stages(config: Path, data_root: Path | None, out: Path | None, until: str | None) -> Path:
    from meddel_fast.benchmark import run as run_benchmark

    return run_benchmark(load_config(config, data_root=data_root, out=out), until=until)


def _print_table(run_dir: Path) -> None:
    from meddel_fast.files import read_json
    from meddel_fast.report import score_table

    typer.echo(score_table(read_json(run_dir / "score" / "scores.json")))


def _need(value: Any, what: str) -> Any:
    """Give `value`, or say that it is needed when there is no ``--config``."""
    if value is None:
        raise ConfigError(f"{what} is needed (or --config FILE)")
    return value


@app.command()
@guarded
def run(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a TOML file.")],
    data_root: RootOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Run directory, instead of the config's.")
    ] = None,
) -> None:
    """Run the whole benchmark; done stages are skipped, a stopped run goes on."""
    where = _run_stages(config, data_root, out, None)
    _print_table(where)
    typer.echo(f"\nReport: {where / 'report' / 'report.html'}")


@app.command()
@guarded
def data(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with images/ and, for tests, masks/.")
    ] = None,
    out: OutOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    splits: Annotated[Path | None, typer.Option(help="CSV with columns file, split.")] = None,
    require_masks: Annotated[bool, typer.Option(help="Skip images without a mask.")] = False,
    made: Annotated[Path | None, typer.Option(help="Make frames in this folder first.")] = None,
    videos: Annotated[int | None, typer.Option(help="Made videos.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of each made video.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the made frames, in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the made frames.")] = 0,
    set_: SetOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Write the manifest of a folder of images, or make frames for those without data."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "data") / "data")
        return
    from meddel_fast.data.folder import scan_folder
    from meddel_fast.data.made import make_frames

    if made is not None:
        if folder is not None:
            raise ConfigError("give a folder or --made, not both")
        asked: dict[str, Any] = {"videos": videos, "frames": frames, "size": size, "seed": seed}
        asked = {key: value for key, value in asked.items() if value is not None}
        asked |= parse_settings(set_ or [])
        show_work("make", "frames", lambda p: make_frames(made, **asked, progress=p))
        out = made / "manifest.parquet" if out is None else out
    root = _need(folder or made, "a folder of images, or --made FOLDER,")
    manifest = show_work(
        "data",
        "files",
        lambda p: scan_folder(
            root, name=name, splits=splits, require_masks=require_masks, progress=p
        ),
    )
    manifest.save(_need(out, "--out MANIFEST.parquet"))
    typer.echo(f"{out}: {summary(manifest)}")


@app.command()
@guarded
def embed(
    manifest: Annotated[Path | None, typer.Argument(help="Manifest of the images.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Folder of an encoder, or its name on the hub.")
    ] = None,
    out: OutOption = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Embed the images of a manifest; a stopped run goes on at the first missing shard."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "embed") / "embeddings")
        return
    from meddel_fast.data.manifest import Manifest

    rows = Manifest.load(_need(manifest, "a manifest"))
    name, target = _need(encoder, "--encoder"), _need(out, "--out FOLDER")

    def work(progress: Any) -> Any:
        from meddel_fast.embed import embed as embed_images

        return embed_images(
            rows,
            name,
            target,
            image_size=image_size,
            batch_size=batch_size,
            dtype=dtype,
            pooling=pooling,
            device=device,
            offline=Path(name).is_dir(),
            progress=progress,
        )

    n, d = show_work("embed", "images", work).array.shape
    typer.echo(f"{target}: {n} embeddings of {d} numbers")


@app.command()
@guarded
def select(
    embeddings: Annotated[
        Path | None, typer.Argument(help="A .npy file (samples, features), or a folder of embed.")
    ] = None,
    method: Annotated[str, typer.Option(help="random, kcenter, semdedup, meddel ...")] = "meddel",
    budget: Annotated[str | None, typer.Option(help="500, 0.05 or 5%.")] = None,
    out: OutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    set_: SetOption = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the samples: adds their names.")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option(help="Also list the kept images here; needs --manifest.")
    ] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Select the samples that are worth keeping, exactly as many as asked for."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "select") / "select")
        return
    from meddel_fast.files import write_text
    from meddel_fast.selectors import select as choose

    x = load_embeddings(_need(embeddings, "a file of embeddings"))
    target, count = _need(out, "--out SELECTION.parquet"), parse_budget(_need(budget, "--budget"))
    rows = None
    if manifest is not None:
        from meddel_fast.data.manifest import Manifest

        rows = Manifest.load(manifest)
        if len(rows) != len(x):
            raise ConfigError(f"{manifest} has {len(rows)} images, {embeddings} {len(x)} rows")
    elif kept is not None:
        raise ConfigError("--kept needs --manifest")
    options = parse_settings(set_ or [])
    found = choose(method, x, count, seed=seed, threads=threads, **options)
    found.save(target, None if rows is None else rows.ids)
    if rows is not None and kept is not None:
        write_text(kept, "".join(f"{p}\n" for p in rows.take(found.indices).image_paths()))
    fates = ", ".join(f"{reason} {n}" for reason, n in found.counts().items() if n)
    typer.echo(f"{target}: {len(found)} of {found.n} kept by {found.method} ({fates})")


@app.command()
@guarded
def pretrain(
    manifest: Annotated[Path | None, typer.Argument(help="Manifest of the pool.")] = None,
    selection: Annotated[
        Path | None, typer.Option(help="What `select` kept of the pool; all without it.")
    ] = None,
    out: OutOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Pre-train a masked autoencoder on a pool or a selection; goes on from its checkpoint."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "pretrain") / "pretrain")
        return
    from meddel_fast.data.manifest import Manifest
    from meddel_fast.selectors import Selection

    rows, target = Manifest.load(_need(manifest, "a manifest")), _need(out, "--out FOLDER")
    chosen = None if selection is None else Selection.load(selection)
    if chosen is not None and chosen.n != len(rows):
        raise ConfigError(f"{selection} is of {chosen.n} samples, {manifest} has {len(rows)}")
    indices = None if chosen is None else chosen.indices
    values = from_table(PretrainConfig, parse_settings(set_ or []), "--set")

    def work(progress: Any) -> Any:
        from meddel_fast.pretrain import pretrain as train

        return train(rows, indices, target, values, device=device, progress=progress)

    def speed() -> str:
        from meddel_fast.speed import told

        return told(target)

    typer.echo(show_work("pretrain", "steps", work, speed))


@app.command()
@guarded
def evaluate(
    model: Annotated[Path | None, typer.Argument(help="Folder of the encoder.")] = None,
    manifest: Annotated[Path | None, typer.Argument(help="Manifest with masks.")] = None,
    out: OutOption = None,
    test: Annotated[
        Path | None, typer.Option(help="Manifest to test on, when it is another one.")
    ] = None,
    train_split: Annotated[list[str], typer.Option(help="Repeatable.")] = ["train"],  # noqa: B006
    test_split: Annotated[list[str], typer.Option(help="Repeatable.")] = ["test"],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed of the head.")] = 0,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Train a segmentation head on an encoder and measure it on the test split."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "evaluate") / "evaluate")
        return
    from meddel_fast.data.manifest import Manifest
    from meddel_fast.files import read_json, write_json

    folder = _need(model, "the folder of an encoder")
    rows = Manifest.load(_need(manifest, "a manifest"))
    tested = rows if test is None else Manifest.load(test)
    size = {"image_size": read_json(folder / "config.json").get("image_size", 224)}
    values = from_table(DownstreamConfig, size | parse_settings(set_ or []), "--set")
    parts = (rows.splits(train_split).with_masks(), tested.splits(test_split).with_masks())

    def work(progress: Any) -> Any:
        from meddel_fast.downstream import evaluate as measure

        return measure(folder, *parts, values, seed=seed, device=device, progress=progress)

    result = show_work("evaluate", "steps", work)
    if out is not None:
        write_json(out, result)
    typer.echo(f"mIoU {result['miou']:.4f}  Dice {result['dice']:.4f}  ({result['images']} images)")


@app.command()
@guarded
def score(
    results: Annotated[
        Path | None, typer.Argument(help="A run directory, or a CSV with columns miou, retained.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Weight of the retained share.")] = 1.0,
    out: OutOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Print the table of a run, or add DEL and NormDEL to results of your own (fractions)."""
    if config is not None:
        _print_table(_run_stages(config, data_root, out, "score"))
        return
    path = _need(results, "a run directory or a CSV file")
    if path.is_dir():
        _print_table(path)
        return
    from meddel_fast.benchmark.score import score_csv
    from meddel_fast.files import write_text

    text = score_csv(path, alpha)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)


@app.command()
@guarded
def report(
    run_dir: Annotated[Path | None, typer.Argument(help="Run directory.")] = None,
    out: OutOption = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> None:
    """Write the report of a run: one HTML file."""
    if config is not None:
        typer.echo(_run_stages(config, data_root, out, "report") / "report" / "report.html")
        return
    from meddel_fast.report import render

    typer.echo(render(_need(run_dir, "a run directory"), out))


@app.command()
@guarded
def info() -> None:
    """Show versions, instruction sets, threads and devices."""
    from meddel_fast.benchmark.machine import cuda_device, hardware, versions

    found, machine = versions(), hardware()
    lines = {name: version or "not installed" for name, version in found.items()}
    built = "built" if machine["cuda_built"] else "not built"
    lines |= {
        "processor": machine["processor"],
        "threads": str(machine["threads"]),
        "memory": f"{machine['memory_gib']} GiB",
        "instruction set": f"{machine['isa']} (available: {', '.join(machine['available_isas'])})",
        "CUDA": f"kernels {built}, {cuda_device() or 'no CUDA device'}",
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:<{width}}  {value}")


def main() -> None:
    """Start the command line."""
    # Threads that sleep while they wait: with a competitor on one of two cores a training step
    # takes 0.15 s instead of 0.39 s, and 0.07 instead of 0.27 s of processor time (torch 2.13).
    # Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(prog_name="meddel-fast")


if __name__ == "__main__":
    main()
