"""Measures of quality: known answers, a plain restatement, the columns of a manifest."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("scipy")

from frames import blob_frames
from PIL import Image

from meddel_fast.images.load_images import load_image
from meddel_fast.images.made.frames import make_frames
from meddel_fast.images.manifest import Manifest
from meddel_fast.images.quality import LIMITS, Measures, judge, measure_manifest, measure_pixels
from meddel_fast.images.scan.folder import scan_folder

SIGMA = 0.6744897501960817 * 6


def grey(levels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def test_a_plain_surface() -> None:
    found = measure_pixels(grey(np.full((20, 30), 128)))
    assert found == Measures(0.0, 0.0, 128 / 255, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_black_and_white() -> None:
    assert measure_pixels(grey(np.zeros((9, 9)))) == Measures(1, 0, 0, 1, 0, 0, 0, 0, 0)
    assert measure_pixels(grey(np.full((9, 9), 20))).border == 1.0
    assert measure_pixels(grey(np.full((9, 9), 21))).border == 0.0
    assert measure_pixels(grey(np.full((9, 9), 244))).bright == 0.0
    assert measure_pixels(grey(np.full((9, 9), 245))).bright == 1.0
    white = measure_pixels(grey(np.full((9, 9), 255)))
    assert (white.border, white.brightness, white.bright) == (0.0, 1.0, 1.0)
    assert measure_pixels(np.full((1, 1, 3), 99, np.uint8)).sharpness == 0.0


def test_a_checkerboard() -> None:
    """Each Laplacian is 4 times the difference of 100, each answer of the mask 8 times."""
    found = measure_pixels(grey(np.where(np.indices((16, 16)).sum(0) % 2, 200, 100)))
    assert found.contrast == 50 / 255
    assert found.sharpness == 400.0**2
    assert found.noise == pytest.approx(800 / SIGMA, rel=1e-15)


def test_a_ramp_and_an_edge_have_no_noise() -> None:
    ramp = measure_pixels(grey(np.tile(np.arange(40, 140), (50, 1))))
    assert (ramp.sharpness, ramp.noise) == (0.0, 0.0)
    edge = measure_pixels(grey(np.tile(np.repeat([60, 160], 25), (50, 1))))
    assert edge.noise == 0.0
    # of 46 columns within the edge of 2 pixels, one has a Laplacian of 100 and one of -100
    assert edge.sharpness == pytest.approx(2 * 100**2 / 46, rel=1e-12)


def test_noise_is_its_deviation(rng: np.random.Generator) -> None:
    for sigma in (3.0, 8.0, 20.0):
        noisy = np.clip(np.rint(128 + sigma * rng.normal(size=(256, 256))), 0, 255)
        assert measure_pixels(grey(noisy)).noise == pytest.approx(sigma, rel=0.05)


def test_border_inset_and_view() -> None:
    """A view of 32 x 32 with a dark hole, and a text of 4 x 4, in a border of black."""
    levels = np.zeros((64, 64))
    levels[16:48, 16:48] = 100
    levels[30:32, 30:34] = 10
    levels[2:6, 50:54] = 255
    found = measure_pixels(grey(levels))
    assert found.inset == 16 / 4096
    assert found.border == (4096 - 1024 - 16) / 4096
    assert found.dark == 8 / 1024
    assert found.bright == 0.0
    assert found.brightness == (1016 * 100 + 8 * 10) / 1024 / 255
    levels[16, 16] = 0  # joined to the border by a side, not over a corner
    levels[17, 17] = 0
    assert measure_pixels(grey(levels)).border == found.border + 1 / 4096


def test_of_two_views_of_one_size_the_first_counts() -> None:
    levels = np.zeros((20, 20))
    levels[2:8, 2:8], levels[12:18, 12:18] = 60, 200
    found = measure_pixels(grey(levels))
    assert (found.brightness, found.inset) == (60 / 255, 36 / 400)


def test_warmth_is_red_less_blue() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:] = (200, 90, 80)
    assert measure_pixels(pixels).warmth == 120 / 255
    assert measure_pixels(255 - pixels).warmth == -120 / 255


def plainly(pixels: NDArray[np.uint8]) -> Measures:
    """The same without a library: flood fills, and loops over pixels."""
    height, width = pixels.shape[:2]
    every = [(y, x) for y in range(height) for x in range(width)]
    level = {
        (y, x): (299 * int(p[0]) + 587 * int(p[1]) + 114 * int(p[2]) + 500) // 1000
        for (y, x) in every
        for p in (pixels[y, x],)
    }

    def parts(inside: set[tuple[int, int]], around: list[tuple[int, int]]) -> list[set[Any]]:
        left, found = set(inside), []
        for start in every:
            if start in left:
                left.remove(start)
                part, todo = {start}, [start]
                while todo:
                    y, x = todo.pop()
                    for near in ((y + dy, x + dx) for dy, dx in around):
                        if near in left:
                            left.remove(near)
                            part.add(near)
                            todo.append(near)
                found.append(part)
        return found

    sides = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    dark = {p for p in every if level[p] <= 20}
    at_edge = {(y, x) for y, x in every if y in (0, height - 1) or x in (0, width - 1)}
    border = set().union(*(part for part in parts(dark, sides) if part & at_edge))
    views = parts(set(every) - border, around)
    view = max(views, key=len) if views else set()
    n, total = len(view), len(every)
    share = len(border) / total, (total - len(border) - n) / total
    if not n:
        return Measures(*share, 0, 1, 0, 0, 0, 0, 0)
    inner = view
    for _ in range(2):
        inner = {(y, x) for y, x in inner if all((y + a, x + b) in inner for a, b in around)}

    def variance(values: list[int]) -> float:
        if not values:
            return 0.0
        m = len(values)
        return (m * sum(v * v for v in values) - sum(values) ** 2) / (m * m)

    laplacian = [sum(level[y + a, x + b] for a, b in sides) - 4 * level[y, x] for y, x in inner]
    weight = {0: 4, 1: -2, 2: 1}
    mask = sorted(
        abs(sum(weight[abs(a) + abs(b)] * level[y + a, x + b] for a, b in [(0, 0), *around]))
        for y, x in inner
    )
    median = (mask[(len(mask) - 1) // 2] + mask[len(mask) // 2]) / 2 if mask else 0.0
    values = [level[p] for p in view]
    return Measures(
        *share,
        sum(values) / n / 255,
        sum(v <= 20 for v in values) / n,
        sum(v >= 245 for v in values) / n,
        math.sqrt(variance(values)) / 255,
        variance(laplacian),
        median / 0.6744897501960817 / 6.0,
        sum(int(pixels[p][0]) - int(pixels[p][2]) for p in view) / n / 255,
    )


@pytest.mark.parametrize("case", range(6))
def test_equals_a_plain_restatement(case: int) -> None:
    rng = np.random.default_rng(case)
    height, width = rng.integers(5, 30, 2)
    pixels = rng.integers(0, 256, (height, width, 3))
    pixels = np.where(rng.random((height, width, 1)) < 0.1 * case, pixels // 10, pixels)
    pixels[: case // 2] = 0
    assert measure_pixels(pixels.astype(np.uint8)) == plainly(pixels.astype(np.uint8))


def test_pixels_are_checked() -> None:
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(TypeError, match="pixels must be uint8"):
            measure_pixels(wrong)


@pytest.fixture
def frames(tmp_path: Path) -> Manifest:
    return blob_frames(tmp_path / "frames", 12)


def test_columns_of_a_manifest(frames: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    measured, unread = measure_manifest(frames, progress=lambda *a: seen.append(a))
    assert unread == {}
    assert seen == [(i + 1, 12) for i in range(12)]
    for row, path in enumerate(frames.image_paths()):  # of 40 pixels: not enlarged
        wanted = measure_pixels(load_image(path, 40))
        assert Measures(*(measured.column(n)[row] for n in Measures._fields)) == wanted
    assert measured.notes[-1] == "quality: 12 images measured at up to 256 x 256 pixels"
    assert measured.fingerprint == frames.fingerprint

    measured.save(tmp_path / "m.parquet")
    loaded = Manifest.load(tmp_path / "m.parquet")
    assert loaded.table.equals(measured.table)
    assert loaded.take([3, 1]).column("noise") == [measured.column("noise")[i] for i in (3, 1)]
    other = blob_frames(tmp_path / "other", 2, name="other")
    both = Manifest.concat([loaded, other], "both")
    assert both.column("border") == measured.column("border") + [None] * 2
    with pytest.raises(ValueError, match="wanted one of"):
        other.column("border")


def test_again_and_at_another_size(frames: Manifest) -> None:
    once = measure_manifest(frames, workers=1).manifest
    again = measure_manifest(once, workers=5).manifest
    assert again.table.equals(once.table)
    assert again.notes == once.notes
    small = measure_manifest(again, size=16).manifest
    path = frames.image_paths()[4]
    assert small.column("sharpness")[4] == measure_pixels(load_image(path, 16)).sharpness
    assert small.notes == ("quality: 12 images measured at up to 16 x 16 pixels",)


def test_what_cannot_be_read_is_told(frames: Manifest) -> None:
    paths = frames.image_paths()
    paths[2].unlink()
    paths[5].write_bytes(paths[5].read_bytes()[:200])
    measured, unread = measure_manifest(frames)
    assert set(unread) == {frames.ids[2], frames.ids[5]}
    assert "No such file" in unread[frames.ids[2]]
    assert measured.notes[-1].startswith("quality: 10 images measured at up to 256 x 256 pixels, 2")
    for name in Measures._fields:
        missing = [i for i, value in enumerate(measured.column(name)) if value is None]
        assert missing == [2, 5]
    reasons = judge(measured)
    assert np.flatnonzero(reasons == "not read").tolist() == [2, 5]


def test_an_interrupt_ends_it(frames: Manifest) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_manifest(frames, progress=stop)


def test_hashes_are_those_of_imagehash(frames: Manifest) -> None:
    imagehash = pytest.importorskip("imagehash")
    names = ["phash", "dhash", "average_hash", "whash"]
    measured = measure_manifest(frames, hashes=names).manifest
    for row, path in enumerate(frames.image_paths()):
        image = Image.fromarray(load_image(path, 40))
        for name in names:
            assert measured.column(name)[row] == str(getattr(imagehash, name)(image))


def test_judging(frames: Manifest) -> None:
    measured = measure_manifest(frames).manifest
    values = np.array(measured.column("brightness"))
    middle = float(np.median(values))
    limits = {"dim": ("brightness", middle, None), "bright": ("brightness", None, middle)}
    wanted = np.where(values < middle, "dim", np.where(values > middle, "bright", ""))
    assert judge(measured, limits).tolist() == wanted.tolist()
    both = judge(measured, limits | {"odd": ("noise", 1e9, None)})
    assert both.tolist() == [f"{w}; odd" if w else "odd" for w in wanted]
    ends = {"none": ("brightness", float(values.min()), float(values.max()))}
    assert judge(measured, ends).tolist() == [""] * 12
    assert judge(measured, {}).tolist() == [""] * 12
    with pytest.raises(ValueError, match="wanted one of"):
        judge(frames)


def test_arguments(frames: Manifest) -> None:
    with pytest.raises(ValueError, match="size must be from 8 to 4096, got 4"):
        measure_manifest(frames, size=4)
    with pytest.raises(ValueError, match="hashes must be one of 'phash'"):
        measure_manifest(frames, hashes=["md5"])


def test_planted_frames_are_found_and_no_others(tmp_path: Path) -> None:
    """Black, blown out, blurred and torn frames of the made data."""
    import pyarrow.parquet as pq

    out = make_frames(tmp_path / "made", videos=4, frames=20, val_videos=0, test_videos=0)
    truth = pq.read_table(out / "truth.parquet").to_pydict()
    planted = dict(zip(truth["id"], truth["disruption"], strict=True))
    measured = measure_manifest(scan_folder(out)).manifest
    expected = {"black": "black", "blown_out": "blown out", "blurred": "blurred", "noise": "torn"}
    for name, reason in zip(measured.ids, judge(measured).tolist(), strict=True):
        kind = planted[name]
        assert (expected[kind] in reason.split("; ")) if kind else reason == "", (name, kind)
    assert set(planted.values()) == {"", *expected}


def test_no_real_frame_breaks_a_limit(real_data: Path) -> None:
    some = sorted(real_data.glob("*/images/*.jpg"))[::40]
    assert len(some) > 30
    for path in some:
        found = measure_pixels(load_image(path, 256))._asdict()
        for name, low, high in LIMITS.values():
            assert low is None or found[name] >= low
            assert high is None or found[name] <= high
