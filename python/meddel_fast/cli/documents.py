"""What each command prints with ``--json``: the keys of its document, and their types.

A key that only some ways of calling a command have is marked so. Every document has two more:
``format`` (1; it changes when a key goes or changes its meaning, not when one comes) and
``command``. Numbers that are none (NaN, infinity) are null, paths are texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import NotRequired, TypedDict


class StageDocument(TypedDict):
    """Of a command that brought the stages of a run up to date, with ``--config``."""

    out: NotRequired[Path | None]
    """Where the result lies; null where none was written."""


class TablesDocument(TypedDict):
    """The tables of a run, as they lie in its folder ``score``; those that it has."""

    scores: NotRequired[list[dict[str, Any]]]
    statistics: NotRequired[dict[str, Any]]
    probe: NotRequired[dict[str, Any]]
    floors: NotRequired[dict[str, Any] | list[dict[str, Any]]]
    selections: NotRequired[dict[str, Any] | list[dict[str, Any]]]
    tasks: NotRequired[list[dict[str, Any]] | dict[str, Any]]
    given: NotRequired[dict[str, Any]]


class RunDocument(TablesDocument):
    """``run``."""

    run: NotRequired[Path]
    splits: NotRequired[dict[str, list[str]]]
    leakage: NotRequired[list[dict[str, Any]]]
    report: NotRequired[Path]
    stages: NotRequired[list[str]]
    expected: NotRequired[list[str]]
    not_there_yet: NotRequired[list[str]]


class EmbedDocument(StageDocument):
    """``embed``."""

    embeddings: NotRequired[int]
    features: NotRequired[int]


class CurateDocument(TypedDict):
    """``curate``: ``record`` is what ``curate.json`` at the place says."""

    out: str
    kept: int
    record: dict[str, Any]


class ExportDocument(TypedDict):
    """``export``: how many of each were written, and of how many kept images nothing was."""

    out: Path
    kind: str
    images: int
    masks: int
    boxes: int
    files: int
    left_out: int


class LeakageDocument(StageDocument):
    """``leakage``."""

    equal: NotRequired[list[dict[str, Any]]]
    leaks: NotRequired[list[dict[str, Any]]]
    sight: NotRequired[list[str]]


class KeptDocument(TypedDict):
    """A selection: how many of how many, and what became of the samples."""

    out: Path
    method: str
    n: int
    kept: int
    counts: dict[str, int]
    settings: dict[str, Any]


class MethodDocument(TypedDict):
    """A method of selection; ``plugin`` is null of our own."""

    name: str
    paper: str
    cost: str
    exact: str
    nested: bool
    good_for: str
    plugin: dict[str, str] | None


class SelectDocument(StageDocument):
    """``select``."""

    selections: NotRequired[list[KeptDocument]]
    methods: NotRequired[list[MethodDocument]]
    unusable: NotRequired[list[str]]


class SweepDocument(TypedDict):
    """What one threshold keeps."""

    threshold: float
    kept: int
    share: float
    pairs: int


class DedupDocument(StageDocument):
    """``dedup``."""

    n: int
    rule: str
    threshold: float | None
    kept: int | None
    sweep: list[SweepDocument]
    table: Path | None
    sheet: Path | None


class AuditDocument(StageDocument):
    """``audit``."""

    method: str
    samples: int
    kept: int
    share: float
    columns: list[dict[str, Any]]


class HierarchyDocument(StageDocument):
    """``hierarchy``."""

    n: int
    levels: list[int]


class ProbeDocument(StageDocument):
    """``probe``: the tables that ``--out`` gets as files."""

    tables: dict[str, Any]


class ErrorsDocument(StageDocument):
    """``errors``."""

    errors: int
    mean: float


class TileDocument(StageDocument):
    """``tile``."""

    images: int
    patches: int


class EvaluateDocument(StageDocument):
    """``evaluate``."""

    result: NotRequired[dict[str, Any]]
    predictions: NotRequired[Path | None]


class ScoreDocument(TablesDocument):
    """``score``: the tables of a run, or own results with NormDEL."""

    out: NotRequired[Path | None]
    run: NotRequired[Path]
    results: NotRequired[list[dict[str, float]]]
    result: NotRequired[dict[str, Any]]
    notes: NotRequired[list[str]]


class WrongDocument(TypedDict):
    """A result that does not agree."""

    name: str
    reason: str


class VerifyDocument(TypedDict):
    """``verify``."""

    results: int
    agree: int
    wrong: list[WrongDocument]


class LeaderboardDocument(StageDocument):
    """``leaderboard``."""

    boards: list[dict[str, Any]]
    notes: list[str]


class PluginDocument(TypedDict):
    """A plug-in, and why it cannot be used (empty where it can, as far as is known)."""

    kind: str
    name: str
    package: str
    version: str
    trouble: str


class InfoDocument(TypedDict):
    """``info``."""

    versions: dict[str, str | None]
    hardware: dict[str, Any]
    cuda_device: str | None
    plugins: list[PluginDocument]


class PackageDocument(TypedDict):
    """A package that a feature needs, and the version that is here (null: none)."""

    name: str
    wanted: str
    found: str | None
    state: str


class FeatureDocument(TypedDict):
    """What an extra brings, and what of it is here; ``state`` is ready, missing or old."""

    extra: str
    purpose: str
    state: str
    install: str
    packages: list[PackageDocument]


class DoctorDocument(TypedDict):
    """``doctor``."""

    healthy: bool
    wrong: list[str]
    python: str
    version: str
    features: list[FeatureDocument]
    processor: dict[str, Any]
    gpu: dict[str, Any]
    memory: dict[str, int]
    disks: dict[str, dict[str, int]]
    credentials: dict[str, bool]
    ray: dict[str, Any]
    plugins: list[PluginDocument]


class DataListDocument(TypedDict):
    """``data list``."""

    sets: list[dict[str, Any]]


class DataCheckDocument(TypedDict):
    """``data check``."""

    sets: list[dict[str, Any]]
    unclaimed: list[str]


class ManifestDocument(StageDocument):
    """``data build`` and ``data show``."""

    manifest: NotRequired[Path]
    images: NotRequired[int]
    splits: NotRequired[dict[str, int]]
    notes: NotRequired[list[str]]
    masks: NotRequired[list[str]]
    skipped: NotRequired[list[dict[str, Any]]]
    left_out: NotRequired[dict[str, Any] | None]


class QualityDocument(StageDocument):
    """``data quality``."""

    images: int
    columns: dict[str, list[float]]
    limits: dict[str, dict[str, Any]]
    broken: int
    unread: dict[str, str]
    flawed: Path | None


class MakeDocument(TypedDict):
    """``data make``."""

    manifest: Path
    images: int
    splits: dict[str, int]


class IndexDocument(TypedDict):
    """``index`` and what follows it: what the index then holds."""

    index: Path
    samples: int
    kept: int
    settings: dict[str, Any]


class IndexAddDocument(IndexDocument):
    """``index add``."""

    added: int
    added_kept: int


class IndexRemoveDocument(IndexDocument):
    """``index remove``."""

    removed: int
    readmitted: int
    covered: int


class IndexShowDocument(IndexDocument):
    """``index show``."""

    kept_list: Path | None
