"""DICOM as clinics have it: every coding, empty elements, objects without a picture, no suffix."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pydicom")
pytest.importorskip("pyarrow")
imagecodecs = pytest.importorskip("imagecodecs")

from containers import write_video, zipped  # noqa: E402
from depths import ramp  # noqa: E402
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

from meddel_fast.images.address import indexed, member  # noqa: E402
from meddel_fast.images.load_images import ImageError, load_image  # noqa: E402
from meddel_fast.images.pixels import read_pixels  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.sources import Sampling, is_known, open_image, units  # noqa: E402


def shown(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return np.asarray(image)


def eight(share: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(share, 0, 1) * 255 + 0.5).astype(np.uint8)


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(path, 8)
    return caught.value.reason


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


# --- objects and files -----------------------------------------------------------------------

CLASSES = "1.2.840.10008.5.1.4.1.1."


@pytest.mark.parametrize(("number", "pixels", "reason"), [
    ("481.3", False, "no picture: RT Structure Set Storage"),
    ("481.5", False, "no picture: RT Plan Storage"),
    ("481.2", True, "no picture: RT Dose Storage"),
    ("30", True, "no picture: Parametric Map Storage"),
    ("81.1", True, "no picture: Ophthalmic Thickness Map Storage"),
    ("82.1", True, "no picture: Corneal Topography Map Storage"),
    ("88.11", False, "no picture: Basic Text SR Storage"),
    ("88.67", False, "no picture: X-Ray Radiation Dose SR Storage"),
    ("11.1", False, "no picture: Grayscale Softcopy Presentation State Storage"),
    ("9.1.1", False, "no picture: 12-lead ECG Waveform Storage"),
    ("104.1", False, "no picture: Encapsulated PDF Storage"),
    ("66", False, "no picture: Raw Data Storage"),
    ("66.1", False, "no picture: Spatial Registration Storage"),
    ("66.4", True, "annotation: segmentation"),
    ("66.5", False, "annotation: segmentation"),
    ("2", False, "broken: no Pixel Data, though CT Image Storage"),
])  # fmt: skip
def test_objects_without_a_picture_are_one_row_with_the_reason(
    tmp_path: Path, number: str, pixels: bool, reason: str
) -> None:
    frames = np.stack([ramp(255, np.uint8)] * 4)
    data = dataset(frames, SOPClassUID=CLASSES + number)
    data.file_meta.MediaStorageSOPClassUID = CLASSES + number
    if not pixels:
        for name in ("PixelData", "Rows", "Columns", "NumberOfFrames", "PhotometricInterpretation"):
            del data[name]
    path = save(data, tmp_path / "x.dcm")
    assert units(path, Sampling()) == [path]
    assert refusal(path) == reason
    if number == "66.4":  # as a mask its numbers can be had
        np.testing.assert_array_equal(read_pixels(indexed(path, 3)).values, frames[3])


def test_a_scan_finds_dicom_by_content_and_tells_the_rest(tmp_path: Path) -> None:
    images = tmp_path / "set" / "images"
    (images / "a").mkdir(parents=True)
    for number, name in enumerate(("IM000001", "1.2.840.113619.2.55", "x.IMA", "y.dic", "z.dcm",
                                   "SCAN.img", "a/I10")):  # fmt: skip
        frame = ramp(255, np.uint8, 0.5 + number / 10)[None]
        save(dataset(frame), images / name)
    save(dataset(ramp(255, np.uint8, 0.3)[None]), images / "bare", EXPLICIT, mark=False)
    save(dataset(ramp(255, np.uint8, 0.4)[None]), images / "older", IMPLICIT, mark=False)
    report = dataset(ramp(9, np.uint8)[None], SOPClassUID=CLASSES + "88.11")
    del report["PixelData"]
    save(report, images / "report")
    (images / "README").write_text("no picture\n")
    (images / "notes.txt").write_text("DICM\n")
    os.mkfifo(images / "pipe")
    listed = dataset(ramp(9, np.uint8)[None], SOPClassUID="1.2.840.10008.1.3.10")
    del listed["PixelData"]
    save(listed, images / "DICOMDIR")
    manifest = scan_folder(tmp_path / "set", min_size=8)
    told = {row["id"]: row["reason"] for row in manifest.skipped.to_pylist()}
    assert sorted(manifest.ids) == sorted(f"images/{name}" for name in (
        "IM000001", "1.2.840.113619.2.55", "x.IMA", "y.dic", "z.dcm", "SCAN.img", "a/I10", "bare",
        "older"))  # fmt: skip
    assert told["images/report"] == "no picture: Basic Text SR Storage"
    assert told["images/DICOMDIR"] == "no picture: Media Storage Directory Storage"
    assert len(told) == 2
    assert not any(is_known(images / name) for name in ("README", "pipe", "absent"))


def test_names_that_are_numbers_are_kept_apart_and_find_their_masks(tmp_path: Path) -> None:
    images, masks = tmp_path / "set" / "images", tmp_path / "set" / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    mask = Image.fromarray(ramp(1, np.uint8) * 255)
    for number in range(3):
        frames = np.stack([ramp(255, np.uint8, 0.5 + number / 10)] * (1 + number % 2))
        save(dataset(frames), images / f"1.2.840.{number}")
        if number % 2 == 0:
            mask.save(masks / f"1.2.840.{number}.png")
    save(dataset(ramp(255, np.uint8, 0.2)[None]), images / "z.dcm")
    mask.save(masks / "z.png")
    manifest = scan_folder(tmp_path / "set", min_size=8)
    rows = {row["id"]: row["mask"] for row in manifest.table.to_pylist()}
    assert rows == {
        "images/1.2.840.0": "masks/1.2.840.0.png",
        "images/1.2.840.1::000000": None,
        "images/1.2.840.1::000001": None,
        "images/1.2.840.2": "masks/1.2.840.2.png",
        "images/z.dcm": "masks/z.png",
    }


def test_dicom_without_suffix_is_found_in_archives(tmp_path: Path) -> None:
    path = save(dataset(np.stack([ramp(255, np.uint8)] * 2)), tmp_path / "IM1")
    data = {"images/IM1": path.read_bytes(), "images/1.2.3": path.read_bytes(), "README": b"x"}
    (tmp_path / "set.zip").write_bytes(zipped(data))
    found = units(tmp_path / "set.zip", Sampling())
    inside = [member(tmp_path / "set.zip", name) for name in ("images/1.2.3", "images/IM1")]
    assert found == [indexed(name, number) for name in inside for number in (0, 1)]
    np.testing.assert_array_equal(shown(found[0]), shown(path))


def test_a_missing_decoder_is_named_not_called_a_broken_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels import get_decoder

    frame = ramp(255, np.uint8)
    path = tmp_path / "x.dcm"
    for coding in ("jpeg lossless", "htj2k", "jpeg-ls"):
        syntax, encoder, options = ENCODED[coding]
        frames = [bytes(getattr(imagecodecs, encoder)(frame, **options))]
        save_encoded(dataset(frame[None]), path, syntax, frames)
        decoder = get_decoder(syntax)
        with monkeypatch.context() as without:
            without.setattr(decoder, "_available", {})
            without.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg",)})
            assert refusal(path).startswith(f"needs a decoder of {decoder.UID.name[:20]}")
            assert refusal(path).endswith("pip install 'meddel-fast[dicom]'")
    save_encoded(dataset(frame[None]), path, ENCODED["htj2k"][0], [bytes(64)])
    jpeg_xl = path.read_bytes().replace(b"1.2.840.10008.1.2.4.201", b"1.2.840.10008.1.2.4.110")
    path.write_bytes(jpeg_xl)
    assert refusal(path).startswith("transfer syntax ")
    assert refusal(path).endswith(": not read")


def test_lossy_dicom_says_so(tmp_path: Path) -> None:
    frame = ramp(255, np.uint8)
    path = tmp_path / "x.dcm"
    jpeg = bytes(imagecodecs.jpeg_encode(frame, level=95))
    save_encoded(dataset(frame[None]), path, "1.2.840.10008.1.2.4.50", [jpeg])
    assert read_pixels(path).lossy
    assert np.abs(read_pixels(path).values.astype(int) - frame).max() < 12
    j2k = bytes(imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="j2k"))
    for told, lossy in ((None, True), ("01", True), ("00", False)):
        data = dataset(frame[None], LossyImageCompression=told)
        save_encoded(data, path, "1.2.840.10008.1.2.4.91", [j2k])
        assert read_pixels(path).lossy == lossy
    assert read_pixels(save(dataset(frame[None], LossyImageCompression="01"), path)).lossy


@pytest.mark.parametrize("coding", [*ENCODED, "jpeg"])
def test_a_frame_that_was_cut_off_is_no_picture(tmp_path: Path, coding: str) -> None:
    """Some plug-ins fill up what is missing, without a word."""
    frame = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    plain = ("1.2.840.10008.1.2.4.50", "jpeg_encode", {})
    syntax, encoder, options = ENCODED.get(coding, plain)
    whole = bytes(getattr(imagecodecs, encoder)(frame, **options))
    for length in (len(whole) // 2, len(whole) - 20):
        piece = whole[:length] + b"\0" * (length % 2)
        path = save_encoded(dataset(frame[None]), tmp_path / "x.dcm", syntax, [piece])
        assert refusal(path).startswith(("truncated", "broken"))
    cut = save_encoded(dataset(frame[None]), path, syntax, [whole]).read_bytes()
    path.write_bytes(cut[: len(cut) - len(whole) // 2])
    assert refusal(path).startswith(("truncated", "broken"))


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from meddel_fast.images.formats import dicom

    monkeypatch.setattr(dicom, "MAX_INFLATED", 1 << 20)
    path = save(dataset(np.zeros((9, 512, 512), np.uint8)), tmp_path / "x.dcm", DEFLATED)
    assert path.stat().st_size < 1 << 15
    assert refusal(path).startswith("too large: more than 1048576 bytes")
    whole = save(dataset(ramp(255, np.uint8)[None]), path, DEFLATED).read_bytes()
    path.write_bytes(whole[:-40])
    assert refusal(path).startswith(("truncated", "broken"))


# --- videos inside ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[
    ("mpeg2video", "mpegts", "1.2.840.10008.1.2.4.100"),
    ("mpeg2video", "mpeg", "1.2.840.10008.1.2.4.101"),
    ("libx264", "mp4", "1.2.840.10008.1.2.4.102"),
    ("libx264", "mpegts", "1.2.840.10008.1.2.4.103.1"),
    ("libx265", "mp4", "1.2.840.10008.1.2.4.107"),
], ids=lambda param: f"{param[0]} in {param[1]}")  # fmt: skip
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video in DICOM, beside the same video as a file of its own."""
    av = pytest.importorskip("av")
    codec, container, syntax = request.param
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} here")
    folder = tmp_path_factory.mktemp("clip")
    write_video(folder / "x.mpg", codec, 30, container=container)
    stream = (folder / "x.mpg").read_bytes()
    pieces = [stream[:5000], stream[5000:]] if syntax.endswith(".1") else [stream]
    pieces = [piece + b"\0" * (len(piece) % 2) for piece in pieces]
    blank = np.zeros((1, 2, 2, 3), np.uint8)
    data = dataset(blank, "YBR_PARTIAL_420", NumberOfFrames=30, Rows=48, Columns=128,
                   SOPClassUID=CLASSES + "77.1.1.1")  # fmt: skip
    save_encoded(data, folder / "VIDEO0", syntax, pieces)
    return folder / "VIDEO0"


def test_a_video_in_dicom_gives_the_frames_of_the_video(clip: Path) -> None:
    alone = clip.with_name("x.mpg")
    count = len(units(alone, Sampling(stride=1)))
    assert units(clip, Sampling(stride=1)) == [indexed(clip, number) for number in range(count)]
    assert units(clip, Sampling(stride=7)) == [indexed(clip, n) for n in range(0, count, 7)]
    for number in (count - 1, 0, 11):
        wanted = shown(indexed(alone, number))
        np.testing.assert_array_equal(shown(indexed(clip, number)), wanted)
        pixels = read_pixels(indexed(clip, number))
        np.testing.assert_array_equal(pixels.values, wanted)
        assert pixels.lossy
    with pytest.raises(ImageError, match=f"no frame {count}"):
        shown(indexed(clip, count))


def test_a_video_in_dicom_without_pyav_is_one_row(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert units(clip, Sampling()) == [clip]
    assert refusal(clip) == "needs av: pip install 'meddel-fast[video]'"


def test_a_broken_video_in_dicom_is_one_row(tmp_path: Path) -> None:
    pytest.importorskip("av")
    blank = dataset(np.zeros((1, 2, 2, 3), np.uint8), "YBR_PARTIAL_420", NumberOfFrames=500)
    path = save_encoded(blank, tmp_path / "x.dcm", "1.2.840.10008.1.2.4.102", [bytes(4000)])
    assert units(path, Sampling()) == [path]
    assert refusal(path).startswith("broken")
