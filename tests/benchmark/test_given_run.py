"""Given predictions as a run: added a call at a time, then shown, verified, ranked as any run."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("torch")

from command_line import lines
from given_maps import data_set, write_maps
from reviewer import review
from typer.testing import CliRunner

from meddel_fast.benchmark.given import tables
from meddel_fast.benchmark.leaderboard.entries import collect
from meddel_fast.benchmark.leaderboard.standings import standings
from meddel_fast.benchmark.results import read_run, results_of_run
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.verify import verify
from meddel_fast.common.files import read_json
from meddel_fast.images.manifest import Manifest
from meddel_fast.training.predictions import Predictions


class Folder:
    """A test set, predictions of it, and the run that they are added to."""

    def __init__(self, root: Path, cli: CliRunner) -> None:
        self.root, self.cli, self.run = root, cli, root / "run"
        data_set(root / "polyps").save(root / "polyps.parquet")

    def add(
        self,
        selector: str,
        retained: float,
        *more: object,
        status: int = 0,
        noise: float = 0.25,
        seed: int = 0,
        manifest: str = "polyps",
        data: int = 0,
    ) -> str:
        """Make predictions, score them, and give what the command says."""
        maps = self.root / f"maps-{manifest}-{selector.replace('/', '-')}-{retained}-{seed}"
        write_maps(maps, seed, noise, data)
        wanted = ("--manifest", self.root / f"{manifest}.parquet", "--run", self.run)
        of = ("--selector", selector, "--retained", retained)
        return lines(self.cli, "score", "--predictions", maps, *wanted, *of, *more, status=status)

    def table(self, name: str) -> list[dict[str, Any]]:
        text = (self.run / "score" / name).read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))


@pytest.fixture
def folder(tmp_path: Path, cli: CliRunner) -> Folder:
    return Folder(tmp_path, cli)


def test_one_call_makes_a_run(folder: Folder) -> None:
    told = folder.add("kcenter", 0.05)
    result = read_json(folder.run / "evaluate" / "kcenter-5" / "polyps-seed0.json")
    assert f"averaged over images: IoU {100 * result['image_iou_polyp']:.2f}" in told
    (row,) = [r for r in folder.table("scores.csv") if r["dataset"] == "polyps"]
    assert row["selector"] == "kcenter"
    assert (float(row["ratio"]), float(row["retained"]), row["kept"]) == (0.05, 0.05, "")
    assert float(row["miou_mean"]) == pytest.approx(result["miou"])
    assert float(row["normdel_mean"]) == pytest.approx(normdel(result["miou"], 0.05))
    assert float(row["miou_low"]) < float(row["miou_mean"]) < float(row["miou_high"])
    assert "kcenter   5 %" in told
    # The manifest comes along, with its root: the run can be read without the one given.
    kept = Manifest.load(folder.run / "data" / "polyps.parquet")
    assert kept.fingerprint == Manifest.load(folder.root / "polyps.parquet").fingerprint
    assert lines(folder.cli, "score", folder.run) in told
    assert str(folder.root / "maps") not in (folder.run / "run.json").read_text()


def test_selectors_seeds_and_repeats_are_added_a_call_at_a_time(folder: Folder) -> None:
    for place, (selector, retained) in enumerate([("full", 1.0), ("random", 0.1), ("mine", 0.1)]):
        for repeat in range(2):
            noise = {"full": 0.2, "random": 0.4, "mine": 0.2}[selector]
            told = folder.add(selector, retained, "--repeat", repeat, "--seed", 7, noise=noise,
                              seed=100 * place + 10 * repeat)  # fmt: skip
    about = read_run(folder.run)
    assert [tag["tag"] for tag in about["tags"]] == ["full-100", "random-10", "mine-10"]
    assert (about["config"]["repeats"], about["config"]["seeds"]) == (2, [7])
    assert about["config"]["selectors"] == ["random", "mine"]
    assert "lacks" not in told
    (difference,) = [
        row for row in read_json(folder.run / "score" / "statistics.json")["differences"]
        if (row["selector"], row["against"], row["dataset"]) == ("mine", "random", "polyps")
    ]  # fmt: skip
    assert difference["runs"] == 2
    scores = {
        (r["selector"], r["dataset"]): float(r["miou_mean"]) for r in folder.table("scores.csv")
    }
    wanted = scores["mine", "polyps"] - scores["random", "polyps"]
    assert difference["miou_difference"] == pytest.approx(wanted)
    assert 0 < difference["miou_low"] <= difference["miou_difference"] <= difference["miou_high"]
    assert [verdict.agrees for verdict in verify(folder.run)] == [True] * 6


def test_what_is_not_there_yet_waits_and_is_named(folder: Folder) -> None:
    folder.add("random", 0.1)
    assert "random-10 on polyps lacks" not in folder.add("mine", 0.1, noise=0.2)
    before = folder.table("scores.csv")
    told = folder.add("mine", 0.1, "--seed", 1, noise=0.6, seed=50)
    assert (
        "random-10 on polyps lacks the runs (repetition/seed) 0/1, which the tables leave" in told
    )
    assert folder.table("scores.csv") == before  # paired runs alone are compared
    assert read_run(folder.run)["config"]["seeds"] == [0]
    assert "lacks" not in folder.add("random", 0.1, "--seed", 1, seed=60)
    assert {row["seeds"] for row in folder.table("scores.csv")} == {"2"}
    told = folder.add("late", 0.2, "--repeat", 3, seed=70)
    assert "no tables yet: no run is there for all selections and data sets" in told
    assert not (folder.run / "score").exists()
    told = lines(folder.cli, "score", folder.run, status=2)
    assert "has no table of scores: it is no run, or none that has one yet" in told
    assert len(results_of_run(folder.run, read_run(folder.run))) == 5


def test_a_second_data_set_is_averaged(folder: Folder) -> None:
    data_set(folder.root / "other", "other", seed=3).save(folder.root / "other.parquet")
    folder.add("mine", 0.1, "--pranet")
    folder.add("mine", 0.1, "--pranet", manifest="other", noise=0.5, data=3)
    by_measure = {
        (r["measure"], r["dataset"]): r for r in read_json(folder.run / "score" / "given.json")
    }
    for measure in ("image_iou", "image_dice", "pranet_iou", "pranet_dice"):
        one, two, mean = (by_measure[measure, d]["mean"] for d in ("polyps", "other", "mean"))
        assert mean == pytest.approx((one + two) / 2)
        assert abs(one - two) > 0.02
    found = read_json(folder.run / "evaluate" / "mine-10" / "other-seed0.json")
    assert by_measure["pranet_dice", "other"]["mean"] == pytest.approx(found["pranet"]["dice"])
    assert by_measure["image_iou", "other"]["mean"] == pytest.approx(found["image_iou_polyp"])


def test_intervals_of_image_scores_are_those_of_a_bootstrap(folder: Folder) -> None:
    """The ends are near those of means of images drawn with replacement."""
    folder.add("mine", 0.1, noise=0.4)
    (row,) = [
        r for r in read_json(folder.run / "score" / "given.json") if r["measure"] == "image_dice"
    ]
    (_, false), (missed, hit) = np.moveaxis(
        Predictions.load(folder.run / "evaluate/mine-10/polyps-seed0.npz").confusions, 0, 2
    )
    dice = 2 * hit / (2 * hit + false + missed)
    drawn = np.random.default_rng(0).choice(dice, (20_000, len(dice))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert row["mean"] == pytest.approx(dice.mean())
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_a_changed_prediction_does_not_verify(folder: Folder) -> None:
    folder.add("mine", 0.1)
    path = folder.run / "evaluate" / "mine-10" / "polyps-seed0.npz"
    found = Predictions.load(path)
    found.bits[40] ^= 255
    found.save(path)
    (verdict,) = verify(folder.run)
    assert verdict.reason == "the saved counts are not those of the saved masks"
    assert found.shapes is not None
    shorter = found.shapes.copy()
    shorter[0] = shorter[0][::-1]
    Predictions(found.ids, found.bits, 0, found.confusions, shorter).save(path)
    assert verify(folder.run)[0].reason == "a saved mask has the shape (56, 40), its truth (40, 56)"
    Predictions(found.ids, found.bits[:-1], 0, found.confusions, found.shapes).save(path)
    assert "wanted the " in verify(folder.run)[0].reason


def test_the_same_result_twice_is_refused_or_replaced(folder: Folder) -> None:
    folder.add("mine", 0.1)
    before = folder.table("scores.csv")
    told = folder.add("mine", 0.1, noise=0.6, status=2)
    assert "repetition 0, seed 0, is in" in told
    assert "--replace" in told
    assert folder.table("scores.csv") == before
    folder.add("mine", 0.1, "--replace", noise=0.6)
    assert folder.table("scores.csv") != before
    assert len(read_run(folder.run)["given"]["results"]) == 1


@pytest.mark.parametrize("stopped", ["before", "after"])
@pytest.mark.parametrize("first", [True, False])
def test_a_stopped_call_is_done_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, stopped: str, first: bool
) -> None:
    """It is refused neither for its folder nor for what it has entered."""
    if not first:
        folder.add("random", 0.1)
    written = tables.write if stopped == "after" else Predictions.save

    def stop(*given: Any, **more: Any) -> Any:
        written(*given, **more)
        raise OSError("stopped")  # as good as Ctrl-C, which would end the tests

    with monkeypatch.context() as patch:
        if stopped == "after":
            patch.setattr(tables, "write", stop)
        else:
            patch.setattr(Predictions, "save", stop)
        folder.add("mine", 0.1, status=2)
    results = read_run(folder.run)["given"]["results"]
    assert [tag for tag, *_ in results] == ([] if first else ["random-10"])
    folder.add("mine", 0.1)
    assert {row["selector"] for row in folder.table("scores.csv")} >= {"mine"}
    assert all(verdict.agrees for verdict in verify(folder.run))


REFUSED = [
    (("mine", 0.1, "--threshold", 0.4), "scored in one way"),
    (("mine", 0.1, "--alpha", 2), "--alpha must be that of the run"),
    (("mine", 0.1, "--name", "another"), "--name must be that of the run"),
    (("mine", 0.1, "--split", "train"), "has other images, masks or splits"),
    (("mine", 0), r"--retained must be a fraction in (0, 1], got 0"),
    (("mine", 5), r"--retained must be a fraction in (0, 1], got 5"),
    (("full", 0.5), "--retained of 'full', all data, must be 1, got 0.5"),
    (("untrained", 0.5), "--selector must be other than mean, untrained, nothing"),
    (("a/b", 0.5), "--selector must be letters, digits"),
    (("a" * 101, 0.5), "--selector must have at most 100 characters, got 101"),
    (("mine", 0.1, "--repeat", -1), "--repeat must be 0 or greater, got -1"),
    (("mine", 0.1, "--split", "all"), "--split must be one of train, val, test, got 'all'"),
    (("mine", 0.1, "--out", "x.csv"), "--out would have no effect with --predictions"),
    (("first", 0.1000000001), "too close to 0.1 of the same selector"),
]


def test_what_cannot_be_added_is_refused(folder: Folder) -> None:
    folder.add("first", 0.1)
    before = (folder.run / "run.json").read_bytes()
    for (selector, retained, *more), why in REFUSED:
        assert why in folder.add(selector, retained, *more, status=2), why
        assert (folder.run / "run.json").read_bytes() == before


def test_other_images_under_a_known_name_are_refused(folder: Folder) -> None:
    folder.add("mine", 0.1)
    data_set(folder.root / "again", seed=9).save(folder.root / "again.parquet")
    told = folder.add("other", 0.1, manifest="again", data=9, status=2)
    assert "'polyps' in" in told
    assert "has other images, masks or splits" in told


def test_options_of_predictions_want_predictions(folder: Folder) -> None:
    told = lines(folder.cli, "score", folder.run, "--allow-missing", status=2)
    assert "--allow-missing would have no effect without --predictions" in told
    told = lines(folder.cli, "score", "--predictions", folder.root, "--selector", "x", status=2)
    assert "--manifest is needed with --predictions" in told


def test_a_folder_with_something_else_is_left_alone(folder: Folder) -> None:
    folder.run.mkdir()
    (folder.run / "mine.txt").write_text("mine")
    assert "is not empty and is not a run of given predictions" in folder.add("x", 0.1, status=2)
    (folder.run / "run.json").write_text('{"name": "a real run", "config": {}, "tags": []}')
    assert "is not a run of given predictions" in folder.add("x", 0.1, status=2)


def test_the_leaderboard_ranks_given_predictions(folder: Folder) -> None:
    """Runs of one name are compared; those of another name, or scored otherwise, are not."""
    folder.add("random", 0.1, "--name", "ours", noise=0.5)
    folder.add("mine", 0.1, "--name", "ours", noise=0.2)
    lines(folder.cli, "verify", folder.run)
    second = Folder(folder.root / "second", folder.cli)
    second.add("theirs", 0.1, "--name", "ours", noise=0.3, seed=20)
    third = Folder(folder.root / "third", folder.cli)
    third.add("theirs", 0.1, "--name", "others")
    entries, notes = collect([folder.run, second.run, third.run])
    assert notes == []
    ours, others = standings(entries)
    assert [row.selector for row in ours.rows] == ["mine", "theirs", "random"]
    assert [row.verified for row in ours.rows] == [True, False, True]
    assert {row.kept for row in ours.rows} == {None}
    assert [row.selector for row in others.rows] == ["theirs"]
    (difference,) = [r.against_random for r in ours.rows if r.selector == "mine"]
    assert difference is not None
    assert difference[0] > 0.05
    told = lines(folder.cli, "leaderboard", folder.run, "--out", folder.root / "board")
    assert "mine" in told
    assert "None" not in (folder.root / "board" / "leaderboard.html").read_text()


def test_the_report_of_a_given_run(folder: Folder) -> None:
    for repeat in range(2):
        folder.add("random", 0.1, "--repeat", repeat, noise=0.5, seed=repeat)
        folder.add("mine", 0.1, "--repeat", repeat, seed=10 + repeat)
    lines(folder.cli, "report", folder.run)
    page = (folder.run / "report" / "report.html").read_text(encoding="utf-8")
    assert "mine" in page
    score = 100 * read_json(folder.run / "score" / "scores.json")[0]["normdel_mean"]
    assert f"{score:.2f}" in page
    text = page.partition("<style>")[0] + page.partition("</style>")[2].partition("<script")[0]
    assert "None" not in text
    assert "NaN" not in text
    # It does not tell of a pool, a pre-training and selections that it knows nothing of.
    assert "An encoder is pre-trained" not in page
    assert "trained elsewhere are held against the masks of the test images, at the size" in page
    assert review(page, folder.run) == []
    assert 'id="selections"' not in page
    assert "squeezed to squares" not in page


@pytest.mark.parametrize(
    "given",
    [{}, {"results": [["../x", "polyps", 0, 0]]}, {"results": 3}, {"scoring": 1}, 7,
     {"results": [["mine-10", "polyps", 0, "0"]]}, {"scoring": {"threshold": "a", "size": None}}],
)  # fmt: skip
def test_a_forged_description_is_refused(folder: Folder, given: Any) -> None:
    folder.add("mine", 0.1)
    about = read_json(folder.run / "run.json")
    from meddel_fast.common.atomic import write_json

    forged = {**about["given"], **given} if given and isinstance(given, dict) else given
    write_json(folder.run / "run.json", {**about, "given": forged})
    with pytest.raises(ValueError, match=r"run\.json is no description of a run"):
        read_run(folder.run)
