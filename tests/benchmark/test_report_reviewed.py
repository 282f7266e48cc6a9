"""A reviewer's list: every sentence of a page is a known one, and what it says is in the files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")

import made_verdicts
from command_line import lines
from given_maps import data_set, write_maps
from made_verdicts import EFFECT, NULL, SINGLE, Case
from reviewer import review
from typer.testing import CliRunner

from meddel_fast.benchmark.report import render
from meddel_fast.benchmark.report.beyond import beyond
from meddel_fast.benchmark.report.load import load_run

WORSE = Case({(s, r): -0.05 for s in ("kcenter", "meddel") for r in (0.33, 0.1, 0.05)})
LOW = Case(NULL.gains, raised={"kvasir": -0.2, "clinic": -0.2})  # below the floors everywhere
SPLIT = Case({("kcenter", 0.05): 0.03}, apart=0.06, raised={"clinic": 0.1})  # worse on one set
ONE_SET = Case(EFFECT.gains, sets=("kvasir",), floors=False)

CASES = {
    "pre-training": ("pretrain", EFFECT),
    "probe alone": ("probe", EFFECT),
    "null": ("pretrain", NULL),
    "one repetition": ("pretrain", SINGLE),
    "both": ("both", EFFECT),
    "probe, null": ("probe", NULL),
    "probe, one draw": ("probe", SINGLE),
    "all worse": ("pretrain", WORSE),
    "below the floors": ("both", LOW),
    "better and worse": ("pretrain", SPLIT),
    "one set, no floors": ("pretrain", ONE_SET),
}


@pytest.mark.parametrize("name", CASES)
def test_every_sentence_is_known_and_true(tmp_path: Path, name: str) -> None:
    kind, case = CASES[name]
    run = made_verdicts.make(tmp_path, case, kind=kind)
    if kind == "both":
        made_verdicts.write_beyond(run)
    assert review(render(run).read_text(encoding="utf-8"), run) == []


def test_tables_of_other_tasks_have_verdicts_against_random(tmp_path: Path) -> None:
    run = made_verdicts.make(tmp_path, EFFECT)
    made_verdicts.write_beyond(run)
    shown = beyond(load_run(run))
    assert shown is not None
    (task,) = [table for table in shown["tasks"] if table.name == "classification"]
    place = [head.title for head in task.heads].index("Against random") - 1
    cells = {row.name: row.cells[place] for row in task.rows}
    assert cells["random"].text is None
    assert cells["imagenet"].text is None
    assert cells["meddel"].text == "not told apart"  # not the verdict against the untrained
    assert cells["meddel"].small == "+2.00 [\u22121.00, +5.00]"
    assert not cells["meddel"].strong
    across = {(row.name, row.cells[1].text): row.cells[-2:] for row in shown["across"].rows}
    assert [head.small for head in shown["across"].heads[-2:]] == ["kvasir", "clinic"]
    told = [(cell.text, cell.strong) for cell in across["meddel", "kvasir"]]
    assert told == [("better", True), ("not told apart", False)]
    assert {cell.text for cell in across["random", "clinic"]} == {None}


def test_a_run_before_its_scores_is_reviewed(tmp_path: Path) -> None:
    import fake_run

    run = fake_run.small_run(tmp_path)
    (run / "score" / "scores.json").unlink()
    (run / "score" / "planted.csv").unlink()
    assert review(render(run).read_text(encoding="utf-8"), run) == []


def test_a_real_run_is_reviewed(finished_run: Path, tmp_path: Path) -> None:
    page = render(finished_run, tmp_path / "page.html")
    assert "\n".join(review(page.read_text(encoding="utf-8"), finished_run)) == ""


def test_a_run_of_given_predictions_is_reviewed(cli: CliRunner, tmp_path: Path) -> None:
    data_set(tmp_path / "polyps").save(tmp_path / "polyps.parquet")
    run = tmp_path / "run"
    for seed, (selector, noise) in enumerate([("random", 0.5), ("mine", 0.2)]):
        write_maps(tmp_path / selector, seed, noise, 0)
        given = ("--predictions", tmp_path / selector, "--manifest", tmp_path / "polyps.parquet")
        of = ("--selector", selector, "--retained", 0.1, "--run", run)
        lines(cli, "score", *given, *of)
    assert review(render(run).read_text(encoding="utf-8"), run) == []


def test_what_loses_nothing_comes_before_what_is_better_more_often(tmp_path: Path) -> None:
    """5 % are better than random by both probes, and worse than all data; 33 % by one."""
    case = Case({("kcenter", 0.05): 0.031, ("kcenter", 0.33): 0.03, ("full", 1.0): 0.02})
    run = made_verdicts.make(tmp_path, case, kind="probe")
    path = run / "score" / "probe.json"
    found = json.loads(path.read_text())
    for row in found["differences"]:
        if (row["probe"], row["ratio"], row["against"]) == ("linear", 0.33, "random"):
            row |= {"verdict": "not told apart", "all_low": -0.01}
    path.write_text(json.dumps(found))
    text = render(run).read_text(encoding="utf-8")
    assert "Use kcenter at 33\u00a0%: it is better than random by 1 of 2 probes" in text
    assert review(text, run) == []


# The reviewer himself


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    run = made_verdicts.make(tmp_path_factory.mktemp("reviewed"), EFFECT, kind="both")
    return run, render(run).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("Use kcenter at 5\u00a0%", "Use meddel at 5\u00a0%"),
        ("+3.10 points of mIoU", "+3.20 points of mIoU"),
        ("[+1.90, +4.30]", "[+1.90, +4.20]"),
        ("kvasir: better", "kvasir: not told apart"),
        ("for all 2 comparisons", "for all 3 comparisons"),
        ("from 3 repetitions of 2 heads", "from 6 repetitions of 1 head"),
        ("took 2 min 32 s of", "took 1 min 32 s of"),
        ("the floors are cleared on kvasir and clinic", "the floors are cleared on kvasir"),
        ("clinic: 1 of 10 selections", "clinic: 2 of 10 selections"),
        ("kvasir 4 of 4 in the pool; clinic none", "kvasir none; clinic none"),
        ("53.86 at 100\u00a0%", "50.00 at 100\u00a0%"),
        ("by 2 of 2 probes", "by 1 of 2 probes"),
        ("chosen from 48 samples", "chosen from 60 samples"),
        ("A bold number", "No training saw a test image. A bold number"),
        ("What it costs", "What it saves"),
        ("all data: +1.80", "all data: +1.90"),
        ("kept: mIoU 65.10", "kept: mIoU 65.20"),
    ],
)
def test_a_wrong_or_unknown_sentence_is_found(
    reviewed: tuple[Path, str], said: str, instead: str
) -> None:
    run, source = reviewed
    said, instead = (text.replace("-", "\u2212") for text in (said, instead))
    assert said in source
    assert review(source.replace(said, instead, 1), run)


def test_a_changed_file_is_found(reviewed: tuple[Path, str]) -> None:
    run, source = reviewed
    path = run / "score" / "statistics.json"
    before = path.read_text()
    found = json.loads(before)
    for row in found["differences"]:
        if row["verdict"] == "better" and row["against"] == "random":
            row["verdict"] = "not told apart"
    path.write_text(json.dumps(found))
    try:
        assert review(source, run)
    finally:
        path.write_text(before)
