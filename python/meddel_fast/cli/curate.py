"""``meddel-fast curate``: from images to the list of what is kept, on one machine or many."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meddel_fast.cli.console import parse_budget, progress_console, say
from meddel_fast.cli.documents import CurateDocument
from meddel_fast.cli.options import DeviceOption, SetOption
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings


def curate(
    source: Annotated[
        str,
        typer.Argument(
            help="Images: a folder, archive, WebDataset tars or a manifest; or embeddings: a file, "
            "or a folder. A path or a URL."
        ),
    ],
    budget: Annotated[str, typer.Option(help="What to keep: 500, 0.05 or 5%.")],
    out: Annotated[str, typer.Option(help="Place of the results, a path or a URL.")],
    method: Annotated[str, typer.Option(help="A name that 'select --list' shows.")] = "meddel",
    encoder: Annotated[
        str | None, typer.Option(help="Of images: folder of an encoder, or its name on the hub.")
    ] = None,
    dedup: Annotated[
        str,
        typer.Option(help="Cosine from which on two are near duplicates; 'none' drops none."),
    ] = "0.95",
    rule: Annotated[
        str, typer.Option(help="Which of them are dropped: semdedup, greedy or components.")
    ] = "semdedup",
    split: Annotated[
        list[str] | None, typer.Option(help="Only images of this split; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.")] = 0,
    set_: SetOption = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    pooling: Annotated[str, typer.Option(help="mean or cls.")] = "mean",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    device: DeviceOption = "auto",
    engine: Annotated[str, typer.Option(help="local, or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of Ray: auto, or where its head is; else one of its own.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many; by default all there are.")] = None,
    cpus: Annotated[int, typer.Option(help="Of Ray: cores of a worker.")] = 1,
    memory: Annotated[
        str | None, typer.Option(help="Of a worker, beside the encoder: 8GB; half of what is free.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of the local engine; all by default.")
    ] = None,
) -> CurateDocument:
    """Choose the images that are worth keeping: read, embed, deduplicate, select, list, report.

    Started again it goes on where it was. With other options, what depends on them is done anew.
    """
    from meddel_fast.benchmark.display import watch
    from meddel_fast.cluster.curation import KEPT_LIST, stages
    from meddel_fast.cluster.curation import curate as do_all
    from meddel_fast.cluster.plan import make_plan
    from meddel_fast.common import places

    options: dict[str, Any] = {
        "budget": parse_budget(budget),
        "method": method,
        "options": parse_settings(set_ or []),
        "seed": seed,
        "dedup": _threshold(dedup),
        "rule": rule,
        "encoder": encoder,
        "image_size": image_size,
        "batch_size": batch_size,
        "dtype": dtype,
        "pooling": pooling,
        "precision": precision,
        "device": device,
        "split": tuple(split or ()),
        "engine": engine,
        "address": address,
        "workers": workers,
        "cpus": cpus,
        "memory": memory,
        "threads": threads,
    }
    plan = make_plan(source, out, **options)
    with watch(stages(plan, plan.check()), progress_console()) as watcher:
        done = do_all(source, out, watcher=watcher, **options)
    for line in _told(done.record):
        say(line)
    say(f"{places.join(out, KEPT_LIST)}: {len(done.ids)} kept")
    return {"out": places.shown(done.place), "kept": len(done.ids), "record": done.record}


def _threshold(text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--dedup must be a cosine (0.95) or none, got '{text}'") from None


def _told(record: dict[str, Any]) -> list[str]:
    """Say what was left out on the way, and what was done again."""
    found = {name: stage["counts"] for name, stage in record["stages"].items()}
    lines = []
    if "manifest" in found:
        images = found["manifest"]
        text = f"{images['images']} images"
        if len(images["splits"]) > 1:
            text += f" ({', '.join(f'{s} {n}' for s, n in images['splits'].items())})"
        if images["skipped"]:
            reasons = ", ".join(f"{reason} {n}" for reason, n in images["skipped"].items())
            text += f"; {sum(images['skipped'].values())} skipped: {reasons}"
        lines += [text, *images["left_out"]]
        if "test" in images["splits"] and len(images["splits"]) > 1:
            lines.append("test images are among them: --split train leaves them out")
    if "duplicates" in found:
        duplicates = found["duplicates"]
        lines.append(f"{duplicates['dropped']} of {duplicates['samples']} are near duplicates")
    chosen = found["selection"]
    if chosen["wanted"] > chosen["kept"]:
        lines.append(
            f"{chosen['wanted']} were asked for, {chosen['left']} are left: all of these are kept"
        )
    lines += [f"{again['stage']}: {again['what']}" for again in record["again"]]
    return lines
