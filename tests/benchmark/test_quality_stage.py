"""Images of a run's pool that break a limit of quality: told of on the page, or taken out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tiny_run import made, tiny

from meddel_fast.benchmark.config_file import load_config
from meddel_fast.benchmark.report import render
from meddel_fast.benchmark.run import run
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.quality import judge
from meddel_fast.selectors import Selection


def selected(folder: Path, flawed: str) -> Path:
    folder.mkdir()
    config = folder / "run.toml"
    config.write_text(
        tiny(
            run={"selectors": ["random"], "ratios": [1.0, 0.5]},
            data=[made(disruptive=0.3, size=96)],
            quality={"flawed": flawed},
            encoder={"steps": 2},
        )
    )
    return run(load_config(config), until="select", console=None)


def shown(page: str) -> str:
    part = page[page.index('id="quality"') :]
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", part[: part.index("</section>")]))


def test_flawed_images_are_told_of_or_taken_out(tmp_path: Path) -> None:
    told, cleaned = (selected(tmp_path / name, name) for name in ("tell", "exclude"))
    pool = Manifest.load(told / "data" / "pretrain.parquet")
    reasons = judge(pool)
    bad = np.flatnonzero(reasons != "")
    saved = read_json(told / "data" / "quality.json")
    assert (saved["flawed"], saved["images"]) == ("tell", len(pool))
    assert saved["reasons"] == {pool.ids[i]: reasons[i].split("; ") for i in bad}
    assert 0 < len(bad) < len(pool)
    left = Manifest.load(cleaned / "data" / "pretrain.parquet")
    assert left.ids == [name for i, name in enumerate(pool.ids) if i not in set(bad.tolist())]
    assert read_json(cleaned / "data" / "quality.json")["reasons"] == saved["reasons"]
    kept = Selection.load(told / "select" / "random-50.parquet")
    page = shown(render(told).read_text(encoding="utf-8"))
    assert f"{len(bad)} images of {len(pool)} in the pool" in page
    assert "They stayed in the pool." in page
    assert f" {np.isin(kept.indices, bad).sum()} " in page[page.index("Why") :]
    assert "They were left out of the pool." in shown(render(cleaned).read_text(encoding="utf-8"))


def test_nothing_is_measured_unless_asked_for(tmp_path: Path) -> None:
    plain = selected(tmp_path / "ignore", "ignore")
    assert not (plain / "data" / "quality.json").exists()
    assert 'id="quality"' not in render(plain).read_text(encoding="utf-8")
