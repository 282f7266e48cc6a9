"""TIFF of every depth, layout and kind: the numbers that were written, or a refusal by name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
imagecodecs = pytest.importorskip("imagecodecs")
pytest.importorskip("tifffile")

from depth_checks import (  # noqa: E402
    CHANNELS,
    DEPTHS,
    assert_looks,
    assert_refused,
    assert_stored,
    looks,
)
from depths import SIDE, png, ramp, tiff  # noqa: E402

from meddel_fast.images.load_images import ImageError, examine, load_image  # noqa: E402
from meddel_fast.images.pixels import read_pixels  # noqa: E402


@pytest.mark.parametrize("depth", DEPTHS)
def test_tiff_of_every_depth_channels_and_layout(tmp_path: Path, depth: str) -> None:
    bits, dtype, white = DEPTHS[depth]
    path = tmp_path / "x.tif"
    for number, (kind, (factors, photometric, extra)) in enumerate(CHANNELS.items()):
        order = "<>"[(number + list(DEPTHS).index(depth)) % 2]
        array = ramp(white, dtype, *factors)
        if kind == "cmyk" and depth not in ("1", "2", "4", "8", "10", "12", "16", "32"):
            continue  # white of inks is the type's largest value, and no other
        for planar in (False, True) if len(factors) > 1 else (False,):
            options = {"photometric": photometric, "extra": extra, "planar": planar}
            path.write_bytes(tiff(array, bits=bits, order=order, **options))
            full = {"signed 8": 255.0}.get(depth, white)
            # Pillow goes through colours without alpha, and back, in steps of 8 bits
            assert_looks(path, looks(array, kind, full), 2.0 if "times" in kind else 1.0)
            pixels = read_pixels(path)
            assert_stored(pixels, array, kind)
            assert (pixels.bits, pixels.lossy) == (max(bits, 8 * (kind == "cmyk")), False)


ORDINARY = {"none": 1, "deflate": 8, "adobe deflate": 32946, "lzw": 5, "packbits": 32773,
            "zstd": 50000, "lzma": 34925}  # fmt: skip
PACK = {5: "lzw_encode", 32773: "packbits_encode", 50000: "zstd_encode", 34925: "lzma_encode"}


def packer(code: int) -> Any:
    encode = getattr(imagecodecs, PACK.get(code, "zlib_encode"))
    return None if code == 1 else lambda data: bytes(encode(data))


@pytest.mark.parametrize("coder", ORDINARY)
def test_tiff_of_every_ordinary_compression(tmp_path: Path, coder: str) -> None:
    path = tmp_path / "x.tif"
    code = ORDINARY[coder]
    for dtype, white in ((np.uint8, 255), (np.uint16, 4095), (np.float32, 1)):
        for kind in ("grey", "white is zero", "colour"):
            factors, photometric, _ = CHANNELS[kind]
            array = ramp(white, dtype, *factors)
            for planar in (False, True) if len(factors) > 1 else (False,):
                path.write_bytes(tiff(array, photometric=photometric, planar=planar,
                                      compression=code, pack=packer(code)))  # fmt: skip
                assert_looks(path, looks(array, kind, white))
                assert_stored(read_pixels(path), array, kind)
                assert not read_pixels(path).lossy


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("deep", [True, False])
def test_tiff_palettes_are_indices_and_colours(tmp_path: Path, bits: int, deep: bool) -> None:
    """Some writers leave the colour map's upper byte empty, which is all that Pillow looks at."""
    top = 2**bits - 1
    dtype = np.uint16 if bits == 16 else np.uint8
    array = ramp(top, dtype)
    map8 = np.stack([np.arange(top + 1) * step % 256 for step in (85, 37, 11)], axis=1)
    colours = (map8 * (257 if deep else 1)).astype(np.uint16)
    (tmp_path / "x.tif").write_bytes(tiff(array, bits=bits, photometric=3, colours=colours))
    assert_looks(tmp_path / "x.tif", map8[array], 0)
    pixels = read_pixels(tmp_path / "x.tif")
    assert (pixels.kind, pixels.bits, pixels.inverted) == ("palette", bits, False)
    np.testing.assert_array_equal(pixels.values, array)
    np.testing.assert_array_equal(pixels.palette, colours)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32, np.float64])
def test_negative_values_are_stretched_not_cut(tmp_path: Path, dtype: Any) -> None:
    array = ramp(100, np.float64) - 60
    array = (array if np.dtype(dtype).kind == "f" else np.rint(array)).astype(dtype)
    for photometric in (1, 0):
        (tmp_path / "x.tif").write_bytes(tiff(array, photometric=photometric))
        share = (array.astype(float) + 60) / 100
        wanted = np.repeat(np.abs(1 - photometric - share)[..., None] * 255, 3, axis=2)
        assert_looks(tmp_path / "x.tif", wanted)
        np.testing.assert_array_equal(read_pixels(tmp_path / "x.tif").values, array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_a_rounding_beyond_black_and_white_keep_their_scale(
    tmp_path: Path, dtype: Any
) -> None:
    """A resampled picture overshoots by a little; scaled from 255 for that, it would be black."""
    for white in (1, 255, 4095):
        array = (ramp(white / 2, np.float64)).astype(dtype)
        wanted = looks(array, "grey", white)
        array[0, 0], array[-1, -1] = -0.001 * white, 1.001 * white
        wanted = wanted.copy()
        wanted[-1, -1] = 255
        (tmp_path / "x.tif").write_bytes(tiff(array))
        assert_looks(tmp_path / "x.tif", wanted)


def test_what_is_no_number_is_black(tmp_path: Path) -> None:
    array = ramp(1, np.float32)
    array[0, :3] = np.nan, np.inf, -np.inf
    (tmp_path / "x.tif").write_bytes(tiff(array))
    wanted = np.where(np.isfinite(array), array, 0)[..., None].repeat(3, axis=2) * 255
    assert_looks(tmp_path / "x.tif", wanted)
    np.testing.assert_array_equal(read_pixels(tmp_path / "x.tif").values, array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_tiff_and_png_lie_upright_at_every_depth(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    flat = ramp(255, np.uint8, 1.0, 0.8, 0.5)[:20]
    Image.fromarray(flat).save(tmp_path / "8.png", exif=exif)
    deep = png(flat.astype(np.uint16) * 257, 16, 2, [(b"eXIf", exif.tobytes()[6:])])
    (tmp_path / "16.png").write_bytes(deep)
    tags = {274: ("H", [orientation])}
    for name, array in (("8", flat), ("16", flat.astype(np.uint16) * 257)):
        (tmp_path / f"{name}.tif").write_bytes(tiff(array, tags=tags))
    wanted = load_image(tmp_path / "8.png", 16).astype(int)
    shape = read_pixels(tmp_path / "8.png").values.shape
    assert (shape == (20, SIDE, 3)) == (orientation < 5)
    for name in ("16.png", "8.tif", "16.tif"):
        path = tmp_path / name
        assert np.abs(load_image(path, 16).astype(int) - wanted).max() <= 2, name
        values = read_pixels(path).values.astype(int)
        upright = read_pixels(tmp_path / "8.png").values.astype(int)
        np.testing.assert_array_equal(values, upright * (257 if "16" in name else 1))
        info = examine(path.read_bytes(), path)
        assert (info.height, info.width) == shape[:2]


def test_tiles_and_pages_are_read_at_every_depth(tmp_path: Path) -> None:
    import tifffile

    from meddel_fast.images.address import indexed
    from meddel_fast.images.sources import Sampling, units

    pages = [ramp(4095, np.uint16, power) for power in (1.0, 0.8, 0.5)]
    path = tmp_path / "x.tif"
    for options in ({}, {"tile": (16, 16)}, {"tile": (16, 16), "compression": "zlib"}):
        for together in (True, False):  # one series of three pages, or three of one each
            with tifffile.TiffWriter(path) as writer:
                for page in [np.stack(pages)] if together else pages:
                    writer.write(page, photometric="minisblack", **options)
            found = units(path, Sampling())
            assert found == [indexed(path, number) for number in range(3)]
            for unit, page in zip(found, pages, strict=True):
                np.testing.assert_array_equal(read_pixels(unit).values, page)
                wanted = looks(page, "grey", 4095)
                assert np.abs(load_image(unit, SIDE) - wanted).max() <= 1
    with pytest.raises(ImageError, match="no page 3, the file has 3"):
        read_pixels(indexed(path, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_thumbnails_and_scales_are_no_pages(tmp_path: Path, dtype: Any) -> None:
    import tifffile

    from meddel_fast.images.sources import Sampling, units

    array = ramp(255, dtype)
    path = tmp_path / "x.tif"
    for small, marked, count in ((array[::2, ::2], True, 2), (array[::2, ::2], False, 1),
                                 (array, True, 2), (array, False, 3)):  # fmt: skip
        with tifffile.TiffWriter(path) as writer:
            for _ in range(2):
                writer.write(array, photometric="minisblack")
            writer.write(small, photometric="minisblack", subfiletype=int(marked))
        assert len(units(path, Sampling())) == count, (marked, small.shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_list_of_pages_that_breaks_off_is_told(tmp_path: Path, dtype: Any) -> None:
    """The first page would be fine, and the others be gone without a word."""
    from meddel_fast.images.sources import Sampling, units

    path = tmp_path / "x.tif"
    for order in "<>":
        whole = tiff(*[ramp(255, dtype)] * 4, order=order)
        for cut in (len(whole) - 4, len(whole) // 2, len(whole) // 3):
            path.write_bytes(whole[:cut])
            assert units(path, Sampling()) == [path]
            assert_refused(path, "truncated: page [1-4] lies beyond the end of the file")
        first = struct.unpack_from(f"{order}I", whole, 4)[0]
        path.write_bytes(whole[:-4] + struct.pack(f"{order}I", first))
        assert units(path, Sampling()) == [path]
        assert_refused(path, "the list of pages runs in a circle")


def test_a_stack_in_one_page_is_refused(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "x.tif"
    for dtype in (np.uint8, np.uint16):
        stack = np.stack([ramp(255, dtype)] * 3)
        tifffile.imwrite(path, stack, photometric="minisblack", metadata={}, truncate=True)
        assert_refused(path, "3 images in one page")
        tifffile.imwrite(path, stack, imagej=True, photometric="minisblack", truncate=True)
        assert_refused(path, "3 images in one page")


def ycbcr(luma: np.ndarray, half: bool) -> bytes:
    """YCbCr outside JPEG, of a colour a pixel or a colour for every four."""
    cb, cr = np.full_like(luma, 90), np.full_like(luma, 170)
    if not half:
        return np.dstack([luma, cb, cr]).tobytes()
    side = SIDE // 2
    fours = luma.reshape(side, 2, side, 2).transpose(0, 2, 1, 3).reshape(side, side, 4)
    return np.dstack([fours, cb[::2, ::2], cr[::2, ::2]]).tobytes()


def test_ycbcr_outside_jpeg(tmp_path: Path) -> None:
    luma = ramp(255, np.uint8)
    full = np.dstack([luma, np.full_like(luma, 90), np.full_like(luma, 170)])
    wanted = np.asarray(Image.fromarray(full, "YCbCr").convert("RGB")).astype(float)
    path = tmp_path / "x.tif"
    for half in (True, False):
        for code in (1, 5, 8):
            coder = (lambda body: body) if code == 1 else packer(code)
            body = ycbcr(luma, half)
            tags = {530: ("H", [2, 2] if half else [1, 1])}
            path.write_bytes(tiff(full, photometric=6, compression=code, tags=tags,
                                  pack=lambda _, c=coder, b=body: c(b)))  # fmt: skip
            if half and code == 1:
                assert_refused(path, "YCbCr that is deep, or not compressed .*: not read")
                continue
            assert_looks(path, wanted, 2)
            assert np.abs(read_pixels(path).values - wanted).max() <= 2
    path.write_bytes(tiff(full.astype(np.uint16), photometric=6, tags={530: ("H", [1, 1])}))
    assert_refused(path, "YCbCr that is deep")


def refused_tiffs() -> dict[str, tuple[bytes, str]]:
    grey, rgb = ramp(255, np.uint8), ramp(255, np.uint8, 1, 0.8, 0.5)
    deep = ramp(4095, np.uint16, 1, 0.8, 0.5)
    four = ramp(255, np.uint8, 1, 0.8, 0.5, 0.4)
    cases: dict[str, tuple[bytes, str]] = {
        "lab": (tiff(rgb, photometric=8), "colours in CIELab: not read"),
        "lab 16": (tiff(deep, photometric=8), "colours in CIELab: not read"),
        "luv": (tiff(deep, photometric=32845), "colours in LogLuv: not read"),
        "sensor": (tiff(grey.astype(np.uint16), photometric=32803), "filter array: not read"),
        "two greys": (tiff(rgb[..., :2].copy(), photometric=1, extra=(0,)), "2 channels: neither"),
        "two greys 16": (tiff(deep[..., :2].copy(), photometric=1, extra=(0,)),
                         "2 channels: neither"),
        "colour as grey": (tiff(deep, photometric=1, extra=(0, 0)), "3 channels: neither"),
        "many channels": (
            tiff(deep, tags={277: ("H", [60000])}),
            "60000 channels: neither|broken",
        ),
        "inks": (tiff(four.astype(np.uint16), photometric=5, tags={332: ("H", [2])}),
                 "inks other than CMYK"),
        "64 bits": (tiff(grey.astype(np.uint64)), "64 bits .*: not read"),
        "complex": (tiff(grey.astype(np.uint32), tags={339: ("H", [5])}), "32 bits .*: not read"),
        "565": (tiff(rgb, tags={258: ("H", [5, 6, 5])}), r"\(5, 6, 5\) bits .*: not read"),
        "mixed": (tiff(deep, tags={339: ("H", [1, 1, 2])}), "16 bits .*: not read|broken"),
        "volume": (tiff(grey.astype(np.uint16), tags={32997: ("I", [4])}), "volume of 4 layers"),
        "beyond": (tiff(deep, tags={273: ("I", [99999])}), "truncated: .* beyond the end"),
        "missing": (tiff(deep, tags={279: ("I", [0])}), "truncated: strips or tiles are missing"),
        "half": (tiff(deep)[: len(tiff(deep)) // 2], "broken|truncated"),
        "bomb": (tiff(deep, tags={256: ("I", [70000]), 257: ("I", [70000])}), "too large: 70000x"),
        "tile": (tiff(deep, tags={322: ("I", [65536]), 323: ("I", [65536]), 324: ("I", [8]),
                                  325: ("I", [64])}), "too large: tiles of 65536x65536"),
    }  # fmt: skip
    return cases


@pytest.mark.parametrize("case", refused_tiffs())
def test_tiffs_that_are_refused_say_why(tmp_path: Path, case: str) -> None:
    data, reason = refused_tiffs()[case]
    (tmp_path / "x.tif").write_bytes(data)
    assert_refused(tmp_path / "x.tif", rf"x\.tif: .*({reason})")


@pytest.mark.parametrize(("dtype", "kwargs", "lossy"), [
    (np.uint8, {"compression": "jpeg"}, True),
    (np.uint16, {"compression": "png"}, False),
    (np.uint16, {"compression": "jpeg", "bits": 12}, True),
    (np.uint16, {"compression": "jpeg2000", "compressionargs": {"level": 0, "reversible": True}},
     False),
    (np.uint16, {"compression": "jpeg2000", "compressionargs": {"level": 90}}, True),
    (np.uint8, {"compression": "webp", "compressionargs": {"level": 100, "lossless": True}},
     False),
    (np.uint8, {"compression": "webp", "compressionargs": {"level": 80, "lossless": False}}, True),
])  # fmt: skip
def test_coders_inside_tiff_say_whether_they_lose(
    tmp_path: Path, dtype: Any, kwargs: dict[str, Any], lossy: bool
) -> None:
    import tifffile

    white = 255 if dtype == np.uint8 else 4095
    array = ramp(white, dtype, 1.0, 1.0, 1.0)
    options = dict(kwargs)
    if options.pop("bits", 0):
        options["compressionargs"] = {"bitspersample": 12, "level": 98}
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", **options)
    pixels = read_pixels(tmp_path / "x.tif")
    assert (pixels.lossy, pixels.kind) == (lossy, "colour")
    near = 0 if not lossy else 0.06 * white
    assert np.abs(pixels.values.astype(int) - array).max() <= near
    assert_looks(tmp_path / "x.tif", looks(array, "colour", white), 1 + 0.06 * 255 * lossy)


def test_a_jpeg_in_a_tiff_that_was_cut_off_is_told(tmp_path: Path) -> None:
    import tifffile

    array = ramp(4095, np.uint16)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, array, compression="jpeg", compressionargs={"bitspersample": 12})
    assert read_pixels(path).bits == 12
    with tifffile.TiffFile(path) as tif:
        start, length = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[start + length // 2 : start + length] = bytes(length - length // 2)
    path.write_bytes(data)
    assert_refused(path, "truncated: a JPEG in it has no end")
