"""A small run from end to end, for tests of what is done with a finished one."""

from __future__ import annotations

import io
from pathlib import Path

CONFIG = """
[run]
name = "small"
out = "run"
ratios = [1.0, 0.5, 0.25]
selectors = ["random", "kcenter", "semdedup", "meddel"]
seeds = [0, 1]
repeats = 2
threads = 1

[selectors.meddel]
epsilon = 2.0  # nothing is disruptive: it selects what semdedup does

[[data]]
name = "made"
made = {videos = 6, frames = 10, size = 48, val_videos = 1, test_videos = 1}

[[data]]
name = "other"
made = {videos = 4, frames = 6, size = 48, val_videos = 1, test_videos = 1, seed = 7}
use = ["test"]

[pretrain]
image_size = 32
patch_size = 8
hidden_size = 16
layers = 1
heads = 2
decoder_hidden_size = 16
decoder_layers = 1
decoder_heads = 2
steps = 8
warmup_steps = 2
batch_size = 8
learning_rate = 1e-3
precision = "fp32"

[downstream]
freeze_encoder = true
steps = 12
batch_size = 8
head_hidden = 8
precision = "fp32"
"""


def make(folder: Path) -> Path:
    """Run it in `folder`, and give the run directory."""
    from rich.console import Console

    from meddel_fast.benchmark.run import run
    from meddel_fast.config_file import load_config

    path = folder / "small.toml"
    path.write_text(CONFIG)
    return run(load_config(path), console=Console(file=io.StringIO()))
