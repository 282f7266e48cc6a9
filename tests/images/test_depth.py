"""Every depth in every container but TIFF: the numbers that were written, or a refusal by name."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
imagecodecs = pytest.importorskip("imagecodecs")
pytest.importorskip("tifffile")

from depth_checks import (  # noqa: E402
    DEPTHS,
    assert_looks,
    assert_refused,
    assert_stored,
    looks,
)
from depths import SIDE, png, ramp  # noqa: E402

from meddel_fast.images.load_images import ImageError, load_image  # noqa: E402
from meddel_fast.images.pixels import read_pixels  # noqa: E402

# --- PNG -------------------------------------------------------------------------------------

PNG_KINDS = {"grey": (0, (1.0,)), "grey, alpha": (4, (1.0, 0.4)), "colour": (2, (1.0, 0.8, 0.5)),
             "colour, alpha": (6, (1.0, 0.8, 0.5, 0.4))}  # fmt: skip


@pytest.mark.parametrize("depth", ["1", "2", "4", "8", "8 in 16", "12 in 16", "16"])
def test_png_of_every_depth_and_channels(tmp_path: Path, depth: str) -> None:
    bits, dtype, white = DEPTHS[depth]
    path = tmp_path / "x.png"
    for kind, (colour, factors) in PNG_KINDS.items():
        if bits < 8 and colour != 0:
            continue  # there is no such PNG
        array = ramp(white, dtype, *factors)
        path.write_bytes(png(array, bits, colour))
        assert_looks(path, looks(array, kind, white))
        assert_stored(read_pixels(path), array, kind)
        assert (read_pixels(path).bits, read_pixels(path).lossy) == (bits, False)


@pytest.mark.parametrize("kind", PNG_KINDS)
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_a_png_that_tells_its_bits_is_scaled_by_them(tmp_path: Path, kind: str, bits: int) -> None:
    """Stored as they are, or stretched over 16 bits by repetition as the standard wants it."""
    colour, factors = PNG_KINDS[kind]
    white = 2**bits - 1
    dark = ramp(white / 20, np.uint16, *factors)  # which no guess would place
    if "alpha" in kind:
        dark[..., -1] = white
    told = [(b"sBIT", bytes([bits] * len(factors)))]
    path = tmp_path / "x.png"
    for array, top in ((dark, white), (dark << (16 - bits) | dark >> (2 * bits - 16), 65535)):
        path.write_bytes(png(array, 16, colour, told))
        assert_looks(path, looks(array, kind, top))
        assert read_pixels(path).bits == bits
        assert_stored(read_pixels(path), array, kind)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_clear_colour_of_a_png(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    array = ramp(top, np.uint16 if bits == 16 else np.uint8)
    path = tmp_path / "x.png"
    path.write_bytes(png(array, bits, 0, [(b"tRNS", struct.pack(">H", top))]))
    pixels = read_pixels(path)
    np.testing.assert_array_equal(pixels.values, array)
    np.testing.assert_array_equal(pixels.alpha, np.where(array == top, 0, top))
    assert_looks(path, looks(np.where(array == top, 0, array), "grey", top))
    if bits >= 8:
        cube = np.dstack([array] * 3)
        path.write_bytes(png(cube, bits, 2, [(b"tRNS", struct.pack(">HHH", top, top, top))]))
        np.testing.assert_array_equal(read_pixels(path).alpha, np.where(array == top, 0, top))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_png_palettes_are_indices_and_colours(tmp_path: Path, bits: int) -> None:
    array = ramp(2**bits - 1, np.uint8)
    colours = np.stack([np.arange(2**bits) * step % 256 for step in (85, 37, 11)], axis=1)
    chunks = [(b"PLTE", colours.astype(np.uint8).tobytes()), (b"tRNS", b"\0")]
    (tmp_path / "x.png").write_bytes(png(array, bits, 3, chunks))
    pixels = read_pixels(tmp_path / "x.png")
    assert (pixels.kind, pixels.bits) == ("palette", bits)
    np.testing.assert_array_equal(pixels.values, array)
    assert pixels.palette is not None
    np.testing.assert_array_equal(pixels.palette[: 2**bits], colours)
    np.testing.assert_array_equal(pixels.alpha, np.where(array == 0, 0, 255))


def test_deep_pngs_that_are_broken_or_too_large(tmp_path: Path) -> None:
    whole = png(ramp(65535, np.uint16, 1, 0.8, 0.5), 16, 2)
    path = tmp_path / "x.png"
    for data in (whole[: len(whole) // 2], whole[:-400] + b"\0" * 40 + whole[-360:]):
        path.write_bytes(data)
        assert_refused(path, r"x\.png: (broken|truncated): ")
    path.write_bytes(whole[:16] + struct.pack(">II", 40000, 40000) + whole[24:])
    assert_refused(path, "too large: 40000x40000|broken")


# --- other containers ------------------------------------------------------------------------


def coded(name: str, kind: str) -> tuple[bytes, np.ndarray, float, bool, float]:
    """A file, what was written, white, whether it loses, and how much (share of white)."""
    bits = int(name.split()[-1])
    white = 2**bits - 1
    factors = PNG_KINDS[kind][1]
    array = ramp(white, np.uint8 if bits <= 8 else np.uint16, *factors)
    form = name.rsplit(" ", 1)[0]
    if form == "pnm":
        code = {1: b"P5", 3: b"P6"}[len(factors)]
        head = code + b"\n# made\n%d %d\n%d\n" % (SIDE, SIDE, white)
        body = array.astype(">u2") if bits > 8 else array
        return head + body.tobytes(), array, white, False, 0
    if form == "plain pnm":
        code = {1: b"P2", 3: b"P3"}[len(factors)]
        body = " ".join(map(str, array.ravel().tolist())).encode()
        return code + b"\n%d %d\n%d\n" % (SIDE, SIDE, white) + body, array, white, False, 0
    if form == "jpeg":
        data = imagecodecs.jpeg_encode(array, level=98, bitspersample=bits, subsampling="444")
        return data, array, white, True, 0.03
    if form == "lossless jpeg":
        data = imagecodecs.ljpeg_encode(array, bitspersample=bits)
        return data, array, white, False, 0
    if form.startswith("jp2"):
        lossless = form == "jp2"
        options = {"level": 0} if lossless else {"level": 60}
        data = imagecodecs.jpeg2k_encode(array, bitspersample=bits, codecformat="jp2",
                                         reversible=lossless, **options)  # fmt: skip
        return data, array, white, not lossless, 0 if lossless else 0.03
    data = imagecodecs.avif_encode(array, level=100, bitspersample=bits, codec="aom")
    return data, array, white, True, 0


@pytest.mark.parametrize(("name", "kinds"), [
    *((f"pnm {bits}", ("grey", "colour")) for bits in (1, 4, 8, 10, 12, 16)),
    *((f"plain pnm {bits}", ("grey", "colour")) for bits in (1, 8, 12, 16)),
    *((f"jpeg {bits}", ("grey", "colour")) for bits in (8, 12)),
    *((f"lossless jpeg {bits}", ("grey",)) for bits in (8, 10, 12, 16)),
    *((f"jp2 {bits}", tuple(PNG_KINDS)) for bits in (1, 4, 8, 10, 12, 16)),
    *((f"jp2 lossy {bits}", ("grey", "colour")) for bits in (8, 12)),
    *((f"avif {bits}", ("grey", "colour", "colour, alpha")) for bits in (8, 10, 12)),
])  # fmt: skip
def test_other_containers_of_every_depth(tmp_path: Path, name: str, kinds: Sequence[str]) -> None:
    path = tmp_path / "x.img"  # the content decides
    for kind in kinds:
        data, array, white, lossy, loss = coded(name, kind)
        path.write_bytes(data)
        # an AVIF to look at comes from Pillow, which rounds before it lays alpha on black
        assert_looks(path, looks(array, kind, white), 1 + 255 * loss + ("avif" in name))
        pixels = read_pixels(path)
        assert pixels.lossy == lossy
        values = array[..., :3] if array.ndim == 3 and array.shape[-1] > 2 else array
        values = values if values.ndim == 2 or values.shape[-1] == 3 else values[..., 0]
        assert np.abs(pixels.values.astype(int) - values).max() <= loss * white
        assert (pixels.alpha is not None) == ("alpha" in kind)
        if pixels.values.dtype == np.uint16:
            assert pixels.bits == int(name.split()[-1])


@pytest.mark.parametrize(("data", "reason"), [
    (b"P5 4 4 4095\n" + bytes(20), "truncated: 10 of 16 values"),
    (b"P5 4 4 70000\n" + bytes(20), "broken: white is 70000"),
    (b"P2 2 2 1000\n1 2 3 1001", "broken: a value beyond white, which is 1000"),
    (b"P5 60000 60000 4095\n" + bytes(20), "too large: 60000x60000"),
])  # fmt: skip
def test_broken_pgm(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.pgm").write_bytes(data)
    assert_refused(tmp_path / "x.pgm", reason)


def test_lossy_is_what_the_file_says(tmp_path: Path) -> None:
    image = Image.fromarray(ramp(255, np.uint8, 1, 0.8, 0.5))
    for name, options, lossy in (("a.png", {}, False), ("a.bmp", {}, False), ("a.gif", {}, False),
                                 ("a.jpg", {}, True), ("a.webp", {}, True),
                                 ("b.webp", {"lossless": True}, False),
                                 ("a.tif", {"compression": "jpeg"}, True),
                                 ("b.tif", {"compression": "tiff_lzw"}, False)):  # fmt: skip
        image.save(tmp_path / name, **options)
        assert read_pixels(tmp_path / name).lossy == lossy, name
    frames = [image, image.rotate(90)]
    for lossless in (True, False):
        frames[0].save(tmp_path / "c.webp", save_all=True, append_images=frames[1:],
                       lossless=lossless)  # fmt: skip
        assert read_pixels(tmp_path / "c.webp").lossy != lossless


@pytest.mark.parametrize("form", ["jpeg 12", "lossless jpeg 12", "jp2 12", "avif 12", "pnm 12"])
def test_a_coded_picture_that_was_cut_off_is_none(tmp_path: Path, form: str) -> None:
    data = coded(form, "grey")[0]
    for length in (len(data) // 2, len(data) - 12):
        (tmp_path / "x.img").write_bytes(data[:length])
        with pytest.raises(ImageError, match=r"truncated|broken"):
            read_pixels(tmp_path / "x.img")
        with pytest.raises(ImageError, match=r"truncated|broken"):
            load_image(tmp_path / "x.img", 8)


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_heif_of_every_depth(tmp_path: Path, bits: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    array = ramp(2**bits - 1, np.uint8 if bits == 8 else np.uint16, 1, 1, 1)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    mode = "RGB" if bits == 8 else "RGB;16"
    data = array if bits == 8 else array << (16 - bits)
    pillow_heif.encode(mode, (SIDE, SIDE), data.tobytes(), tmp_path / "x.heic", quality=-1)
    pixels = read_pixels(tmp_path / "x.heic")
    assert (pixels.kind, pixels.bits, pixels.lossy) == ("colour", bits, True)
    assert np.abs(pixels.values.astype(int) - array).max() <= 0.02 * 2**bits
    assert_looks(tmp_path / "x.heic", looks(array, "colour", 2**bits - 1), 5)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_plain_files_of_8_bits_are_pillows_to_the_bit(tmp_path: Path, mode: str) -> None:
    """Hashes of embeddings rest on them, so no other decoder may come in between."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    image = Image.fromarray(noise).resize((400, 320)).convert(mode)
    for name, options in (("x.png", {}), ("x.jpg", {"quality": 90}), ("x.webp", {}), ("x.bmp", {}),
                          ("x.tif", {}), ("y.tif", {"compression": "tiff_lzw"}),
                          ("z.tif", {"compression": "jpeg"})):  # fmt: skip
        try:
            image.save(tmp_path / name, **options)
        except (OSError, RuntimeError):
            continue  # there is no such file
        with Image.open(tmp_path / name) as found:
            found.draft(None, (50, 50))
            wanted = found.convert("RGB").resize((50, 50), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(load_image(tmp_path / name, 50), np.asarray(wanted), name)
