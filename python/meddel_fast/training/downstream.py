"""The downstream task: polyp segmentation by a small head on a pre-trained encoder.

An MLP looks at one patch token at a time and says how much the patch is polyp; the grid of logits
is enlarged bilinearly to the image. With a frozen encoder its tokens are computed once and only
the head is trained, which shows what pre-training taught; otherwise both are trained, on images
that are mirrored at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from meddel_fast.common.atomic import write_json
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath
from meddel_fast.common.outputs import RESULT, check_output
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.masks.rule import IGNORED
from meddel_fast.images.shared_images import check_apart
from meddel_fast.training.device import (
    Compute,
    Stream,
    arrays,
    choose,
    deterministic,
    rng_at,
    torch_seed,
)
from meddel_fast.training.encoders.vit import Encoder, fingerprint, load_encoder
from meddel_fast.training.loader import Frames, Store, batch_indices, frames, prefetch
from meddel_fast.training.optimise import cosine, make_optimizer
from meddel_fast.training.predictions import KIND as PREDICTIONS
from meddel_fast.training.predictions import Predictions, confusion_matrices, pack
from meddel_fast.training.segmentation import Head, scores, segmentation_loss
from meddel_fast.training.settings import DownstreamConfig

with needs("benchmark"):
    import torch
    from torch import Tensor

_WARMUP = 0.05  # share of the steps
# A pre-trained encoder wants smaller steps than the new head on top of it.
_ENCODER_RATE = 0.1
_STATISTICS = 256  # training images that the mean and deviation of the tokens are taken from
_BATCH = 64  # images a forward pass when nothing is trained

# Tokens of frozen encoders, float16 (n, g, g, d): every seed trains its head on the same ones.
_TOKENS: Store[NDArray[np.float16]] = Store(share=0.25)

R = TypeVar("R", bound="HeadRun")


def evaluate(
    encoder: StrPath,
    train: Manifest,
    test: Manifest,
    config: DownstreamConfig,
    *,
    seed: int,
    out: StrPath | None = None,
    predictions: StrPath | None = None,
    device: str | torch.device = "auto",
    offline: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a segmentation head on one set of images and score it on another.

    Parameters
    ----------
    encoder
        Folder of a pre-trained model, or a name on the Hugging Face Hub.
    train, test
        Manifests whose usable rows all have masks.
    config
        Head, schedule, and whether the encoder is frozen or fine-tuned.
    seed
        Of the head's first weights, the order of the images and their mirroring.
    out
        JSON file to write the result to.
    predictions
        File for the predicted masks, see :class:`meddel_fast.training.predictions.Predictions`.
    device
        ``"auto"``, or a torch device.
    offline
        Never ask the network: a name must be in the local cache.
    progress
        Called as ``progress(done, total)``: one for each image that a frozen encoder looks at,
        each training step and each scored image.

    Returns
    -------
    dict
        Over all test pixels together: ``miou``, the mean of ``iou_polyp`` and
        ``iou_background``; ``dice`` of the polyp class; ``pixel_accuracy``; ``confusion``
        ((2, 2) counts, row = truth, column = prediction). Means over the images:
        ``image_iou_polyp``, ``image_dice``. Further ``images`` and ``train_images`` (counts),
        ``train_loss`` (mean of the last tenth of the steps), ``seed``, ``encoder`` ("frozen" or
        "finetuned"), ``precision``, ``settings``. A class that neither truth nor prediction has
        scores 1: there was nothing to find and nothing was found. Images and masks are squeezed to
        ``config.image_size`` squares, and scored there. Pixels that the masks leave out count
        nowhere, neither in the loss; ``ignored_pixels``, how many of the test pixels they are, is
        there if any is.

    Raises
    ------
    ValueError
        A manifest is empty or lacks masks; a test image is trained on; a setting does not fit the
        encoder.
    FileNotFoundError
        No such encoder.
    FloatingPointError
        The training loss is not finite.
    """
    if out is not None:
        check_output(out, RESULT, [encoder])
    if predictions is not None:
        check_output(predictions, PREDICTIONS, [encoder, out])
    _check_masks("train", train)
    _check_masks("test", test)
    check_apart(train, test)
    size = (len(train), len(test))
    run = start(HeadRun, encoder, size, config, seed, device, offline, progress)
    with deterministic():
        loss = run.train(train)
        found = run.test(test)
    if predictions is not None:
        found.save(predictions)
    ignored = len(test) * config.image_size**2 - int(found.confusions.sum())
    if ignored == len(test) * config.image_size**2:
        raise ValueError(f"test: wanted pixels that count, the masks of all {len(test)} ignore all")
    result = {
        **scores(found.confusions),
        **({"ignored_pixels": ignored} if ignored else {}),
        "images": len(test),
        "train_images": len(train),
        "train_loss": loss,
        "seed": seed,
        "encoder": config.encoder,
        "precision": run.precision,
        "settings": asdict(config),
    }
    if out is not None:
        write_json(out, result)
    return result


def start(
    kind: type[R],
    encoder: StrPath,
    size: tuple[int, int],
    config: DownstreamConfig,
    seed: int,
    device: str | torch.device,
    offline: bool,
    progress: Progress | None,
) -> R:
    """Load the encoder and put a new head on it; `size` counts training and test images."""
    compute = choose(device, config.precision)
    model = load_encoder(encoder, compute, image_size=config.image_size, offline=offline)
    encoded = sum(size) if config.encoder == "frozen" else 0
    tick = _counter(progress, encoded + config.steps + size[1])
    return kind(model, fingerprint(encoder, model), config, compute, seed, tick)


class Pixels(Protocol):
    """Masks by rows: ``pixels[rows]`` is uint8 (b, size, size) of 0, 1 and `IGNORED`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]: ...


class HeadRun:
    """One head on its encoder, being trained and tested."""

    def __init__(
        self,
        encoder: Encoder,
        key: str,
        config: DownstreamConfig,
        compute: Compute,
        seed: int,
        tick: Callable[[int], None],
    ) -> None:
        self._encoder, self._key, self._config = encoder, key, config
        self._compute, self._seed, self._tick = compute, seed, tick
        with torch_seed(seed, Stream.HEAD):
            head = Head(encoder.width, config.head_hidden, encoder.grid, config.image_size)
        self._head = head.to(compute.device)

    @property
    def precision(self) -> str:
        """The precision it computes in."""
        return self._compute.precision

    def train(self, manifest: Manifest, rows: NDArray[np.int64] | None = None) -> float:
        """Train on a manifest, or on some of its rows; return the loss.

        It is the mean of the last tenth of the steps. The tokens of a frozen encoder are computed
        of the whole manifest, and held for the next head.
        """
        config = self._config
        source = self._source(manifest)
        masks = self._truth(manifest)
        rows = np.arange(len(manifest)) if rows is None else rows
        self._standardise(source, rows)
        optimizers = self._optimizers()
        steps, warmup = range(config.steps), round(_WARMUP * config.steps)
        fetch = partial(self._fetch, source, masks, rows)
        losses = []
        for step, (inputs, *truth) in zip(steps, prefetch(fetch, steps), strict=True):
            logits = self._head(self._tokens(inputs))
            loss = segmentation_loss(logits, *(self._compute.send(t).float() for t in truth))
            loss.backward()  # type: ignore[no-untyped-call]
            for optimizer, peak in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = cosine(step, config.steps, warmup, peak)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
            self._tick(1)
        last = float(torch.stack(losses[-max(1, config.steps // 10) :]).mean())
        if not math.isfinite(last):
            raise FloatingPointError(
                f"the training loss is {last}: try a smaller learning_rate "
                f"({config.learning_rate:g} now) or precision='fp32'"
            )
        return last

    @torch.inference_mode()
    def test(self, manifest: Manifest) -> Predictions:
        """Predict the masks of a manifest's images, and hold them against the truth."""
        self._encoder.eval()
        source = self._source(manifest)
        masks = self._truth(manifest)
        threshold = math.log(self._config.threshold / (1 - self._config.threshold))
        batches = _batches(len(manifest))
        staged = prefetch(lambda rows: (self._compute.stage(source[rows]), masks[rows]), batches)

        def predict() -> Iterator[tuple[NDArray[np.uint8], Tensor]]:
            for inputs, truth in staged:
                yield truth, self._head(self._tokens(inputs)) > threshold

        bits, confusions = [], []
        for truth, predicted in arrays(predict()):
            bits.append(pack(predicted))
            confusions.append(confusion_matrices(truth == 1, predicted, truth == IGNORED))
            self._tick(len(truth))
        size = self._config.image_size
        return Predictions(manifest.ids, np.concatenate(bits), size, np.concatenate(confusions))

    @torch.inference_mode()
    def chances(self, manifest: Manifest) -> Iterator[NDArray[np.float32]]:
        """Yield how likely each pixel is polyp, (size, size), image by image."""
        self._encoder.eval()
        source = self._source(manifest)
        batches = _batches(len(manifest))
        staged = prefetch(lambda rows: self._stage(source[rows]), batches)
        flow = (
            (len(rows), self._head(self._tokens(inputs)).sigmoid())
            for rows, (inputs,) in zip(batches, staged, strict=True)
        )
        for images, found in arrays(flow):
            yield from found
            self._tick(images)

    def _truth(self, manifest: Manifest) -> Pixels:
        """Give what the head is to find, 0 and 1, and `IGNORED`."""
        return frames(manifest, self._config.image_size, masks=True)

    def _source(self, manifest: Manifest) -> Frames | NDArray[np.float16]:
        """Give what is fed in: a frozen encoder's tokens where they fit in memory, else images."""
        n, grid, width = len(manifest), self._encoder.grid, self._encoder.width
        pool = frames(manifest, self._config.image_size)
        if self._config.encoder == "finetuned":
            return pool
        key = (self._key, self._compute, manifest.fingerprint, self._config.image_size)
        tokens = _TOKENS.get(key)
        if tokens is None and _TOKENS.room(2 * n * grid * grid * width):
            tokens = np.empty((n, grid, grid, width), np.float16)
            images = prefetch(lambda rows: self._compute.stage(pool[rows]), _batches(n))
            flow = ((rows, self._tokens(i)) for rows, i in zip(_batches(n), images, strict=True))
            for rows, found in arrays(flow):
                tokens[rows] = found
                self._tick(len(rows))
            _TOKENS.put(key, tokens)
        else:
            self._tick(n)
        return pool if tokens is None else tokens

    def _stage(self, *batch: NDArray[Any]) -> list[Tensor]:
        return [self._compute.stage(part) for part in batch]

    def _tokens(self, staged: Tensor) -> Tensor:
        """Patch tokens (b, g, g, d), fp32, of images, or of tokens already computed."""
        batch = self._compute.send(staged)
        if batch.dtype == torch.float16:
            return batch.float()
        train = self._config.encoder == "finetuned" and torch.is_grad_enabled()
        with torch.set_grad_enabled(train), self._compute.autocast():
            patches: Tensor = self._encoder(batch).patches
        return patches

    @torch.no_grad()
    def _standardise(self, source: Frames | NDArray[np.float16], used: NDArray[np.int64]) -> None:
        n = len(used)
        some = used[np.unique(np.linspace(0, n - 1, min(n, _STATISTICS)).astype(np.int64))]
        stage = self._compute.stage
        parts = [self._tokens(stage(source[some[rows]])) for rows in _batches(len(some))]
        self._head.standardise(torch.cat(parts))

    def _optimizers(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """Make the optimisers, each with its peak learning rate."""
        config = self._config
        peaks: dict[torch.nn.Module, float] = {self._head: config.learning_rate}
        if config.encoder == "finetuned":
            self._encoder.train().requires_grad_(True)
            peaks[self._encoder] = config.learning_rate * _ENCODER_RATE
        return [
            (make_optimizer(module.parameters(), peak, config.weight_decay), peak)
            for module, peak in peaks.items()
        ]

    def _fetch(
        self,
        source: Frames | NDArray[np.float16],
        masks: Pixels,
        used: NDArray[np.int64],
        step: int,
    ) -> list[Tensor]:
        """Give a step's staged inputs and masks, a function of the seed and the step's number.

        Where the masks ignore pixels, also which ones count.
        """
        rows = used[batch_indices(self._seed, step, self._config.batch_size, len(used))]
        inputs, truth = source[rows], masks[rows]
        if self._config.encoder == "finetuned":
            mirrored = rng_at(self._seed, Stream.FLIP, step).random(len(rows)) < 0.5
            inputs[mirrored] = inputs[mirrored, :, ::-1]
            truth[mirrored] = truth[mirrored, :, ::-1]
        counted = truth != IGNORED
        if counted.all():
            return self._stage(inputs, truth)
        return self._stage(inputs, (truth == 1).astype(np.uint8), counted.astype(np.uint8))


def _batches(n: int) -> list[NDArray[np.int64]]:
    return [np.arange(first, min(first + _BATCH, n)) for first in range(0, n, _BATCH)]


def _counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Make a function that adds to the work done and reports it."""
    done = 0

    def tick(work: int) -> None:
        nonlocal done
        done += work
        if progress is not None:
            progress(done, total)

    return tick


def _check_masks(name: str, manifest: Manifest) -> None:
    if len(manifest) == 0:
        raise ValueError(f"{name}: wanted at least one usable image, got none")
    lacking = [i for i, path in zip(manifest.ids, manifest.mask_paths(), strict=True) if not path]
    if lacking:
        raise ValueError(
            f"{name}: wanted a mask for every image, {len(lacking)} of {len(manifest)} have none, "
            f"first {lacking[0]!r}"
        )
