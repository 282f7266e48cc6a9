"""Masked pre-training on a subset of a manifest, by one of `methods`.

A run takes the steps of its settings, whatever the subset, so that ratios differ in data and not in
compute. What a step does follows from the settings, the subset and the step's number
alone; weights and optimiser moments are all that has to be saved, and a killed run that is started
again ends in the weights of an unbroken one (on the same machine, with as many threads).

Processes that torchrun started share each step's batch among them. What the batch holds does not
depend on how many there are; gradients are added up over the processes in an order that their
number fixes, so that the same number gives the same weights again, and another one weights that
differ by what fp32 sums round.
"""

from __future__ import annotations

import csv
import io
import math
import shutil
import time
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meddel_fast.common.atomic import atomic_directory, remove_leftovers, write_json, write_text
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath, read_json
from meddel_fast.common.hashes import sha256_file, sha256_json
from meddel_fast.common.outputs import check_folder, folder_with
from meddel_fast.images.manifest import Manifest
from meddel_fast.sharded.torchrun import TorchGroup, join_group, own_device
from meddel_fast.training import checkpoint
from meddel_fast.training.augment import draw_colours, draw_crops, network_input
from meddel_fast.training.device import (
    Compute,
    Stream,
    choose,
    deterministic,
    quiet_transformers,
    rng_at,
)
from meddel_fast.training.encoders.vit import preprocessor
from meddel_fast.training.loader import Frames, batch_indices, frames, prefetch
from meddel_fast.training.methods import METHODS
from meddel_fast.training.optimise import cosine, make_optimizer
from meddel_fast.training.settings import PretrainConfig
from meddel_fast.training.speed import Speed, seconds_a_call

with needs("benchmark"):
    import torch
    from torch import Tensor

_LOG_COLUMNS = ("step", "loss", "learning_rate", "images_per_s")
_RECORD = "pretrain.json"
FOLDER = folder_with("a pre-training", f"model/{_RECORD}", "checkpoint", "loss.csv", "speed.json")
_WEIGHTS = "model.safetensors"
_FLUSH = 20  # steps between two looks at the loss: each one waits for the device
_MOST_LOST = 180.0  # seconds of work that a kill may cost; checkpoint_every may ask for less
# "auto" tries to compile where the steps come to more seconds than this. Compiling takes a minute
# or two of a ViT-Base, and what it may save is a part of the step.
_COMPILE_PAYS = 600
_GAIN = 0.97  # share of the plain step's time that a compiled one must stay under


class Batch(NamedTuple):
    """What one step sees."""

    images: NDArray[np.uint8]  # (b, size, size, 3)
    crops: NDArray[np.float32]  # (b, 2, 2), side and centre by axis
    colours: NDArray[np.float32]  # (b, 2, 3), factor and shift by channel
    noise: NDArray[np.float32]  # (b, patches), ranks decide which patches are masked


class Inputs(NamedTuple):
    """A batch as tensors."""

    images: Tensor
    crops: Tensor
    colours: Tensor
    noise: Tensor


def pretrain(
    manifest: Manifest,
    indices: ArrayLike | None,
    out: StrPath,
    config: PretrainConfig,
    *,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> Path:
    """Pre-train a network on some of a manifest's images.

    Killed and started again it goes on from its last checkpoint, which is never older than three
    minutes and a step, on whatever device and number of processes; finished before with the same
    settings, images and precision, it returns at once.

    Parameters
    ----------
    manifest
        The pool; only its usable rows count.
    indices
        Integers (b,), distinct rows of the pool, in any order (the order does not matter);
        ``None`` takes all.
    out
        Folder; gets ``model/`` (``config.json``, ``model.safetensors`` and what made them),
        ``loss.csv`` (step, loss, learning_rate, images_per_s) and, while running, ``checkpoint/``;
        on a GPU also ``speed.json``, see :class:`meddel_fast.training.speed.Speed`.
    config
        Method, architecture, schedule, seed. Of a table of `epochs` nothing is known here: settle
        it by :meth:`~meddel_fast.training.settings.PretrainConfig.at_ratio`.
    device
        ``"auto"``, or a torch device.
    progress
        Called as ``progress(steps_done, steps)``.

    Returns
    -------
    pathlib.Path
        ``out/model``, for ``AutoModel``, or, with the decoder, ``ViTMAEForPreTraining`` (MAE) and
        ``ViTForMaskedImageModeling`` (SimMIM).

    Raises
    ------
    TypeError, ValueError
        `indices` are not integers, empty, repeated or out of range; the device is not there; the
        batch does not divide by the number of processes; `config` has a table of epochs.
    meddel_fast.images.load_images.ImageError
        An image cannot be read any more.
    FloatingPointError
        The loss is not finite; the message names the step.
    meddel_fast.cluster.LostRankError
        Another process of the job is gone.

    Notes
    -----
    A damaged checkpoint is named in a ``RuntimeWarning`` and the run starts anew, which ends in
    the same weights.
    """
    if config.epochs:
        raise ValueError(f"config must have steps, got epochs by ratio: {config.epochs}")
    chosen = _check_indices(indices, len(manifest))
    check_folder(out, FOLDER)
    compute = choose(own_device(device), config.precision)
    out = Path(out)
    record = {
        "settings": _settings(config),
        "images": len(chosen),
        "data": manifest.take(chosen).fingerprint,
        "precision": compute.precision,
    }
    model_folder = out / "model"
    with join_group(compute.device, alone=True) as group:
        if config.batch_size % group.size:
            raise ValueError(
                f"batch_size: wanted a multiple of the {group.size} processes, "
                f"got {config.batch_size}"
            )
        finished = _is_finished(model_folder, record)
        group.agree("whether the run is finished", int(finished))
        if group.first:
            remove_leftovers(out)
        if not finished:
            pool = frames(manifest, config.image_size, workers=config.workers)
            with deterministic():
                run = _Run(chosen, out, config, compute, sha256_json(record), group)
                run.train(pool, progress)
                if group.first:
                    write_model(model_folder, run.model, config, record, compute.device.type)
        group.barrier()
        if group.first:
            shutil.rmtree(out / "checkpoint", ignore_errors=True)
    if progress is not None:
        progress(config.steps, config.steps)
    return model_folder


class _Run:
    """One pre-training run: its model, optimiser and log."""

    def __init__(
        self,
        chosen: NDArray[np.int64],
        out: Path,
        config: PretrainConfig,
        compute: Compute,
        key: str,
        group: TorchGroup,
    ) -> None:
        self.chosen, self.config, self.compute, self.key = chosen, config, compute, key
        self.group = group
        share = config.batch_size // group.size
        self._part = slice(group.rank * share, (group.rank + 1) * share)
        self._method = METHODS[config.method]
        self.model = self._method.build(config, compute).train()
        self._loss = self._plain_loss  # or what torch.compile made of it
        self.optimizer = make_optimizer(
            self.model.parameters(), config.learning_rate, config.weight_decay, config.betas
        )
        self._out = out
        self._checkpoint = out / "checkpoint" / "last.safetensors"
        self._log = out / "loss.csv"
        self._rows: list[list[str]] = []
        self._images, self._seconds = 0, 0.0

    def train(self, pool: Frames, progress: Progress | None) -> None:
        """Take the steps that are left."""
        config, losses = self.config, list[Tensor]()
        alone = self.group.size == 1  # else processes might settle on different networks
        speed = self.measure(pool) if self.compute.device.type == "cuda" and alone else None
        if speed is None and config.compile == "on":
            self._loss = torch.compile(self._plain_loss)
        first = self._resume()
        self.group.agree("the checkpoint's step", first)
        left = range(first, config.steps)
        began = saved = time.perf_counter()
        for step, batch in zip(left, prefetch(partial(self._fetch, pool), left), strict=True):
            losses.append(self._step(step, batch))
            done = step + 1
            due = time.perf_counter() - saved > _MOST_LOST or done % config.checkpoint_every == 0
            save = due and done < config.steps
            if save or len(losses) == _FLUSH or done == config.steps:
                self._flush(done, losses, began)
                losses, began = [], time.perf_counter()
            if self.group.first and (save or done == config.steps):
                write_text(self._log, self._log_text())
            if save:
                if self.group.first:
                    checkpoint.save(self._checkpoint, self.model, self.optimizer, self.key, done)
                began = saved = time.perf_counter()
            if progress is not None:
                progress(done, config.steps)
        if speed is not None and self._seconds:
            speed.save(self._out, self._images / self._seconds)

    def measure(self, pool: Frames) -> Speed:
        """Time the bare step, and settle whether it is compiled; the network stays as it is.

        A run that is started again keeps to what its first start settled, so that it ends in the
        same weights.
        """
        device, setting = self.compute.device, self.config.compile
        inputs = Inputs(*map(self.compute.send, self._fetch(pool, 0)))
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        earlier = Speed.load(self._out) if setting == "auto" else None
        if earlier is not None and (earlier.key, earlier.device) == (self.key, device.type):
            setting = "on" if earlier.compiled else "off"
        seconds, compiled = math.inf, False
        if setting != "on":
            seconds = seconds_a_call(partial(self._step, 0, inputs), device)
        if setting == "on" or (setting == "auto" and self.config.steps * seconds > _COMPILE_PAYS):
            seconds, compiled = self._compile(inputs, seconds, setting == "on")
        self.model.load_state_dict(before)
        self.optimizer.state.clear()
        speed = Speed(self.key, device.type, compiled, self.config.batch_size / seconds)
        speed.save(self._out)
        return speed

    def _compile(self, inputs: Inputs, plain: float, wanted: bool) -> tuple[float, bool]:
        """Compile the network if that is wanted or faster; give the step's time and which."""
        self._loss = torch.compile(self._plain_loss)
        try:
            seconds = seconds_a_call(partial(self._step, 0, inputs), self.compute.device)
        except Exception as error:  # whatever its compilers say
            if wanted:
                raise
            warnings.warn(f"not compiled: {error}", RuntimeWarning, stacklevel=5)
            seconds = math.inf
        if wanted or seconds < _GAIN * plain:
            return seconds, True
        self._loss = self._plain_loss
        self.optimizer.zero_grad(set_to_none=True)
        return plain, False

    def _plain_loss(self, pixels: Tensor, noise: Tensor) -> Tensor:
        return self._method.loss(self.model, pixels, noise, self.config, self.compute)

    def _fetch(self, pool: Frames, step: int) -> Inputs:
        batch = make_batch(pool, self.chosen, self.config, step, self._part)
        return Inputs(*(self.compute.stage(part) for part in batch))

    def _step(self, step: int, inputs: Inputs) -> Tensor:
        """Take one step, without waiting for the device."""
        config = self.config
        images, crops, colours, noise = map(self.compute.send, inputs)
        pixels = network_input(
            images, crops if config.crop else None, colours if config.colour_jitter else None
        )
        for group in self.optimizer.param_groups:
            group["lr"] = cosine(step, config.steps, config.warmup_steps, config.learning_rate)
        loss = self._loss(pixels, noise)
        loss.backward()  # type: ignore[no-untyped-call]
        loss = self._shared(loss.detach())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _shared(self, loss: Tensor) -> Tensor:
        """Put the processes' mean into the gradients, and return that of their losses.

        All go together in one tensor, in the parameters' order. What DistributedDataParallel sends
        is cut into buckets that change after its first step, and with them the order of the sums:
        a resumed run would not end in the weights of an unbroken one.
        """
        if self.group.size == 1:
            return loss
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        together = torch.cat([*(g.reshape(-1) for g in gradients), loss.float().reshape(1)])
        self.group.mean(together)
        at = 0
        for gradient in gradients:
            gradient.copy_(together[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()
        return together[-1]

    def _resume(self) -> int:
        try:
            done = checkpoint.load(self._checkpoint, self.model, self.optimizer, self.key)
        except checkpoint.DamagedCheckpointError as error:
            warnings.warn(f"{error}; pre-training starts anew", RuntimeWarning, stacklevel=4)
            return 0
        if done and self._log.is_file():
            rows = list(csv.reader(io.StringIO(self._log.read_text())))[1:]
            self._rows = [row for row in rows if row[0].isdecimal() and int(row[0]) <= done]
        return done

    def _flush(self, done: int, losses: list[Tensor], began: float) -> None:
        """Note the last steps' losses, in the log's rows."""
        config, values = self.config, torch.stack(losses).tolist()
        seconds = time.perf_counter() - began
        rate = len(values) * config.batch_size / seconds
        self._images += len(values) * config.batch_size
        self._seconds += seconds
        for step, loss in enumerate(values, done - len(values)):
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss of step {step + 1} is {loss}: try a smaller learning_rate "
                    f"({config.learning_rate:g} now) or precision='fp32'"
                )
            lr = cosine(step, config.steps, config.warmup_steps, config.learning_rate)
            self._rows.append([str(step + 1), f"{loss:.6g}", f"{lr:.6g}", f"{rate:.1f}"])

    def _log_text(self) -> str:
        return "\n".join(map(",".join, [list(_LOG_COLUMNS), *self._rows])) + "\n"


def make_batch(
    pool: Frames,
    chosen: NDArray[np.int64],
    config: PretrainConfig,
    step: int,
    part: slice = slice(None),
) -> Batch:
    """Batch of one step, or a part of it; it follows from subset, settings and number alone."""
    size = config.batch_size
    images = pool[chosen[batch_indices(config.seed, step, size, len(chosen))][part]]
    patches = (config.image_size // config.patch_size) ** 2
    noise = rng_at(config.seed, Stream.MASK, step).random((size, patches), np.float32)
    crops = draw_crops(rng_at(config.seed, Stream.CROP, step), size)
    colours = draw_colours(rng_at(config.seed, Stream.COLOUR, step), size, config.colour_jitter)
    return Batch(images, crops[part], colours[part], noise[part])


def _check_indices(indices: ArrayLike | None, n: int) -> NDArray[np.int64]:
    """Rising row numbers, checked for type, range and repeats by ``Manifest.take`` later."""
    rows = np.arange(n) if indices is None else np.asarray(indices)
    if rows.size == 0:
        raise ValueError("indices: wanted at least one image to pre-train on, got none")
    return np.sort(rows, axis=None) if rows.ndim == 1 else rows


def _settings(config: PretrainConfig) -> dict[str, object]:
    """Give the settings that decide the result; the precision is recorded as settled."""
    settings = asdict(config)
    for name in ("checkpoint_every", "workers", "precision", "compile"):
        del settings[name]
    return settings


def write_model(
    folder: Path,
    model: Any,
    config: PretrainConfig,
    record: dict[str, object],
    device: str,
) -> None:
    """Write a network as ``AutoModel`` reads it, with `record`, which says what made it."""
    with atomic_directory(folder, replace=True) as temporary:
        with quiet_transformers(), checkpoint.writing(folder):
            model.save_pretrained(temporary)
        write_json(temporary / "preprocessor_config.json", preprocessor(config.image_size))
        weights = sha256_file(temporary / _WEIGHTS)
        made = {"key": sha256_json(record), "device": device, "weights_sha256": weights}
        write_json(temporary / _RECORD, {**record, **made})


def _is_finished(folder: Path, record: dict[str, object]) -> bool:
    """Whether `folder` holds the whole model of this very run."""
    try:
        written = read_json(folder / _RECORD)
        whole = sha256_file(folder / _WEIGHTS) == written["weights_sha256"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(whole and written["key"] == sha256_json(record))
