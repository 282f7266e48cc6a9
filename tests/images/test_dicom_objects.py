"""DICOM objects and files: without a picture, suffix or decoder, lossy, cut off, videos inside."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pydicom")
pytest.importorskip("pyarrow")
imagecodecs = pytest.importorskip("imagecodecs")

from containers import write_video, zipped  # noqa: E402
from depths import ramp  # noqa: E402
from dicom_checks import refusal, shown  # noqa: E402
from dicoms import (  # noqa: E402
    DEFLATED,
    ENCODED,
    EXPLICIT,
    IMPLICIT,
    dataset,
    save,
    save_encoded,
)

from meddel_fast.images.address import indexed, member  # noqa: E402
from meddel_fast.images.load_images import ImageError  # noqa: E402
from meddel_fast.images.pixels import read_pixels  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.sources import Sampling, is_known, units  # noqa: E402

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
