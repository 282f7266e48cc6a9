"""Stages that know when they are done: a key of settings and inputs, and a record of outputs.

A stage is *valid*, and skipped, when its record says "done", the record's key is the hash of the
present settings and inputs, and every output still has the content hash that was recorded. Size
and time alone would not show damage, so every output is hashed in full on every run: at about
1 GB/s, small beside what it saves. The images that a user gave are inputs, not outputs: they are
compared by path, size and modification time (`listing`), and hashed when the manifest is written.

The record says "begun" before the work starts and "done" after it ended. A stage found "begun"
under the same key goes on from the partial outputs its own work left (checkpoints, shards); under
another key, or when an output is damaged, its outputs are removed first and the work starts from
nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from meddel_fast import __version__
from meddel_fast.common.atomic import write_json
from meddel_fast.common.files import Progress, read_json, walk
from meddel_fast.common.hashes import sha256_file, sha256_json

# Results of one release series are comparable; another series redoes the stages.
SERIES = ".".join(__version__.split(".")[:2])


@dataclass(frozen=True)
class Stage:
    """One unit of work of a run.

    Attributes
    ----------
    name
        ``group/label``, unique; also the place of its record.
    outputs
        Files and folders that the work leaves; all must be there when it ends.
    inputs
        Gives all that decides the outputs, as JSON values: settings and hashes of inputs. Called
        when the stages before are done.
    work
        Makes the outputs.
    partial
        Further files and folders that an interrupted work leaves to go on from.
    unit
        What the work's progress counts; empty when a rate would say nothing.
    speed
        Tells how fast the work was, when it knows better than its progress shows; else empty.
    note
        Gives what the record says of the work besides; called when it is done.
    """

    name: str
    outputs: tuple[Path, ...]
    inputs: Callable[[], Mapping[str, Any]]
    work: Callable[[Progress], None]
    partial: tuple[Path, ...] = ()
    unit: str = "steps"
    speed: Callable[[], str] | None = None
    note: Callable[[], Mapping[str, Any]] | None = None

    @property
    def group(self) -> str:
        """The part of the name before the first slash."""
        return self.name.partition("/")[0]

    @property
    def label(self) -> str:
        """The part of the name after the first slash; empty when there is none."""
        return self.name.partition("/")[2]


class Watcher(Protocol):
    """Who is told what happens; see `display`."""

    def begin(self, stage: Stage, reason: str) -> None:
        """Take note that the work on `stage` starts, and why."""

    def progress(self, done: int, total: int) -> None:
        """Take note that the stage under work has done `done` of `total`."""

    def end(self, stage: Stage, skipped: bool, seconds: float) -> None:
        """Take note that `stage` is valid, after work or (`skipped`) as it was found."""


class Records:
    """The records of a run's stages, under ``<run>/stages``, and the hashes of valid outputs."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._digests: dict[Path, str] = {}

    def path(self, stage: Stage) -> Path:
        """Where the record of `stage` is."""
        return self._run_dir / "stages" / f"{stage.name}.json"

    def digest(self, path: Path) -> str:
        """Give the content hash of an output of a stage that is valid in this run."""
        return self._digests[path]

    def execute(self, stage: Stage, watcher: Watcher) -> None:
        """Make `stage` valid: skip it when it is, else do its work and record it."""
        inputs = dict(stage.inputs())
        key = sha256_json({"stage": stage.name, "series": SERIES, "inputs": inputs})
        record = self._read(stage)
        reason = self._invalid(stage, record, key)
        if not reason:
            watcher.end(stage, skipped=True, seconds=float(record["seconds"]))
            return
        resumed = record.get("state") == "begun" and record.get("key") == key
        if not resumed:
            remove(*stage.outputs, *stage.partial)
        record = {"stage": stage.name, "state": "begun", "key": key, "inputs": inputs}
        write_json(self.path(stage), record)
        watcher.begin(stage, "interrupted" if resumed else reason)
        start = time.monotonic()
        stage.work(watcher.progress)
        seconds = time.monotonic() - start
        self._finish(stage, record, seconds)
        watcher.end(stage, skipped=False, seconds=seconds)

    def _finish(self, stage: Stage, record: dict[str, Any], seconds: float) -> None:
        outputs = {os.path.relpath(path, self._run_dir): digest(path) for path in stage.outputs}
        self._remember(stage, outputs)
        done = {
            "state": "done",
            "outputs": outputs,
            "seconds": round(seconds, 3),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        note = dict(stage.note()) if stage.note is not None else {}
        write_json(self.path(stage), record | done | note)

    def _read(self, stage: Stage) -> dict[str, Any]:
        """Read the record; a missing or unreadable one is an empty one."""
        try:
            record = read_json(self.path(stage))
        except (FileNotFoundError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _invalid(self, stage: Stage, record: Mapping[str, Any], key: str) -> str:
        """Say why `stage` has to be done; empty when it is valid."""
        if not record:
            return "new"
        if record.get("key") != key:
            return "settings or inputs changed"
        if record.get("state") != "done":
            return "interrupted"
        recorded = record["outputs"]
        for path in stage.outputs:
            found = recorded.get(os.path.relpath(path, self._run_dir))
            if not path.exists():
                return f"{path.name} is missing"
            if found != digest(path, like=found):
                return f"{path.name} is damaged"
        self._remember(stage, recorded)
        return ""

    def _remember(self, stage: Stage, outputs: Mapping[str, Any]) -> None:
        for path in stage.outputs:
            found = outputs[os.path.relpath(path, self._run_dir)]
            self._digests[path] = found["sha256"]


def digest(path: Path, like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe a file or folder by content: ``{"sha256", "bytes", "files"}``.

    A folder's hash covers the relative paths and the contents of all files in it. When the sizes
    already differ from `like`, nothing is hashed and ``sha256`` is empty.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    size = sum(p.stat().st_size for p in files)
    found = {"sha256": "", "bytes": size, "files": len(files)}
    if like is not None and (like.get("bytes"), like.get("files")) != (size, len(files)):
        return found
    if not path.is_dir():
        return found | {"sha256": sha256_file(path)}
    lines = [f"{p.relative_to(path).as_posix()}\0{sha256_file(p)}" for p in files]
    return found | {"sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def listing(root: Path) -> str:
    """Hash the path, size and modification time of a file, or of all files below a folder."""
    if root.is_file():
        status = root.stat()
        return hashlib.sha256(
            f"{root}\0{status.st_size}\0{status.st_mtime_ns}".encode()
        ).hexdigest()
    if not root.is_dir():
        raise FileNotFoundError(f"data folder not found: {root}")
    lines = []
    for folder, folders, names in walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - 10x faster than Path on 100k files
            try:
                status = os.stat(path)  # noqa: PTH116
            except OSError:  # a link that leads nowhere, or in a circle
                status = os.lstat(path)
            lines.append(f"{path}\0{status.st_size}\0{status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def remove(*paths: Path) -> None:
    """Delete files and folders, those that exist."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def settings(config: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give a settings dataclass as a dict, without fields that do not change results."""
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in without}
