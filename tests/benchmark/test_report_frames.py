"""The report as an audit: every frame's reason and stand-in, leakage, size, looks."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import shutil
from importlib.resources import files
from pathlib import Path

import fake_run
import made_verdicts
import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")

from PIL import Image
from report_page import Page, column, draw, frame_data

from meddel_fast import reference
from meddel_fast.benchmark.leakage import Samples, audit
from meddel_fast.benchmark.report import frames, render, thumbnails
from meddel_fast.benchmark.report.galleries import thresholds as thresholds_of
from meddel_fast.benchmark.report.load import load_run
from meddel_fast.benchmark.report.text import visible
from meddel_fast.benchmark.scores.normdel import normdel
from meddel_fast.images.manifest import Manifest
from meddel_fast.selectors import REASONS, SELECTORS

NONE = 0xFFFF


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run.small_run(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def source(run_dir: Path) -> str:
    return render(run_dir).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_every_dropped_frame_has_its_nearest_kept_one(source: str, run_dir: Path) -> None:
    """For every method, those without a duplicate_of included, as the reference finds it."""
    data, run = frame_data(source), load_run(run_dir)
    cosine = reference.cosine(*[reference.widen(np.asarray(run.embeddings))] * 2)
    assert column(data, data["rows"]).tolist() == list(range(60))
    for tag in run.tags[1:]:
        selection = run.selections[tag.name]
        found = data["tags"][f"{tag.selector}\n{tag.ratio:g}"]
        assert [REASONS[int(f)] for f in found["fate"]] == selection.reason.tolist()
        near, shown = column(data, found["near"]), column(data, found["cosine"])
        kept = selection.indices
        best = kept[np.argmax(cosine[:, kept], axis=1)]
        assert np.array_equal(near, np.where(selection.mask, NONE, best))
        exact = np.where(selection.mask, 0.0, cosine[np.arange(60), best])
        assert np.array_equal(shown, np.rint(exact * 1e4))
        repeats = selection.duplicate_of
        assert ("of" in found) == (repeats >= 0).any()
        if "of" in found:
            assert np.array_equal(column(data, found["of"]), np.where(repeats < 0, NONE, repeats))
        assert ("cluster" in found) == (tag.selector == "meddel")
        if "cluster" in found:
            assert np.array_equal(column(data, found["cluster"]), selection.cluster)
        if "distance" in found:
            assert np.array_equal(column(data, found["distance"]), selection.distance.astype("f4"))


def test_stand_ins_are_compared_as_the_selectors_compared(run_dir: Path, tmp_path: Path) -> None:
    run = load_run(run_dir)
    assert run.compared is run.embeddings
    run.about["config"]["encoder"] = {"centre": True}
    centred = load_run(run_dir)
    centred.about["config"]["encoder"] = {"centre": True}
    x = np.asarray(run.embeddings)
    assert np.array_equal(
        centred.compared, (x - x.mean(axis=0, dtype=np.float64)).astype(np.float32)
    )


def test_a_large_pool_is_sampled_with_the_neighbours_of_the_sample(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FRAMES", 40)
    found = frames.audit(load_run(run_dir))
    assert 4 < len(found.rows) <= 40  # 40 // (1 + 9 selections) are drawn
    assert np.all(np.diff(found.rows) > 0)
    source = render(run_dir, tmp_path / "r.html").read_text(encoding="utf-8")
    data = frame_data(source)
    rows = column(data, data["rows"])
    assert np.array_equal(rows, found.rows)
    assert f"{len(rows)} of 60 frames, drawn at random" in Page(source).text
    ids = load_run(run_dir).pool.ids  # type: ignore[union-attr]
    assert data["names"] == [ids[row] for row in rows]
    for tag in data["tags"].values():
        near = column(data, tag["near"])
        kept = np.array(list(tag["fate"])) == "0"
        assert all(kept[near[near != NONE]])
        assert (near[~kept] != NONE).sum() >= 4 - kept.sum()  # those of the sample are there


def test_panels_show_stand_ins_for_every_method(source: str) -> None:
    panels = re.split(r'<section class="panel"', source)[1:]
    assert len(panels) == 9
    for panel in panels:
        assert "Dropped, and the least like any kept frame: what may be missing" in panel
        assert "Dropped, and the most like a kept frame" in panel


def test_every_table_sorts_and_is_labelled(page: Page, source: str) -> None:
    tables = re.findall(r"<table .*?</table>", source)
    assert len(tables) == 8  # scores, planted, 2 of leakage, times, hardware, versions, settings
    for table in tables:
        heads = re.findall(r"<th scope=\"col\"[^>]*>", table)
        assert heads
        assert all('aria-sort="none"' in head and "data-first" in head for head in heads)
        assert len(re.findall(r"<thead>.*</thead>", table)) == 1
        assert table.count('<button type="button">') == len(heads)
        assert "<caption>" in table
    regions = page.having(role="region")
    assert len(regions) == len(tables)
    assert all(r["tabindex"] == "0" and r["aria-label"] for r in regions)


def test_leakage_is_shown_with_pictures(page: Page, source: str) -> None:
    start = source.index('<section id="leakage">')
    section = source[start : source.index("</section>", start)]
    assert "cosine of 0.999 or more (embeddings as they are)" in section
    assert "kvasir: the most similar of " in section
    assert "clinic: the most similar" not in section
    assert "clinic: not found, the closest below the threshold" in section
    assert section.count(", same file</figcaption>") == 4
    assert "They stayed in the pool." in section
    figures = re.findall(r"<figure class=\"pair\">.*?</figure>", section)
    assert all(figure.count('<use href="#t') == 2 for figure in figures[:4])
    assert "image not found" in figures[-1]  # no manifest of that set is there
    uses = re.findall(r'<use href="#(t\d+)"', section)
    assert set(uses) <= set(page.ids)


def test_a_cleaned_pool_is_said_to_be(run_dir: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    about = (run / "run.json").read_text()
    text = about.replace('"alpha": 1.0', '"alpha": 1.0, "leakage": {"exclude": true}')
    (run / "run.json").write_text(text)
    assert "They were taken out of the pool" in render(run).read_text(encoding="utf-8")


def test_the_page_claims_no_more_than_the_audit_found(
    run_dir: Path, tmp_path: Path, page: Page
) -> None:
    """Of each test set what was found of it; nothing is claimed without an audit."""
    assert "It found, by test set: kvasir 4 of 4 in the pool; clinic none." in page.text
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    pool = Manifest.load(run / "data" / "pretrain.parquet")
    hashes = pool.column("sha256")
    train = Samples(["frame"], sha256=hashes[:1])
    test = Manifest.load(run / "data" / "kvasir.parquet")
    tests = {"kvasir": Samples(test.ids, sha256=test.column("sha256"))}
    audit(train, tests).save(run / "leakage" / "splits" / "train" / "kvasir")
    audit(Samples(["other"], sha256=["0"]), tests).save(run / "leakage/splits/val/kvasir")
    source = render(run).read_text(encoding="utf-8")
    text = Page(source).text
    assert (
        "kvasir 4 of 4 in the pool and 1 of 4 among what its head is trained on; clinic none."
    ) in text
    start = source.index('aria-label="Leakage between splits"')
    table = source[start : source.index("</table>", start)]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", table)
    assert cells[:8] == ["training of the head", "4", "1", "25\u00a0%", "1", "1", "1", ""]
    assert cells[8:11] == ["validation", "4", "0"]
    assert "kvasir: the most similar of 1 pairs in training of the head" in source
    shutil.rmtree(run / "leakage")
    text = Page(render(run).read_text(encoding="utf-8")).text
    assert "No leakage audit tells whether a training saw these, or images like them." in text
    assert "no training saw" not in text


def test_planted_recall_is_shown(page: Page) -> None:
    assert "recall of 300" in page.text
    assert "share of kept" in page.text
    assert "67 % 201" in page.text


def test_ten_thousand_frames_stay_below_ten_megabytes(tmp_path: Path) -> None:
    path = render(fake_run.large_run(tmp_path))
    assert path.stat().st_size < 10_000_000
    data = frame_data(path.read_text(encoding="utf-8"))
    assert len(data["names"]) == len(set(data["names"])) == data["tiles"] == 10_000
    for tag in data["tags"].values():
        near = column(data, tag["near"])
        assert np.array_equal(near == NONE, np.array(list(tag["fate"])) == "0")


def test_statistics_and_costs_are_shown_where_a_run_has_them(source: str, tmp_path: Path) -> None:
    run = made_verdicts.make(tmp_path)
    text = render(run).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    rows = json.loads((run / "score" / "scores.json").read_text())
    for row in rows:
        low, high = (100 * row[f"normdel_{end}"] for end in ("low", "high"))
        assert f"<small>[{low:.2f}, {high:.2f}]</small>" in text
    tips = [str(a["data-tip"]) for _, a in page.tags if "data-tip" in a]
    assert all("[" in tip for tip in tips)
    sections = {
        name: text[text.index(f'<section id="{name}">') :].partition("</section>")[0]
        for name in ("worth", "costs")
    }
    worth, costs = sections.values()
    judged = json.loads((run / "score" / "statistics.json").read_text())["differences"]
    assert worth.count("<tr data-style") == len(judged) + 10 + 9 + 3
    # by the simultaneous interval, and against random alone
    better = [r for r in judged if r["against"] == "random" and r["verdict"] == "better"]
    assert 0 < len(better) < sum(r["verdict"] == "better" for r in judged)
    assert worth.count("<strong>better</strong>") == worth.count("<strong>") == len(better)
    assert "NormDEL by alpha, on the mean of the data sets" in worth
    full = next(row for row in rows if row["selector"] == "full" and row["dataset"] == "mean")
    assert f"{100 * normdel(full['miou_mean'], 1.0, 0.0):.2f} <small>rank 1</small>" in worth
    assert "95\u00a0% intervals" in worth
    assert costs.count("<tr data-style") == 10
    assert "40.0 s" in costs  # the encoder's own training
    assert "2 min 32 s" in costs  # and all together
    assert 'download="statistics.json"' in text
    for name in ("worth", "costs"):
        assert f'<section id="{name}">' not in source


# Pictures and text


@pytest.fixture
def noise(tmp_path: Path) -> list[Path]:
    rows = fake_run.write_frames(tmp_path, [f"{i:02}.png" for i in range(30)])
    return [tmp_path / str(row["image"]) for row in rows]


def test_tiles_are_where_they_are_said_to_be(noise: list[Path]) -> None:
    uri, across, side, tiles = thumbnails.atlas([*noise[:3], Path("nowhere.png"), *noise[3:]])
    assert (across, side, tiles) == (6, 36, 31)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition("base64,")[2]))))
    for i, path in enumerate([*noise[:3], None, *noise[3:]]):
        y, x = divmod(i, across)
        tile = sheet[y * side : (y + 1) * side, x * side : (x + 1) * side]
        wanted = 128 if path is None else np.asarray(Image.open(path)).mean((0, 1))
        assert np.abs(tile.mean((0, 1)) - wanted).max() < 12


def test_the_sheet_keeps_to_its_limit(noise: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(thumbnails.atlas(noise)[0])
    for limit, fewer in ((whole // 2, False), (whole // 10, True)):
        monkeypatch.setattr(thumbnails, "_SHEET_LIMIT", limit)
        uri, across, _, tiles = thumbnails.atlas(noise)
        assert len(base64.b64decode(uri.partition("base64,")[2])) <= limit
        assert (tiles < 30) == fewer
        assert tiles % across == 0 or tiles == 30
    monkeypatch.setattr(thumbnails, "_MANY", 20)
    assert thumbnails.atlas(noise)[2] == 32


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b c.jpg", "a/b c.jpg"),
        ("größe 大.png", "größe 大.png"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("a\u2066b\u2069\u200f", "a\\u2066b\\u2069\\u200f"),
        ("line\nfeed\x00", "line\\nfeed\\x00"),
        ("\udcff", "\\udcff"),
    ],
)
def test_names_are_made_visible(name: str, shown: str) -> None:
    assert visible(name) == shown
    assert f">&lt;{shown}&gt;</text>" in draw("text", f"<{name}>", 0, 0, "")


# Looks: contrast by WCAG 2's formula


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_formula() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_read(dark: bool) -> None:
    css = files("meddel_fast.benchmark.report").joinpath("page.css").read_text()
    found = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", css)
    colours = {name: pair[dark] for name, *pair in found}
    assert len(colours) == 7 + 9 + 5
    for text, ground in itertools.product(("ink", "soft", "accent"), ("page", "card", "wash")):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["card"], colours["accent"]) >= 4.5  # the chosen one of a switch
    assert contrast(colours["soft"], colours["line"]) >= 4.5  # where a picture is missing
    fates = ["kept", "duplicate", "disruptive", "budget", "excluded"]
    for mark in [*(f"s{i}" for i in range(9)), *fates]:  # graphics: 3 is enough
        assert contrast(colours[mark], colours["card"]) >= 3, mark


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", SELECTORS)
def test_thresholds_of_every_method_can_be_told(rng: np.random.Generator, name: str) -> None:
    """Settings of one name are of one kind: a list of clusters stopped the page of a run."""
    x = rng.normal(size=(60, 6)).astype(np.float32)
    needs = {"score": np.arange(60.0), "like": x[:3]}
    options = {option: needs[option] for option in SELECTORS[name].method.needs}
    selection = SELECTORS[name](x, 12, **options)
    clusters = selection.settings.get("clusters")
    assert (f"{clusters} clusters" in thresholds_of(selection)) == (clusters is not None)
