"""Pixels of DICOM as clinics have it: every depth and coding, empty elements, grey values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("pydicom")
pytest.importorskip("pyarrow")
imagecodecs = pytest.importorskip("imagecodecs")

from depths import ramp  # noqa: E402
from dicom_checks import eight, refusal, shown  # noqa: E402
from dicoms import (  # noqa: E402
    BIG,
    DEFLATED,
    ENCODED,
    EXPLICIT,
    IMPLICIT,
    RLE,
    dataset,
    save,
    save_encoded,
)

from meddel_fast.images.address import indexed  # noqa: E402
from meddel_fast.images.pixels import read_pixels  # noqa: E402
from meddel_fast.images.sources import Sampling, units  # noqa: E402

# --- depth and coding ------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
@pytest.mark.parametrize(("bits", "dtype"), [
    (8, np.uint8), (10, np.uint16), (12, np.uint16), (16, np.uint16), (8, np.int8),
    (12, np.int16), (16, np.int16), (32, np.uint32),
])  # fmt: skip
def test_grey_of_every_depth_both_senses(
    tmp_path: Path, syntax: str, bits: int, dtype: Any
) -> None:
    signed = np.dtype(dtype).kind == "i"
    frames = np.stack([ramp(2**bits - 1, np.int64, power) for power in (1, 0.7)])
    frames = (frames - signed * 2 ** (bits - 1)).astype(dtype)
    wide = frames.astype(np.int64)
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        data = dataset(frames, kind, BitsStored=bits)
        if syntax == BIG:
            data.PixelData = frames.astype(frames.dtype.newbyteorder(">")).tobytes()
        path = save(data, tmp_path / "x.dcm", syntax)
        for number, frame in enumerate(wide):
            pixels = read_pixels(indexed(path, number))
            np.testing.assert_array_equal(pixels.values, frame)
            assert pixels.values.dtype.isnative
            assert (pixels.bits, pixels.kind, pixels.lossy) == (bits, "grey", False)
            assert pixels.inverted == (kind == "MONOCHROME1")
            share = (frame - frame.min()) / np.ptp(frame)
            wanted = eight(share if kind == "MONOCHROME2" else 1 - share)
            np.testing.assert_array_equal(shown(indexed(path, number)), wanted)


@pytest.mark.parametrize(("coding", "bits", "colour"), [
    (coding, bits, colour)
    for coding in (*ENCODED, "rle")
    for bits, colour in ((8, False), (12, False), (16, False), (8, True))
    if not (colour and ENCODED.get(coding, " " * 3)[1] == "ljpeg_encode")  # which writes grey alone
])  # fmt: skip
def test_every_lossless_coding_gives_the_pixels_back(
    tmp_path: Path, coding: str, bits: int, colour: bool
) -> None:
    for name in ("pylibjpeg", "libjpeg", "openjpeg", "rle", "jpeg_ls"):
        pytest.importorskip(name)
    dtype = np.uint8 if bits == 8 else np.uint16
    factors = (1.0, 0.8, 0.5) if colour else (1.0,)
    frames = np.stack([ramp((2**bits - 1) * share, dtype, *factors) for share in (1, 0.5)])
    data = dataset(frames, "RGB" if colour else "MONOCHROME2", BitsStored=bits)
    path = tmp_path / "x.dcm"
    if coding == "rle":
        data.file_meta.TransferSyntaxUID = EXPLICIT
        data.compress(RLE, frames)
        data.save_as(path, enforce_file_format=True)
    else:
        syntax, encoder, options = ENCODED[coding]
        if encoder in ("ljpeg_encode", "jpeg2k_encode"):
            options = {**options, "bitspersample": bits}
        encode = getattr(imagecodecs, encoder)
        save_encoded(data, path, syntax, [bytes(encode(frame, **options)) for frame in frames])
    assert units(path, Sampling()) == [indexed(path, 0), indexed(path, 1)]
    for number, frame in enumerate(frames):
        pixels = read_pixels(indexed(path, number))
        np.testing.assert_array_equal(pixels.values, frame)
        assert (pixels.lossy, pixels.bits) == (False, bits)


@pytest.mark.parametrize("coding", ["jpeg lossless", "jpeg-ls", "jpeg 2000"])
def test_coded_values_below_zero_keep_their_sign(tmp_path: Path, coding: str) -> None:
    for name in ("libjpeg", "openjpeg", "jpeg_ls"):
        pytest.importorskip(name)
    frame = (ramp(4095, np.int32) - 2048).astype(np.int16)
    syntax, encoder, options = ENCODED[coding]
    source = frame if coding == "jpeg 2000" else frame.view(np.uint16) & 0xFFF
    if coding != "jpeg-ls":
        options = {**options, "bitspersample": 12}
    coded = bytes(getattr(imagecodecs, encoder)(source, **options))
    path = save_encoded(dataset(frame[None], BitsStored=12), tmp_path / "x.dcm", syntax, [coded])
    np.testing.assert_array_equal(read_pixels(path).values, frame)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("bits", [6, 8, 10, 12, 16])
def test_colours_of_every_depth_and_layout(tmp_path: Path, planar: int, bits: int) -> None:
    dtype = np.uint8 if bits <= 8 else np.uint16
    frames = np.stack([ramp(2**bits - 1, dtype, 1.0, 0.8, 0.5)] * 2)
    frames[1] //= 2
    data = dataset(frames, "RGB", BitsStored=bits, PlanarConfiguration=planar)
    if planar:
        data.PixelData = np.moveaxis(frames, -1, 1).tobytes()
    path = save(data, tmp_path / "x.dcm")
    for number, frame in enumerate(frames):
        pixels = read_pixels(indexed(path, number))
        np.testing.assert_array_equal(pixels.values, frame)
        assert (pixels.kind, pixels.bits, pixels.alpha) == ("colour", bits, None)
        wanted = frame / (2**bits - 1) * 255
        assert np.abs(shown(indexed(path, number)) - wanted).max() <= 1


def test_one_bit_frames_and_constant_frames_keep_their_brightness(tmp_path: Path) -> None:
    """Also frames that begin within a byte, and white frames, which a stretch would make black."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 2, (3, 15, 17), np.uint8)
    frames[1], frames[2] = 1, 0
    packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
    data = dataset(frames, BitsAllocated=1, BitsStored=1, HighBit=0)
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    data["PixelData"].VR = "OB"
    path = save(data, tmp_path / "bits.dcm")
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(shown(indexed(path, number)), frame * 255)
        pixels = read_pixels(indexed(path, number))
        np.testing.assert_array_equal(pixels.values, frame)
        assert pixels.bits == 1
    for dtype, bits, value, wanted in ((np.uint8, 8, 200, 200), (np.uint16, 12, 4095, 255),
                                       (np.uint16, 12, 0, 0), (np.int16, 12, 0, 128),
                                       (np.int16, 12, -2048, 0), (np.uint16, 16, 32768, 128),
                                       ):  # fmt: skip
        flat = np.full((1, 20, 20), value, dtype)
        for kind, seen in (("MONOCHROME2", wanted), ("MONOCHROME1", 255 - wanted)):
            found = shown(save(dataset(flat, kind, BitsStored=bits), tmp_path / "flat.dcm"))
            assert np.abs(found.astype(int) - seen).max() <= 1


# --- elements that are there but empty -------------------------------------------------------

EMPTY = ("WindowCenter", "WindowWidth", "VOILUTFunction", "RescaleSlope", "RescaleIntercept",
         "RescaleType", "NumberOfFrames", "PixelRepresentation", "BitsStored", "HighBit",
         "PixelPaddingValue", "PixelPaddingRangeLimit", "SamplesPerPixel", "PlanarConfiguration",
         "LossyImageCompression", "PresentationLUTShape")  # fmt: skip
EMPTY_SEQUENCES = ("ModalityLUTSequence", "VOILUTSequence", "SharedFunctionalGroupsSequence",
                   "PerFrameFunctionalGroupsSequence")  # fmt: skip


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_an_empty_element_is_as_one_that_is_absent(tmp_path: Path, syntax: str) -> None:
    frames = ramp(4095, np.uint16)[None]
    body = frames.astype(">u2").tobytes() if syntax == BIG else frames.tobytes()
    wanted = shown(save(dataset(frames, PixelData=body), tmp_path / "full.dcm", syntax))
    empty = dict.fromkeys(EMPTY) | {name: [] for name in EMPTY_SEQUENCES}
    for name, value in [*empty.items(), ("all", None)]:
        changed = empty if name == "all" else {name: value}
        path = save(dataset(frames, PixelData=body, **changed), tmp_path / "x.dcm", syntax)
        assert units(path, Sampling()) == [path], name
        np.testing.assert_array_equal(shown(path), wanted, name)
        np.testing.assert_array_equal(read_pixels(path).values, frames[0], name)


def test_a_window_of_which_half_is_empty_is_none(tmp_path: Path) -> None:
    frames = ramp(4095, np.uint16)[None]
    wanted = shown(save(dataset(frames), tmp_path / "x.dcm"))
    for centre, width in ((40, None), (None, 400), (["", "40"], ["400", ""])):
        path = save(dataset(frames, WindowCenter=centre, WindowWidth=width), tmp_path / "x.dcm")
        np.testing.assert_array_equal(shown(path), wanted)
    second = save(dataset(frames, WindowCenter=["", "1000"], WindowWidth=["1", "500"]),
                  tmp_path / "x.dcm")  # fmt: skip
    np.testing.assert_array_equal(shown(second), eight((frames[0] - 999.5) / 499 + 0.5))


def test_a_width_that_can_be_none_is_no_window(tmp_path: Path) -> None:
    frames = ramp(4095, np.uint16)[None]
    wanted = shown(save(dataset(frames), tmp_path / "x.dcm"))
    for width, function in ((0, None), (-5, None), (0.5, "LINEAR"), (0, "SIGMOID")):
        data = dataset(frames, WindowCenter=2048, WindowWidth=width, VOILUTFunction=function)
        np.testing.assert_array_equal(shown(save(data, tmp_path / "x.dcm")), wanted)
    data = dataset(frames, WindowCenter=["7", "2048"], WindowWidth=["0", "4096"])
    second = shown(save(data, tmp_path / "x.dcm"))
    np.testing.assert_array_equal(second, eight((frames[0] - 2047.5) / 4095 + 0.5))


def test_the_narrowest_window_cuts_at_its_centre(tmp_path: Path) -> None:
    bits = (ramp(255, np.uint8) > 90).astype(np.uint8)[None]
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        data = dataset(bits, kind, BitsStored=1, WindowCenter=0.5, WindowWidth=1)
        wanted = 255 * (bits[0] if kind == "MONOCHROME2" else 1 - bits[0])
        np.testing.assert_array_equal(shown(save(data, tmp_path / "x.dcm")), wanted)


@pytest.mark.parametrize("centre", ["nan", "inf"])
def test_a_window_that_is_no_number_is_named(tmp_path: Path, centre: str) -> None:
    data = dataset(ramp(255, np.uint8)[None], WindowCenter="11111111", WindowWidth="100")
    path = save(data, tmp_path / "x.dcm")
    path.write_bytes(path.read_bytes().replace(b"11111111", centre.encode().ljust(8)))
    assert refusal(path) == f"broken: WindowCenter is {centre}"


def test_frames_are_counted_where_their_number_is_left_empty(tmp_path: Path) -> None:
    frames = np.stack([ramp(255, np.uint8)] * 3)
    path = save(dataset(frames, NumberOfFrames=None), tmp_path / "x.dcm")
    assert len(units(path, Sampling())) == 3


@pytest.mark.parametrize("name", ["Rows", "Columns", "BitsAllocated", "PhotometricInterpretation"])
def test_what_pixels_cannot_do_without_is_named(tmp_path: Path, name: str) -> None:
    path = save(dataset(ramp(255, np.uint8)[None], **{name: None}), tmp_path / "x.dcm")
    assert refusal(path) == f"broken: no {name}"


# --- what grey values look like --------------------------------------------------------------


def item(**elements: Any) -> Any:
    from pydicom.dataset import Dataset

    made = Dataset()
    for name, value in elements.items():
        setattr(made, name, value)
    return made


def test_masks_are_never_stretched_windowed_or_rescaled(tmp_path: Path) -> None:
    frames = np.zeros((1, 20, 20), np.uint16)
    frames[0, :5] = 4
    frames[0, 5:9] = 21
    path = save(dataset(frames, "MONOCHROME1", WindowCenter=2, WindowWidth=2, RescaleSlope=10,
                        RescaleIntercept=-7, PixelPaddingValue=4), tmp_path / "m.dcm")  # fmt: skip
    np.testing.assert_array_equal(read_pixels(path).values, frames[0])


def test_rescale_and_window_of_a_frame_go_before_those_of_all(tmp_path: Path) -> None:
    frames = np.stack([ramp(1000, np.uint16)] * 3)

    def group(slope: float, centre: float, width: float) -> Any:
        return item(
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=-50)],
            FrameVOILUTSequence=[item(WindowCenter=centre, WindowWidth=width)],
        )

    told = [group(1, 300, 401), group(2, 900, 601), item(FrameVOILUTSequence=[])]
    data = dataset(frames, PerFrameFunctionalGroupsSequence=told, WindowCenter=7, WindowWidth=3,
                   SharedFunctionalGroupsSequence=[group(3, 500, 1001)])  # fmt: skip
    path = save(data, tmp_path / "x.dcm")
    for number, (slope, centre, width) in enumerate(((1, 300, 401), (2, 900, 601), (3, 500, 1001))):
        values = frames[number].astype(float) * slope - 50
        wanted = eight((values - (centre - 0.5)) / (width - 1) + 0.5)
        np.testing.assert_array_equal(shown(indexed(path, number)), wanted)


def test_a_rescale_to_small_numbers_does_not_darken(tmp_path: Path) -> None:
    frames = ramp(4095, np.uint16)[None]
    path = save(dataset(frames, RescaleSlope="0.0001", RescaleIntercept="0"), tmp_path / "x.dcm")
    np.testing.assert_array_equal(shown(path), eight(frames[0] / 4095))
    path = save(dataset(frames, RescaleSlope="2"), tmp_path / "x.dcm")  # no intercept: none added
    np.testing.assert_array_equal(shown(path), eight(frames[0] / 4095))


@pytest.mark.parametrize("limit", [None, -1990])
def test_padding_takes_no_part_and_is_black(tmp_path: Path, limit: int | None) -> None:
    frames = (ramp(1000, np.int64) - 200).astype(np.int16)[None]
    inside = eight((frames[0].astype(float) + 200) / 1000)
    frames[0, :4] = -2000
    frames[0, 4, :3] = limit or -2000
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        data = dataset(frames, kind, PixelPaddingValue=-2000)
        if limit:
            data.PixelPaddingRangeLimit = limit
            data["PixelPaddingRangeLimit"].VR = "SS"
        data["PixelPaddingValue"].VR = "SS"
        kept = frames[0] > -1990
        low, high = frames[0][kept].min(), frames[0][kept].max()
        share = (frames[0].astype(float) - low) / float(high - low)
        wanted = np.where(kept, eight(share if kind[-1] == "2" else 1 - share), 0)
        np.testing.assert_array_equal(shown(save(data, tmp_path / "x.dcm")), wanted)
    assert inside.max() == 255


def test_values_in_the_upper_bits_and_overlays_beside_them(tmp_path: Path) -> None:
    plain = ramp(4095, np.uint16)[None]
    beside = plain | np.uint16(0x5000)  # an old overlay lies in the bits that are not stored
    path = save(dataset(beside, BitsStored=12), tmp_path / "x.dcm")
    np.testing.assert_array_equal(read_pixels(path).values, plain[0])
    above = save(dataset(plain << 4 | 9, BitsStored=12, HighBit=15), tmp_path / "y.dcm")
    np.testing.assert_array_equal(read_pixels(above).values, plain[0])
    np.testing.assert_array_equal(shown(above), shown(path))


@pytest.mark.parametrize("signed", [False, True])
def test_tables_of_values_are_looked_up(tmp_path: Path, signed: bool) -> None:
    low = -128 if signed else 0
    frames = (ramp(255, np.int64) + low).astype(np.int16 if signed else np.uint16)[None]
    table = (np.arange(256) ** 2 // 16).astype(np.uint16)  # up to 4064 of 4095
    voi = item(LUTDescriptor=[256, low, 12], LUTData=table.tolist())
    form = "SS" if signed else "US"
    voi["LUTDescriptor"].VR = form
    voi["LUTData"].VR = "US"
    wanted = eight(table[frames[0].astype(int) - low] / 4095)
    path = save(dataset(frames, VOILUTSequence=[voi]), tmp_path / "x.dcm")
    np.testing.assert_array_equal(shown(path), wanted)
    both = dataset(frames, VOILUTSequence=[voi], WindowCenter=low + 128, WindowWidth=256)
    window = eight((frames[0] - (low + 127.5)) / 255 + 0.5)
    np.testing.assert_array_equal(shown(save(both, tmp_path / "x.dcm")), window)
    modality = item(LUTDescriptor=[256, low, 16], LUTData=table.tolist(), ModalityLUTType="US")
    modality["LUTDescriptor"].VR = form
    modality["LUTData"].VR = "US"
    path = save(dataset(frames, ModalityLUTSequence=[modality]), tmp_path / "x.dcm")
    found = table[frames[0].astype(int) - low].astype(float)
    np.testing.assert_array_equal(shown(path), eight((found - found.min()) / np.ptp(found)))


def test_a_window_of_an_unknown_function_is_refused(tmp_path: Path) -> None:
    path = save(dataset(ramp(255, np.uint8)[None], WindowCenter=9, WindowWidth=9,
                        VOILUTFunction="CUBIC"), tmp_path / "x.dcm")  # fmt: skip
    assert refusal(path) == "broken: VOI LUT function CUBIC is not applied"


@pytest.mark.parametrize(("kind", "more", "reason"), [
    ("ARGB", {}, "colours in ARGB: not read"),
    ("YBR_PARTIAL_422", {}, "colours in YBR_PARTIAL_422: not read"),
    ("RGB", {"BitsStored": 9}, "broken: BitsStored is 9 of 8"),
    ("RGB", {"Rows": 60000, "Columns": 60000}, "too large: 60000x60000 pixels"),
    ("RGB", {"BitsAllocated": 12, "BitsStored": 12}, "12 bits allocated: not read"),
])  # fmt: skip
def test_pixels_that_are_not_read(
    tmp_path: Path, kind: str, more: dict[str, Any], reason: str
) -> None:
    frames = ramp(255, np.uint8, 1, 0.8, 0.5)[None]
    assert refusal(save(dataset(frames, kind, **more), tmp_path / "x.dcm")) == reason
