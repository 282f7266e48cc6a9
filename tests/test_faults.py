"""A disk that fills up, fails or turns read-only, too little memory, and death at any write.

What is there stays whole, the error is explained, and the run goes on to the same results."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")

HERE = Path(__file__).parent
FAULTS = int(os.environ.get("MEDDEL_FAULTS", "18"))  # how many; `make soak` asks for more
TINY = """
[run]
name = "tiny"
out = "run"
ratios = [1.0, 0.25]
selectors = ["meddel", "loss"]
seeds = [0]

[[data]]
name = "made"
made = {videos = 4, frames = 8, size = 48, val_videos = 1, test_videos = 1}

[selectors.loss]
score = "mae"

[pretrain]
image_size = 32
patch_size = 8
hidden_size = 16
layers = 1
heads = 2
decoder_hidden_size = 16
decoder_layers = 1
decoder_heads = 2
steps = 6
warmup_steps = 2
batch_size = 8
precision = "fp32"
checkpoint_every = 2

[downstream]
freeze_encoder = true
steps = 4
batch_size = 8
head_hidden = 8
precision = "fp32"
"""


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that makes a disk fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = HERE / "native" / "faults.c"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source, "-ldl"],
        check=True,
    )
    return library


@pytest.mark.timeout(600 + 10 * FAULTS)
def test_nothing_is_lost(failing_disk: Path, tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(TINY)
    done = subprocess.run(
        [sys.executable, HERE / "fault_driver.py", config, tmp_path, "0", str(FAULTS)],
        env={**os.environ, "LD_PRELOAD": str(failing_disk), "OMP_NUM_THREADS": "1",
             "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ends = Counter(re.findall(r"^(\S+) \d+: (\S+)", done.stdout, flags=re.MULTILINE))
    assert ends.total() == FAULTS
    assert {kind for kind, end in ends if end != "finished"} >= {
        "full",
        "kill",
        "torn",
        "read-only",
    }
