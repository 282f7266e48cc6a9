"""Training on a GPU: images a second beside the bare step's, and one whole MedDEL run."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_results import Results

from meddel_fast.benchmark.config import DataConfig, RunConfig
from meddel_fast.benchmark.run import run
from meddel_fast.common.files import read_json
from meddel_fast.images.made.frames import make_frames
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.scan.folder import scan_folder
from meddel_fast.training.device import choose
from meddel_fast.training.embed import embed
from meddel_fast.training.encoders.vit import build_mae, load_encoder
from meddel_fast.training.loader import frames
from meddel_fast.training.optimise import make_optimizer
from meddel_fast.training.pretrain import pretrain
from meddel_fast.training.settings import DownstreamConfig, PretrainConfig
from meddel_fast.training.speed import Speed, seconds_a_call

BASE = PretrainConfig(steps=80, batch_size=128, warmup_steps=8, crop=True)
SMALL = PretrainConfig(
    image_size=32, patch_size=8, hidden_size=16, layers=1, heads=2, decoder_hidden_size=8,
    decoder_layers=1, decoder_heads=2, steps=3, warmup_steps=1, batch_size=4,
)  # fmt: skip
FRAMES = {"videos": 16, "frames": 40, "size": 224, "val_videos": 2, "test_videos": 4}
FEW = {"videos": 6, "frames": 10, "size": 48, "val_videos": 1, "test_videos": 1}


def images_per_second(results: Results, part: str, device: torch.device, dry: bool) -> None:
    """Rates of pre-training and embedding, plain first: compiling takes long."""
    config = SMALL if dry else BASE

    def add(what: str, value: float, unit: str = "images/s") -> None:
        results.add(part, what=what, value=value, unit=unit)

    with tempfile.TemporaryDirectory() as folder:
        manifest = scan_folder(make_frames(Path(folder) / "made", **(FEW if dry else FRAMES)))
        settings = ["off"] if dry else ["off", "on"]  # compiling for a CPU says nothing of a GPU
        for setting in settings:
            name = "compiled" if setting == "on" else "plain"
            out = Path(folder) / setting
            pretrain(manifest, None, out, replace(config, compile=setting), device=device)
            speed = Speed.load(out)
            if speed is not None:  # not on a CPU
                add(f"MAE, {name}", speed.images_per_s)
                add(f"MAE, {name}, bare step", speed.bare)
            add(
                f"MAE, {name}, torch's step, not deterministic", _bare_step(config, device, setting)
            )
            if setting == "off":
                _embedding(add, manifest, out, device, config.batch_size)


def _bare_step(config: PretrainConfig, device: torch.device, setting: str) -> float:
    """Images per second of transformers' model and torch's optimiser alone."""
    compute = choose(device)
    model: Any = build_mae(config, compute).train()
    optimizer = make_optimizer(model.parameters(), config.learning_rate, config.weight_decay)
    network = torch.compile(model) if setting == "on" else model
    side = config.image_size
    pixels = torch.randn(config.batch_size, 3, side, side, device=compute.device)

    def step() -> None:
        with compute.autocast():
            loss = network(pixels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return config.batch_size / seconds_a_call(step, compute.device)


def _embedding(add: Any, manifest: Manifest, out: Path, device: torch.device, batch: int) -> None:
    """Rates of embedding, which starts with the frames decoded, and of the encoder alone."""
    compute = choose(device)
    seen: list[tuple[int, float]] = []
    embed(
        manifest, out / "model", out / "embeddings", batch_size=batch, device=device,
        precision="auto", progress=lambda done, _: seen.append((done, time.perf_counter())),
    )  # fmt: skip
    (first, began), (last, ended) = seen[0], seen[-2]  # after the last batch, before it is written
    if last > first:
        add("embedding", (last - first) / (ended - began))
    encoder = load_encoder(out / "model", compute)
    images = compute.send(compute.stage(frames(manifest, encoder.image_size)[np.arange(batch)]))

    def look() -> None:
        with torch.inference_mode(), compute.autocast():
            encoder(images).patches.mean(dim=(1, 2))

    add("embedding, bare encoder", batch / seconds_a_call(look, compute.device))


def meddel_run(results: Results, part: str, device: torch.device, dry: bool) -> None:
    """All stages at the paper's settings, but for the number of frames and steps."""
    train = SMALL if dry else PretrainConfig(steps=100, warmup_steps=10)
    head = DownstreamConfig(image_size=train.image_size, steps=3 if dry else 100)
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            name="gpu", out=Path(folder) / "run",
            data=(DataConfig("made", made=FEW if dry else FRAMES),),
            ratios=(1.0, 0.25 if dry else 0.05), selectors=("random", "meddel"), seeds=(0,),
            device=device.type, pretrain=train, downstream=head,
        )  # fmt: skip
        out = run(config)
        for record in sorted((out / "stages").rglob("*.json")):
            stage = read_json(record)
            results.add(part, what=f"stage {stage['stage']}", value=stage["seconds"], unit="s")
        for row in read_json(out / "score" / "scores.json"):
            if row["dataset"] == "made":
                name = f"{row['selector']} at {row['ratio']:g}"
                results.add(part, what=f"mIoU, {name}", value=row["miou_mean"], unit="")
                results.add(part, what=f"NormDEL, {name}", value=row["normdel_mean"], unit="")
