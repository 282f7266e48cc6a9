"""The stages of a run from images to results: what each one depends on, which module does it.

What is looked for in the pool is in `leak_stages`, what else is measured in `task_stages` and
`generalisation`, the tables in `score_stages`; `stage` runs what is made here and there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meddel_fast.arrays import check_int
from meddel_fast.benchmark.checks import MAE_LOSS, check_pool
from meddel_fast.benchmark.config import DataConfig
from meddel_fast.benchmark.results import UNTRAINED, predictions_path, repeated, tag
from meddel_fast.benchmark.scores.cost import LOSS_SECONDS
from meddel_fast.benchmark.stages import probe_rows, quality_stage, task_stages
from meddel_fast.benchmark.stages.run_folder import RunFolder, encoder_key
from meddel_fast.benchmark.stages.shared_training import share_training
from meddel_fast.benchmark.stages.stage import Stage, listing, settings
from meddel_fast.common.atomic import write_json
from meddel_fast.common.errors import ConfigError
from meddel_fast.common.files import Progress
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.images.shared_images import shared_images
from meddel_fast.selectors import Selection, select_ladder
from meddel_fast.training.settings import PretrainConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from meddel_fast.images.manifest import Manifest

# Fields of PretrainConfig that cannot change the weights, but for how they are rounded.
_NO_EFFECT = ("checkpoint_every", "workers", "compile")


class RunStages(RunFolder):
    """Makes the stages of one run; each method one kind of stage."""

    def make(self, data: DataConfig) -> Stage:
        """Make the frames of a data set."""
        folder = self.root(data)
        options = {"seed": self.config.seed, **(data.made or {})}

        def work(progress: Progress) -> None:
            from meddel_fast.images.made.frames import make_frames

            make_frames(folder, **options, progress=progress)

        return Stage(f"make/{data.name}", (folder,), lambda: {"made": options}, work, unit="frames")

    def scan(self, data: DataConfig) -> Stage:
        """Write the manifest of a data set."""
        root = self.root(data)
        path = self.manifest_path(data.name)

        def inputs() -> dict[str, Any]:
            files = "".join(map(listing, self.roots(data)))
            splits = None if data.splits is None else sha256_file(data.splits)
            read_as = {"set": data.set, "stride": data.stride, "scene": data.scene}
            read_as["mask"] = data.mask
            read_as |= asdict(data.dealing)
            return {"root": str(root), "files": files, "splits": splits, **read_as}

        def work(progress: Progress) -> None:
            from meddel_fast.images.scan.build import scan
            from meddel_fast.images.sources import Sampling

            sampling = Sampling(data.stride, data.scene)
            options: dict[str, Any] = {"name": data.name, "splits": data.splits}
            options |= {"sampling": sampling, "mask": data.mask, "dealing": data.dealing}
            scan(root, data.set, **options, progress=progress).save(path)

        return Stage(f"data/{data.name}", (path,), inputs, work, unit="files")

    def pool(self) -> Stage:
        """Join what is pre-trained on; refuse what would fail in hours."""
        flawed = self.config.quality.flawed
        sets = [d for d in self.config.data if "pretrain" in d.use]

        def parts() -> list[Manifest]:
            return [
                self.manifest(self.manifest_path(d.name)).splits(d.pretrain_splits) for d in sets
            ]

        def inputs() -> dict[str, Any]:
            task_stages.check(self)  # what would fail in hours fails now
            probe_rows.check(self, parts())
            for data in task_stages.segmented(self.config):
                self.check_apart(data)
            if self.pool_path.stem == "pretrain" and flawed != "exclude":  # (else not known yet)
                check_pool(self.config, sum(map(len, parts())))
            found = [
                [d.name, d.pretrain_splits, self.records.digest(self.manifest_path(d.name))]
                for d in sets
            ]
            return {"sets": found} | quality_stage.inputs(flawed)

        def work(progress: Progress) -> None:
            from meddel_fast.images.manifest import Manifest

            pool = Manifest.concat(parts(), self.pool_path.stem)
            if len(pool) == 0:
                raise ConfigError("no usable image in the pretrain_splits of the data sets")
            if flawed != "ignore":
                pool = quality_stage.measured(pool, flawed, self.flaws, self.config, progress)
            pool.save(self.pool_path)
            progress(len(pool), len(pool))

        outputs = (self.pool_path,) if flawed == "ignore" else (self.pool_path, self.flaws)
        return Stage(f"data/{self.pool_path.stem}", outputs, inputs, work, unit="")

    @property
    def flaws(self) -> Path:
        """Which images of the pool break which limits of quality."""
        return self.out / "data" / quality_stage.FILE

    def check_apart(self, data: DataConfig) -> None:
        """Refuse to train heads on the very images that they are tested on.

        Equal files at different paths are left to the audit: an official list may have them.
        """
        test = self.with_masks(data, data.test_splits)
        shared = shared_images(self.head_rows(data), test, contents=False)
        if shared:
            raise ConfigError(
                f"data set '{data.name}': {len(shared)} of {len(test)} test images are among those "
                f"that its heads are trained on, such as {shared[0][0]}"
            )

    def own_encoder(self) -> Stage:
        """Train the encoder that embeds the pool."""
        steps = self.config.encoder.steps
        warmup = min(self.config.pretrain.warmup_steps, steps // 10)
        config = replace(self.config.pretrain, steps=steps, warmup_steps=warmup, epochs={})
        return self._pretraining("encoder", self.out / "encoder", None, config)

    def pretrain(
        self, name: str, selection: Path | None, repeat: int = 0, ratio: float = 1.0
    ) -> Stage:
        """Pre-train on a selection, or on the whole pool."""
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
            from meddel_fast.training.pretrain import pretrain

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
            from meddel_fast.training.speed import told

            return told(folder)

        return Stage(name, outputs, inputs, work, partial=(folder,), speed=speed, note=note)

    def untrained(self, repeat: int) -> Stage:
        """Write the very weights from which the pre-training of a repetition starts."""
        name = repeated(UNTRAINED, repeat)
        folder = self.model(name)
        seed = self.config.seed + self.config.pretrain.seed + repeat
        config = replace(self.config.pretrain, seed=seed)

        def inputs() -> dict[str, Any]:
            return {"config": settings(config, without=_NO_EFFECT)}

        def work(progress: Progress) -> None:
            from meddel_fast.training.untrained import write_untrained

            write_untrained(folder, config, device=self.config.device)
            progress(1, 1)

        return Stage(f"untrained/{name}", (folder,), inputs, work, unit="")

    def embed(self) -> Stage:
        """Embed the pool."""
        return self.embedding("embed", self.embeddings, lambda: self.manifest(self.pool_path))

    def embedding(self, name: str, folder: Path, rows: Callable[[], Manifest]) -> Stage:
        """Embed any rows, as the pool is."""
        encoder = self.config.encoder
        own = not encoder.path
        local = self.embedding_model if own else Path(encoder.path)
        where = str(local) if own or local.is_dir() else encoder.path

        def inputs() -> dict[str, Any]:
            weights = self.records.digest(local) if own else encoder_key(where)
            fixed = settings(encoder, without=("path", "steps", "batch_size"))
            return {"pool": rows().fingerprint, "encoder": weights, **fixed}

        def work(progress: Progress) -> None:
            from meddel_fast.training.embed import embed

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
        """Select at all ratios with one method."""
        ratios = sorted((r for r in self.config.ratios if r < 1), reverse=True)
        paths = tuple(self.selection(repeated(tag(name, r), repeat)) for r in ratios)
        options = {"seed": self.config.seed, **self.config.selector_options.get(name, {})}
        if repeat:
            options["seed"] = check_int(f"[selectors.{name}] seed", options["seed"], 0) + repeat
        by_loss = options.get("score") == MAE_LOSS
        spent: dict[str, float] = {}

        def inputs() -> dict[str, Any]:
            return {
                "embeddings": self.records.digest(self.embeddings),
                "centre": self.config.encoder.centre,
                "ratios": ratios,
                "options": options,
                **({"model": self.records.digest(self.embedding_model)} if by_loss else {}),
            }

        def work(progress: Progress) -> None:
            from meddel_fast.training.embed import Embeddings

            embeddings = Embeddings.load(self.embeddings)
            x = embeddings.centred if self.config.encoder.centre else embeddings.array
            ids = self.manifest(self.pool_path).ids
            begun = time.monotonic()
            given = options | ({"score": self.mae_losses(progress)} if by_loss else {})
            spent.update({LOSS_SECONDS: round(time.monotonic() - begun, 3)} if by_loss else {})
            threads = self.config.threads
            found = select_ladder(name, x, ratios, threads=threads, progress=progress, **given)
            for path, selection in zip(paths, found, strict=True):
                selection.save(path, ids)
            progress(len(ratios), len(ratios))

        label = repeated(name, repeat)
        return Stage(f"select/{label}", paths, inputs, work, unit="", note=lambda: spent)

    def mae_losses(self, progress: Progress) -> NDArray[np.float64]:
        """Measure how badly the run's own MAE restores each image of the pool."""
        from meddel_fast.training.reconstruction import reconstruction_errors

        self.use_threads()
        pool, device = self.manifest(self.pool_path), self.config.device
        model = self.embedding_model
        return reconstruction_errors(pool, model, device=device, progress=progress).image

    def evaluate(self, name: str, data: DataConfig, seed: int) -> Stage:
        """Segment a test set with one head."""
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
            from meddel_fast.training.downstream import evaluate

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
