"""Masks: what a number means is settled over the data set, in every container, or is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import encoded, write_dicom  # noqa: E402

from meddel_fast.data import masks  # noqa: E402
from meddel_fast.data.build import scan  # noqa: E402
from meddel_fast.data.images import ImageError, load_mask  # noqa: E402
from meddel_fast.data.manifest import Manifest  # noqa: E402
from meddel_fast.data.mask_census import Census, MaskError  # noqa: E402
from meddel_fast.data.mask_rule import Meaning, parse_mask  # noqa: E402
from meddel_fast.data.masks import count, meanings, told  # noqa: E402
from meddel_fast.data.pixels import Pixels, read_pixels  # noqa: E402

SIDE = 64
LESION, OTHER, RIM = 1, 2, 3  # what a pixel of a made mask is, beside 0


def made_masks() -> list[np.ndarray]:
    """Four masks: one with all there is, one of a class alone, one full of lesion, one empty."""
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[8:40, 8:48] = RIM
    whole[16:32, 16:32] = LESION
    whole[16:32, 32:40] = OTHER
    single = np.zeros((SIDE, SIDE), np.uint8)
    single[40:56, 0:24] = OTHER
    most = np.full((SIDE, SIDE), LESION, np.uint8)
    most[:8] = 0
    return [whole, single, most, np.zeros((SIDE, SIDE), np.uint8)]


MASKS = made_masks()
BLANK = MASKS[3]

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
    "two scales": ((0, 1, 1, 0), "two scales"),
}


def numbered(mask: np.ndarray, numbers: tuple[float, ...]) -> np.ndarray:
    return np.array(numbers)[mask]


def written(path: Path, image: Any, **options: Any) -> Path:
    image.save(path, **options)
    return path


def grey(kind: str, dtype: type = np.uint8, **options: Any) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, numbers: np.ndarray) -> Path:
        return written(path.with_suffix(kind), Image.fromarray(numbers.astype(dtype)), **options)

    return write


def colour(kind: str, alpha: bool = False, **options: Any) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, numbers: np.ndarray) -> Path:
        image = np.repeat(numbers.astype(np.uint8)[..., None], 3, axis=2)
        if alpha:
            image = np.dstack([image, np.full(numbers.shape, 255, np.uint8)])
        return written(path.with_suffix(kind), Image.fromarray(image), **options)

    return write


def palette(kind: str) -> Callable[[Path, np.ndarray], Path]:
    """Indices into the palette of Pascal VOC, whose last colour is a light one."""

    def write(path: Path, numbers: np.ndarray) -> Path:
        image = Image.fromarray(numbers.astype(np.uint8), "P")
        bits = [[(i >> 3 * k + c & 1) << 7 - k for k in range(3)] for i in range(256)
                for c in range(3)]  # fmt: skip
        image.putpalette([sum(parts) for parts in bits])
        return written(path.with_suffix(kind), image)

    return write


def dicom(dtype: type, kind: str = "MONOCHROME2") -> Callable[[Path, np.ndarray], Path]:
    """A window that would stretch the mask, were it obeyed."""

    def write(path: Path, numbers: np.ndarray) -> Path:
        pytest.importorskip("pydicom")
        window = {"WindowCenter": 2, "WindowWidth": 3}
        write_dicom(path.with_suffix(".dcm"), numbers[None].astype(dtype), kind, **window)
        return path.with_suffix(".dcm")

    return write


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


def settled(paths: list[Path], given: dict[str, Any] | None = None) -> Meaning:
    census = Census()
    for path in paths:
        count(census, path)
    return census.settle(given)


def read(paths: list[Path], given: dict[str, Any] | None = None) -> list[np.ndarray]:
    meaning = settled(paths, given)
    return [load_mask(path, SIDE, Meaning.from_json(meaning.to_json())) for path in paths]


def saved(folder: Path, write: Callable[[Path, np.ndarray], Path],
          numbers: tuple[float, ...]) -> list[Path]:  # fmt: skip
    return [write(folder / str(i), numbered(mask, numbers)) for i, mask in enumerate(MASKS)]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_has_one_meaning_or_is_refused(tmp_path: Path, kind: str, container: str) -> None:
    (numbers, wanted), (write, highest) = KINDS[kind], CONTAINERS[container]
    if max(numbers) > highest:
        pytest.skip("does not fit in")
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


# --- palettes, colours, alpha, one bit -------------------------------------------------------


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


# --- the set, its manifest, and what its owner says ------------------------------------------


def made_set(root: Path, numbers: tuple[float, ...]) -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for i, mask in enumerate(MASKS):
        pixels = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        written(root / f"images/{i}.png", Image.fromarray(pixels))
        CONTAINERS["png"][0](root / f"masks/{i}", numbered(mask, numbers))
    return root


def decoded(manifest: Manifest) -> np.ndarray:
    pytest.importorskip("torch")
    from meddel_fast.loader import frames

    rows = manifest.with_masks()
    return frames(rows, SIDE, masks=True)[np.arange(len(rows))]


def stack(wanted: tuple[int, ...]) -> np.ndarray:
    return np.stack([numbered(mask, wanted) for mask in MASKS])


def test_the_meaning_stands_in_the_manifest_and_stays_with_each_set(tmp_path: Path) -> None:
    one = scan(made_set(tmp_path / "one", (0, 1, 2, 255)))
    two = scan(made_set(tmp_path / "two", (0, 255, 255, 0)))
    assert told(one) == ["4 masks: lesion is all but 0, 255 ignored (0-2, 255)"]
    assert told(two) == ["4 masks: lesion above 127.5 (0, 255)"]
    Manifest.concat([one, two], "both").save(tmp_path / "both.parquet")
    both = Manifest.load(tmp_path / "both.parquet")
    assert [line.split(":")[0] for line in told(both)] == [
        "4 masks (first one/images/0.png)",
        "4 masks (first two/images/0.png)",
    ]
    wanted = np.concatenate([stack((0, 1, 1, 255)), stack((0, 1, 1, 0))])
    np.testing.assert_array_equal(decoded(both), wanted)
    for split in ("train", "val", "test"):  # a part of the set means what the set means
        part = one.split(split)
        rows = [int(Path(name).stem) for name in part.ids]
        np.testing.assert_array_equal(decoded(part), stack((0, 1, 1, 255))[rows])


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"foreground": [100]}, (0, 1, 0, 0)),
        ({"foreground": [200], "ignore": [100]}, (0, 255, 1, 0)),
        ({"background": [0, 100]}, (0, 0, 1, 1)),
        ({"background": [0], "ignore": [50]}, (0, 1, 1, 255)),
        ({"above": 120}, (0, 0, 1, 0)),
        ({"above": 60, "ignore": [200]}, (0, 1, 255, 0)),
        ({"ignore": [100, 50]}, (0, 255, 1, 255)),
    ],
)
def test_the_owner_says_what_numbers_mean(
    tmp_path: Path, given: dict[str, Any], wanted: tuple[int, ...]
) -> None:
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    with pytest.raises(ValueError, match=r"masks: 4 masks .* hold 0, 50, 100, 200: grey regions"):
        scan(root)
    manifest = scan(root, mask=given)
    np.testing.assert_array_equal(decoded(manifest), stack(wanted))
    (line,) = told(manifest)
    assert "as told" in line or "ignore" in given


def test_numbers_that_the_owner_does_not_name_are_told(tmp_path: Path) -> None:
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    (line,) = told(scan(root, mask={"foreground": [100, 7]}))
    assert "no pixel of 7; also background: 50, 200" in line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"foreground": [1], "ignored": [2]}, "unknown key 'ignored'; known keys: foreground"),
        ({"foreground": 1}, "foreground must be a list, got 1"),
        ({"foreground": ["red"]}, "numbers, or colours like '#ff0000', got 'red'"),
        ({"foreground": [1], "ignore": [1]}, "has 1 twice"),
        ({"foreground": ["#010101"], "ignore": [1]}, "has 1 twice"),
        ({"foreground": [True]}, "got True"),
        ({"foreground": [float("nan")]}, "got nan"),
        ({"foreground": []}, "must have foreground, background or above"),
        ({"above": "x"}, "above must be a number, got 'x'"),
        ({"above": 1, "foreground": [2]}, "above must stand without"),
        ({"foreground": [1], "seen": "all"}, "unknown key 'seen'"),
        ({}, "must have foreground"),
    ],
)
def test_what_the_owner_says_is_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_mask(given)


def test_the_config_takes_a_meaning_and_refuses_a_wrong_one() -> None:
    from meddel_fast.config import ConfigError, DataConfig
    from meddel_fast.config_file import from_table

    table = {"name": "x", "path": "x", "mask": {"foreground": [1, 2], "ignore": [255]}}
    assert from_table(DataConfig, table, "[[data]] 1").mask == table["mask"]
    for wrong, said in (({"foreground": 1}, "mask: foreground must be a list"), (3, "a table")):
        with pytest.raises(ConfigError, match=rf"\[\[data\]\] 1 .*{said}"):
            from_table(DataConfig, table | {"mask": wrong}, "[[data]] 1")
    made = {"name": "x", "made": {}, "mask": {"above": 1}}
    with pytest.raises(ConfigError, match="mask must be given with `path`"):
        from_table(DataConfig, made, "[[data]] 1")


def test_the_command_tells_what_masks_mean_and_takes_it(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    from typer.testing import CliRunner

    from meddel_fast.cli import app

    root, out = made_set(tmp_path / "set", (0, 100, 200, 50)), tmp_path / "m.parquet"
    command = ["data", "build", str(root), "--out", str(out)]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    for part in ("0, 50, 100, 200", "grey regions", "--mask-foreground", "foreground = ["):
        assert part in refused.output
    assert not out.exists()
    done = CliRunner().invoke(app, [*command, "--mask-foreground", "100,200", "--mask-ignore=50"])
    assert done.exit_code == 0, done.output
    assert "4 masks: lesion is 100, 200, 50 ignored (as told)" in done.output
    np.testing.assert_array_equal(decoded(Manifest.load(out)), stack((0, 1, 1, 255)))
    wrong = CliRunner().invoke(app, [*command, "--mask-foreground", "1,x"])
    assert wrong.exit_code == 2
    assert "foreground must be numbers" in wrong.output


def test_the_registry_may_say_what_masks_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from meddel_fast.data.readers import scan as reader
    from meddel_fast.data.registry import known_set

    root = made_set(tmp_path / "Kvasir-SEG", (0, 100, 200, 50))
    entry = replace(known_set("kvasir-seg"), mask={"foreground": (200,), "ignore": (50,)})
    monkeypatch.setattr(reader, "known_set", lambda key: entry)
    np.testing.assert_array_equal(decoded(scan(root, "kvasir-seg")), stack((0, 0, 1, 255)))
    found = decoded(scan(root, "kvasir-seg", mask={"above": 60}))
    np.testing.assert_array_equal(found, stack((0, 1, 1, 0)))


def test_masks_that_a_build_would_refuse_are_no_complete_set(tmp_path: Path) -> None:
    from meddel_fast.data.check import check

    made_set(tmp_path / "Kvasir-SEG", (0, 100, 200, 50))
    made_set(tmp_path / "ETIS", (0, 1, 2, 255))
    etis, kvasir = check(tmp_path, ["etis", "kvasir-seg"])
    assert "masks: 4 masks of 8 bits" in kvasir.problem
    assert kvasir.status == "corrupt"
    assert (etis.problem, etis.status) == ("", "off")
    (quick,) = check(tmp_path, ["kvasir-seg"], quick=True)
    assert (quick.problem, quick.status) == ("", "off")


def bare(manifest: Manifest) -> Manifest:
    """The manifest as format 2 had it."""
    rows = [row | {"mask_meaning": None} for row in manifest.table.to_pylist()]
    return Manifest.from_rows(manifest.name, manifest.root, rows)


def test_manifests_of_older_formats_are_settled_when_their_masks_are_read(tmp_path: Path) -> None:
    for name, numbers, wanted in (
        ("plain", (0, 255, 255, 0), (0, 1, 1, 0)),
        ("classes", (0, 1, 2, 255), (0, 1, 1, 255)),
    ):
        old = bare(scan(made_set(tmp_path / name, numbers)))
        assert told(old) == ["4 masks: not told"]
        np.testing.assert_array_equal(decoded(old), stack(wanted))
    root = made_set(tmp_path / "grey", (0, 100, 200, 50))
    with pytest.raises(ValueError, match=r"grey: 4 masks .*grey regions"):
        meanings(bare(scan(root, mask={"above": 60})))


def test_the_fingerprint_knows_the_meaning_and_keeps_that_of_plain_masks(tmp_path: Path) -> None:
    plain = scan(made_set(tmp_path / "plain", (0, 255, 255, 0)))
    assert plain.fingerprint == bare(plain).fingerprint
    root = made_set(tmp_path / "set", (0, 100, 200, 50))
    seen = {bare(scan(root, mask={"above": 60})).fingerprint}
    for given in ({"above": 60}, {"foreground": [100]}, {"foreground": [200], "ignore": [50]}):
        seen.add(scan(root, mask=given).fingerprint)
    assert len(seen) == 4


def test_a_depth_that_the_set_did_not_have_is_no_mask_of_it(tmp_path: Path) -> None:
    root = made_set(tmp_path / "set", (0, 1, 2, 255))
    meaning = Meaning.from_json(scan(root).column("mask_meaning")[0])
    Image.fromarray(MASKS[0].astype(np.uint16)).save(root / "masks/0.png")
    with pytest.raises(ImageError, match=r"0\.png: a mask of 16 bits; .* had: 8 bits"):
        load_mask(root / "masks/0.png", 8, meaning)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"palette": "index", "rules": {"": 3}}'),
        '{"palette": "index", "rules": {"": {"above": "x"}}}',
    ],
)
def test_a_broken_meaning_is_refused_by_name(tmp_path: Path, text: str) -> None:
    good = scan(made_set(tmp_path / "set", (0, 255, 255, 0)))
    rows = [row | {"mask_meaning": text} for row in good.table.to_pylist()]
    with pytest.raises(ValueError, match="is no meaning of a mask"):
        meanings(Manifest.from_rows("x", good.root, rows))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (Pixels(np.full((4, 4), 3, np.uint8), None, "palette", 8, False, False,
                np.zeros((2, 3), np.uint8)), "an index that its palette does not have"),
        (Pixels(np.random.default_rng(0).random((4, 4, 3)), None, "colour", 64, False, False,
                None), "colours of float64"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_mask_is_a_row_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels: Pixels, said: str
) -> None:
    root = made_set(tmp_path / "set", (0, 255, 255, 0))
    monkeypatch.setattr(
        masks, "read_pixels", lambda path: pixels if "0.png" in str(path) else read_pixels(path)
    )
    skipped = scan(root).skipped.to_pylist()
    assert [(row["id"], row["reason"]) for row in skipped] == [
        ("images/0.png", f"mask: no mask: {said}")
    ]


def test_real_masks_are_black_and_white(real_data: Path) -> None:
    for name in ("kvasir_seg", "cvc_clinicdb"):
        paths = sorted((real_data / name / "masks").iterdir())[:60]
        meaning = settled(paths)
        assert meaning.words() == "lesion above 127.5 (0, 255)"
        for path in paths[:10]:
            wanted = np.asarray(Image.open(path).convert("L"))
            rows, columns = (
                ((np.arange(96) + 0.5) * side / 96).astype(int) for side in wanted.shape
            )
            found = load_mask(path, 96, meaning)
            np.testing.assert_array_equal(found, wanted[rows][:, columns] > 127)
