"""Results of many runs and machines in one table, compared only where they are comparable.

Two results belong to one *protocol* when all that could move a score is equal but for what is
compared: selector with its options, ratio, and seeds. That covers the pool's content, every
setting of the encoder, of pre-training and of the heads, and the release series. Data sets are told
apart by content: one name with other images, masks or splits is another data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meddel_fast.benchmark.results import (
    Result,
    floors_of_run,
    masked_rows,
    read_run,
    results_of_run,
    segmented_sets,
)
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.scores.score import as_csv
from meddel_fast.benchmark.verify import is_verified
from meddel_fast.common.atomic import atomic_path, write_text
from meddel_fast.common.extras import needs
from meddel_fast.common.files import read_json
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.outputs import folder_with
from meddel_fast.common.untrusted import check_fields, described
from meddel_fast.common.urls import local_path
from meddel_fast.selectors import Selection

COLUMNS = (
    *("protocol", "selector", "options", "ratio", "retained", "kept", "pool"),
    *("dataset", "data_hash", "training_seed", "head_seed", "miou", "dice"),
    *("normdel", "verified"),
    *("run", "machine", "package", "config_hash", "pool_hash", "result_sha256", "finished"),
)
# Settings that decide what is compared or where, not how.
_COMPARED = (
    *("name", "out", "seed", "seeds", "repeats", "ratios", "selectors", "selector_options"),
    *("alpha", "alphas", "device", "threads", "cost", "data", "measures", "probe"),
)
_NO_EFFECT = ("seed", "checkpoint_every", "workers", "compile")
_PLACES = ("out", "device", "threads")
_SCORES = {"miou": float, "dice": float}


@dataclass(frozen=True)
class Entry:
    """One result with its provenance: the columns `COLUMNS`, and the file of its predictions.

    ``groups`` name the video or patient of each test image, see `bootstrap.whole_groups`;
    ``untrained`` are the predictions of the untrained encoder of the same repetition, head and set.
    """

    row: Mapping[str, Any]
    predictions: Path
    groups: tuple[str, ...]
    untrained: Path | None = None

    @property
    def label(self) -> str:
        """The selector, with its options where it has any."""
        options = self.row["options"]
        return f"{self.row['selector']} ({options})" if options else str(self.row["selector"])


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """Find run directories: the folders themselves, or those right below them.

    Raises
    ------
    FileNotFoundError
        A folder is no run directory and holds none.
    """
    runs: list[Path] = []
    for folder in folders:
        folder = local_path(folder, "a run")
        below = sorted(p.parent for p in folder.glob("*/run.json"))
        found = [folder] if (folder / "run.json").is_file() else below
        if not found:
            raise FileNotFoundError(f"folders must hold runs, {folder} has no run.json in or below")
        runs += [run for run in found if run not in runs]
    return runs


def collect(runs: Iterable[Path], alpha: float = 1.0) -> tuple[list[Entry], list[str]]:
    """Read the results of runs.

    Parameters
    ----------
    runs
        Run directories.
    alpha
        NormDEL's weight.

    Returns
    -------
    entries
        One for each result with saved predictions.
    notes
        What was left out, and why.

    Raises
    ------
    FileNotFoundError, ValueError
        A file of a run is missing or damaged.
    """
    entries: list[Entry] = []
    notes: list[str] = []
    for run_dir in runs:
        about = read_run(run_dir)
        results = results_of_run(run_dir, about)
        whole = [r for r in results if r.path.is_file() and r.predictions.is_file()]
        if len(whole) < len(results):
            missing = len(results) - len(whole)
            notes.append(
                f"{about['name']}: {missing} of {len(results)} results are not there, or without "
                "saved predictions"
            )
        if not results:
            notes.append(f"{about['name']}: it segments nothing by encoders that it trained")
        if whole:
            with described(run_dir / "run.json", "description of a run to compare"):
                entries += _entries(run_dir, about, whole, alpha)
    return entries, notes


def _entries(
    run_dir: Path, about: dict[str, Any], results: Sequence[Result], alpha: float
) -> list[Entry]:
    config = about["config"]
    tested = segmented_sets(config)
    data = {d["name"]: _data_hash(run_dir, d) for d in tested}
    groups = {d["name"]: tuple(masked_rows(run_dir, d, "test").column("group")) for d in tested}
    shared = {
        **(_of_given(about) if "given" in about else _of_run(run_dir, about, results)),
        "run": about["name"],
        "machine": _machine(about),
        "package": about.get("versions", {}).get("meddel-fast"),
        "config_hash": config_hash(config),
    }
    kept = {r.tag: _kept(run_dir, r, shared["pool"]) for r in results}
    floors = {
        (r.data, r.repeat, r.seed): r.predictions
        for r in floors_of_run(run_dir, about)
        if r.predictions.is_file()
    }
    first_seed = 0 if "given" in about else config["seed"] + config["pretrain"]["seed"]
    entries = []
    for result in results:
        scores = _checked(result.path, _SCORES)
        count = kept[result.tag]
        share = result.ratio if count is None else count / shared["pool"]
        row = {
            **shared,
            "selector": result.selector,
            "options": _options(config, result.selector),
            "ratio": result.ratio,
            "retained": share,
            "kept": count,
            "dataset": result.data,
            "data_hash": data[result.data],
            "training_seed": first_seed + result.repeat,
            "head_seed": result.seed,
            "miou": scores["miou"],
            "dice": scores["dice"],
            "normdel": normdel(scores["miou"], share, alpha),
            "verified": is_verified(run_dir, result),
            "result_sha256": sha256_file(result.path),
            "finished": _finished(run_dir, result),
        }
        columns = {name: row[name] for name in COLUMNS}
        floor = floors.get((result.data, result.repeat, result.seed))
        entries.append(Entry(columns, result.predictions, groups[result.data], floor))
    return entries


def _of_run(run_dir: Path, about: Mapping[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """Give protocol and pool of a run."""
    from meddel_fast.images.manifest import Manifest

    pool = Manifest.load(run_dir / "data" / "pretrain.parquet")
    encoder = _checked(run_dir / "embeddings" / "index.json", {"encoder_sha256": str})
    precision = _checked(results[0].path, {"precision": str})["precision"]
    return {
        "protocol": protocol(about, pool.fingerprint, precision, encoder["encoder_sha256"]),
        "pool": len(pool),
        "pool_hash": pool.fingerprint,
    }


def _of_given(about: Mapping[str, Any]) -> dict[str, Any]:
    """Give the protocol of given predictions: how they were scored, and the name of their run.

    How the models were trained nobody can know from them: that it is comparable says who gives
    two runs one name.
    """
    parts = {"given": about["given"]["scoring"], "name": about["name"], "series": _series(about)}
    return {"protocol": sha256_json(parts), "pool": None, "pool_hash": ""}


def _series(about: Mapping[str, Any]) -> str:
    version = str(about.get("versions", {}).get("meddel-fast", ""))
    return ".".join(version.split(".")[:2])


def _checked(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Read a JSON object with certain fields."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold an object, got {found!r:.80}")
    check_fields(path, found, fields, "result of a run")
    return found


def protocol(about: Mapping[str, Any], pool_hash: str, precision: str, encoder: str) -> str:
    """Hash all that must be equal for results to be compared.

    Parameters
    ----------
    about
        The run's ``run.json``.
    pool_hash
        Fingerprint of the pool.
    precision
        What "auto" came to on the run's device.
    encoder
        Hash of the encoder's files. It counts where the encoder was given; one that the run
        trained is a matter of its seed.
    """
    config = about["config"]
    how = {key: value for key, value in config.items() if key not in _COMPARED}
    how["pretrain"] = {k: v for k, v in config["pretrain"].items() if k not in _NO_EFFECT}
    how["encoder"] = {k: v for k, v in config["encoder"].items() if k != "batch_size"}
    if how["encoder"]["path"]:
        how["encoder"]["path"] = encoder
    parts = {
        "settings": how,
        "pool": pool_hash,
        "series": _series(about),
        "precision": precision,
    }
    return sha256_json(parts)


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash the settings of a run, without where it and its data lie and what it runs on."""
    settings = {key: value for key, value in config.items() if key not in _PLACES}
    settings["data"] = [
        {k: v for k, v in data.items() if k not in ("path", "splits")} for data in config["data"]
    ]
    return sha256_json(settings)


def _data_hash(run_dir: Path, data: dict[str, Any]) -> str:
    rows = (masked_rows(run_dir, data, which) for which in ("train", "test"))
    return sha256_json([manifest.fingerprint for manifest in rows])


def _kept(run_dir: Path, result: Result, pool: int | None) -> int | None:
    """Count the images kept; None of given predictions, which do not tell."""
    if pool is None:
        return None
    if result.selector == "full":
        return pool
    return len(Selection.load(run_dir / "select" / f"{result.tag}.parquet"))


def _options(config: Mapping[str, Any], selector: str) -> str:
    options = config.get("selector_options", {}).get(selector, {})
    return ", ".join(f"{k}={v}" for k, v in sorted(options.items()) if k != "seed")


def _machine(about: Mapping[str, Any]) -> str:
    hardware = about.get("hardware", {})
    return f"{hardware.get('processor', 'unknown')}, {hardware.get('system', 'unknown')}"


def _finished(run_dir: Path, result: Result) -> str | None:
    record = run_dir / "stages" / "evaluate" / f"{result.name}.json"
    return read_json(record).get("finished") if record.is_file() else None


def without_copies(entries: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Keep one of the entries that tell of the same run: a verified one, else the first.

    Returns
    -------
    entries
        No two of one protocol, selection, data set and seeds.
    notes
        How many copies there were, and by how much any differ.
    """
    same = ("protocol", "selector", "options", "ratio", "dataset", "data_hash")
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        key = tuple(entry.row[name] for name in (*same, "training_seed", "head_seed"))
        groups.setdefault(key, []).append(entry)
    copies = [group for group in groups.values() if len(group) > 1]
    notes = []
    if copies:
        spreads = [max(e.row["miou"] for e in g) - min(e.row["miou"] for e in g) for g in copies]
        differing = sum(spread > 0 for spread in spreads)
        notes.append(
            f"{len(copies)} results were given by more than one run and count once; "
            + (
                f"{differing} of them differ, by up to {100 * max(spreads):.2f} points of mIoU"
                if differing
                else "all copies are equal"
            )
        )
    return [next((e for e in g if e.row["verified"]), g[0]) for g in groups.values()], notes


def data_names(entries: Sequence[Entry]) -> dict[tuple[str, str], str]:
    """Name data sets by (name, content); a name with several contents gets its hash's beginning."""
    pairs = list(dict.fromkeys((e.row["dataset"], e.row["data_hash"]) for e in entries))
    often = Counter(name for name, _ in pairs)
    return {
        (name, content): f"{name} #{content[:6]}" if often[name] > 1 else name
        for name, content in pairs
    }


FOLDER = folder_with("a leaderboard", "leaderboard.csv", "leaderboard.parquet")
"""What :func:`write_table` fills."""


def write_table(folder: Path, entries: Sequence[Entry]) -> None:
    """Write every entry, copies too, as ``leaderboard.parquet`` and ``leaderboard.csv``."""
    with needs("benchmark"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    rows = [dict(entry.row) for entry in entries]
    write_text(folder / "leaderboard.csv", as_csv(COLUMNS, rows))
    with atomic_path(folder / "leaderboard.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(rows), temporary)
