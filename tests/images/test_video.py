"""A frame of a video is the frame that a full decode shows, however it is reached."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from containers import mask_png, remux, tarred, video_frame, write_video, zipped  # noqa: E402

from meddel_fast.images.address import ImageError  # noqa: E402
from meddel_fast.images.formats.open_video import Clip  # noqa: E402
from meddel_fast.images.load_images import load_image  # noqa: E402
from meddel_fast.images.manifest import Manifest  # noqa: E402
from meddel_fast.images.scan.folder import scan_folder  # noqa: E402
from meddel_fast.images.sources import Sampling, frame_count, open_image, units  # noqa: E402

COUNT = 24
Change = Callable[[list[Any]], list[Any]]


def shown(path: Path) -> list[np.ndarray]:
    """What a full decode shows."""
    with av.open(str(path)) as clip:
        return [np.asarray(frame.to_image()) for frame in clip.decode(video=0)]


def numbers(pixels: np.ndarray) -> int:
    """Which frame of `write_video` this is, by its bar."""
    return int(pixels.astype(float).mean(axis=(0, 2)).argmax()) // 2


def frame(path: Path, number: int) -> np.ndarray:
    with open_image(f"{path}::{number:06d}") as image:
        return np.asarray(image)


def check(path: Path, seed: int = 0) -> int:
    """Compare every frame, in any order, with the full decode; give their count."""
    wanted = shown(path)
    assert units(path, Sampling(stride=1)) == [
        Path(f"{path}::{number:06d}") for number in range(len(wanted))
    ]
    for number in np.random.default_rng(seed).permutation(len(wanted)).tolist():
        np.testing.assert_array_equal(frame(path, number), wanted[number], err_msg=str(number))
    with pytest.raises(ImageError, match=f"no frame {len(wanted)}, the video has {len(wanted)}"):
        frame(path, len(wanted))
    return len(wanted)


# --- containers x codecs x B-frames ------------------------------------------------------------

X264 = {"crf": "12"}
OPEN_264 = {"x264-params": "open-gop=1:keyint=8:bframes=3:b-pyramid=normal"}
OPEN_265 = {"x265-params": "open-gop=1:keyint=8:bframes=3:log-level=none"}
CODECS: dict[str, dict[str, Any]] = {
    "h264": {"codec": "libx264", "b_frames": 0, "options": X264},
    "h264 B": {"codec": "libx264", "b_frames": 3, "options": X264},
    "h264 open": {"codec": "libx264", "b_frames": 3, "options": OPEN_264},
    "h264 intra": {"codec": "libx264", "b_frames": 0, "gop": 1},
    "hevc open": {"codec": "libx265", "b_frames": 3, "options": OPEN_265},
    "mpeg4": {"codec": "mpeg4", "b_frames": 0},
    "mpeg4 B": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2video", "b_frames": 0},
    "mpeg2 B": {"codec": "mpeg2video"},
    "mpeg1 B": {"codec": "mpeg1video"},
    "vp8": {"codec": "libvpx", "b_frames": 0},
    "vp9": {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8"}},
    "av1": {"codec": "libsvtav1", "b_frames": 0, "options": {"preset": "12"}},
    "mjpeg": {"codec": "mjpeg", "b_frames": 0, "pix_fmt": "yuvj420p"},
    "ffv1": {"codec": "ffv1", "b_frames": 0},
    "prores": {"codec": "prores_ks", "b_frames": 0, "pix_fmt": "yuv422p10le"},
    "wmv2": {"codec": "wmv2", "b_frames": 0},
    "msmpeg4": {"codec": "msmpeg4", "b_frames": 0},
    "flv1": {"codec": "flv", "b_frames": 0},
    "huffyuv": {"codec": "huffyuv", "b_frames": 0, "pix_fmt": "yuv422p"},
    "raw": {"codec": "rawvideo", "b_frames": 0},
    "gif": {"codec": "gif", "b_frames": 0, "pix_fmt": "rgb8"},
}  # fmt: skip
HOLDS = {
    ".avi": "h264, h264 B, h264 open, mpeg4, mpeg4 B, mpeg2 B, vp8, mjpeg, "
    "ffv1, huffyuv, raw, msmpeg4",
    ".mp4": "h264, h264 B, h264 open, h264 intra, hevc open, mpeg4, mpeg4 B, vp9, av1, mjpeg",
    ".mov": "h264 B, hevc open, mpeg2 B, prores, mjpeg, gif",
    ".mkv": "h264, h264 B, h264 open, hevc open, mpeg4 B, mpeg2 B, vp8, vp9, ffv1, raw",
    ".webm": "vp8, vp9, av1",
    ".ts": "h264, h264 B, h264 open, hevc open, mpeg4 B, mpeg2, mpeg1 B",
    ".mts": "h264 B",
    ".m2ts": "h264 open, mpeg2 B",
    ".vob": "mpeg2 B, mpeg1 B",
    ".mpg": "mpeg1 B, mpeg2, mpeg2 B",
    ".asf": "h264 B, mpeg4 B, wmv2",
    ".wmv": "wmv2",
    ".3gp": "h264 B, mpeg4",
    ".flv": "h264, h264 B, flv1",
    ".ogv": "vp8",
    ".mxf": "h264 B, mpeg2 B, prores",
    ".nut": "h264 B, mpeg4 B",
    ".h264": "h264, h264 B, h264 open",
    ".hevc": "hevc open",
    ".m2v": "mpeg2 B",
    ".ivf": "vp8, vp9",
}  # fmt: skip
CELLS = [(suffix, name) for suffix, names in HOLDS.items() for name in names.split(", ")]
FORMATS = {".3gp": "3gp", ".mts": "mpegts", ".m2ts": "mpegts", ".m2v": "mpeg2video"}


def make(path: Path, name: str, **more: Any) -> Path:
    """A video of one of the codecs, where PyAV was built with its encoder."""
    settings = {"count": COUNT, "gop": 8, **CODECS[name], **more}
    if settings["codec"] not in av.codec.codecs_available:
        pytest.skip(f"PyAV was built without {settings['codec']}")
    if "turn" in more and not hasattr(av.video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write turned videos")
    write_video(path, container=FORMATS.get(path.suffix), **settings)
    return path


@pytest.mark.parametrize(("suffix", "name"), CELLS)
def test_every_frame_of_every_codec_in_every_container(
    tmp_path: Path, suffix: str, name: str
) -> None:
    path = make(tmp_path / f"a{suffix}", name)
    assert check(path) == COUNT
    assert [numbers(pixels) for pixels in shown(path)] == list(range(COUNT))


@pytest.mark.parametrize("name", ["a.mp4", "b.avi", "c.mpg", "d.h264"])
def test_frames_in_archives(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, "mpeg2 B" if name == "c.mpg" else "h264 B")
    wanted = shown(path)
    (tmp_path / "in.zip").write_bytes(zipped({name: path.read_bytes()}))
    (tmp_path / "in.tar").write_bytes(tarred({name: path.read_bytes()}))
    for archive in ("in.zip", "in.tar"):
        for number in (COUNT - 1, 0, 13, 5, 6):
            found = frame(Path(f"{tmp_path / archive}::{name}"), number)
            np.testing.assert_array_equal(found, wanted[number])


# --- stamps that do not tell the order, or the number, of what is shown -------------------------


def as_decoded(packets: list[Any]) -> list[Any]:
    """Stamp packets by decoding time, as if the container had no other."""
    for packet in packets:
        packet.pts = packet.dts
    return packets


def one_stamp_twice(packets: list[Any]) -> list[Any]:
    packets[5].pts = packets[4].pts
    return packets


def all_are_keys(packets: list[Any]) -> list[Any]:
    for packet in packets:
        packet.is_keyframe = True
    return packets


def uneven(packets: list[Any]) -> list[Any]:
    """Stretch the time between frames by other factors, and begin late."""
    unit = round(1 / (25 * packets[0].time_base))
    steps = np.cumsum(np.random.default_rng(0).integers(1, 6, len(packets)))
    stamps = [int(step) * unit + 1000 * unit for step in steps]
    ranks = np.argsort(np.argsort([packet.pts for packet in packets]))
    for n, packet in enumerate(packets):
        packet.pts, packet.dts = stamps[ranks[n]], stamps[n] - 20 * unit
    return packets


def late(packets: list[Any]) -> list[Any]:
    """Begin in the middle of a group of pictures."""
    return packets[3:]


@pytest.mark.parametrize(
    ("source", "name", "target", "change"),
    [
        ("a.mp4", "h264 B", "b.mp4", as_decoded),
        ("a.mp4", "h264 B", "b.mkv", as_decoded),
        ("a.mp4", "h264 B", "b.flv", as_decoded),
        ("a.mp4", "mpeg4 B", "b.mp4", as_decoded),
        ("a.mp4", "hevc open", "b.mkv", as_decoded),
        ("a.mkv", "mpeg2 B", "b.mkv", as_decoded),
        ("a.mp4", "h264 B", "b.mkv", one_stamp_twice),
        ("a.mp4", "h264", "b.mp4", all_are_keys),
        ("a.mp4", "h264 B", "b.mkv", all_are_keys),
        ("a.mp4", "hevc open", "b.mp4", all_are_keys),
        ("a.mp4", "vp9", "b.mp4", all_are_keys),
        ("a.mkv", "mpeg2 B", "b.mkv", all_are_keys),
        ("a.avi", "mpeg4", "b.avi", all_are_keys),
        ("a.mp4", "h264 B", "b.mp4", uneven),
        ("a.mp4", "h264 B", "b.mkv", uneven),
        ("a.mp4", "vp9", "b.webm", uneven),
        ("a.ts", "h264 B", "b.ts", uneven),
        ("a.ts", "h264 B", "b.ts", late),
        ("a.ts", "hevc open", "b.ts", late),
        ("a.ts", "mpeg2 B", "b.mpg", late),
    ],
)  # fmt: skip
def test_frames_whatever_the_stamps_say(
    tmp_path: Path, source: str, name: str, target: str, change: Change
) -> None:
    remux(make(tmp_path / source, name), tmp_path / target, change)
    assert check(tmp_path / target) > COUNT // 2


@pytest.mark.parametrize(
    ("suffix", "name"), [(".ts", "h264 B"), (".ts", "hevc open"), (".mpg", "mpeg2 B")]
)
def test_recordings_joined_end_to_end(tmp_path: Path, suffix: str, name: str) -> None:
    one = make(tmp_path / f"a{suffix}", name).read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(2 * one)
    assert check(tmp_path / f"b{suffix}") == 2 * COUNT


@pytest.mark.parametrize(("suffix", "name"), [(".mp4", "h264 B"), (".mov", "mpeg2 B")])
def test_an_edit_list_hides_frames_that_others_need(tmp_path: Path, suffix: str, name: str) -> None:
    path = make(tmp_path / f"a{suffix}", name, cut=5)
    assert check(path) == COUNT - 5
    assert numbers(frame(path, 0)) == 5


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".avi"])
def test_pictures_that_are_refreshed_bit_by_bit(tmp_path: Path, suffix: str) -> None:
    refresh = {"x264-params": "intra-refresh=1:keyint=8"}
    assert check(make(tmp_path / f"a{suffix}", "h264", options=refresh)) == COUNT


def test_fragments(tmp_path: Path) -> None:
    muxing = {"movflags": "frag_keyframe+empty_moov"}
    assert check(make(tmp_path / "a.mp4", "h264 B", muxing=muxing)) == COUNT


def mux_mpeg4(path: Path, packets: list[tuple[bytes, bool]]) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 48, "yuv420p"
        for number, (data, key) in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), key
            packet.pts = packet.dts = number
            output.mux(packet)


def test_packed_b_frames(tmp_path: Path) -> None:
    """Two pictures in one packet, and an empty one behind: what DivX and Xvid put into AVI."""
    make(tmp_path / "a.avi", "mpeg4 B", b_frames=1)
    with av.open(str(tmp_path / "a.avi")) as clip:
        plain = [(bytes(p), p.is_keyframe) for p in clip.demux(video=0) if p.size]
    start, mark, empty = b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p", b"\0\0\1\xb6\x50\0\0"
    packed: list[tuple[bytes, bool]] = []
    for data, key in plain:
        at = data.index(start)
        if data[at + 4] >> 6 == 2:  # a B-frame: into the packet before
            before, was_key = packed.pop()
            packed += [(before + data, was_key), (empty, False)]
        else:
            packed.append((data[:at] + mark + data[at:] if key else data, key))
    assert sum(data == empty for data, _ in packed) > 5
    mux_mpeg4(tmp_path / "b.avi", packed)
    assert check(tmp_path / "b.avi") == COUNT
    assert [numbers(frame(tmp_path / "b.avi", n)) for n in range(COUNT)] == list(range(COUNT))


def test_frames_that_were_dropped_while_recording(tmp_path: Path) -> None:
    """Chunks of no size in AVI stand for time, not for frames."""
    data = bytearray(make(tmp_path / "a.avi", "mjpeg").read_bytes())
    places, at = [], data.index(b"movi") + 4
    while data[at : at + 4] == b"00dc":
        places.append(at)
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    entries = data.index(b"idx1") + 8
    for dropped in (10, 11):
        at, end = places[dropped], places[dropped + 1]
        data[at + 4 : at + 8] = bytes(4)
        data[at + 8 : at + 16] = b"JUNK" + (end - at - 16).to_bytes(4, "little")
        data[entries + 16 * dropped + 12 : entries + 16 * dropped + 16] = bytes(4)
    (tmp_path / "b.avi").write_bytes(data)
    assert check(tmp_path / "b.avi") == COUNT - 2
    assert numbers(frame(tmp_path / "b.avi", 10)) == 12


# --- seeks -------------------------------------------------------------------------------------


class Counting(Clip):
    """Counts the frames that it decodes."""

    passed = 0

    def _rank(self, index: Any, frame: Any) -> int | None:
        self.passed += 1
        return super()._rank(index, frame)


class Astray(Clip):
    """Seeks to another place than it was asked for."""

    def _packets_from(self, stamp: int) -> Any:
        with av.open(str(self.path)) as clip:
            stamps = [p.pts for p in clip.demux(video=0) if p.pts is not None]
        return super()._packets_from(stamps[hash(stamp) % len(stamps)])


LONG = [("a.mp4", "h264 B"), ("a.mkv", "h264 open"), ("a.ts", "h264 B"), ("a.avi", "h264 B"),
        ("b.avi", "mpeg4 B"), ("a.webm", "vp9"), ("a.mpg", "mpeg2 B"),
        ("a.asf", "mpeg4 B")]  # fmt: skip


@pytest.mark.parametrize(("name", "codec"), LONG)
def test_a_far_frame_takes_few_decodes_and_a_seek_astray_none_wrong(
    tmp_path: Path, name: str, codec: str
) -> None:
    count = 200
    path = make(tmp_path / name, codec, count=count)
    wanted = shown(path)
    assert len(wanted) == count
    clip = Counting(path, lambda: str(path))
    index = clip.index()
    for number in (170, 90, 130):
        np.testing.assert_array_equal(
            np.asarray(clip.frame(index, number).to_image()), wanted[number]
        )
    assert 3 <= clip.passed < 160
    clip = Astray(path, lambda: str(path))
    for number in (170, 90, 130, 131, 20):
        np.testing.assert_array_equal(
            np.asarray(clip.frame(index, number).to_image()), wanted[number]
        )


def test_threads_have_decoders_of_their_own(tmp_path: Path) -> None:
    paths = [make(tmp_path / "a.mp4", "h264 B"), make(tmp_path / "b.avi", "h264 B"),
             make(tmp_path / "c.mpg", "mpeg2 B"), make(tmp_path / "d.webm", "vp9")]  # fmt: skip
    jobs = [(path, int(n)) for n in np.random.default_rng(2).permutation(COUNT) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda job: numbers(frame(*job)), jobs))
    assert found == [number for _, number in jobs]


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
