"""A frame of a video is the frame that a full decode shows, however it is reached."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("PIL.Image")
pytest.importorskip("pyarrow")

from clips import COUNT, check, frame, make, numbers, shown  # noqa: E402
from containers import remux, tarred, zipped  # noqa: E402

from meddel_fast.images.formats.open_video import Clip  # noqa: E402

Change = Callable[[list[Any]], list[Any]]

# --- containers x codecs x B-frames ------------------------------------------------------------

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
