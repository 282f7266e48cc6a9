"""What a selection kept of subgroups, and whether these can be read off the embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import meddel_fast as mf
from meddel_fast.benchmark.subgroups import (
    as_json,
    audit_subgroups,
    column_of,
    sentences,
)
from meddel_fast.selectors.selection import make_selection


def kept(n: int, *rows: int) -> mf.selectors.Selection:
    return make_selection("given", np.array(rows, np.int64), np.zeros(n), {})


def angles(*degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.stack([np.cos(a), np.sin(a)], axis=1).astype(np.float32)


def test_shares_and_distances_of_a_known_selection() -> None:
    x = angles(0, 10, 60, 90, 180, 200)
    site = ["a", "a", "b", "b", "c", None]
    (found,) = audit_subgroups(kept(6, 0, 3), x, {"site": site}, centre=False, read=False)
    lost, far, near = found.subgroups  # of equal shares the farther first
    assert (lost.value, lost.samples, lost.kept, lost.share) == ("c", 1, 0, 0.0)
    assert (far.value, far.kept, far.share) == ("b", 1, 0.5)
    assert (near.value, near.kept, near.share) == ("a", 1, 0.5)
    for one, radius in ((lost, 90), (far, 30), (near, 10)):
        assert one.radius == pytest.approx(1 - np.cos(np.radians(radius)), abs=1e-6)
        assert one.typical == pytest.approx(one.radius / one.samples, abs=1e-6)
    assert (found.unknown, found.unknown_kept, found.reading) == (1, 0, None)
    assert (found.least_kept.value, found.farthest.value) == ("c", "c")
    told = sentences(found)
    assert told[0].startswith("site: least kept is c (0 of 1);")
    assert told[1] == "1 samples have no site, 0 are kept."


def test_nulls_of_arrow_are_none() -> None:
    arrow = pytest.importorskip("pyarrow").array(["a", None, "b", "a"])
    x = angles(0, 10, 60, 90)
    (found,) = audit_subgroups(kept(4, 0), x, {"site": arrow}, read=False)
    assert (found.unknown, [one.value for one in found.subgroups]) == (1, ["b", "a"])


def pool(rng: np.random.Generator, apart: float) -> tuple[Any, list[str], list[str]]:
    """200 samples of 40 patients of two sites, whose centres lie `apart`."""
    patient = np.repeat(np.arange(40), 5)
    site = patient % 2
    middle = rng.normal(size=(40, 8))[patient] + apart * site[:, None] * np.eye(8)[0]
    x = (middle + 0.05 * rng.normal(size=(200, 8))).astype(np.float32)
    return x, [f"site {s}" for s in site], [f"patient {p}" for p in patient]


def test_what_can_be_read_and_what_cannot(rng: np.random.Generator) -> None:
    for apart, readable in ((12.0, True), (0.0, False)):
        x, site, patient = pool(rng, apart)
        (found,) = audit_subgroups(kept(200, 0, 1), x, {"site": site}, groups=patient)
        read = found.reading
        assert read is not None
        assert (read.asked, read.values, read.chance, read.left_out) == (200, 2, 0.5, 0)
        assert (read.low > 0.5) == readable
        assert read.low <= read.score <= read.high
        assert ("can be read" in sentences(found)[1]) == readable
    # Frames of one's own patient would tell, whatever the site does.
    (alone,) = audit_subgroups(kept(200, 0, 1), x, {"site": site}, neighbours=3)
    assert alone.reading is not None
    assert alone.reading.score > 0.95


def test_a_patient_is_not_asked_for_beside_itself(rng: np.random.Generator) -> None:
    x, site, patient = pool(rng, 12.0)
    site[:5] = ["lonely"] * 5
    columns = {"site": site, "patient": patient}
    found, own = audit_subgroups(kept(200, 7), x, columns, groups=patient)
    assert found.reading is not None
    assert (found.reading.values, found.reading.left_out, found.reading.asked) == (2, 5, 195)
    assert sentences(found)[-1] == "5 samples of values of one group were not asked about."
    assert own.reading is None
    assert own.least_kept.kept == 0


def test_few_patients_do_not_name_themselves(rng: np.random.Generator) -> None:
    patient = np.repeat(np.arange(6), 20)  # fewer groups than intervals are drawn of
    middle = 10.0 * np.eye(6)[patient]
    x = (middle + 0.05 * rng.normal(size=(120, 6))).astype(np.float32)
    groups, site = [f"p{p}" for p in patient], [f"s{p % 2}" for p in patient]
    (found,) = audit_subgroups(kept(120, 0), x, {"site": site}, groups=groups)
    assert found.reading is not None
    assert found.reading.low <= 0.5
    (one,) = audit_subgroups(kept(120, 0), x, {"site": site}, groups=["p"] * 120)
    assert one.reading is None


def test_more_samples_are_drawn_from(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from meddel_fast.benchmark import subgroups

    x, site, patient = pool(rng, 12.0)
    monkeypatch.setattr(subgroups, "ASKED", 50)
    (found,) = audit_subgroups(kept(200, 0), x, {"site": site}, groups=patient, threads=1)
    (again,) = audit_subgroups(kept(200, 0), x, {"site": site}, groups=patient, threads=2)
    assert found == again
    assert found.reading is not None
    assert found.reading.asked == 50
    assert found.reading.score == 1.0


def test_bad_input_is_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(6, 3)).astype(np.float32)
    with pytest.raises(ValueError, match=r"x must have a row for each of 6 samples, got shape"):
        audit_subgroups(kept(6, 0), x[:5], {"site": ["a"] * 6})
    with pytest.raises(ValueError, match="site must have a value for each of 6 samples, got 5"):
        audit_subgroups(kept(6, 0), x, {"site": ["a"] * 5})
    with pytest.raises(ValueError, match="site must have a value for some sample, got none"):
        audit_subgroups(kept(6, 0), x, {"site": [""] * 6})
    with pytest.raises(ValueError, match="selection must keep one sample or more"):
        audit_subgroups(kept(6), x, {"site": ["a"] * 6})
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="x must be finite, got NaN or infinity in row 3"):
        audit_subgroups(kept(6, 0), x, {"site": ["a"] * 6})
    with pytest.raises(ValueError, match="columns must hold one or more"):
        audit_subgroups(kept(6, 0), x, {})


def test_command(rng: np.random.Generator, tmp_path: Path, cli: Any) -> None:
    pytest.importorskip("pyarrow")
    from command_line import lines

    from meddel_fast.common.files import read_json

    x, site, patient = pool(rng, 12.0)
    np.save(tmp_path / "x.npy", x)
    mf.selectors.kcenter(x, 20).save(tmp_path / "s.parquet")
    (tmp_path / "site.txt").write_text("\n".join(site) + "\n")
    (tmp_path / "who.csv").write_text("who\n" + "\n".join(patient) + "\n")
    arguments = ["audit", tmp_path / "s.parquet", tmp_path / "x.npy"]
    said = lines(
        cli, *arguments, "--column", f"site={tmp_path / 'site.txt'}", "--groups",
        f"{tmp_path / 'who.csv'}:who", "--out", tmp_path / "audit.json",
    )  # fmt: skip
    assert "20 of 200 kept by kcenter" in said
    assert "It can be read off the embeddings: 100.0 %" in said
    saved = read_json(tmp_path / "audit.json")
    assert (saved["kept"], saved["columns"][0]["name"]) == (20, "site")
    chosen = mf.selectors.Selection.load(tmp_path / "s.parquet")
    made = audit_subgroups(chosen, x, {"site": site}, groups=patient)
    told = as_json(chosen, made)
    assert saved["columns"][0]["reading"] == told["columns"][0]["reading"]
    refused = lines(cli, *arguments, status=2)
    assert "--column NAME or NAME=FILE is needed" in refused
    refused = lines(cli, *arguments, "--column", "site", status=2)
    assert "--column site needs --manifest" in refused


def test_a_manifest_of_another_order_is_refused(tmp_path: Path, cli: Any) -> None:
    pytest.importorskip("pyarrow")
    from command_line import lines
    from frames import blob_frames

    rows = blob_frames(tmp_path / "frames", 6)
    rows.save(tmp_path / "m.parquet")
    x = angles(0, 10, 60, 90, 180, 200)
    np.save(tmp_path / "x.npy", x)
    chosen = mf.selectors.kcenter(x, 2)
    arguments = ["audit", tmp_path / "s.parquet", tmp_path / "x.npy", "--column", "split",
                 "--manifest", tmp_path / "m.parquet"]  # fmt: skip
    for ids, status in ((rows.ids, 0), (None, 0), (rows.ids[::-1], 2)):
        chosen.save(tmp_path / "s.parquet", ids)
        said = lines(cli, *arguments, status=status)
    assert "does not hold the images that" in said


def test_columns_of_a_manifest(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from meddel_fast.images.manifest import SCHEMA, Manifest

    rows = [
        {**dict.fromkeys(SCHEMA.names), "id": name, "image": "a", "sha256": "", "bytes": 1,
         "width": 1, "height": 1, "mode": "L", "split": "train", "group": "", "frame": -1,
         "status": "ok", "reason": ""}
        for name in ("one/a", "two/b", "c")
    ]  # fmt: skip
    manifest = Manifest.from_rows("both", tmp_path, rows)
    assert column_of(manifest, "set") == ["", "one", "two"]
    assert column_of(manifest, "split") == ["train"] * 3
    with pytest.raises(ValueError, match="wanted one of"):
        column_of(manifest, "scanner")
