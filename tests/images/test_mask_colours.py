"""Masks in palettes, colours, alpha, one bit, and numbers to ignore: looked up or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from made_masks import (  # noqa: E402
    BLANK,
    LESION,
    MASKS,
    OTHER,
    RIM,
    SIDE,
    dicom,
    grey,
    numbered,
    palette,
    read,
    saved,
    settled,
    written,
)

from meddel_fast.images.load_images import ImageError  # noqa: E402
from meddel_fast.images.load_masks import load_mask  # noqa: E402
from meddel_fast.images.masks.census import MaskError  # noqa: E402


def test_a_palette_of_black_and_white_is_looked_up_whatever_its_order(tmp_path: Path) -> None:
    paths = []
    for i, mask in enumerate(MASKS):
        image = Image.fromarray((mask == LESION) ^ (i % 2 == 1)).convert("L").point(lambda v: v > 0)
        indexed = Image.fromarray(np.asarray(image), "P")
        indexed.putpalette([0, 0, 0, 255, 255, 255] if i % 2 == 0 else [255, 255, 255, 0, 0, 0])
        paths.append(written(tmp_path / f"{i}.png", indexed))
    for mask, found in zip(MASKS, read(paths), strict=True):
        np.testing.assert_array_equal(found, mask == LESION)


def test_palettes_that_differ_from_file_to_file_are_looked_up(tmp_path: Path) -> None:
    paths = []
    for i, mask in enumerate(MASKS):
        indexed = Image.fromarray((mask + i) % 4, "P")
        colours = np.roll([[0, 0, 0], [200, 30, 30], [30, 90, 220], [9, 9, 9]], i, axis=0)
        indexed.putpalette(colours.ravel().tolist())
        paths.append(written(tmp_path / f"{i}.png", indexed))
    given = {"foreground": ["#c81e1e"], "ignore": ["#090909"]}
    for mask, auto, named in zip(MASKS, read(paths), read(paths, given), strict=True):
        np.testing.assert_array_equal(auto, mask > 0)
        np.testing.assert_array_equal(named, numbered(mask, (0, 1, 0, 255)))


def test_colours_are_classes_and_all_but_black_is_lesion(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [128, 0, 0], [0, 60, 0], [255, 255, 255]], np.uint8)
    paths = [written(tmp_path / f"{i}.png", Image.fromarray(colours[mask]))
             for i, mask in enumerate(MASKS)]  # fmt: skip
    given = {"foreground": ["#800000", "#003c00"], "ignore": ["#ffffff"]}
    for mask, auto, named in zip(MASKS, read(paths), read(paths, given), strict=True):
        np.testing.assert_array_equal(auto, mask > 0)
        np.testing.assert_array_equal(named, numbered(mask, (0, 1, 1, 255)))
    assert "#003c00, #800000" in settled(paths).words()


def test_alpha_is_laid_on_black_and_says_nothing_where_it_is_opaque(tmp_path: Path) -> None:
    lesion = (MASKS[0] == LESION) * 255
    clear = np.dstack([np.full((SIDE, SIDE, 3), 255), lesion]).astype(np.uint8)
    path = written(tmp_path / "clear.png", Image.fromarray(clear))
    np.testing.assert_array_equal(read([path])[0], MASKS[0] == LESION)
    opaque = np.dstack([MASKS[0], np.full((SIDE, SIDE), 255)]).astype(np.uint8)
    path = written(tmp_path / "opaque.png", Image.fromarray(opaque, "LA"))
    np.testing.assert_array_equal(read([path])[0], MASKS[0] > 0)


def test_one_bit_is_black_and_white_beside_0_and_255(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "0.png", Image.fromarray(MASKS[0] == LESION)),
        written(tmp_path / "1.png", Image.fromarray((MASKS[1] > 0).astype(np.uint8) * 255)),
        written(tmp_path / "2.tif", Image.fromarray(MASKS[2] > 0), compression="group4"),
    ]
    for path, wanted in zip(paths, (MASKS[0] == LESION, MASKS[1] > 0, MASKS[2] > 0), strict=True):
        np.testing.assert_array_equal(load_mask(path, SIDE, settled(paths)), wanted)


BLACK_WHITE = [0, 0, 0, 255, 255, 255]


def in_black_and_white(path: Path, lesion: np.ndarray, how: str) -> Path:
    if how == "bit":
        return written(path, Image.fromarray(lesion))
    image = Image.fromarray((lesion ^ (how == "turned")).astype(np.uint8), "P")
    image.putpalette(BLACK_WHITE if how == "palette" else BLACK_WHITE[::-1])
    return written(path, image)


@pytest.mark.parametrize("how", ["bit", "palette", "turned"])
@pytest.mark.parametrize("given", [None, {"ignore": [255]}, {"foreground": [1], "ignore": [255]},
                                   {"background": [0], "ignore": [255]}])  # fmt: skip
def test_black_and_white_beside_classes_is_not_what_these_ignore(
    tmp_path: Path, how: str, given: dict[str, Any] | None
) -> None:
    paths = saved(tmp_path, grey(".png"), (0, 1, 1, 255))
    paths.append(in_black_and_white(tmp_path / "bits.png", MASKS[0] == LESION, how))
    if how == "turned" and given is None:
        with pytest.raises(MaskError, match="255 is ignored in masks of 8 bits, and all that pal"):
            settled(paths)
        return
    *found, last = read(paths, given)
    for mask, got in zip(MASKS, found, strict=True):
        np.testing.assert_array_equal(got, numbered(mask, (0, 1, 1, 255)))
    # the owner speaks of indices: of a palette that is turned over, 1 is the ground
    np.testing.assert_array_equal(last, (MASKS[0] == LESION) ^ (how == "turned"))


def test_what_few_files_have_beside_much_white_is_no_reason_to_ignore_it(tmp_path: Path) -> None:
    paths = saved(tmp_path, grey(".png"), (0, 255, 255, 0))
    stray = numbered(MASKS[0], (0, 255, 50, 0))
    paths[0] = grey(".png")(tmp_path / "0", stray)
    with pytest.raises(MaskError, match="255 is too much to be ignored beside so little of 50"):
        settled(paths)


@pytest.mark.parametrize("kind", ["png in colour", "gif"])
def test_the_rim_in_pascal_vocs_colours_is_ignored_as_its_index_is(
    tmp_path: Path, kind: str
) -> None:
    paths = saved(tmp_path, palette(".png"), (0, 5, 15, 255))
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            if kind == "gif":  # Pillow deals the indices anew
                paths[i] = written(path.with_suffix(".gif"), image)
            else:
                written(path, image.convert("RGB"))
    for mask, found in zip(MASKS, read(paths), strict=True):
        np.testing.assert_array_equal(found, numbered(mask, (0, 1, 1, 255)))


def test_black_whose_transparency_alone_varies_is_no_mask(tmp_path: Path) -> None:
    clear = np.dstack([*[BLANK] * 3, (MASKS[0] == LESION) * 255]).astype(np.uint8)
    path = written(tmp_path / "x.png", Image.fromarray(clear))
    with pytest.raises(ImageError, match="all black, and only its transparency tells pixels"):
        settled([path])


def test_a_file_whose_0_is_white_is_turned_over(tmp_path: Path) -> None:
    write = dicom(np.uint16, "MONOCHROME1")
    paths = saved(tmp_path, write, (4095, 0, 0, 4095))
    for mask, found in zip(MASKS, read(paths), strict=True):
        np.testing.assert_array_equal(found, numbered(mask, (0, 1, 1, 0)))


def test_what_is_no_number_is_ignored_and_told(tmp_path: Path) -> None:
    values = np.array([0, 1, 0, np.nan], np.float32)[MASKS[0]]
    path = written(tmp_path / "x.tif", Image.fromarray(values))
    np.testing.assert_array_equal(read([path])[0], numbered(MASKS[0], (0, 1, 0, 255)))
    assert f"{(MASKS[0] == RIM).sum()} pixels that are no number" in settled([path]).words()


def test_negative_numbers_are_refused_unless_told(tmp_path: Path) -> None:
    values = np.array([0, 1, 2, -1], np.int32)[MASKS[0]]
    path = written(tmp_path / "x.tif", Image.fromarray(values))
    with pytest.raises(MaskError, match=r"hold -1-2: negative numbers"):
        settled([path])
    found = read([path], {"foreground": [1, 2], "ignore": [-1]})[0]
    np.testing.assert_array_equal(found, numbered(MASKS[0], (0, 1, 1, 255)))


def test_numbers_of_instances_are_all_lesion(tmp_path: Path) -> None:
    numbers = np.zeros((SIDE, SIDE), np.uint16)
    for i in range(100):
        y, x = divmod(i, 10)
        numbers[y * 6 : y * 6 + 5, x * 6 : x * 6 + 5] = i + 1
    path = written(tmp_path / "x.png", Image.fromarray(numbers))
    np.testing.assert_array_equal(read([path])[0], numbers > 0)


def test_nested_classes_are_no_noise(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    rings = (6 - np.hypot(y - 32, x - 32) // 4).clip(0, 6).astype(np.uint8)
    path = written(tmp_path / "x.png", Image.fromarray(rings))
    np.testing.assert_array_equal(read([path])[0], rings > 0)


def test_pages_and_files_of_a_union_are_joined(tmp_path: Path) -> None:
    pages = [Image.fromarray((MASKS[0] == part).astype(np.uint8) * 255) for part in (1, 2)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    wanted = numbered(MASKS[0], (0, 1, 1, 0))
    np.testing.assert_array_equal(load_mask(tmp_path / "x.tif", SIDE), wanted)
    joined = load_mask(tmp_path / "x.tif::000000||000001", SIDE)
    np.testing.assert_array_equal(joined, wanted)
    np.testing.assert_array_equal(load_mask(tmp_path / "x.tif::000001", SIDE), MASKS[0] == OTHER)
    for part, numbers in ((1, (0, 1, 0, 255)), (2, (0, 0, 255, 1))):
        values = numbered(MASKS[0], numbers).astype(np.uint8)
        written(tmp_path / f"{part}.png", Image.fromarray(values))
    meaning = settled([tmp_path / "1.png", tmp_path / "2.png"])
    found = load_mask(tmp_path / "1.png||2.png", SIDE, meaning)
    np.testing.assert_array_equal(found, numbered(MASKS[0], (0, 1, 255, 1)))
