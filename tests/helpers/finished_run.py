"""A small run from end to end, for tests of what is done with a finished one."""

from __future__ import annotations

import io
from pathlib import Path

from tiny_run import made, tiny

CONFIG = (
    tiny(
        run={
            "name": "small",
            "ratios": [1.0, 0.5, 0.25],
            "selectors": ["random", "kcenter", "semdedup", "meddel"],
            "repeats": 2,
            "threads": 1,
        },
        data=[made(), made("other", videos=4, frames=6, seed=7) | {"use": ["test"]}],
        pretrain={"learning_rate": 1e-3},
        downstream={"steps": 12},
    )
    + "[selectors.semdedup]\nkeep = 'near'\n[selectors.meddel]\nepsilon = 2.0\n"
)  # nothing is disruptive: it selects what semdedup does


def make(folder: Path) -> Path:
    """Run it in `folder`, and give the run directory."""
    from rich.console import Console

    from meddel_fast.benchmark.config_file import load_config
    from meddel_fast.benchmark.run import run

    path = folder / "small.toml"
    path.write_text(CONFIG)
    return run(load_config(path), console=Console(file=io.StringIO()))
