"""Decoding: every kind of file becomes the right pixels, or an error with a name."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from meddel_fast.images.load_images import MAX_PIXELS, ImageError, examine, load_image  # noqa: E402
from meddel_fast.images.load_masks import load_mask  # noqa: E402

COLOURS = ((200, 40, 30), (30, 180, 60), (40, 60, 220), (230, 220, 40))


def quadrants(width: int = 64, height: int = 48) -> Any:
    """An image whose four corners differ, so that a wrong turn shows."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate(COLOURS):
        rows = slice(0, height // 2) if number < 2 else slice(height // 2, None)
        columns = slice(0, width // 2) if number % 2 == 0 else slice(width // 2, None)
        pixels[rows, columns] = colour
    return Image.fromarray(pixels)


def corners(pixels: np.ndarray) -> np.ndarray:
    size = len(pixels)
    low, high = size // 4, size * 3 // 4
    return pixels[[low, low, high, high], [low, high, low, high]].astype(int)


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16_rgb(pixels: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow reads but does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [1, 8, 31, 64, 200])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
def test_colours_of_common_formats(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "x.bin"  # the content decides, not the name
    quadrants().save(path, kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {}))
    pixels = load_image(path, size)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    if size >= 8:
        np.testing.assert_allclose(corners(pixels), COLOURS, atol=12)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x"
    quadrants(256, 192).save(path, kind, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB").resize((32, 32)))
        width, height = ImageOps.exif_transpose(image).size
    np.testing.assert_allclose(corners(load_image(path, 32)), corners(expected), atol=10)
    info = examine(path.read_bytes(), path)
    assert (info.width, info.height) == (width, height)
    assert (width > height) == (orientation < 5)


def test_mask_follows_its_orientation(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[:20, :30] = 255  # upper left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right: upper left goes to upper right
    Image.fromarray(mask).save(tmp_path / "m.png", exif=exif)
    assert corners(load_mask(tmp_path / "m.png", 16)).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("scale", [255, 4095, 65535])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_the_bits_in_use(
    tmp_path: Path, kind: str, scale: int
) -> None:
    ramp = np.linspace(0, scale, 64).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (64, 1))).save(tmp_path / "x", kind)
    pixels = load_image(tmp_path / "x", 64)
    expected = np.round(ramp * (255 / scale))
    np.testing.assert_allclose(pixels[10].astype(int), np.tile(expected, (3, 1)).T, atol=1)


def test_sixteen_bit_big_endian_and_32_bit(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    data = (
        struct.pack(">2sHI", b"MM", 42, 8) + _tiff_directory(32, 32) + ramp.astype(">u2").tobytes()
    )
    (tmp_path / "big.tif").write_bytes(data)
    assert load_image(tmp_path / "big.tif", 32)[0, :, 0].tolist() == _ramp(32)
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "i.tif")
    assert load_image(tmp_path / "i.tif", 32)[5, :, 1].tolist() == _ramp(32)
    for top in (1.0, 255.0):
        Image.fromarray((ramp / 65535 * top).astype(np.float32)).save(tmp_path / "f.tif")
        assert load_image(tmp_path / "f.tif", 32)[5, :, 2].tolist() == _ramp(32)


def _ramp(count: int) -> list[int]:
    values = np.linspace(0, 65535, count).astype(np.uint16)
    return [int(v / 65535 * 255 + 0.5) for v in values]


def _tiff_directory(width: int, height: int) -> bytes:
    """A big-endian TIFF directory for one strip of 16-bit grey."""
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1)]
    tags += [(278, height), (279, 2 * width * height)]
    offset = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, value in tags:
        if tag in (273, 279):
            entries += struct.pack(">HHII", tag, 4, 1, offset if tag == 273 else value)
        else:
            entries += struct.pack(">HHIHH", tag, 3, 1, value, 0)
    return struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    pixels = np.asarray(quadrants(), np.uint16) * 257
    (tmp_path / "x.png").write_bytes(png16_rgb(pixels))
    np.testing.assert_allclose(corners(load_image(tmp_path / "x.png", 32)), COLOURS, atol=2)


def test_grey_bilevel_and_palette(tmp_path: Path) -> None:
    grey = quadrants().convert("L")
    grey.save(tmp_path / "l.jpg", quality=95)
    pixels = load_image(tmp_path / "l.jpg", 32)
    assert (pixels[..., 0] == pixels[..., 2]).all()
    np.testing.assert_allclose(corners(pixels)[:, 0], corners(np.asarray(grey.resize((32, 32)))), 5)
    grey.point(lambda v: 255 * (v > 100)).convert("1").save(tmp_path / "b.png")
    assert set(corners(load_image(tmp_path / "b.png", 32)).ravel()) == {0, 255}
    for name in ("p.png", "p.gif"):
        quadrants().quantize(16).save(tmp_path / name)
        np.testing.assert_allclose(corners(load_image(tmp_path / name, 32)), COLOURS, atol=6)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_alpha_is_laid_on_black(tmp_path: Path, mode: str) -> None:
    image = quadrants().convert("RGBA")
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:24, :32] = 0
    image.putalpha(Image.fromarray(alpha))
    if mode == "P":
        image = image.quantize(64, method=Image.Quantize.FASTOCTREE)
    elif mode == "PA":
        image = quadrants().quantize(16).convert("PA")
        image.putalpha(Image.fromarray(alpha))
    else:
        image = image.convert(mode)
    kind = "TIFF" if mode == "PA" else "PNG"
    image.save(tmp_path / "x", kind)
    found = corners(load_image(tmp_path / "x", 32))
    assert found[0].tolist() == [0, 0, 0]
    assert (found[1:].max(axis=1) > 60).all()


def test_cmyk_with_and_without_adobe_marker(tmp_path: Path) -> None:
    cmyk = quadrants().convert("CMYK")
    expected = corners(np.asarray(cmyk.convert("RGB").resize((32, 32))))
    cmyk.save(tmp_path / "adobe.jpg", quality=95)  # written inverted, with Adobe's marker
    np.testing.assert_allclose(corners(load_image(tmp_path / "adobe.jpg", 32)), expected, atol=12)
    data = encoded(Image.fromarray(255 - np.asarray(cmyk), "CMYK"), "JPEG", quality=95)
    start = data.index(b"\xff\xee")
    length = struct.unpack(">H", data[start + 2 : start + 4])[0]
    (tmp_path / "plain.jpg").write_bytes(data[:start] + data[start + 2 + length :])
    np.testing.assert_allclose(corners(load_image(tmp_path / "plain.jpg", 32)), expected, atol=12)
    cmyk.save(tmp_path / "x.tif")
    np.testing.assert_allclose(corners(load_image(tmp_path / "x.tif", 32)), expected, atol=2)


def test_scaled_jpeg_decoding_is_near_the_full_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    image = Image.fromarray(noise).resize((1024, 768), Image.Resampling.BICUBIC)
    image.save(tmp_path / "x.jpg", quality=95)
    image.save(tmp_path / "x.png")
    scaled, full = (load_image(tmp_path / name, 64).astype(int) for name in ("x.jpg", "x.png"))
    assert np.abs(scaled - full).mean() < 3


# --- masks -----------------------------------------------------------------------------------


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    return np.hypot(x - 30, y - 25) < 18


def expected_mask(disc: np.ndarray, size: int) -> np.ndarray:
    rows = ((np.arange(size) + 0.5) * 60 / size).astype(int)
    columns = ((np.arange(size) + 0.5) * 80 / size).astype(int)
    return disc[rows][:, columns].astype(np.uint8)


def mask_images(disc: np.ndarray) -> dict[str, Any]:
    white = disc[..., None] * np.array([255, 255, 255])
    green = disc[..., None] * np.array([10, 160, 30])
    clear = np.dstack([np.full((60, 80, 3), 255), disc * 255])
    palette = Image.fromarray(disc.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    return {
        "l255.png": Image.fromarray(disc.astype(np.uint8) * 255),
        "l1.png": Image.fromarray(disc.astype(np.uint8)),
        "classes.png": Image.fromarray((disc * (1 + np.arange(80) % 3)).astype(np.uint8)),
        "bilevel.png": Image.fromarray(disc),
        "deep.png": Image.fromarray(disc.astype(np.uint16) * 65535),
        "deep1.png": Image.fromarray(disc.astype(np.uint16)),
        "rgb.png": Image.fromarray(white.astype(np.uint8)),
        "green.png": Image.fromarray(green.astype(np.uint8)),
        "clear.png": Image.fromarray(clear.astype(np.uint8)),
        "palette.png": palette,
        "float.tif": Image.fromarray(disc.astype(np.float32)),
        "noisy.jpg": Image.fromarray(disc.astype(np.uint8) * 255),
    }


@pytest.mark.parametrize("size", [7, 32, 120])
def test_masks_of_every_kind_agree(tmp_path: Path, disc: np.ndarray, size: int) -> None:
    for name, image in mask_images(disc).items():
        image.save(tmp_path / name)
        mask = load_mask(tmp_path / name, size)
        assert mask.dtype == np.uint8
        wrong = (mask != expected_mask(disc, size)).mean()
        assert wrong <= (0.01 if name.endswith("jpg") else 0), name


def test_soft_edges_are_cut_at_half(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    Image.fromarray(ramp).save(tmp_path / "x.png")
    assert load_mask(tmp_path / "x.png", 256)[0].tolist() == [0] * 128 + [1] * 128


def test_empty_and_full_masks(tmp_path: Path) -> None:
    for value, expected in ((0, 0), (255, 1)):
        Image.new("L", (50, 40), value).save(tmp_path / "x.png")
        assert set(load_mask(tmp_path / "x.png", 9).ravel()) == {expected}
    dark = np.random.default_rng(0).integers(0, 12, (40, 50), np.uint8)
    Image.fromarray(dark).save(tmp_path / "x.jpg")  # an empty mask with a camera's noise
    assert not load_mask(tmp_path / "x.jpg", 20).any()


# --- what is no image ------------------------------------------------------------------------


def broken_files() -> dict[str, tuple[bytes, str]]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    jpeg, png = encoded(noise, "JPEG"), encoded(noise, "PNG")
    tiff, webp = encoded(noise, "TIFF"), encoded(noise, "WEBP")
    cases = {
        "empty": (b"", "empty file"),
        "text": (b"<html>404 not found</html>", "not an image"),
        "one byte": (b"\xff", "not an image"),
        "jpeg header": (jpeg[:20], "broken|truncated"),
        "jpeg half": (jpeg[: len(jpeg) // 2], "truncated"),
        "jpeg most": (jpeg[:-200], "truncated"),
        "png magic": (png[:8], "broken"),
        "png header": (png[:40], "broken|truncated"),
        "png half": (png[: len(png) // 2], "truncated|broken"),
        "png flipped": (png[:3000] + bytes([png[3000] ^ 255]) + png[3001:], "broken"),
        "tiff half": (tiff[: len(tiff) // 2], "truncated|broken"),
        "webp half": (webp[: len(webp) // 2], "truncated|broken"),
    }
    cases["jpeg zero tail"] = (jpeg[: len(jpeg) // 2].ljust(len(jpeg), b"\0"), "truncated")
    return cases


@pytest.mark.parametrize("case", broken_files())
def test_broken_files_have_a_named_reason(tmp_path: Path, case: str) -> None:
    data, reason = broken_files()[case]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"x\.jpg: ({reason})") as caught:
        examine(data, path)
    assert caught.value.path == path
    if case != "jpeg zero tail":  # loading does not look for it: a scan has
        for load in (load_image, load_mask):
            with pytest.raises(ImageError, match=rf"x\.jpg: ({reason})"):
                load(path, 16)


def test_jpeg_with_harmless_padding_is_sound() -> None:
    data = encoded(quadrants(), "JPEG")
    assert examine(data + bytes(4096), Path("x")).mode == "RGB"


@pytest.mark.parametrize("pixels", [MAX_PIXELS + 1, 3 * MAX_PIXELS])
def test_decompression_bombs_are_not_decoded(tmp_path: Path, pixels: int) -> None:
    side = int(pixels**0.5) + 1

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))
    (tmp_path / "x.png").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError, match="too large"):
            load_image(tmp_path / "x.png", 8)
    with pytest.raises(ImageError, match="too large"):
        examine(data, tmp_path / "x.png")


def test_arguments(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "x.png")
    for load in (load_image, load_mask):
        with pytest.raises(ValueError, match="size: wanted at least 1 pixel, got 0"):
            load(tmp_path / "x.png", 0)
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "absent.png", 8)
        with pytest.raises(ImageError, match="cannot be read"):
            load(tmp_path, 8)


def test_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a/b.jpg", "truncated")))
    assert (error.path, error.reason) == (Path("a/b.jpg"), "truncated")
