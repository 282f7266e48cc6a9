"""The report: complete, self-contained, escaped, and readable where parts of a run are missing."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path

import fake_run
import made_verdicts
import numpy as np
import pytest
from PIL import Image
from report_page import Page, column, draw, frame_data

from meddel_fast.benchmark.leakage import Leakage
from meddel_fast.benchmark.report import galleries, render, score_table
from meddel_fast.benchmark.report.embedmap import principal_plane
from meddel_fast.benchmark.report.figures import Axis, Chart, Point, Series, chart, marker, style_of
from meddel_fast.benchmark.report.text import duration
from meddel_fast.selectors import REASONS, SELECTORS, Selection, select


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run.small_run(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def source(run_dir: Path) -> str:
    path = render(run_dir)
    assert path == run_dir / "report" / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_page_is_whole_and_self_contained(source: str, page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    links = [str(a[k]) for _, a in page.tags for k in ("href", "src") if k in a]
    assert links
    for link in links:
        assert link.startswith(("#", "data:"))
        assert not link.startswith("#") or link[1:] in page.ids
    assert not re.findall(r"https?://|@import|url\(", source)
    assert "default-src 'none'" in source
    assert len(source) < 10_000_000
    assert "$" not in re.sub(r"\$\{", "", re.sub(r"<script>.*?</script>", "", source, flags=re.S))


def test_every_score_stands_in_the_table(page: Page, run_dir: Path) -> None:
    rows = json.loads((run_dir / "score" / "scores.json").read_text())
    for metric in ("normdel", "miou", "dice"):
        shown = sorted(
            float(str(a[f"data-{metric}"])) for _, a in page.tags if f"data-{metric}" in a
        )
        assert shown == pytest.approx(sorted(100 * row[f"{metric}_mean"] for row in rows), abs=1e-5)
    assert f"{100 * rows[0]['normdel_mean']:.2f}" in page.text


def test_bold_is_better_than_random_and_nothing_else(tmp_path: Path) -> None:
    """By the verdicts of the file, in mIoU and NormDEL; the best of a column is not set off."""
    run = made_verdicts.make(tmp_path)
    source = render(run).read_text(encoding="utf-8")
    judged = json.loads((run / "score" / "statistics.json").read_text())["differences"]
    rows = json.loads((run / "score" / "scores.json").read_text())
    means = {(r["selector"], r["ratio"], r["dataset"]): r for r in rows}
    better = [
        means[r["selector"], r["ratio"], r["dataset"]]
        for r in judged
        if r["against"] == "random" and r["verdict"] == "better"
    ]
    bold = re.findall(r'class="m (\w+)"><strong>([\d.]+)', source)
    wanted = [(m, f"{100 * r[f'{m}_mean']:.2f}") for r in better for m in ("miou", "normdel")]
    assert sorted(bold) == sorted(wanted)
    table = source[source.index('id="scores"') :].partition("</table>")[0]
    assert table.count("<strong>") == len(wanted) > 0
    assert "★" not in source
    assert "beyond the" not in source


def test_a_run_without_verdicts_claims_none(page: Page) -> None:
    """One scored before there was a rule, whatever intervals it has."""
    assert "This run has no verdict on any selection yet." in page.text
    assert "Bold:" not in page.text


def test_one_data_set_has_no_mean(tmp_path: Path) -> None:
    run = fake_run.small_run(tmp_path)
    made_verdicts.write_pretraining(run, made_verdicts.Case(sets=("kvasir",)))
    source = render(run).read_text(encoding="utf-8")
    assert "Mean" not in Page(source).text
    assert "mean of the data sets" not in source


def test_downloads_hold_the_files(page: Page, run_dir: Path) -> None:
    links = {str(a["download"]): str(a["href"]) for _, a in page.tags if "download" in a}
    assert set(links) == {"scores.csv", "scores.json", "planted.csv"}
    for name, link in links.items():
        data = base64.b64decode(link.partition("base64,")[2])
        assert data == (run_dir / "score" / name).read_bytes()


def test_plots_for_each_data_set_have_all_points(source: str, page: Page) -> None:
    charts = [str(a["aria-label"]) for a in page.having(class_="chart")]
    for name in ("NormDEL", "mIoU"):
        for dataset in ("kvasir", "clinic", "Mean of the data sets"):
            (spoken,) = [c for c in charts if c.startswith(f"{name} on {dataset}, per cent")]
            assert spoken.count(" kept: ") == 10
            assert "meddel, 5\u00a0% kept" in spoken
    tips = [str(a["data-tip"]) for _, a in page.tags if "data-tip" in a]
    assert len(tips) == 2 * 3 * 10
    assert sum(c.startswith("Pre-training loss") for c in charts) == 3


def test_disruptive_frames_have_the_distance_that_told_them(source: str, run_dir: Path) -> None:
    chosen = Selection.load(run_dir / "select" / "meddel-5.parquet")
    told = np.sort(-2.0 - chosen.scores[chosen.reason == "disruptive"])[::-1]
    assert told[0] == 1.0  # the farthest from the mean of all
    row = source.rpartition("Most disruptive first")[2].partition("<h4>")[0]
    said = [float(text) for text in re.findall(r"distance <b>([\d.]+)</b>", row)]
    assert said
    np.testing.assert_allclose(said, told[: len(said)], atol=5e-5)


def test_galleries_show_pairs_and_disruptive_frames(page: Page) -> None:
    panels = page.having(class_="panel")
    assert len(panels) == 9
    shown = [p for p in panels if "data-later" not in p]
    assert [(p["data-selector"], p["data-ratio"]) for p in shown] == [("meddel", "0.05")]
    assert "Redundant: the most similar pairs" in page.text
    assert "Most disruptive first, with the distance to the mean of all" in page.text
    assert "Left out, least wanted first" in page.text
    pictures = [str(a["href"])[1:] for tag, a in page.tags if tag == "use"]
    stored = {str(a["id"]): str(a["href"]) for tag, a in page.tags if tag == "image"}
    assert set(pictures) == set(stored)
    assert len(pictures) > len(stored)  # each picture is stored once
    assert all(
        base64.b64decode(h.partition("base64,")[2])[:2] == b"\xff\xd8" for h in stored.values()
    )


def test_map_agrees_with_the_selections(source: str, run_dir: Path) -> None:
    data = frame_data(source)
    x, y = (column(data, data["map"][axis]) for axis in "xy")
    assert len(x) == len(y) == len(data["names"]) == 60
    assert column(data, data["map"]["points"]).tolist() == list(range(60))
    assert min(x) == min(y) == 0
    assert max(x) == max(y) == 4095
    assert set(data["tags"]) == {
        f"{s}\n{r:g}" for s in fake_run.SELECTORS for r in (0.33, 0.1, 0.05)
    }
    for key, tag in data["tags"].items():
        assert tag["fate"].count("0") == max(1, int(60 * float(key.split("\n")[1]) + 0.5))
    assert data["tags"]["meddel\n0.05"]["fate"].count("2") == 2  # the two that stand out
    assert data["sheet"].startswith("data:image/jpeg;base64,")


def test_planted_times_and_settings(page: Page) -> None:
    assert "near duplicates" in page.text
    assert "disruptive frames" in page.text
    assert "Wall time, together 2 min 44 s" in page.text
    assert "…/kvasir" in page.text
    assert "private" not in page.text
    assert "selector_options" in page.text
    assert "0.1.0" in page.text


def test_rendering_is_repeatable(run_dir: Path, source: str, tmp_path: Path) -> None:
    other = render(run_dir, tmp_path / "deep" / "other.html")
    assert other.read_text(encoding="utf-8") == source
    assert [p.name for p in other.parent.iterdir()] == ["other.html"]


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>&\"'</script>\u202egpj.exe{i}.jpg"
    run = fake_run.small_run(tmp_path, [f"f{i}.jpg" for i in range(60)])
    from meddel_fast.images.manifest import Manifest

    pool = run / "data" / "pretrain.parquet"
    manifest = Manifest.load(pool)
    table = manifest.table.to_pylist()
    for i, row in enumerate(table):
        row["id"] = evil.replace("{i}", f"{i:03}")
    Manifest.from_rows("pretrain", manifest.root, table).save(pool)
    about = json.loads((run / "run.json").read_text())
    about["name"] = about["config"]["name"] = "<b>bold</b> $run ${x}"
    about["tags"].append({"tag": "x", "selector": '"><script>alert(2)</script>', "ratio": 0.05})
    (run / "run.json").write_text(json.dumps(about))
    scores = json.loads((run / "score" / "scores.json").read_text())
    for row in scores:
        row["dataset"] = f"<i>{row['dataset']}</i>"
    leakage = Leakage.load(run / "leakage")
    leakage.pool_id[:] = leakage.test_id[:] = evil
    leakage.closest[-1]["test_id"] = evil
    leakage.save(run / "leakage")
    (run / "score" / "scores.json").write_text(json.dumps(scores))
    source = render(run).read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    assert "<b>bold</b>" not in source
    assert "<b>bold</b> $run ${x}" in page.text
    assert "<i>kvasir" not in source
    assert "alert(2)</script>" not in source
    assert "<img" not in source
    assert not any(tag == "img" or "onerror" in a for tag, a in page.tags)
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    shown = evil.replace("\u202e", "\\u202e")
    assert shown.replace("{i}", "000") in frame_data(source)["names"]
    assert shown in [a.get("title") for a in page.having(class_="frame")]
    assert "\u202e" not in source


def test_templates_trust_nothing_but_files_of_the_package() -> None:
    templates = list(Path(galleries.__file__).with_name("templates").glob("*.html.j2"))
    assert len(templates) >= 10
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert len(re.findall(r"\bsafe\b", text)) == len(re.findall(r"\| resource \| safe\b", text))
        assert "autoescape" not in text
    (said,) = re.findall(r">(.*)</text>", draw("text", "<b>\u202e&", 0, 0, ""))
    assert said == "&lt;b&gt;\\u202e&amp;"


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ("score", "All scores"),
        ("embeddings", "Embedding map"),
        ("leakage", "Test images in the pool"),
        ("select", "Redundant"),
        ("data", "Redundant"),
        ("stages", "Wall time"),
        ("pretrain", "Reconstruction error"),
        ("score/planted.csv", "Planted frames"),
    ],
)
def test_unfinished_runs_have_a_report(
    run_dir: Path, tmp_path: Path, missing: str, gone: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run, ignore=shutil.ignore_patterns("report"))
    target = run / missing
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    page = Page(render(run).read_text(encoding="utf-8"))
    assert page.open == []
    assert gone not in page.text
    assert "How it was made" in page.text


def test_a_selection_that_is_not_there_yet_is_left_out(run_dir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    (run / "select" / "meddel-5.parquet").unlink()
    page = Page(render(run).read_text(encoding="utf-8"))
    assert len(page.having(class_="panel")) == 8
    (shown,) = [p for p in page.having(class_="panel") if "data-later" not in p]
    assert (shown["data-selector"], shown["data-ratio"]) == ("meddel", "0.1")


def test_missing_and_broken_images_are_said_to_be(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir.parent, tmp_path / "copy")
    run, frames = tmp_path / "copy" / "run", tmp_path / "copy" / "frames" / "images"
    from dataclasses import replace

    from meddel_fast.images.manifest import Manifest

    for path in (run / "data").glob("*.parquet"):
        replace(Manifest.load(path), root=frames.parent).save(path)
    paths = sorted(frames.iterdir())
    for path in paths[:30]:
        path.unlink()
    for path in paths[30:]:
        path.write_bytes(b"no image")
    page = Page(render(run).read_text(encoding="utf-8"))
    assert "image not found or not readable" in page.text
    assert not [a for tag, a in page.tags if tag == "use"]


def test_pictures_stay_within_their_limit(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meddel_fast.benchmark.report.thumbnails._LIMIT", 20_000)
    source = render(run_dir, tmp_path / "r.html").read_text(encoding="utf-8")
    stored = re.findall(r'<image [^>]*base64,([^"]*)"', source)
    assert 0 < sum(len(base64.b64decode(s)) for s in stored) <= 20_000
    assert "left out to keep the file small" in source


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run_dir: wanted a run directory.*run\.json"):
        render(tmp_path)


def test_pixels_reach_the_page(run_dir: Path, source: str) -> None:
    """A thumbnail shows the image of the row that it names."""
    stored = dict(re.findall(r'<image id="t(\d+)"[^>]*base64,([^"]*)"', source))
    row = min(map(int, stored))
    import io

    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(stored[str(row)]))))
    path = run_dir.parent / "frames" / "images" / f"frame-{row:03}.jpg"
    assert np.abs(shown.mean((0, 1)) - np.asarray(Image.open(path)).mean((0, 1))).max() < 3


# The pieces


def test_principal_plane_finds_the_plane() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(200, 2)) * [5, 2]
    axes = np.linalg.qr(rng.normal(size=(7, 2)))[0]
    x = flat @ axes.T + rng.normal(size=(200, 7)) * 0.01 + 3
    places, share = principal_plane(x.astype(np.float32), np.arange(200))
    assert share.sum() > 0.999
    assert share[0] > share[1]
    flat -= flat.mean(axis=0)
    assert np.allclose(np.hypot(*places.T), np.hypot(*flat.T), atol=0.05)
    for degenerate in (np.ones((5, 3)), np.ones((1, 4)), np.arange(6.0)[:, None]):
        places, share = principal_plane(degenerate, np.arange(len(degenerate)))
        assert places.shape == (len(degenerate), 2)
        assert np.isfinite(places).all()
        assert np.isfinite(share).all()


def drawn(laid_out: Chart) -> str:
    return draw("chart", laid_out)


def drawn_mark(style: int) -> str:
    return draw("mark", marker(style, 0, 0))


def test_chart_holds_its_points_and_error_bars() -> None:
    points = [Point(0.05, 70.0, 1.5, "a"), Point(1.0, 72.0, 0.0, "b")]
    axis = Axis("share", True, [(0.05, "5 %"), (1.0, "100 %")])
    svg = drawn(chart("T", "d", [Series("one", 2, points)], axis, 71.0))
    page = Page(svg)
    assert page.open == []
    bars = [a for a in page.tags if str(a[1].get("class", "")).startswith("bar")]
    assert len(bars) == 1
    ticks = [float(t) for t in page.words if re.fullmatch(r"[\d.]+", t)]
    assert ticks == sorted(ticks)
    assert 3 <= len(ticks) <= 8
    assert min(ticks) >= 68.0
    top, bottom = map(float, re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", str(bars[0][1]["d"]))[0])
    corners = str(page.having(class_="mark s2")[0]["points"]).split()
    middle = np.mean([float(corner.partition(",")[2]) for corner in corners])
    assert middle == pytest.approx((top + bottom) / 2, abs=0.1)
    for flat in ([Point(0.5, 0.0, 0.0, "")], [Point(0.5, 3.0, 0.0, ""), Point(1.0, 3.0, 0.0, "")]):
        marks = [(p.x, str(p.x)) for p in flat]
        axis = Axis("s", True, marks)
        assert "nan" not in drawn(chart("T", "d", [Series("x", 1, flat)], axis, None))


def test_styles_differ() -> None:
    names = ["random", "kcenter", "meddel", "semdedup", "prototypes", "d4", "herding"]
    styles = [style_of(name, names) for name in ["full", *names]]
    assert len(set(styles)) == len(styles)
    assert len({re.sub(r"s\d", "", drawn_mark(s)) for s in styles[1:]}) == len(names)
    many = [style_of(name, list(SELECTORS)) for name in SELECTORS]
    assert len({drawn_mark(style) for style in many}) == len(SELECTORS)
    assert len({drawn_mark(style) for style in range(57)}) == 57


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.21, "4.2 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (185.4, "3 min 05 s"),
        (7385, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_filter_that_did_nothing_is_said_to_have_done_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4)) * 0.01 + 1
    with pytest.warns(UserWarning, match="removed nothing"):
        text = galleries.thresholds(select("meddel", x, 10, epsilon=0.9))
    assert "disruptive beyond ε = 0.9, which no sample is: the farthest is at 6.9" in text
    assert "no sample" not in galleries.thresholds(
        select("meddel", np.eye(4), 2, clusters=1, epsilon=0.1)
    )


def test_score_table_is_aligned_and_marks_what_is_better_than_random() -> None:
    rows = fake_run.made_up_scores(1612)
    key = {"selector": fake_run.SELECTORS[1], "ratio": 0.1, "dataset": "clinic"}
    judged = [
        {**key, "against": "random", "verdict": "better"},
        {**key, "against": "full", "verdict": "better", "ratio": 0.05},
        {**key, "against": "random", "verdict": "worse", "ratio": 0.33},
    ]
    lines = score_table(rows, {"rule": {"why": ""}, "differences": judged}).splitlines()
    assert lines[1].split() == ["selector", "kept"] + ["NormDEL", "mIoU"] * 3
    assert lines[0].split() == ["kvasir", "clinic", "mean"]
    body = lines[3:-3]  # a rule and two lines of notes follow
    assert [line.split()[0] for line in body] == ["full", *fake_run.SELECTORS * 3]
    assert len({len(line.rstrip("*")) for line in body}) == 1
    assert max(map(len, lines)) <= 100
    assert "3 runs" in lines[-2]
    assert " ".join(lines[-2:]).endswith(
        "better than random, by an interval that holds for all of its share at once."
    )
    (starred,) = [line for line in body if "*" in line]
    assert starred.startswith(key["selector"])
    assert " 10 %" in starred
    (score,) = [r for r in rows if all(r[name] == value for name, value in key.items())]
    assert f"{100 * score['miou_mean']:.2f}*" in starred
    assert "*" not in score_table(rows)


def test_score_table_says_why_nothing_is_judged() -> None:
    rule = {"why": "one repetition: " + "word " * 30}
    lines = score_table(fake_run.made_up_scores(60), {"rule": rule}).splitlines()
    assert lines[0].startswith("No verdicts: one repetition: word")
    assert "*" not in "".join(lines)


def test_score_table_of_one_data_set_and_of_nothing() -> None:
    lines = score_table(fake_run.made_up_scores(60, sets=("only",))).splitlines()
    assert lines[0].split() == ["only"]
    assert "±" in lines[3]
    assert score_table([]) == "No scores yet."


def test_every_reason_has_its_words_and_its_colour() -> None:
    folder = Path(galleries.__file__).parent
    script, style = ((folder / name).read_text() for name in ("scripts/map.js", "page.css"))
    assert list(galleries.FATES) == list(REASONS)
    shown = script[
        script.index("const fates = [") : script.index("];", script.index("const fates"))
    ]
    assert re.findall(r'\["(\w+)", ', shown) == list(REASONS)  # the map's codes are places here
    for reason in REASONS:
        assert f"--{reason}: " in style
        assert f".fate.{reason} " in style
