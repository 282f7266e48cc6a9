"""What an audit for copies can see: altered copies of images, by an encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from frames import TINY as NETWORK
from frames import blob_frames

from meddel_fast.benchmark.sight import Sight
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.altered_copies import CHANGES, Nearness, nearness
from meddel_fast.training.embed import embed
from meddel_fast.training.pretrain import pretrain


def test_an_audit_says_what_it_cannot_see(tmp_path: Path) -> None:
    near = Nearness(
        10,
        {"turned": np.linspace(0.5, 1.0, 10), "kept": np.full(10, 0.999), "cut": np.full(10, 0.5)},
        np.array([0.99, 0.5, 0.2, 0.1]),
    )
    sight = Sight.of(near, 0.98, True)
    assert [(row["change"], row["found"]) for row in sight.copies] == [
        ("turned", 1), ("kept", 10), ("cut", 0),
    ]  # fmt: skip
    found, blind, others = sight.told()
    assert "puts at 0.98 or more: turned: 10 %, kept: 100 %, cut: 0 %." in found
    assert blind == "The audit cannot be relied on to find copies that are turned or cut."
    assert others == "It takes 1 of 4 pairs of different images for copies (25.0 %)."
    assert Sight.load(tmp_path) is None
    sight.save(tmp_path)
    assert Sight.load(tmp_path) == sight
    (tmp_path / "sight.json").write_text('{"threshold": 1}')
    with pytest.raises(ValueError, match="is no account of what an audit sees"):
        Sight.load(tmp_path)
    all_seen = Sight.of(Nearness(2, {"kept": np.ones(2)}, np.zeros(0)), 0.98, True)
    assert len(all_seen.told()) == 1


def test_copies_are_altered_and_embedded(tmp_path: Path) -> None:
    """By an encoder with its first weights: it sees what changes few pixels, and no mirror."""
    rows = blob_frames(tmp_path / "blobs", n=9)
    rows = Manifest.from_rows(
        "b", rows.root, [r | {"group": "v"[: i < 3]} for i, r in enumerate(rows.table.to_pylist())]
    )
    encoder = pretrain(rows, None, tmp_path / "mae", replace(NETWORK, steps=2, warmup_steps=1))
    mean = embed(rows, encoder, tmp_path / "x").array.mean(axis=0, dtype=np.float64)
    seen = []
    found = nearness(rows, encoder, mean=mean, progress=lambda *at: seen.append(at))
    assert (found.images, list(found.copies)) == (9, list(CHANGES))
    assert all(((c >= -1) & (c <= 1 + 1e-12)).all() for c in found.copies.values())
    assert len(found.others) == 36 - 3  # but for the pairs of one video
    assert seen[-1] == (len(CHANGES), len(CHANGES))
    again, mirrored = (np.median(found.copies[n]) for n in (next(iter(CHANGES)), "mirrored"))
    assert again > 0.9 > mirrored
    raw = nearness(rows, encoder)
    assert np.median(raw.others) > np.median(found.others)  # their common part is not taken out
