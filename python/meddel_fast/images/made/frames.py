"""Made colonoscopy videos with planted rubbish, for people with no data at hand.

The training videos hold what a selector ought to find, and ``truth.parquet`` says where:

- near duplicates: frames of a still or a slow camera, and the same frame encoded again;
- exact duplicates: copies of a file under another name;
- disruptive frames: black, blown out, blurred, or torn into stripes of noise.

Validation and test videos are clean, so that a score means the same whatever was planted.
"""

from __future__ import annotations

import inspect
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meddel_fast.common.atomic import atomic_directory, write_json
from meddel_fast.common.close_names import did_you_mean
from meddel_fast.common.extras import needs
from meddel_fast.common.files import Progress, StrPath, read_json
from meddel_fast.images.made.scene import Video
from meddel_fast.images.made.textures import Bytes, Floats, Textures

with needs("benchmark"):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image, ImageFilter

RECIPE = 1
"""Goes up when the same settings come to give other frames."""

DISRUPTIONS = ("black", "blown_out", "blurred", "noise")

_TRUTH = pa.schema([(name, pa.string()) for name in ("id", "kind", "of", "disruption")])
_QUALITY = 88
_VAL, _TEST = 4, 8  # videos
_MOST_PLANTED = 0.8


@dataclass(frozen=True)
class _Settings:
    videos: int
    frames: int
    size: int
    seed: int
    val_videos: int | None
    test_videos: int | None
    near_duplicates: float
    exact_duplicates: float
    disruptive: float

    def settled(self) -> _Settings:
        """Return the settings with all that was left open; refuse what cannot be made, by name."""
        _check_integer("videos", self.videos, 1, 10_000)
        _check_integer("frames", self.frames, 1, 10_000)
        _check_integer("size", self.size, 32, 1024)
        _check_integer("seed", self.seed, 0, 2**63 - 1)
        val, test = self.dealt()
        shares = [self.near_duplicates, self.exact_duplicates, self.disruptive]
        for name, share in zip(_SHARES, shares, strict=True):
            if isinstance(share, bool) or not isinstance(share, (int, float)):
                raise TypeError(f"{name}: wanted a share, got {type(share).__name__}")
            if not 0 <= share <= _MOST_PLANTED:
                raise ValueError(f"{name}: wanted a share in [0, {_MOST_PLANTED}], got {share}")
        if sum(shares) > _MOST_PLANTED + 1e-9:
            raise ValueError(
                f"{' + '.join(_SHARES)}: wanted at most {_MOST_PLANTED}, got {sum(shares):g}"
            )
        near, exact, disruptive = map(float, shares)
        return _Settings(
            self.videos, self.frames, self.size, self.seed, val, test, near, exact, disruptive
        )

    def dealt(self) -> tuple[int, int]:
        """Return how many videos are for validation and for test: as many as fit, if not given."""
        most, few = self.videos - 1, self.videos <= _VAL + _TEST
        val = (most > 1) * max(1, self.videos // 10) if few else _VAL
        test = (most > 0) * max(1, self.videos // 5) if few else _TEST
        if self.val_videos is not None:
            val = _check_integer("val_videos", self.val_videos, 0, most)
            test = min(test, most - val)
        if self.test_videos is not None:
            room = most if self.val_videos is None else most - val
            test = _check_integer("test_videos", self.test_videos, 0, room)
            val = min(val, most - test)
        return val, test


_SHARES = ("near_duplicates", "exact_duplicates", "disruptive")


@dataclass
class _Frame:
    """One file to be made."""

    video: int
    number: int
    time: float
    kind: str = "normal"
    of: _Frame | None = None
    disruption: str = ""

    @property
    def stem(self) -> str:
        return f"v{self.video:03d}_f{self.number:04d}"

    @property
    def id(self) -> str:
        return f"images/{self.stem}.jpg"


def make_frames(
    out: StrPath,
    *,
    videos: int = 40,
    frames: int = 55,
    size: int = 96,
    seed: int = 0,
    val_videos: int | None = None,
    test_videos: int | None = None,
    near_duplicates: float = 0.25,
    exact_duplicates: float = 0.05,
    disruptive: float = 0.10,
    progress: Progress | None = None,
) -> Path:
    """Make a set of colonoscopy-like videos with polyp masks and planted rubbish.

    Parameters
    ----------
    out
        Folder to make. It gets ``images/*.jpg``, ``masks/*.png`` (0 and 255), ``splits.csv``
        (file, split, group, frame), ``truth.parquet`` (id, kind, of, disruption; one row a frame)
        and ``made.json`` (the settings). A folder that holds the same made set is left as it is;
        one that holds another made set is made anew; any other non-empty folder is refused.
    videos, frames
        Number of videos, and of frames in each, the planted ones included.
    size
        Side of the square frames in pixels, 32 to 1024.
    seed
        The same settings and seed give the same set (the same bytes with the same versions of
        numpy and Pillow).
    val_videos, test_videos
        How many of the videos are for validation and for test; the others, one at least, are for
        training. By default 4 and 8, or of fewer than 13 videos about a tenth and a fifth.
    near_duplicates, exact_duplicates, disruptive
        Shares of the training frames to plant, together at most 0.8. Disruptive frames are black,
        blown_out, blurred or noise in equal parts; all but the blurred ones have an empty mask.
    progress
        Called as ``progress(done, total)`` after every frame.

    Returns
    -------
    Path
        `out`. Load it with :func:`meddel_fast.images.scan.folder.scan_folder`; the ids agree.

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong type or out of range; raised before anything is written.
    FileExistsError
        `out` is a file, or a folder with something else in it.
    """
    out = Path(out)
    settings = _Settings(
        videos, frames, size, seed, val_videos, test_videos,
        near_duplicates, exact_duplicates, disruptive,
    ).settled()  # fmt: skip
    made = {"recipe": RECIPE, "settings": asdict(settings)}
    before = _made_before(out)
    if before == made and _is_whole(out, videos * frames):
        return out
    plan = _plan(settings)
    with atomic_directory(out, replace=before is not None) as folder:
        _write_frames(folder, settings, plan, progress)
        _write_splits(folder / "splits.csv", settings, plan)
        _write_truth(folder / "truth.parquet", plan)
        write_json(folder / "made.json", made)
    return out


def check_made(options: Mapping[str, Any]) -> dict[str, int]:
    """Refuse options of :func:`make_frames` that it would refuse; nothing is made.

    Returns
    -------
    dict
        How many frames each split would have.

    Raises
    ------
    TypeError, ValueError
        An unknown option, or one of the wrong type or out of range.
    """
    known = [field.name for field in fields(_Settings)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        near = did_you_mean(unknown[0], known)
        raise TypeError(f"{unknown[0]}: no such option; there are {', '.join(known)}{near}")
    defaults = inspect.signature(make_frames).parameters
    chosen = {name: options.get(name, defaults[name].default) for name in known}
    settings = _Settings(**chosen).settled()
    val, test = settings.dealt()
    videos = {"train": settings.videos - val - test, "val": val, "test": test}
    return {split: count * settings.frames for split, count in videos.items()}


def _check_integer(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: wanted an integer, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: wanted an integer in [{low}, {high}], got {value}")
    return value


def _made_before(out: Path) -> Any:
    """Read what made this folder, or None when none of our calls did."""
    try:
        return read_json(out / "made.json")
    except (OSError, ValueError):
        return None


def _is_whole(out: Path, count: int) -> bool:
    """Tell whether nobody has taken files away since."""
    images, masks = (sum(1 for _ in out.glob(f"{name}/v*")) for name in ("images", "masks"))
    tables = (out / "splits.csv").is_file() and (out / "truth.parquet").is_file()
    return images == masks == count and tables


def _split_of(settings: _Settings, video: int) -> str:
    val, test = settings.dealt()
    train = settings.videos - val - test
    return "train" if video < train else "val" if video < train + val else "test"


def _plan(settings: _Settings) -> list[list[_Frame]]:
    """Decide what every frame of every video is, before one is drawn."""
    rng = np.random.default_rng([settings.seed, 0])
    train = [v for v in range(settings.videos) if _split_of(settings, v) == "train"]
    total = len(train) * settings.frames
    near, exact, bad = (
        _spread(rng, round(share * total), len(train))
        for share in (
            settings.near_duplicates,
            settings.exact_duplicates,
            settings.disruptive,
        )
    )
    kinds = rng.permutation(np.arange(bad.sum()) % len(DISRUPTIONS)).tolist()
    plan = []
    for video in range(settings.videos):
        counts = (near[video], exact[video], bad[video]) if video < len(train) else (0, 0, 0)
        if sum(counts) >= settings.frames:
            raise ValueError(
                f"frames: wanted more than {sum(counts)}, the frames planted in one video, "
                f"got {settings.frames}"
            )
        disruptions = [DISRUPTIONS[kinds.pop()] for _ in range(counts[2])]
        plan.append(_plan_video(rng, settings.frames, video, counts[0], counts[1], disruptions))
    normal = [f for frames in plan[: len(train)] for f in frames if f.kind == "normal"]
    for frame in (f for frames in plan for f in frames if f.kind == "exact_duplicate"):
        frame.of = normal[int(rng.integers(len(normal)))]
    return plan


def _spread(rng: np.random.Generator, count: int, videos: int) -> npt.NDArray[np.int64]:
    """Spread `count` over the videos as evenly as it goes, the odd ones by chance."""
    share = np.full(videos, count // videos)
    share[rng.permutation(videos)[: count % videos]] += 1
    return share


def _plan_video(
    rng: np.random.Generator,
    frames: int,
    video: int,
    near: int,
    exact: int,
    disruptions: list[str],
) -> list[_Frame]:
    """Lay out one video: the camera halts or crawls for runs of near duplicates."""
    moving = frames - near - exact - len(disruptions)
    runs = np.zeros(moving, np.int64)
    while near:
        length = min(near, int(rng.integers(1, 7)))
        runs[rng.integers(moving)] += length
        near -= length
    order: list[_Frame] = []
    for step, length in enumerate(runs.tolist()):
        source = _Frame(video, 0, step * frames / moving)
        order.append(source)
        manner = rng.choice(["still", "slow", "again"])
        for late in range(1, length + 1):
            crawl = {"still": 0.0, "slow": min(0.02 * late, 0.15), "again": np.nan}[manner]
            order.append(_Frame(video, 0, source.time + crawl, "near_duplicate", source))
    for _ in range(exact):
        order.insert(int(rng.integers(1, len(order) + 1)), _Frame(video, 0, 0, "exact_duplicate"))
    for disruption in disruptions:
        place = int(rng.integers(1, len(order) + 1))
        time = float(rng.uniform(0, frames))
        order.insert(place, _Frame(video, 0, time, "disruptive", None, disruption))
    for number, frame in enumerate(order):
        frame.number = number
    return order


def _write_frames(
    folder: Path, settings: _Settings, plan: list[list[_Frame]], progress: Progress | None
) -> None:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    textures = Textures.make(np.random.default_rng([settings.seed, 1]))
    total = settings.videos * settings.frames
    drawn = (
        (frame, image, mask)
        for video, frames in enumerate(plan)
        for frame, image, mask in _draw_video(settings, textures, video, frames)
    )
    done = 0
    for frame, image, mask in drawn:
        (folder / frame.id).write_bytes(image)
        (folder / "masks" / f"{frame.stem}.png").write_bytes(mask)
        done += 1
        if progress:
            progress(done, total)
    for frame in (f for frames in plan for f in frames if f.kind == "exact_duplicate"):
        assert frame.of is not None
        shutil.copyfile(folder / frame.of.id, folder / frame.id)
        for_mask = [folder / "masks" / f"{f.stem}.png" for f in (frame.of, frame)]
        shutil.copyfile(*for_mask)
        done += 1
        if progress:
            progress(done, total)


def _draw_video(
    settings: _Settings, textures: Textures, video: int, frames: list[_Frame]
) -> Iterator[tuple[_Frame, bytes, bytes]]:
    """Draw and encode all frames of a video but the exact duplicates."""
    scene = Video(
        settings.size, settings.frames, textures, np.random.default_rng([settings.seed, 2, video])
    )
    source: tuple[bytes, bytes] = (b"", b"")
    for frame in frames:
        rng = np.random.default_rng([settings.seed, 3, video, frame.number])
        if frame.kind == "exact_duplicate":
            continue
        if np.isnan(frame.time):
            yield frame, _encode_again(source[0], int(rng.integers(60, 85))), source[1]
            continue
        colours, mask = scene.render(frame.time, rng)
        if frame.kind == "near_duplicate":
            colours *= np.float32(rng.uniform(0.98, 1.02))  # the camera's exposure hunts
        elif frame.disruption:
            colours = _disrupt(colours, frame.disruption, rng)
            mask = mask if frame.disruption == "blurred" else np.zeros_like(mask)
        files = (_jpeg(_to_bytes(colours), _QUALITY), _png(mask))
        if frame.kind == "normal":
            source = files
        yield frame, *files


def _disrupt(colours: Floats, disruption: str, rng: np.random.Generator) -> Floats:
    """Spoil a frame, float32 (size, size, 3) in [0, 1]."""
    size = len(colours)
    noise = rng.standard_normal(colours.shape, dtype=np.float32)
    if disruption == "black":
        rest = np.float32(rng.uniform(0, 0.04))
        return np.asarray(colours * rest + np.float32(0.008) * (1 + noise), np.float32)
    if disruption == "blown_out":
        lift = rng.uniform([12, 10, 9], [24, 20, 18]).astype(np.float32)
        pale = 0.4 * colours + 0.6 * colours.mean(axis=2, keepdims=True)  # a full sensor is white
        lifted = np.maximum(pale - np.float32(0.06), 0) * lift
        return np.asarray(lifted + np.float32(0.01) * noise, np.float32)
    if disruption == "blurred":
        image = Image.fromarray(_to_bytes(colours))
        soft = image.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.05, 0.09)))
        smear = np.asarray(soft, np.float32) / 255
        width = int(rng.integers(size // 12, size // 6))
        smear = np.mean([np.roll(smear, shift, axis=1) for shift in range(width)], axis=0)
        return np.asarray(smear * 0.9, np.float32)
    height = int(rng.integers(max(2, size // 24), size // 6))
    torn = np.repeat(rng.random(size // height + 1) < 0.65, height)[:size]
    tone = np.repeat(rng.random((size // height + 1, 3)), height, axis=0)[:size, None]
    lines = np.repeat(rng.random((size, 1, 1)), size, axis=1)
    static = 0.5 * tone + 0.3 * lines + 0.25 * noise
    shifted = np.roll(colours, int(rng.integers(size)), axis=1)
    return np.where(torn[:, None, None], static, shifted).astype(np.float32)


def _to_bytes(colours: Floats) -> Bytes:
    return (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)


def _jpeg(pixels: Bytes, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _encode_again(image: bytes, quality: int) -> bytes:
    with Image.open(io.BytesIO(image)) as decoded:
        return _jpeg(np.asarray(decoded), quality)


def _png(mask: Bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask * np.uint8(255)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _write_splits(path: Path, settings: _Settings, plan: list[list[_Frame]]) -> None:
    lines = ["file,split,group,frame"]
    for video, frames in enumerate(plan):
        split = _split_of(settings, video)
        lines += [f"{frame.id},{split},v{video:03d},{frame.number}" for frame in frames]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_truth(path: Path, plan: list[list[_Frame]]) -> None:
    rows = [
        {
            "id": frame.id,
            "kind": frame.kind,
            "of": frame.of.id if frame.of else "",
            "disruption": frame.disruption,
        }
        for frames in plan
        for frame in frames
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_TRUTH), path)
