"""The leaderboard: what belongs together, what does not, and where it came from."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("scipy")

import pyarrow.parquet as pq
from report_page import draw
from typer.testing import CliRunner

from meddel_fast.benchmark.leaderboard.entries import COLUMNS, collect, find_runs, without_copies
from meddel_fast.benchmark.leaderboard.page import page, text_table
from meddel_fast.benchmark.leaderboard.rank_plot import cliques, rank_plot
from meddel_fast.benchmark.leaderboard.standings import Standings, standings
from meddel_fast.benchmark.results import read_run, results_of_run
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.benchmark.verify import verify
from meddel_fast.cli import app
from meddel_fast.common.files import read_json
from meddel_fast.training.predictions import Predictions

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def copy(finished_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies of the finished run under other names, with edits of ``run.json``."""

    def make(name: str, edit: Edit = lambda about: None) -> Path:
        folder = Path(shutil.copytree(finished_run, tmp_path / "runs" / name))
        about = read_json(folder / "run.json") | {"name": name}
        edit(about)
        (folder / "run.json").write_text(json.dumps(about))
        return folder

    return make


def one_group(*runs: Path) -> Standings:
    entries, notes = collect(runs)
    assert notes == []
    (found,) = standings(without_copies(entries)[0])
    return found


def test_a_run_ranks_as_its_own_scores_say(finished_run: Path) -> None:
    found = one_group(finished_run)
    scores = read_json(finished_run / "score" / "scores.json")
    assert found.datasets == ["made", "other"]
    assert len(found.rows) == 9
    written = {(r["selector"], r["ratio"], r["dataset"]): r for r in scores}
    for row in found.rows:
        selector = row.selector.partition(" ")[0]
        for name in ("made", "other", "mean"):
            wanted = written[selector, row.ratio, name]
            for metric, got in (("miou", row.miou[name]), ("normdel", row.normdel[name])):
                ends = [wanted[f"{metric}_{k}"] for k in ("mean", "low", "high")]
                assert got == pytest.approx(ends, rel=1e-12)
        assert (row.runs, row.machines, row.verified) == (4, 1, False)
    assert {r.selector for r in found.rows} >= {"full", "meddel (epsilon=2.0)"}
    order = [(-r.ratio, -r.miou["mean"][0]) for r in found.rows]
    assert order == sorted(order)
    statistics = read_json(finished_run / "score" / "statistics.json")
    (wanted,) = [
        r for r in statistics["differences"]
        if (r["selector"], r["ratio"], r["dataset"], r["against"])
        == ("kcenter", 0.25, "mean", "random")
    ]  # fmt: skip
    (row,) = [r for r in found.rows if (r.selector, r.ratio) == ("kcenter", 0.25)]
    ends = [wanted[k] for k in ("miou_difference", "miou_all_low", "miou_all_high")]
    assert row.against_random == pytest.approx(ends, rel=1e-9, abs=1e-12)
    assert row.verdict == wanted["verdict"] != ""
    ranks = {(r["selector"], r["ratio"]): r["average_rank"] for r in statistics["ranks"]}
    assert row.rank == ranks["kcenter", 0.25]


def test_entries_carry_their_provenance(finished_run: Path) -> None:
    entries, _ = collect([finished_run])
    results = results_of_run(finished_run, read_run(finished_run))
    assert len(entries) == len(results) == 72
    about = read_json(finished_run / "run.json")
    for entry, result in zip(entries, results, strict=True):
        row = entry.row
        assert tuple(row) == COLUMNS
        assert (row["run"], row["package"]) == ("small", about["versions"]["meddel-fast"])
        assert row["training_seed"] == result.repeat
        assert row["miou"] == read_json(result.path)["miou"]
        assert row["normdel"] == normdel(row["miou"], row["kept"] / row["pool"])
        assert str(finished_run) not in json.dumps(dict(row))
    assert len({e.row["data_hash"] for e in entries}) == 2


def test_runs_of_other_protocols_are_told_apart(copy: Callable[..., Path]) -> None:
    def more_steps(about: dict[str, Any]) -> None:
        about["config"]["pretrain"]["steps"] = 9

    def head(about: dict[str, Any]) -> None:
        about["config"]["downstream"]["steps"] = 13

    def version(about: dict[str, Any]) -> None:
        about["versions"]["meddel-fast"] = "99.0.1"

    runs = [copy("a"), copy("b", more_steps), copy("c", head), copy("d", version)]
    entries, _ = collect(runs)
    assert len({e.row["protocol"] for e in entries}) == 4
    assert len({e.row["config_hash"] for e in entries}) == 3  # a version is no setting
    assert len(standings(entries)) == 4


def test_floors_and_probes_are_no_entries_and_make_no_other_protocol(
    copy: Callable[..., Path],
) -> None:
    def probed_too(about: dict[str, Any]) -> None:
        about["config"] |= {"measures": ["pretrain", "probe"], "probe": {"draws": 7}}

    def probed_alone(about: dict[str, Any]) -> None:
        about["config"]["measures"] = ["probe"]

    entries, notes = collect([copy("a"), copy("b", probed_too), copy("c", probed_alone)])
    assert len({e.row["protocol"] for e in entries}) == 1
    assert {e.row["run"] for e in entries} == {"a", "b"}
    assert notes == ["c: it segments nothing by encoders that it trained"]
    assert {e.row["selector"] for e in entries}.isdisjoint({"untrained", "nothing"})


def test_a_given_encoder_counts_by_its_content(copy: Callable[..., Path]) -> None:
    def given(about: dict[str, Any]) -> None:
        about["config"]["encoder"]["path"] = f"/{about['name']}/model"

    same, moved, other = copy("a", given), copy("b", given), copy("c", given)
    index = other / "embeddings" / "index.json"
    index.write_text(json.dumps(read_json(index) | {"encoder_sha256": "0" * 64}))
    own = copy("d")
    found = [collect([run])[0][0].row["protocol"] for run in (same, moved, other, own)]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_what_only_says_where_does_not_tell_runs_apart(copy: Callable[..., Path]) -> None:
    def elsewhere(about: dict[str, Any]) -> None:
        config = about["config"]
        config |= {"out": "/other", "device": "cuda", "threads": 7}
        config["pretrain"] |= {"workers": 3, "checkpoint_every": 5}
        config["data"][0]["path"] = "/other/data"
        config["cost"]["gpu_watts"] = 1.0

    entries, _ = collect([copy("a"), copy("b", elsewhere)])
    assert len({e.row["protocol"] for e in entries}) == 1


def test_other_seeds_are_more_runs_and_equal_ones_copies(copy: Callable[..., Path]) -> None:
    def seeds(about: dict[str, Any]) -> None:
        about["config"]["seed"] = 5
        about["hardware"]["processor"] = "another"

    first, second, again = copy("first"), copy("second", seeds), copy("again")
    entries, _ = collect([first, second, again])
    single, notes = without_copies(entries)
    assert len(single) == 2 * 72
    assert notes == [
        "72 results were given by more than one run and count once; all copies are equal"
    ]
    (found,) = standings(single)
    assert {(r.runs, r.machines) for r in found.rows} == {(8, 2)}
    path = again / "evaluate" / "full-100" / "made-seed0.json"
    result = read_json(path)
    path.write_text(json.dumps(result | {"miou": result["miou"] + 0.01}))
    entries, _ = collect([again, first])
    verify(first)
    entries, _ = collect([again, first])
    single, notes = without_copies(entries)
    assert all(e.row["run"] == "first" for e in single)  # the verified one counts
    assert "1 of them differ, by up to 1.00 points" in notes[0]


def test_data_of_one_name_and_another_content_are_two_sets(copy: Callable[..., Path]) -> None:
    def others(about: dict[str, Any]) -> None:
        about["config"]["data"][1]["train_splits"] = ["train", "val"]

    entries, _ = collect([copy("a"), copy("b", others)])
    (found,) = standings(without_copies(entries)[0])
    assert len(found.datasets) == 3
    assert found.datasets[0] == "made"
    assert all(re.fullmatch(r"other #[0-9a-f]{6}", name) for name in found.datasets[1:])


def test_selections_without_all_data_sets_have_no_mean(copy: Callable[..., Path]) -> None:
    entries, _ = collect([copy("a")])
    some = [
        e for e in entries if (e.row["selector"], e.row["dataset"]) != ("kcenter", "other")
    ]  # fmt: skip
    (found,) = standings(some)
    rows = {(r.selector, r.ratio): r for r in found.rows}
    row = rows["kcenter", 0.5]
    assert set(row.miou) == {"made"}
    assert (row.rank, row.against_random) == (None, None)
    assert rows["semdedup (keep=near)", 0.5].rank is not None
    assert "over 7 of 9 selections" in found.notes[-1]
    shown = text_table(found)
    assert re.search(r"kcenter +50 % +4 +- ", shown)


def test_selections_without_a_common_run_have_no_ranks(copy: Callable[..., Path]) -> None:
    entries, _ = collect([copy("a")])
    some = [e for e in entries if (e.row["selector"] == "kcenter") == (e.row["head_seed"] == 1)]
    (found,) = standings(some)
    assert found.ranks == []
    assert found.notes == ["No differences and no ranks: no run is common to all selections."]
    assert {r.runs for r in found.rows} == {2}


def test_results_without_predictions_are_named(copy: Callable[..., Path]) -> None:
    run = copy("old")
    for path in (run / "evaluate" / "full-100").glob("*.npz"):
        path.unlink()
    entries, notes = collect([run])
    assert len(entries) == 68
    assert notes == ["old: 4 of 72 results are not there, or without saved predictions"]


def test_predictions_of_other_images_are_refused(copy: Callable[..., Path]) -> None:
    run = copy("a")
    path = run / "evaluate" / "full-100" / "made-seed0.npz"
    found = Predictions.load(path)
    replace(found, ids=found.ids[::-1]).save(path)
    with pytest.raises(ValueError, match="made: results of full were tested on different images"):
        standings(collect([run])[0])


def test_find_runs(copy: Callable[..., Path], tmp_path: Path) -> None:
    a, b = copy("a"), copy("b")
    assert find_runs([tmp_path / "runs", a]) == [a, b]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"folders must hold runs, .*empty"):
        find_runs([tmp_path / "empty"])


# What people see


class Words(HTMLParser):
    """Checks that tags nest, and collects them with the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(v) for k, v in attrs if k in ("href", "src")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_is_whole_and_self_contained(copy: Callable[..., Path]) -> None:
    run = copy("<b>a & b</b>")
    entries, notes = collect([run])
    found = standings(entries)
    text = page(found, entries, [*notes, "<i>note</i>"], 1.0)
    words = Words(text)
    assert words.open == []
    assert words.links == []
    assert not re.findall(r"https?://|@import|url\(|<script|<b>a|<i>note", text)
    shown = " ".join(words.words)
    assert "<b>a & b</b>" in shown
    assert f"Protocol {found[0].protocol[:12]}" in shown
    for row in found[0].rows:
        assert row.selector in shown
        assert f"{100 * row.miou['mean'][0]:.2f}" in shown
    assert text.count("<svg") == 3  # 50 %, 25 %, and their mean
    assert "critical difference 3.32" in shown


def test_cliques() -> None:
    assert cliques([1.0, 1.8, 2.5, 4.0], 1.0) == [(1.0, 1.8), (1.8, 2.5)]
    assert cliques([1.0, 1.8, 2.5, 4.0], 9.0) == [(1.0, 4.0)]
    assert cliques([1.0, 3.0], 1.0) == []
    assert cliques([1.5, 1.5, 3.0], 0.1) == []  # one place


def test_rank_plot_names_everyone_within_its_frame() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3, 9):
        ranks = rng.permutation(count) + 1.0
        rows = [
            {"selector": f"s<{i}>", "average_rank": r, "ratio": 0.1, "datasets": 40,
             "critical_difference": 0.9}
            for i, r in enumerate(ranks)
        ]  # fmt: skip
        drawn = draw("ranks", rank_plot(rows))
        Words(drawn)
        assert all(f"s&lt;{i}&gt; {r:.2f}" in drawn for i, r in enumerate(ranks))
        _, _, width, height = map(float, re.findall(r'viewBox="([^"]*)"', drawn)[0].split())
        assert all(0 <= float(x) <= width for x in re.findall(r' x\d?="([\d.-]+)"', drawn))
        assert all(0 <= float(y) <= height for y in re.findall(r' y\d?="([\d.-]+)"', drawn))


def test_command(copy: Callable[..., Path], tmp_path: Path, cli: CliRunner) -> None:
    copy("a")
    out = tmp_path / "board"
    done = cli.invoke(app, ["leaderboard", str(tmp_path / "runs"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    table = done.output.partition("Differences")[0]
    assert max(map(len, table.splitlines())) <= 100
    assert re.search(r"meddel \(epsilon=2.0\) +25 % .* no\n", table)
    parquet = pq.read_table(out / "leaderboard.parquet")
    assert parquet.column_names == list(COLUMNS)
    with (out / "leaderboard.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == parquet.num_rows == 72
    assert [float(r["miou"]) for r in rows] == parquet["miou"].to_pylist()
    assert (out / "leaderboard.html").stat().st_size < 200_000
    done = cli.invoke(app, ["leaderboard", str(tmp_path / "runs" / "a"), "--verify"])
    assert done.exit_code == 0, done.output
    assert re.search(r"meddel \(epsilon=2.0\) +25 % .* yes\n", done.output)
    done = cli.invoke(app, ["leaderboard", str(tmp_path / "none")])
    assert done.exit_code == 2
