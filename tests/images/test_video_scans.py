"""Videos as a scan meets them: turned, of several streams, cut off, none at all; and HEIC."""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from clips import COUNT, check, frame, make, numbers, shown  # noqa: E402
from containers import mask_png, video_frame  # noqa: E402

from meddel_fast.images.address import ImageError  # noqa: E402
from meddel_fast.images.load_images import load_image  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.sources import Sampling, frame_count  # noqa: E402

# --- upright frames ------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_frames_are_turned_as_players_turn_them(
    tmp_path: Path, turn: int, across: bool, down: bool
) -> None:
    path = make(tmp_path / "a.mp4", "h264", count=3, turn=(turn, across, down))
    wanted = np.rot90(shown(path)[1], turn // 90)
    wanted = wanted[:, ::-1] if across else wanted
    wanted = wanted[::-1] if down else wanted
    np.testing.assert_array_equal(frame(path, 1), wanted)


def test_a_turned_clip_in_a_manifest(tmp_path: Path) -> None:
    make(tmp_path / "images" / "a.mov", "h264 B", turn=(-90, False, False))
    masks = tmp_path / "masks" / "a"
    masks.mkdir(parents=True)
    (masks / "000000.png").write_bytes(mask_png(48, 128))
    manifest = scan_folder(tmp_path, sampling=Sampling(stride=10))
    assert manifest.column("width") == [48] * 3
    assert manifest.column("height") == [128] * 3
    assert manifest.column("mask") == ["masks/a/000000.png", None, None]
    with av.open(str(tmp_path / "images" / "a.mov")) as clip:
        first = next(clip.decode(video=0))
    assert first.rotation == -90
    upright = np.rot90(first.to_ndarray(format="rgb24"), first.rotation // 90)
    np.testing.assert_array_equal(frame(tmp_path / "images" / "a.mov", 0), upright)


# --- streams, content --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts"])
def test_of_several_streams_the_first_counts(tmp_path: Path, name: str) -> None:
    with av.open(str(tmp_path / name), "w") as output:
        streams = [output.add_stream(codec, rate=25) for codec in ("libx264", "mpeg2video")]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 128, 48, "yuv420p"
            stream.codec_context.max_b_frames = 2
        for number in range(COUNT):
            for stream, shift in zip(streams, (0, 20), strict=True):
                pixels = video_frame(number + shift, COUNT)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in streams:
            output.mux(stream.encode())
    assert check(tmp_path / name) == COUNT
    assert numbers(frame(tmp_path / name, 7)) == 7


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    from av.stream import Disposition

    cover = io.BytesIO()
    Image.fromarray(video_frame(1, COUNT)).save(cover, "JPEG")
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        sound = output.add_stream("aac", rate=16000)
        stream = output.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 48, "yuvj420p"
        stream.disposition = Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 16000
        output.mux(sound.encode(silence))
        packet = av.Packet(cover.getvalue())
        packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 25), 0, 0
        output.mux(packet)
        output.mux(sound.encode())
    with pytest.raises(ImageError, match="no video stream"):
        frame(tmp_path / "a.mp4", 0)


def test_what_is_named_like_a_video_and_is_none_is_a_row(tmp_path: Path) -> None:
    images = tmp_path / "images"
    make(images / "real.mp4", "h264")
    (images / "code.ts").write_text("import { a } from 'b';\nexport const c: number = a;\n" * 99)
    (images / "list.ts").write_text("ffconcat version 1.0\nfile real.mp4\n")
    (images / "play.mp4").write_text("#EXTM3U\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n")
    (images / "half.avi").write_bytes(b"RIFF\0\0\1\0AVI LIST")
    (images / "none.mkv").touch()
    manifest = scan_folder(tmp_path)
    assert manifest.ids == ["images/real.mp4::000000"]
    reasons = dict(
        zip(manifest.skipped["id"].to_pylist(), manifest.skipped["reason"].to_pylist(), strict=True)
    )
    assert set(reasons) == {f"images/{n}" for n in
                            ("code.ts", "list.ts", "play.mp4", "half.avi", "none.mkv")}  # fmt: skip
    assert reasons.pop("images/none.mkv") == "empty file"
    assert reasons.pop("images/half.avi").startswith("broken, or no video")
    assert set(reasons.values()) == {"no video: its content is text"}


def test_without_pyav_a_video_is_a_row_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "images" / "a.mp4", "h264")
    Image.fromarray(video_frame(1, COUNT)).save(tmp_path / "images" / "b.png")
    monkeypatch.setitem(sys.modules, "av", None)
    manifest = scan_folder(tmp_path)
    assert manifest.ids == ["images/b.png"]
    assert manifest.skipped["id"].to_pylist() == ["images/a.mp4"]
    assert manifest.skipped["reason"].to_pylist() == ["needs av: pip install 'meddel-fast[video]'"]


# --- scans -------------------------------------------------------------------------------------


def skipped(manifest: Manifest) -> dict[str, str]:
    table = manifest.skipped
    return dict(zip(table["id"].to_pylist(), table["reason"].to_pylist(), strict=True))


@pytest.mark.parametrize("name", ["a.mp4", "a.avi"])
def test_scan_of_videos(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "images" / name, "h264 B", count=60, scenes=3)
    for sampling, wanted in (
        (None, [0, 25, 50]),
        (Sampling(stride=10), [0, 10, 20, 30, 40, 50]),
        (Sampling(stride=10, scene=0.2), [0, 20, 40]),
    ):
        manifest = scan_folder(tmp_path, sampling=sampling)
        assert manifest.ids == [f"images/{name}::{n:06d}" for n in wanted]
        assert manifest.column("frame") == wanted
        assert set(manifest.column("group")) == {"a"}
        assert len(set(manifest.column("split"))) == 1
        assert set(manifest.column("width")) == {128}
        assert not skipped(manifest)
    assert manifest.column("bytes")[0] == path.stat().st_size // 60


@pytest.mark.parametrize(
    ("name", "codec", "more"),
    [
        ("a.mp4", "h264 B", {"muxing": {"movflags": "faststart"}}),
        ("a.mkv", "h264 B", {}),
        ("a.webm", "vp9", {}),
        ("a.flv", "flv1", {}),
        ("a.avi", "mpeg4 B", {}),
        ("b.avi", "mjpeg", {}),
        ("a.mov", "mjpeg", {"muxing": {"movflags": "faststart"}}),
        ("a.ts", "h264 B", {}),
        ("a.mpg", "mpeg2 B", {}),
    ],
)
def test_a_video_that_ends_early_loses_only_its_end_and_says_so(
    tmp_path: Path, name: str, codec: str, more: dict[str, Any]
) -> None:
    (tmp_path / "images").mkdir()
    whole = make(tmp_path / name, codec, count=60, **more)
    path = tmp_path / "images" / name
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4 | 1])
    right = shown(whole)
    manifest = scan_folder(tmp_path, sampling=Sampling(stride=1))
    kept = manifest.column("frame")
    assert 15 < len(kept) < 60
    for number in kept:
        np.testing.assert_array_equal(frame(path, number), right[number])
    told = skipped(manifest)
    assert f"images/{name}::{frame_count(path):06d}" in told
    assert all(reason.startswith(("truncated", "broken")) for reason in told.values())


def test_a_video_of_which_nothing_can_be_decoded_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(video_frame(1, COUNT)).save(tmp_path / "images" / "b.png")
    data = make(tmp_path / "a.mkv", "h264").read_bytes()
    with av.open(str(tmp_path / "a.mkv")) as clip:
        pieces = [bytes(packet) for packet in clip.demux(video=0) if packet.size]
    for piece in pieces:
        data = data.replace(piece, bytes(len(piece)))
    (tmp_path / "images" / "a.mkv").write_bytes(data)
    assert skipped(scan_folder(tmp_path)) == {
        "images/a.mkv": "no frame of the video can be decoded"
    }


# --- HEIC ----------------------------------------------------------------------------------------


def test_heic_and_avif_are_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    images = tmp_path / "images"
    images.mkdir()
    pixels = np.repeat(np.repeat(video_frame(9, COUNT)[:24, :64], 2, 0), 2, 1)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn clockwise
    picture = Image.fromarray(pixels)
    for name in ("a.heic", "b.HEIF", "c.hif"):
        heif.from_pillow(picture).save(images / name, quality=-1, exif=turned.tobytes())
    picture.save(images / "d.avif", quality=100)
    (images / "e.heic").write_bytes((images / "a.heic").read_bytes()[:400])
    manifest = scan_folder(tmp_path)
    assert manifest.ids == [f"images/{n}" for n in ("a.heic", "b.HEIF", "c.hif", "d.avif")]
    assert set(skipped(manifest)) == {"images/e.heic"}
    assert manifest.column("width") == [48, 48, 48, 128]
    upright = np.asarray(Image.fromarray(np.rot90(pixels, -1)).resize((16, 16), 2))
    for path in manifest.image_paths()[:3]:
        assert np.abs(load_image(path, 16).astype(int) - upright).mean() < 6
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    reasons = skipped(scan_folder(tmp_path))
    assert reasons["images/a.heic"] == "needs pillow_heif: pip install 'meddel-fast[heif]'"
