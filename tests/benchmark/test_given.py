"""Given predictions: which file is of which image, what it holds, and its scores restated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")

from depths import tiff
from given_maps import SIZES, data_set, truths, write_maps
from numpy.typing import NDArray
from PIL import Image

from meddel_fast.benchmark.given.maps import probabilities, read_map, resized, white_of
from meddel_fast.benchmark.given.matching import find, match
from meddel_fast.benchmark.given.pranet import mean_scores
from meddel_fast.benchmark.given.scoring import Scored, Scoring, score_folder
from meddel_fast.common.errors import ConfigError
from meddel_fast.images.address import ImageError
from meddel_fast.images.manifest import Manifest

MASKS = {stem: mask for stem, mask in truths().items() if stem != "train"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return data_set(tmp_path_factory.mktemp("given") / "polyps")


def score(
    folder: Path, manifest: Manifest, scoring: Scoring | None = None, **allowed: bool
) -> Scored:
    return score_folder(folder, manifest, "test", scoring or Scoring(), **allowed)


def iou_and_dice(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[float, float]:
    hit, union = (truth & predicted).sum(), (truth | predicted).sum()
    return hit / union, 2 * hit / (truth.sum() + predicted.sum())


# The scores


def test_maps_are_scored_at_the_truths_own_size(tmp_path: Path, manifest: Manifest) -> None:
    maps = write_maps(tmp_path)
    scored = score(tmp_path, manifest)
    predicted = {stem: values > 127 for stem, values in maps.items()}
    each = [iou_and_dice(MASKS[stem], predicted[stem]) for stem in MASKS]
    iou, dice = np.mean(each, axis=0)
    assert 0.3 < iou < 0.9
    assert scored.result["image_iou_polyp"] == pytest.approx(iou, abs=1e-12)
    assert scored.result["image_dice"] == pytest.approx(dice, abs=1e-12)
    together = [np.concatenate([part[s].ravel() for s in MASKS]) for part in (MASKS, predicted)]
    assert scored.result["iou_polyp"] == pytest.approx(iou_and_dice(*together)[0], abs=1e-12)
    assert scored.predictions.shapes is not None
    assert scored.predictions.shapes.tolist() == [list(size) for size in SIZES]
    for (stem, mask), kept in zip(predicted.items(), scored.predictions.each(), strict=True):
        assert np.array_equal(kept, mask), stem
    assert scored.result["given"]["missing"] == scored.result["given"]["resized"] == 0
    assert scored.notes == ["6 maps read, as whole numbers up to 255"]


def test_the_threshold_is_what_lesion_is_above(tmp_path: Path, manifest: Manifest) -> None:
    maps = write_maps(tmp_path)
    scored = score(tmp_path, manifest, Scoring(threshold=0.8))
    for values, kept in zip(maps.values(), scored.predictions.each(), strict=True):
        assert np.array_equal(kept, values / 255 > 0.8)


@pytest.mark.parametrize("top", [2, 100, 255])
def test_maps_of_which_nothing_is_above_the_threshold_are_told(
    tmp_path: Path, manifest: Manifest, top: int
) -> None:
    """Classes 0 and 2, shares of 100, or masks of 0 and 1 beside one of 0 and 255."""
    for i, (stem, mask) in enumerate(MASKS.items()):
        values = mask * (top if top < 255 or i == 0 else 1)
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{stem}.png")
    scored = score(tmp_path, manifest)
    below = len(MASKS) - (top == 255)
    assert scored.result["given"]["below"] == below
    assert f"{below} have nothing above the threshold, 0.5 of what stands for" in scored.notes[1]


def test_maps_of_another_size_are_enlarged_and_told(tmp_path: Path, manifest: Manifest) -> None:
    for stem, mask in MASKS.items():
        double = np.kron(mask.astype(np.uint8) * 255, np.ones((2, 2), np.uint8))
        Image.fromarray(double).save(tmp_path / f"{stem}.png")
    scored = score(tmp_path, manifest)
    assert scored.result["image_iou_polyp"] > 0.95  # halved again, a mask is what it was
    assert scored.result["given"]["resized"] == len(MASKS)
    assert scored.notes[-1] == "6 resized to the truth's size, bilinearly"


def test_bilinear_is_between_its_neighbours() -> None:
    ramp = np.linspace(0, 1, 5)[None].repeat(3, axis=0)
    wide = resized(ramp, (3, 10))
    # Centres of the ten pixels on the scale of the five: -.25, .25, .75 ... 4.25, cut at the ends.
    places = ((np.arange(10) + 0.5) / 2 - 0.5).clip(0, 4)
    assert wide == pytest.approx(np.interp(places, np.arange(5), ramp[0])[None].repeat(3, 0))
    assert resized(ramp, ramp.shape) is ramp


def test_squeezed_to_a_size_all_masks_have_it(tmp_path: Path, manifest: Manifest) -> None:
    write_maps(tmp_path)
    scored = score(tmp_path, manifest, Scoring(size=24))
    assert scored.predictions.shapes is None
    assert scored.predictions.masks.shape == (6, 24, 24)
    assert int(scored.predictions.confusions.sum()) == 6 * 24 * 24


# PraNet's evaluation


def pranets(truth: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU and Dice at each of its 256 thresholds, (256, 2), in plain words."""
    if values.max() > values.min():
        values = (values - values.min()) / (values.max() - values.min())
    rows = []
    for threshold in range(256):
        found = values >= threshold / 255
        hit = (found & truth).sum()
        if hit == 0:
            rows.append((0.0, 0.0))
        else:
            rows.append((hit / (found | truth).sum(), 2 * hit / (found.sum() + truth.sum())))
    return np.array(rows)


def test_pranets_means_are_those_of_its_evaluation(tmp_path: Path, manifest: Manifest) -> None:
    maps = write_maps(tmp_path)
    scored = score(tmp_path, manifest, Scoring(pranet=True))
    curves = np.array([pranets(MASKS[stem], values / 255) for stem, values in maps.items()])
    iou, dice = curves.mean(axis=0).mean(axis=0)  # over images, then over thresholds
    found = scored.result["pranet"]
    assert (found["iou"], found["dice"]) == pytest.approx((iou, dice), abs=1e-12)
    assert found["images"] == pytest.approx(curves.mean(axis=1), abs=1e-12)
    # It is another thing than a threshold of .5.
    assert abs(found["dice"] - scored.result["image_dice"]) > 0.02


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (lambda t: t.astype(float), "a right mask: at threshold 0 all is lesion"),
        (lambda t: np.where(t, 0.5, 0.25), "stretched, it is a right mask"),
        (lambda t: ~t * 1.0, "nothing is hit but at threshold 0"),
        (lambda t: np.zeros(t.shape), "a map of one value is not stretched"),
        (lambda t: np.linspace(0, 1, t.size).reshape(t.shape), "every level"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pranets_means_at_the_edges(
    values: Callable[[NDArray[np.bool_]], NDArray[np.float64]], why: str
) -> None:
    truth = MASKS["00"]
    wanted = pranets(truth, values(truth)).mean(axis=0)
    assert mean_scores(truth, values(truth)) == pytest.approx(wanted, abs=1e-12)
    share = truth.mean()
    if why.startswith(("a right mask", "stretched")):
        assert wanted[0] == pytest.approx((255 + share) / 256)


def test_ignored_pixels_count_nowhere(rng: np.random.Generator) -> None:
    truth, values = rng.random((20, 20)) < 0.4, rng.integers(0, 256, (20, 20)) / 255
    values.flat[:2] = 0, 1  # so that it is stretched alike with and without the ignored ones
    ignored = np.zeros((20, 20), bool)
    ignored[10:] = True
    wanted = mean_scores(truth[:10], values[:10])
    assert mean_scores(truth, values, ignored) == pytest.approx(wanted)
    assert mean_scores(truth, values) != pytest.approx(wanted)


# What files hold


@pytest.mark.parametrize("form", ["png", "bmp", "tif", "npy bool", "npy uint8", "npy float32", "01",
                                  "16 bits", "palette", "1 bit", "white is zero"])  # fmt: skip
def test_one_mask_in_many_files_is_one_mask(tmp_path: Path, manifest: Manifest, form: str) -> None:
    for stem, mask in MASKS.items():
        bytes_ = mask.astype(np.uint8) * 255
        if form.startswith("npy"):
            kind = np.dtype(form.split()[1])
            np.save(tmp_path / f"{stem}.npy", bytes_ if kind == np.uint8 else mask.astype(kind))
        elif form == "01":
            Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"{stem}.png")
        elif form == "16 bits":
            Image.fromarray(mask.astype(np.uint16) * 65535).save(tmp_path / f"{stem}.png")
        elif form == "palette":
            image = Image.fromarray(mask.astype(np.uint8) * 3, mode="P")
            image.putpalette([0, 0, 0] * 3 + [255, 255, 255])
            image.save(tmp_path / f"{stem}.png")
        elif form == "1 bit":
            Image.fromarray(bytes_).convert("1").save(tmp_path / f"{stem}.png")
        elif form == "white is zero":
            (tmp_path / f"{stem}.tif").write_bytes(tiff(255 - bytes_, photometric=0))
        else:
            Image.fromarray(bytes_).save(tmp_path / f"{stem}.{form}")
    assert score(tmp_path, manifest).result["image_iou_polyp"] == 1


def test_white_is_told_by_the_whole_folder(tmp_path: Path) -> None:
    assert [white_of(tops) for tops in ([], [0, 1], [1, 2], [0, 255], [3, 256])] == [
        1, 1, 255, 255, 65535,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="maps must be of 0 to 65535, got 65536"):
        white_of([65536])
    np.save(tmp_path / "a.npy", np.array([[0, 51]], np.uint8))
    assert probabilities(tmp_path / "a.npy", 255).tolist() == [[0, 0.2]]


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.full((4, 4), 1.5), "probabilities, 0 to 1, got 1.5 to 1.5.*sigmoid"),
        (np.array([[0.0, np.nan]]), "probabilities, 0 to 1, got nan$"),
        (np.array([[0, -1]]), "must not be below 0, got -1"),
        (np.zeros((2, 4, 4)), r"numbers \(h, w\), got float64 of shape \(2, 4, 4\)"),
        (np.zeros((0, 4)), "no pixels"),
        (np.array([["a"]]), "numbers"),
    ],
)
def test_arrays_that_are_no_maps(tmp_path: Path, array: NDArray[np.generic], why: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=why):
        read_map(tmp_path / "a.npy")


def test_images_that_are_no_maps(tmp_path: Path) -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0, 0] = 255, 0, 0
    Image.fromarray(colours).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="must be grey, got colours"):
        read_map(tmp_path / "a.png")
    page = Image.fromarray(colours[..., 0])
    page.save(tmp_path / "b.tif", save_all=True, append_images=[page])
    with pytest.raises(ImageError, match="must be one page, got 2"):
        read_map(tmp_path / "b.tif")


# Which file is whose


def named(tmp_path: Path, names: list[str], manifest: Manifest) -> list[str | None]:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    rows, others = manifest.split("test"), manifest.split("train")
    found = match(tmp_path, find(tmp_path), rows, others)
    assert found.ambiguous == []
    return [None if p is None else p.relative_to(tmp_path).as_posix() for p in found.files]


def test_files_are_matched_by_path_and_by_name(tmp_path: Path, manifest: Manifest) -> None:
    names = ["00.npy", "images/01.png", "masks/02.tif", "model/fold 1/03.PNG", ".04.png"]
    assert named(tmp_path, names, manifest) == [*names[:4], None, None]


def test_a_path_goes_before_a_name(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for part in ("a", "b"):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
            Image.fromarray(np.zeros((20, 20), np.uint8)).save(root / kind / part / "1.png")
    (root / "splits.csv").write_text("file,split\nimages/a/1.png,test\nimages/b/1.png,test\n")
    from meddel_fast.images.scan.folder import scan_folder

    both = scan_folder(root)
    assert len(both) == 2
    maps = tmp_path / "maps"
    assert named(maps, ["b/1.png", "a/1.png"], both) == ["a/1.png", "b/1.png"]
    (maps / "a/1.png").rename(maps / "1.png")
    found = match(maps, find(maps), both, both.split("train"))
    # The name alone is left to the one image that its path did not find: it is not ambiguous.
    assert [path and path.name for path in found.files] == ["1.png", "1.png"]
    (maps / "b/1.png").unlink()
    (line,) = match(maps, find(maps), both, both.split("train")).ambiguous
    assert line == "1.png could be of images/a/1.png, images/b/1.png"


def test_two_files_of_one_image_are_ambiguous(tmp_path: Path, manifest: Manifest) -> None:
    write_maps(tmp_path)
    np.save(tmp_path / "03.npy", np.zeros(SIZES[3]))
    with pytest.raises(ValueError, match=r"1 are ambiguous: images/03.jpg could be 03.npy, 03.png"):
        score(tmp_path, manifest, allow_missing=True, allow_extra=True)


def test_what_is_wrong_is_counted_named_and_refused(tmp_path: Path, manifest: Manifest) -> None:
    write_maps(tmp_path)
    (tmp_path / "01.png").unlink()
    (tmp_path / "02.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "elsewhere.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "train.png")
    with pytest.raises(ValueError) as error:  # noqa: PT011 - all parts of the message follow
        score(tmp_path, manifest)
    told = str(error.value)
    assert "1 of 6 images have none: images/01.jpg" in told
    assert "1 cannot be used: " in told
    assert "02.png" in told
    assert "1 belong to no image: elsewhere.png" in told
    assert "train.png" not in told
    with pytest.raises(ValueError, match="belong to no image"):
        score(tmp_path, manifest, allow_missing=True)
    scored = score(tmp_path, manifest, allow_missing=True, allow_extra=True)
    assert scored.notes[1:] == [
        "2 images without a usable map count as nothing predicted",
        "1 files of other splits left aside",
        "1 files of no image left aside",
    ]
    kept = list(scored.predictions.each())
    assert [mask.any() for mask in kept] == [True, False, False, True, True, True]
    assert scored.result["given"]["missing"] == 2
    assert scored.result["images"] == 6  # still tested on all of them


def test_nothing_to_score_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    with pytest.raises(FileNotFoundError, match="there is none at"):
        score(tmp_path / "nowhere", manifest)
    with pytest.raises(FileNotFoundError, match=r"images or .npy files, .* has none"):
        score(tmp_path, manifest)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "elsewhere.png")
    with pytest.raises(ValueError, match="none is of an image that is tested on"):
        score(tmp_path, manifest, allow_missing=True, allow_extra=True)
    with pytest.raises(ValueError, match="no image with a mask in its split 'val'"):
        score_folder(tmp_path, manifest, "val", Scoring())


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"threshold": 0.0}, r"--threshold must be in \(0, 1\), got 0"),
        ({"threshold": 1.0}, r"--threshold must be in \(0, 1\), got 1"),
        ({"size": 0}, "--size must be 1 to 4096 pixels, got 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, float], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Scoring(**settings)  # type: ignore[arg-type]
