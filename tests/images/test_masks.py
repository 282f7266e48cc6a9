"""What the numbers of a set of masks mean, or that they are refused: classes, noise, edges."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from containers import encoded  # noqa: E402
from made_masks import (  # noqa: E402
    BLANK,
    MASKS,
    SIDE,
    colour,
    dicom,
    grey,
    numbered,
    palette,
    read,
    saved,
    settled,
    written,
)

from meddel_fast.images.masks import census as mask_census  # noqa: E402
from meddel_fast.images.masks.census import Census, MaskError  # noqa: E402
from meddel_fast.images.masks.numbers import depth_of, numbers_of  # noqa: E402
from meddel_fast.images.pixels import Pixels  # noqa: E402

# How the four parts are numbered, and what they are in the end; "refused": who knows?
KINDS: dict[str, tuple[tuple[float, ...], tuple[int, ...] | str]] = {
    "black and white": ((0, 255, 255, 0), (0, 1, 1, 0)),
    "white of 16 bits": ((0, 65535, 65535, 0), (0, 1, 1, 0)),
    "white of 12 bits": ((0, 4095, 4095, 0), (0, 1, 1, 0)),
    "white of 10 bits": ((0, 1023, 1023, 0), (0, 1, 1, 0)),
    "0 and 1": ((0, 1, 1, 0), (0, 1, 1, 0)),
    "one grey": ((0, 38, 38, 0), (0, 1, 1, 0)),
    "one light grey": ((0, 200, 200, 0), (0, 1, 1, 0)),
    "two classes": ((0, 1, 2, 0), (0, 1, 1, 0)),
    "three classes": ((0, 1, 2, 3), (0, 1, 1, 1)),
    "4 beside 21": ((0, 4, 21, 0), (0, 1, 1, 0)),
    "1 beside 15 beside 16": ((0, 1, 15, 16), (0, 1, 1, 1)),
    "255 is ignored": ((0, 1, 2, 255), (0, 1, 1, 255)),
    "255 is ignored beside 15": ((0, 15, 15, 255), (0, 1, 1, 255)),
    "100 beside 200": ((0, 100, 200, 0), "grey regions"),
    "127 beside 255": ((0, 127, 255, 0), "grey regions"),
    "85 beside 170 beside 255": ((0, 85, 170, 255), "grey regions"),
    "64 beside 255": ((0, 64, 255, 0), "grey regions"),
    "20 beside 230": ((0, 20, 230, 0), "dark regions"),
    "white of videos": ((16, 235, 235, 16), (0, 1, 1, 0)),
    "nothing is 0": ((1, 2, 3, 1), "no pixel is 0"),
    "1 beside 254": ((0, 1, 1, 254), "dark regions"),
    "1 beside 128": ((0, 1, 1, 128), "dark regions"),
    "two scales": ((0, 1, 1, 0), "two scales"),
}


CONTAINERS: dict[str, tuple[Callable[[Path, np.ndarray], Path], float]] = {
    "png": (grey(".png"), 255),
    "bmp": (grey(".bmp"), 255),
    "tiff": (grey(".tif"), 255),
    "tiff, packed": (grey(".tif", compression="tiff_lzw"), 255),
    "webp": (grey(".webp", lossless=True), 255),
    "png of 16 bits": (grey(".png", np.uint16), 65535),
    "tiff of 16 bits": (grey(".tif", np.uint16), 65535),
    "tiff of 32 bits": (grey(".tif", np.int32), 65535),
    "tiff of floats": (grey(".tif", np.float32), 65535),
    "png in colour": (colour(".png"), 255),
    "png with alpha": (colour(".png", alpha=True), 255),
    "png with a palette": (palette(".png"), 255),
    "dicom": (dicom(np.uint8), 255),
    "dicom of 16 bits": (dicom(np.uint16), 65535),
}


@pytest.mark.parametrize(
    ("kind", "container"),
    [
        (kind, container)
        for kind, (numbers, _) in KINDS.items()
        for container, (_, highest) in CONTAINERS.items()
        if max(numbers) <= highest
    ],
)
def test_a_set_has_one_meaning_or_is_refused(tmp_path: Path, kind: str, container: str) -> None:
    (numbers, wanted), (write, _) = KINDS[kind], CONTAINERS[container]
    paths = saved(tmp_path, write, numbers)
    if kind == "two scales":  # one mask of the four is of 0 and 255
        paths[2] = write(tmp_path / "2", numbered(MASKS[2], (0, 255, 255, 0)))
    indexed = container == "png with a palette"
    if indexed and kind == "white of videos":
        wanted = "no pixel is 0"
    elif indexed and wanted in ("grey regions", "dark regions"):  # no levels, but classes
        wanted = tuple(255 if number == 255 else int(number > 0) for number in numbers)
    if isinstance(wanted, str):
        with pytest.raises(MaskError, match=rf"masks of .* hold .*{wanted}.*foreground"):
            settled(paths)
        return
    for mask, found in zip(MASKS, read(paths), strict=True):
        np.testing.assert_array_equal(found, numbered(mask, wanted))


# --- lossy files, noise, soft edges ----------------------------------------------------------


def again_as_png(kind: str, **options: Any) -> Callable[[Path, np.ndarray], Path]:
    """What was lossy once, in a file that no longer says so."""

    def write(path: Path, numbers: np.ndarray) -> Path:
        data = encoded(Image.fromarray(numbers.astype(np.uint8)), kind, **options)
        return written(path.with_suffix(".png"), Image.open(io.BytesIO(data)))

    return write


BLURRED: dict[str, Callable[[Path, np.ndarray], Path]] = {
    "jpeg": grey(".jpg"),
    "jpeg of low quality": grey(".jpg", quality=30),
    "jpeg in colour": colour(".jpg"),
    "jpeg in tiff": grey(".tif", compression="jpeg"),
    "lossy webp": grey(".webp", quality=80),
    "jpeg saved again as png": again_as_png("JPEG"),
    "jpeg of low quality saved again as png": again_as_png("JPEG", quality=30),
    "webp saved again as png": again_as_png("WEBP", quality=80),
    "png": grey(".png"),
}


@pytest.mark.parametrize("others", ["the same", "png", "jpeg"])
@pytest.mark.parametrize("container", BLURRED)
def test_an_empty_mask_with_faint_noise_is_empty(
    tmp_path: Path, container: str, others: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    write = BLURRED[container]
    rest = saved(tmp_path, write if others == "the same" else BLURRED[others], (0, 255, 255, 0))
    found = read([write(tmp_path / "noise", noise), *rest])
    assert not found[0].any()
    for mask, got in zip(MASKS, found[1:], strict=True):
        np.testing.assert_array_equal(got, numbered(mask, (0, 1, 1, 0)))


@pytest.mark.parametrize("container", [name for name in BLURRED if name != "png"])
@pytest.mark.parametrize("numbers", [(0, 100, 200, 0), (0, 127, 255, 0), (0, 85, 170, 255)])
def test_classes_that_a_threshold_would_lose_are_refused_in_lossy_files_too(
    tmp_path: Path, container: str, numbers: tuple[float, ...]
) -> None:
    paths = saved(tmp_path, BLURRED[container], numbers)
    with pytest.raises(MaskError, match=r"grey regions|close together"):
        settled(paths)
    both = read(paths, {"foreground": list(dict.fromkeys(numbers))[1:]}
                if "png" not in container else {"above": 40})  # fmt: skip
    np.testing.assert_array_equal(both[1], numbered(MASKS[1], (0, 1, 1, 1)))
    np.testing.assert_array_equal(both[2], numbered(MASKS[2], (0, 1, 1, 1)))


def test_a_set_of_noise_alone_is_empty_in_lossy_files_and_refused_in_others(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    path = BLURRED["jpeg"](tmp_path / "a", noise)
    assert not read([path])[0].any()
    assert "no pixel above 1" in settled([path]).words()
    with pytest.raises(MaskError, match="may be noise or classes"):
        settled([BLURRED["png"](tmp_path / "b", noise)])


def test_small_classes_in_lossy_files_are_refused_and_not_lost(tmp_path: Path) -> None:
    paths = saved(tmp_path, grey(".jpg", quality=95), (0, 1, 2, 0))[:2]
    with pytest.raises(MaskError, match="may be blurred classes or noise"):
        settled(paths)
    found = read(paths, {"foreground": [1, 2]})
    np.testing.assert_array_equal(found[1], numbered(MASKS[1], (0, 1, 1, 0)))


def test_a_number_that_means_two_things_in_one_set_is_refused(tmp_path: Path) -> None:
    paths = saved(tmp_path, grey(".png"), (0, 1, 2, 255))
    paths.append(grey(".jpg")(tmp_path / "x", numbered(MASKS[1], (0, 255, 255, 0))))
    with pytest.raises(MaskError, match=r"255 is ignored in masks of 8 bits .* lesion in lossy"):
        settled(paths)
    found = read(paths, {"foreground": [1, 2], "ignore": [255]})
    np.testing.assert_array_equal(found[4], numbered(MASKS[1], (0, 255, 255, 0)))


def disc(radius: float = 20, soft: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.clip((radius - np.hypot(x - 32, y - 30)) / soft + 0.5, 0, 1)


@pytest.mark.parametrize("soft", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("kind", ["8 bits", "16 bits", "12 of 16 bits", "floats", "red"])
def test_soft_edges_are_cut_at_half_of_white(tmp_path: Path, kind: str, soft: float) -> None:
    levels = disc(soft=soft)
    if kind == "floats":
        values = levels.astype(np.float32)
    elif kind == "red":
        values = np.zeros((SIDE, SIDE, 3), np.uint8)
        values[..., 0] = np.rint(levels * 255)
    else:
        white, dtype = {"8 bits": (255, np.uint8), "16 bits": (65535, np.uint16),
                        "12 of 16 bits": (4095, np.uint16)}[kind]  # fmt: skip
        values = np.rint(levels * white).astype(dtype)
    path = written(tmp_path / "soft.tif", Image.fromarray(values))
    bright = values if values.ndim == 2 else values[..., 0]
    np.testing.assert_array_equal(read([path])[0], bright > bright.max() / 2)


def test_edges_of_few_levels_are_no_classes_but_regions_of_them_are(tmp_path: Path) -> None:
    edge = (np.rint(disc(soft=2) * 4) / 4 * 255).round().astype(np.uint8)
    assert np.unique(edge).tolist() == [0, 64, 128, 191, 255]
    path = written(tmp_path / "edge.png", Image.fromarray(edge))
    np.testing.assert_array_equal(read([path])[0], edge > 127)
    edge[:12, :12] = 128
    path = written(tmp_path / "region.png", Image.fromarray(edge))
    with pytest.raises(MaskError, match="grey regions"):
        settled([path])


def noise(top: int, channels: int = 0) -> np.ndarray:
    shape = (SIDE, SIDE, channels) if channels else (SIDE, SIDE)
    return np.random.default_rng(1).integers(0, top + 1, shape, np.uint8)


def through_jpeg(pixels: np.ndarray, quality: int = 75) -> np.ndarray:
    data = encoded(Image.fromarray(pixels), "JPEG", quality=quality)
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("top", [1, 2, 3, 9])
@pytest.mark.parametrize("how", ["as it is", "jpeg", "coarse jpeg"])
@pytest.mark.parametrize("lesions", ["white", "white, through jpeg", "red"])
def test_faint_noise_saved_as_png_is_no_class_beside_white_or_colours(
    tmp_path: Path, top: int, how: str, lesions: str
) -> None:
    paths = []
    for i, mask in enumerate(MASKS[:3]):
        pixels = numbered(mask, (0, 255, 255, 0)).astype(np.uint8)
        if lesions == "red":
            pixels = np.dstack([pixels, BLANK, BLANK])
        if lesions.endswith("jpeg"):
            pixels = through_jpeg(pixels)
        paths.append(written(tmp_path / f"{i}.png", Image.fromarray(pixels)))
    faint = noise(top, 3 if lesions == "red" else 0)
    if how != "as it is":
        faint = through_jpeg(faint, 75 if how == "jpeg" else 50)
    paths.append(written(tmp_path / "3.png", Image.fromarray(faint)))
    if lesions != "red" and 0 < faint.min() == faint.max():  # a file that is full of one class?
        with pytest.raises(MaskError, match=r"two scales|far below 255"):
            settled(paths)
        return
    for mask, found in zip(MASKS, read(paths), strict=True):
        np.testing.assert_array_equal(found, numbered(mask, (0, 1, 1, 0)))


def test_a_class_in_a_file_of_its_own_is_not_lost_beside_soft_edges(tmp_path: Path) -> None:
    whites = [
        written(tmp_path / f"{i}.png", Image.fromarray((255 * disc(r, 3.0)).astype(np.uint8)))
        for i, r in enumerate((16, 20))
    ]
    assert settled(whites).words().startswith("lesion above 127.5")
    ones = grey(".png")(tmp_path / "ones", (disc(12) > 0.5).astype(int))
    with pytest.raises(MaskError, match="1 of them hold one small number alone, far below 255"):
        settled([*whites, ones])


def test_classes_that_were_resized_with_soft_edges_are_refused(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    away = np.hypot(y - 30, x - 33)
    rimmed = Image.fromarray(np.where(away < 20, 1, np.where(away < 23, 255, 0)).astype(np.uint8))
    path = written(tmp_path / "x.png", rimmed.resize((97, 97), Image.Resampling.BILINEAR))
    with pytest.raises(MaskError, match="dark regions lie far below 255"):
        settled([path])


def test_the_order_of_files_changes_nothing_however_many_colours_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_census, "_MANY", 3000)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(4):
        noise = rng.integers(225, 256, (SIDE, SIDE, 3), np.uint8)
        noise[:30] = rng.integers(0, 20, (30, SIDE, 3))
        paths.append(written(tmp_path / f"{i}.png", Image.fromarray(noise)))
    found = {settled(order).to_json() for order in (paths, paths[::-1], paths[2:] + paths[:2])}
    assert len(found) == 1
    assert settled(paths).words().startswith("lesion above 127.5 (0-19, ")


@pytest.mark.parametrize(
    ("bits", "numbers", "wanted"),
    [
        (1, (0, 1, 1, 0), (0, 1, 1, 0)),
        (2, (0, 3, 3, 0), (0, 1, 1, 0)),
        (2, (0, 1, 2, 3), (0, 1, 1, 1)),
        (4, (0, 15, 15, 0), (0, 1, 1, 0)),
        (4, (0, 1, 5, 14), (0, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("inverted", [False, True])
def test_grey_of_few_bits_holds_white_or_classes(
    bits: int, numbers: tuple[int, ...], wanted: tuple[int, ...], inverted: bool
) -> None:
    levels = max(numbers) in (1, 3, 15) and len(set(numbers)) == 2
    census = Census()
    files = []
    for i, mask in enumerate(MASKS):
        values = numbered(mask, numbers).astype(np.uint8)
        if inverted and levels:
            values = max(numbers) - values
        files.append(Pixels(values, None, "grey", bits, False, inverted, None))
        census.add(str(i), files[-1])
    meaning = census.settle()
    for mask, pixels in zip(MASKS, files, strict=True):
        rule = meaning.rule(depth_of(pixels))
        assert rule is not None
        found, turned = numbers_of(pixels, meaning.by_index)
        np.testing.assert_array_equal(rule.apply(found, inverted=turned), numbered(mask, wanted))


def test_masks_that_are_mostly_lesion_are_told_since_they_may_be_turned_over(
    tmp_path: Path,
) -> None:
    tifffile = pytest.importorskip("tifffile")
    paths = []
    for i, mask in enumerate(MASKS):  # a negative, by the tag that tifffile gives booleans
        paths.append(tmp_path / f"{i}.tif")
        tifffile.imwrite(paths[-1], mask > 0)
    assert "are they turned over?" in settled(paths).words()
    for mask, found in zip(MASKS, read(paths, {"foreground": [0]}), strict=True):
        np.testing.assert_array_equal(found, mask > 0)
    upright = saved(tmp_path, CONTAINERS["png"][0], (0, 255, 255, 0))
    assert "turned over" not in settled(upright).words()
