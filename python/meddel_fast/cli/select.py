"""``meddel-fast select``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meddel_fast.cli.console import (
    load_embeddings,
    parse_budget,
    say,
    say_place,
    say_result,
    show_work,
    unchanged,
)
from meddel_fast.cli.context import given
from meddel_fast.cli.documents import MethodDocument, SelectDocument
from meddel_fast.cli.groups import complete
from meddel_fast.cli.options import (
    ConfigOption,
    OutOption,
    RootOption,
    SetOption,
    need,
    refuse_beside,
    run_stages,
)
from meddel_fast.cli.selection_file import about, reuse
from meddel_fast.common.columns import aligned
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.toml import parse_settings

if TYPE_CHECKING:
    from meddel_fast.images.manifest import Manifest
    from meddel_fast.selectors import Selection

_BUDGET = "{budget}"
_COLUMN = "manifest:"


def select(
    embeddings: Annotated[
        Path | None,
        typer.Argument(help="A .npy, .safetensors or .parquet file, or a folder of embed."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="A name that --list shows.", autocompletion=complete("selector"))
    ] = "meddel",
    budget: Annotated[
        str | None, typer.Option(help="500, 0.05 or 5%; or several: 5%,10%,20%.")
    ] = None,
    out: OutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads; all by default.")] = None,
    set_: SetOption = None,
    array: Annotated[
        list[str] | None,
        typer.Option(
            "--array",
            metavar="NAME=FILE",
            help="exclude, groups, classes, weights, selected, score, strata or labels, from a "
            ".npy file, a .txt file with a line a sample, or (exclude, selected) a saved "
            "selection; like or unlike, embeddings of any number of samples; hierarchy=FILE, what "
            "hierarchy wrote. groups=manifest takes the manifest's, classes=manifest:label or "
            "weights=manifest:sharpness a column of it. Repeatable.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest of the samples: adds their names.")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option(help="Also list the kept images here; needs --manifest.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the methods, and end.")] = False,
    saved: Annotated[
        Path | None,
        typer.Option("--from", help="Show a saved selection; --out .txt, .csv or .npy lists it."),
    ] = None,
    config: ConfigOption = None,
    data_root: RootOption = None,
) -> SelectDocument:
    """Select the samples that are worth keeping, exactly as many as asked for.

    With several budgets --out (and --kept) hold {budget}, for example sel-{budget}.parquet.
    """
    if list_:
        refuse_beside("--list", "list_")
        return _tell_methods()
    if saved is not None:
        refuse_beside("--from", "saved", "out", "manifest", "kept")
        return {"selections": [reuse(saved, out, manifest, kept)]}
    if config is not None:
        return {"out": say_place(run_stages(config, data_root, out, "select") / "select")}
    from meddel_fast.common.outputs import NAMES, check_output
    from meddel_fast.selectors import check_options
    from meddel_fast.selectors import select as choose
    from meddel_fast.selectors.export import LISTS, write_list
    from meddel_fast.selectors.selection import SAVED

    target, budgets = need(out, "--out SELECTION.parquet"), need(budget, "--budget").split(",")
    inputs = [embeddings, manifest, *(text.partition("=")[2] for text in array or [])]
    for text in budgets:
        check_output(_named(target, text), LISTS.get(target.suffix, SAVED), inputs)
        if kept is not None:
            check_output(_named(kept, text), NAMES, [*inputs, _named(target, text)])
    source = need(embeddings, "a file of embeddings")
    x = load_embeddings(source, whole=False)
    counts = [parse_budget(text.strip()) for text in budgets]
    for path in (target, kept):
        if len(counts) > 1 and path is not None and _BUDGET not in str(path):
            raise ConfigError(f"{len(counts)} budgets need {_BUDGET} in the name {path}")
    rows = None
    if manifest is not None:
        from meddel_fast.images.manifest import Manifest

        rows = Manifest.load(manifest)
        if len(rows) != len(x):
            raise ConfigError(f"{manifest} has {len(rows)} images, {embeddings} {len(x)} rows")
    elif kept is not None:
        raise ConfigError("--kept needs --manifest")
    options = _options(parse_settings(set_ or []), _arrays(array or [], rows))
    options = {"seed": seed, "threads": threads} | options
    check_options(method, options, len(x))
    paths = [_named(target, text) for text in budgets]

    def work(progress: Any) -> list[Selection]:
        with unchanged(source):
            found = choose(method, x, counts, progress=progress, **options)
        for path, selection in zip(paths, found, strict=True):
            names = None if rows is None else rows.ids
            if path.suffix in LISTS:
                write_list(selection, path, names)
            else:
                selection.save(path, names, data=x)
        return found

    found = show_work("select", "", work)
    for text, path, selection in zip(budgets, paths, found, strict=True):
        _tell(selection, path, rows, None if kept is None else _named(kept, text))
    return {"selections": [about(one, path) for path, one in zip(paths, found, strict=True)]}


def _tell_methods() -> SelectDocument:
    """Print a line for each method: name, paper, cost, exactness, nesting, use, of whom it is."""
    from meddel_fast.common.plugins import PluginError, plugins
    from meddel_fast.selectors import METHODS, SELECTORS, find_selector

    known, unusable = [*METHODS.values()], list[str]()
    for plugin in plugins("selector", SELECTORS):
        try:
            if plugin.refused:
                raise plugin.error(plugin.refused)
            known.append(find_selector(plugin.name).method)
        except (ImportError, PluginError) as error:
            unusable.append(str(error))
    heads = ("method", "paper", "cost", "exact", "budgets", "good for")
    lines = []
    for m in known:
        of = "" if m.plugin is None else f" ({m.plugin.package} {m.plugin.version})"
        nested = "nested" if m.nested else "-"
        lines.append((m.name, m.paper, m.cost, m.exact, nested, m.good_for + of))
    for line in [*aligned([heads, *lines], len(heads)), *unusable]:
        say(line)
    methods: list[MethodDocument] = [
        {
            "name": m.name,
            "paper": m.paper,
            "cost": m.cost,
            "exact": m.exact,
            "nested": m.nested,
            "good_for": m.good_for,
            "plugin": None if m.plugin is None else m.plugin.origin,
        }
        for m in known
    ]
    return {"methods": methods, "unusable": unusable}


def _named(path: Path, budget: str) -> Path:
    return Path(str(path).replace(_BUDGET, budget.strip()))


def _tell(selection: Selection, target: Path, rows: Manifest | None, kept: Path | None) -> None:
    from meddel_fast.common.atomic import write_text

    if rows is not None and kept is not None:
        paths = rows.take(selection.indices).image_paths()
        write_text(kept, "".join(f"{path}\n" for path in paths))
    fates = ", ".join(f"{reason} {n}" for reason, n in selection.counts().items() if n)
    say_result(target, f"{len(selection)} of {selection.n} kept by {selection.method} ({fates})")


def _arrays(texts: list[str], rows: Manifest | None) -> dict[str, Any]:
    """Load the options that hold a value for each sample."""
    loaded: dict[str, Any] = {}
    columns: dict[str, str] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not (name and equals and where):
            raise ConfigError(f"--array must be NAME=FILE, got '{text}'")
        if name in loaded or name in columns:
            raise ConfigError(f"--array {name} is given twice")
        if where.startswith(_COLUMN) or (where == "manifest" and name in ("groups", "classes")):
            columns[name] = where
        else:
            loaded[name] = _load(name, Path(where))
    left_out = loaded.get("exclude")
    return loaded | {name: _column(name, columns[name], rows, left_out) for name in columns}


def _column(name: str, where: str, rows: Manifest | None, left_out: Any) -> Any:
    """Return a manifest's column, by default that of the groups, in which null stands for none.

    Of images that a mask leaves out, other columns need not tell: the lowest value stands for it.
    """
    import numpy as np

    if rows is None:
        raise ConfigError(f"--array {name}={where} needs --manifest")
    column = where.partition(":")[2] or "group"
    values = rows.column(column)
    if name in ("groups", "classes"):
        return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)
    mask = np.asarray(left_out)
    masked = mask.dtype == np.bool_ and mask.shape == (len(values),)
    missing = sum(v is None and not (masked and mask[i]) for i, v in enumerate(values))
    known = [value for value in values if value is not None]
    if missing or not known:
        raise ConfigError(
            f"--array {name}={where}: {missing} of {len(values)} images have no {column}"
        )
    return np.array([min(known) if value is None else value for value in values])


def _options(settings: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    """Join what --set and --array give; refuse what is given in two ways."""
    also = given("seed", "threads") | set(arrays)
    twice = sorted(set(settings) & also)
    if twice:
        raise ConfigError(f"{twice[0]} is given by --set and by an option of its own")
    return settings | arrays


def _load(name: str, path: Path) -> Any:
    import numpy as np

    from meddel_fast.common.npy import load_npy

    if not path.exists() or (path.is_dir() and name not in ("like", "unlike")):
        raise FileNotFoundError(f"--array {name}: no file {path}")
    if name in ("like", "unlike"):
        return load_embeddings(path)
    if name == "hierarchy":
        from meddel_fast.selectors import HierarchyResult

        return HierarchyResult.load(path)
    if path.suffix == ".parquet" and name in ("exclude", "selected"):
        from meddel_fast.selectors import Selection

        saved = Selection.load(path)
        return saved.mask if name == "exclude" else saved.order
    if path.suffix == ".txt":
        return np.array(path.read_text(encoding="utf-8").splitlines())
    try:
        return load_npy(path)
    except ValueError as error:
        raise ConfigError(f"--array {name}: {error}") from None
