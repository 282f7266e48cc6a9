"""The stages of a run, in order: which they are, what each one depends on, which module does it.

Only this file knows how the modules are put together; `stage` runs what is planned here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import check_int
from meddel_fast.benchmark import beyond, leak_stages, task_stages
from meddel_fast.benchmark.results import predictions_path, repeated, result_path
from meddel_fast.benchmark.share import share_training
from meddel_fast.benchmark.stage import Records, Stage, listing, settings
from meddel_fast.config import ConfigError, DataConfig, PretrainConfig, RunConfig
from meddel_fast.files import Progress, sha256_file, sha256_json, write_json
from meddel_fast.selectors import DRAW_NOTHING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meddel_fast.data.manifest import Manifest

FULL = "full-100"
MAE_LOSS = "mae"  # for a selector's option `score`
GROUPS = (
    *("make", "data", "encoder", "pretrain", "embed", "leakage", "select"),
    *("evaluate", "generalisation", "score", "report"),
)
# Fields of PretrainConfig that cannot change the weights, but for how they are rounded.
_NO_EFFECT = ("checkpoint_every", "workers", "compile")


def tag(selector: str, ratio: float) -> str:
    """Name a selection: ``kcenter-5``; ratio 1 is the same for all selectors."""
    return FULL if ratio == 1 else f"{selector}-{100 * ratio:g}"


def tags(config: RunConfig) -> list[tuple[str, str, float]]:
    """List what is scored: (tag, selector, ratio), the full pool first, then by falling ratio."""
    ratios = sorted(config.ratios, reverse=True)
    full = [(FULL, "full", 1.0)] if 1.0 in ratios else []
    return full + [(tag(s, r), s, r) for r in ratios if r < 1 for s in config.selectors]


def build(config: RunConfig, records: Records) -> list[Stage]:
    """List the stages of a run in the order of their work.

    Raises
    ------
    ConfigError
        An unknown selector, or an option that it does not have.
    """
    check_selectors(config)
    check_sets(config)
    plan = _Plan(config, records)
    clean = config.leakage.exclude
    whole = _Plan(config, records, "pool") if clean else plan
    own = not config.encoder.path
    scored, repeats = tags(config), range(config.repeats)
    full_first = (own and not config.encoder.steps) or 1.0 in config.ratios
    full = [plan.pretrain(FULL, None)] if full_first else []
    return [
        *(plan.make(d) for d in config.data if d.made is not None),
        *(plan.scan(d) for d in config.data),
        whole.pool(),
        *([whole.own_encoder()] if own and config.encoder.steps else []),
        *([] if clean else full),
        whole.embed(),
        *leak_stages.stages(whole),
        *([leak_stages.clean(whole, plan), *full] if clean else []),
        *(
            plan.select(s, repeat)
            for repeat in repeats
            for s in config.selectors
            if min(config.ratios) < 1 and (repeat == 0 or s not in DRAW_NOTHING)
        ),
        *(
            plan.pretrain(repeated(t, repeat), plan.selected(t, s, repeat), repeat, ratio)
            for repeat in repeats
            for t, s, ratio in scored
            if (t, repeat) != (FULL, 0)
        ),
        *(
            plan.evaluate(repeated(t, repeat), d, seed)
            for repeat in repeats
            for t, _, _ in scored
            for d in task_stages.segmented(config)
            for seed in config.seeds
        ),
        *beyond.stages(plan),
        plan.score(),
        plan.report(),
    ]


def check_selectors(config: RunConfig) -> None:
    """Refuse unknown selectors and unknown options of selectors."""
    from meddel_fast.selectors import check_options

    across = config.generalisation.selectors if config.generalisation else ()
    for name in dict.fromkeys((*config.selectors, *across)):
        options = config.selector_options.get(name, {})
        try:
            check_options(name, options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"selectors: {error}") from None
        if "score" in options and (options["score"] != MAE_LOSS or config.encoder.path):
            raise ConfigError(
                f'[selectors.{name}] score must be "{MAE_LOSS}", the loss of the encoder that the '
                f"run trains itself, got {options['score']!r}"
                + (" with an encoder given by [encoder] path" if config.encoder.path else "")
            )


def check_sets(config: RunConfig) -> None:
    """Refuse data sets that the registry does not have."""
    from meddel_fast.data.registry import known_set

    for data in config.data:
        if data.set:
            try:
                known_set(data.set)
            except ValueError as error:
                raise ConfigError(f"[[data]] '{data.name}' set: {error}") from None


class _Plan:
    """Makes the stages of one run; each method one kind of stage.

    `pool` is "pretrain", or "pool" for the stages that see the pool with what leaked into it.
    """

    def __init__(self, config: RunConfig, records: Records, pool: str = "pretrain") -> None:
        self.config = config
        self.records = records
        self.out = config.out
        self.pool_path = self.out / "data" / f"{pool}.parquet"
        beside = "" if pool == "pretrain" else "leakage"
        self.embeddings = self.out / beside / "embeddings"
        self._manifests: dict[tuple[Path, str], Manifest] = {}
        self._trained: dict[str, tuple[str, Path]] = {}  # inputs -> stage and folder that has them

    # Where things are

    def manifest_path(self, name: str) -> Path:
        return self.out / "data" / f"{name}.parquet"

    def root(self, data: DataConfig) -> Path:
        return self.out / "data" / data.name if data.path is None else data.path

    def model(self, name: str) -> Path:
        return self.out / "pretrain" / name / "model"

    def selection(self, name: str) -> Path:
        return self.out / "select" / f"{name}.parquet"

    def selected(self, name: str, selector: str, repeat: int) -> Path | None:
        """Give the selection of a repetition; None for all data."""
        if name == FULL:
            return None
        return self.selection(name if selector in DRAW_NOTHING else repeated(name, repeat))

    def result(self, name: str, data: DataConfig, seed: int) -> Path:
        return result_path(self.out, name, data.name, seed)

    @property
    def embedding_model(self) -> Path:
        """The run's own encoder."""
        own = self.out / "encoder" / "model"
        return own if self.config.encoder.steps else self.model(FULL)

    # What the stages share

    def manifest(self, path: Path) -> Manifest:
        from meddel_fast.data.manifest import Manifest

        key = (path, self.records.digest(path))
        if key not in self._manifests:
            self._manifests[key] = Manifest.load(path)
        return self._manifests[key]

    def pool_fingerprint(self) -> str:
        return self.manifest(self.pool_path).fingerprint

    def with_masks(self, data: DataConfig, splits: tuple[str, ...]) -> Manifest:
        """Give the usable rows of some splits that have a mask."""
        rows = self.manifest(self.manifest_path(data.name)).splits(splits).with_masks()
        if len(rows) == 0:
            raise ConfigError(
                f"data set '{data.name}': no image with a mask in splits {list(splits)}"
            )
        return rows

    def head_rows(self, data: DataConfig) -> Manifest:
        """Give the rows that the head which segments a data set is trained on."""
        return self.with_masks(data, data.train_splits)

    def truths(self) -> dict[str, Path]:
        """Find what was planted, for the sets of the pool that say so."""
        paths = {d.name: self.root(d) / "truth.parquet" for d in self.config.data}
        return {
            d.name: paths[d.name]
            for d in self.config.data
            if "pretrain" in d.use and paths[d.name].is_file()
        }

    def use_threads(self) -> None:
        if self.config.threads is not None:
            import torch

            torch.set_num_threads(self.config.threads)

    # The stages

    def make(self, data: DataConfig) -> Stage:
        folder = self.root(data)
        options = {"seed": self.config.seed, **(data.made or {})}

        def work(progress: Progress) -> None:
            from meddel_fast.data.made import make_frames

            make_frames(folder, **options, progress=progress)

        return Stage(f"make/{data.name}", (folder,), lambda: {"made": options}, work, unit="frames")

    def scan(self, data: DataConfig) -> Stage:
        root = self.root(data)
        path = self.manifest_path(data.name)

        def inputs() -> dict[str, Any]:
            files = listing(root)
            splits = None if data.splits is None else sha256_file(data.splits)
            read_as = {"set": data.set, "stride": data.stride, "scene": data.scene}
            return {"root": str(root), "files": files, "splits": splits, **read_as}

        def work(progress: Progress) -> None:
            from meddel_fast.data.build import scan
            from meddel_fast.data.sources import Sampling

            sampling = Sampling(data.stride, data.scene)
            options = {"name": data.name, "splits": data.splits, "sampling": sampling}
            scan(root, data.set, **options, progress=progress).save(path)

        return Stage(f"data/{data.name}", (path,), inputs, work, unit="files")

    def pool(self) -> Stage:
        sets = [d for d in self.config.data if "pretrain" in d.use]

        def inputs() -> dict[str, Any]:
            task_stages.check(self)  # what would fail in hours fails now
            for data in task_stages.segmented(self.config):
                self.head_rows(data)
                self.with_masks(data, data.test_splits)
            return {
                "sets": [
                    [d.name, d.pretrain_splits, self.records.digest(self.manifest_path(d.name))]
                    for d in sets
                ]
            }

        def work(progress: Progress) -> None:
            from meddel_fast.data.manifest import Manifest

            parts = [
                self.manifest(self.manifest_path(d.name)).splits(d.pretrain_splits) for d in sets
            ]
            pool = Manifest.concat(parts, self.pool_path.stem)
            if len(pool) == 0:
                raise ConfigError("no usable image in the pretrain_splits of the data sets")
            pool.save(self.pool_path)
            progress(len(pool), len(pool))

        return Stage(f"data/{self.pool_path.stem}", (self.pool_path,), inputs, work, unit="")

    def own_encoder(self) -> Stage:
        steps = self.config.encoder.steps
        warmup = min(self.config.pretrain.warmup_steps, steps // 10)
        config = replace(self.config.pretrain, steps=steps, warmup_steps=warmup, epochs={})
        return self._pretraining("encoder", self.out / "encoder", None, config)

    def pretrain(
        self, name: str, selection: Path | None, repeat: int = 0, ratio: float = 1.0
    ) -> Stage:
        folder = self.out / "pretrain" / name
        config = replace(self.config.pretrain, seed=self.config.pretrain.seed + repeat)
        return self._pretraining(f"pretrain/{name}", folder, selection, config, ratio)

    def _pretraining(
        self,
        name: str,
        folder: Path,
        selection: Path | None,
        config: PretrainConfig,
        ratio: float = 1.0,
    ) -> Stage:
        config = replace(config, seed=config.seed + self.config.seed)
        shared: list[tuple[str, Path]] = []  # the stage that trains this, known with the inputs

        def kept() -> Any:
            from meddel_fast.selectors import Selection

            return None if selection is None else Selection.load(selection).indices

        def settled() -> PretrainConfig:
            rows = kept()
            pool = self.manifest(self.pool_path)
            return config.at_ratio(ratio, len(pool) if rows is None else len(rows))

        def inputs() -> dict[str, Any]:
            found = {
                "pool": self.pool_fingerprint(),
                "kept": sha256_json(kept()),
                "config": settings(settled(), without=_NO_EFFECT),
            }
            shared.append(self._trained.setdefault(sha256_json(found), (name, folder)))
            return found

        def work(progress: Progress) -> None:
            from meddel_fast.pretrain import pretrain

            first, source = shared[-1]
            if first != name:
                share_training(source, folder)
                return
            self.use_threads()
            pool = self.manifest(self.pool_path)
            pretrain(pool, kept(), folder, settled(), device=self.config.device, progress=progress)

        def note() -> dict[str, Any]:
            first, _ = shared[-1]
            return {"shared_with": first} if first != name else {}

        outputs = (folder / "model", folder / "loss.csv")

        def speed() -> str:
            from meddel_fast.speed import told

            return told(folder)

        return Stage(name, outputs, inputs, work, partial=(folder,), speed=speed, note=note)

    def embed(self) -> Stage:
        return self.embedding("embed", self.embeddings, lambda: self.manifest(self.pool_path))

    def embedding(self, name: str, folder: Path, rows: Callable[[], Manifest]) -> Stage:
        encoder = self.config.encoder
        own = not encoder.path
        local = self.embedding_model if own else Path(encoder.path)
        where = str(local) if own or local.is_dir() else encoder.path

        def inputs() -> dict[str, Any]:
            weights = self.records.digest(local) if own else _encoder_key(where)
            fixed = settings(encoder, without=("path", "steps", "batch_size"))
            return {"pool": rows().fingerprint, "encoder": weights, **fixed}

        def work(progress: Progress) -> None:
            from meddel_fast.embed import embed

            self.use_threads()
            embed(
                rows(),
                where,
                folder,
                image_size=encoder.image_size,
                batch_size=encoder.batch_size,
                dtype=encoder.dtype,
                pooling=encoder.pooling,
                device=self.config.device,
                offline=own or Path(where).is_dir(),
                progress=progress,
            )

        return Stage(name, (folder,), inputs, work, unit="images")

    def select(self, name: str, repeat: int = 0) -> Stage:
        ratios = sorted((r for r in self.config.ratios if r < 1), reverse=True)
        paths = tuple(self.selection(repeated(tag(name, r), repeat)) for r in ratios)
        options = {"seed": self.config.seed, **self.config.selector_options.get(name, {})}
        if repeat:
            options["seed"] = check_int(f"[selectors.{name}] seed", options["seed"], 0) + repeat
        by_loss = options.get("score") == MAE_LOSS

        def inputs() -> dict[str, Any]:
            return {
                "embeddings": self.records.digest(self.embeddings),
                "centre": self.config.encoder.centre,
                "ratios": ratios,
                "options": options,
                **({"model": self.records.digest(self.embedding_model)} if by_loss else {}),
            }

        def work(progress: Progress) -> None:
            from meddel_fast.embed import Embeddings
            from meddel_fast.selectors import select_ladder

            embeddings = Embeddings.load(self.embeddings)
            x = embeddings.centred if self.config.encoder.centre else embeddings.array
            ids = self.manifest(self.pool_path).ids
            given = options | ({"score": self.mae_losses(progress)} if by_loss else {})
            threads = self.config.threads
            found = select_ladder(name, x, ratios, threads=threads, progress=progress, **given)
            for path, selection in zip(paths, found, strict=True):
                selection.save(path, ids)
            progress(len(ratios), len(ratios))

        return Stage(f"select/{repeated(name, repeat)}", paths, inputs, work, unit="")

    def mae_losses(self, progress: Progress) -> NDArray[np.float64]:
        """Measure how badly the run's own MAE restores each image of the pool."""
        from meddel_fast.reconstruction import reconstruction_errors

        self.use_threads()
        pool, device = self.manifest(self.pool_path), self.config.device
        model = self.embedding_model
        return reconstruction_errors(pool, model, device=device, progress=progress).image

    def evaluate(self, name: str, data: DataConfig, seed: int) -> Stage:
        path = self.result(name, data, seed)
        masks = predictions_path(path)

        def inputs() -> dict[str, Any]:
            return {
                "model": self.records.digest(self.model(name)),
                "train": self.head_rows(data).fingerprint,
                "test": self.with_masks(data, data.test_splits).fingerprint,
                "config": settings(self.config.downstream),
                "seed": seed,
            }

        def work(progress: Progress) -> None:
            from meddel_fast.downstream import evaluate

            self.use_threads()
            result = evaluate(
                self.model(name),
                self.head_rows(data),
                self.with_masks(data, data.test_splits),
                self.config.downstream,
                seed=seed,
                predictions=masks,
                device=self.config.device,
                progress=progress,
            )
            write_json(path, result)

        stage = f"evaluate/{name}/{data.name}-seed{seed}"
        return Stage(stage, (path, masks), inputs, work, unit="")

    def score(self) -> Stage:
        folder = self.out / "score"
        data = task_stages.segmented(self.config)
        scored, repeats = tags(self.config), range(self.config.repeats)
        names = [repeated(t, repeat) for repeat in repeats for t, _, _ in scored]
        paths = [self.result(n, d, s) for n in names for d in data for s in self.config.seeds]
        logs = [self.out / "pretrain" / name / "loss.csv" for name in names]

        def groups() -> dict[str, list[str]]:
            return {d.name: self.with_masks(d, d.test_splits).column("group") for d in data}

        def inputs() -> dict[str, Any]:
            digest = self.records.digest
            return {
                "results": [[digest(p), digest(predictions_path(p))] for p in paths],
                "beyond": beyond.digests(self),
                "selections": [digest(self.selection(t)) for t, _, _ in scored if t != FULL],
                "training": [digest(p) for p in logs],
                "pool": self.pool_fingerprint(),
                "groups": sha256_json(groups()),
                "planted": {name: sha256_file(path) for name, path in self.truths().items()},
                "alpha": self.config.alpha,
                "alphas": self.config.alphas,
                "cost": settings(self.config.cost),
            }

        def work(progress: Progress) -> None:
            from meddel_fast.benchmark.summary import score_run

            pool = self.manifest(self.pool_path)
            score_run(self.config, scored, pool, self.truths(), groups())
            beyond.write_tables(self)
            progress(1, 1)

        return Stage("score", (folder,), inputs, work, unit="")

    def report(self) -> Stage:
        path = self.out / "report" / "report.html"

        def inputs() -> dict[str, Any]:
            score = self.records.digest(self.out / "score")
            leakage = self.records.digest(leak_stages.pairs_path(self))
            config = settings(self.config, without=("out", "threads", "device"))
            return {"score": score, "leakage": leakage, "config": config}

        def work(progress: Progress) -> None:
            from meddel_fast.report import render

            render(self.out)
            progress(1, 1)

        return Stage("report", (path,), inputs, work, unit="")


def _encoder_key(where: str) -> Mapping[str, Any] | str:
    """Identify a given encoder: a folder by its files, a hub name by itself."""
    folder = Path(where)
    return {"files": listing(folder)} if folder.is_dir() else where
