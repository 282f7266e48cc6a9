"""The report in a real browser: sorting, filters, keys, dark mode, nothing fetched, no errors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_run
import made_verdicts
import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from meddel_fast.benchmark.report import render
from meddel_fast.benchmark.report.load import Run, load_run
from meddel_fast.images.manifest import Manifest

HOSTILE = "images/<img src=x onerror=alert(1)>\"'&\u202e.jpg"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1240,900",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run whose frame 7 has a hostile name."""
    folder = fake_run.small_run(tmp_path_factory.mktemp("browser"))
    pool = folder / "data" / "pretrain.parquet"
    manifest = Manifest.load(pool)
    rows = manifest.table.to_pylist()
    rows[7]["id"] = HOSTILE
    table = manifest.table.set_column(0, "id", [[row["id"] for row in rows]])
    Manifest(manifest.name, manifest.root, table).save(pool)
    made_verdicts.write_pretraining(folder, made_verdicts.EFFECT)
    made_verdicts.write_probe(folder, made_verdicts.EFFECT, alone=False)
    made_verdicts.write_beyond(folder)
    render(folder)
    return load_run(folder)


def emulate(chromium: Any, scheme: str = "light", media: str = "") -> None:
    """Take on a colour scheme and a medium; scroll at once, so that clicks do not miss."""
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    given = [{"name": name, "value": value} for name, value in features.items()]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": given})


@pytest.fixture
def page(chromium: Any, run: Run) -> Any:
    """The report, opened anew in the system's light colours, all that is folded open."""
    emulate(chromium)
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    chromium.get((run.folder / "report" / "report.html").as_uri())
    chromium.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
    )
    chromium.execute_async_script(
        "const [done] = arguments; setTimeout(() => requestAnimationFrame(() => done()), 50);"
    )
    return chromium


def click(page: Any, element: Any) -> None:
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def press(page: Any, *keys: str) -> None:
    ActionChains(page).send_keys(*keys).perform()


def choose(page: Any, name: str, value: str) -> None:
    click(page, page.find_element(By.CSS_SELECTOR, f'input[name="{name}"][value="{value}"] + span'))


def texts(page: Any, query: str) -> list[str]:
    return [e.text for e in page.find_elements(By.CSS_SELECTOR, query)]


def style(page: Any, element: Any, name: str) -> str:
    script = "return getComputedStyle(arguments[0])[arguments[1]]"
    return str(page.execute_script(script, element, name))


def ground(page: Any) -> str:
    return style(page, page.find_element(By.TAG_NAME, "body"), "backgroundColor")


def found(page: Any) -> str:
    return str(page.find_element(By.ID, "found").text)


def frames(page: Any) -> list[int]:
    cells = page.find_elements(By.CSS_SELECTOR, "#cells .cell")
    return [int(cell.get_dom_attribute("data-frame")) for cell in cells]


def test_nothing_is_fetched_and_nothing_goes_wrong(page: Any) -> None:
    choose(page, "selector", "random")
    choose(page, "ratio", "0.33")
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [
        str(event["params"]["request"]["url"])
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert sum(url.startswith("file:") for url in asked) == 1
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_scores_sort_by_every_column(page: Any) -> None:
    heads = page.find_elements(By.CSS_SELECTOR, "#scores thead th")
    assert len(heads) == 5
    for column, head in enumerate(heads):
        orders = []
        for _ in range(2):
            click(page, head.find_element(By.TAG_NAME, "button"))
            values = page.execute_script(
                "return [...document.querySelectorAll('#scores tbody tr')]"
                ".map((row) => row.cells[arguments[0]].dataset)"
                ".map((data) => data.value ?? data.miou)", column
            )  # fmt: skip
            values = values if column == 0 else [float(v) for v in values]
            orders.append((head.get_dom_attribute("aria-sort"), values))
        (first, one), (second, other) = orders
        assert first == ("ascending" if column < 2 else "descending")
        assert {first, second} == {"ascending", "descending"}
        assert one == sorted(one, reverse=first == "descending")
        assert other == sorted(other, reverse=second == "descending")
        assert len(set(map(str, one))) > 1
        others = [h.get_dom_attribute("aria-sort") for h in heads if h != head]
        assert set(others) == {"none"}


def test_the_metric_changes_what_is_sorted(page: Any) -> None:
    click(page, page.find_elements(By.CSS_SELECTOR, "#scores thead button")[-1])
    for metric in ("image_iou", "dice", "image_dice", "normdel", "miou"):
        choose(page, "metric", metric)
        cells = page.find_elements(By.CSS_SELECTOR, "#scores tbody td:last-child")
        values = [float(cell.get_dom_attribute(f"data-{metric}")) for cell in cells]
        assert len(values) == 12  # with both floors
        assert values == sorted(values, reverse=True)
        assert cells[0].text.startswith(f"{values[0]:.2f}")


def test_every_table_sorts(page: Any) -> None:
    tables = page.find_elements(By.TAG_NAME, "table")
    assert len(tables) == 21
    for table in tables:
        head = table.find_elements(By.CSS_SELECTOR, "thead th")[-1]
        click(page, head.find_element(By.TAG_NAME, "button"))
        assert head.get_dom_attribute("aria-sort") in ("ascending", "descending")
        assert "sorted" in table.get_dom_attribute("class")


def legend_button(page: Any, section: str, name: str) -> Any:
    buttons = page.find_elements(By.CSS_SELECTOR, f"#{section} .legend button")
    (button,) = [b for b in buttons if b.text == name]
    return button


def test_a_selector_can_be_left_out(page: Any) -> None:
    before = len([t for t in texts(page, "#scores tbody tr") if t])
    button, other = (legend_button(page, section, "random") for section in ("results", "curves"))
    click(page, button)
    assert button.get_dom_attribute("aria-pressed") == "false"
    assert len([t for t in texts(page, "#scores tbody tr") if t]) == before - 3
    assert other.get_dom_attribute("aria-pressed") == "false"
    click(page, other)
    assert len([t for t in texts(page, "#scores tbody tr") if t]) == before


@pytest.mark.parametrize("selector", ["random", "meddel"])
def test_frames_are_filtered_by_selector_reason_and_cluster(
    page: Any, run: Run, selector: str
) -> None:
    choose(page, "selector", selector)
    choose(page, "ratio", "0.1")
    selection = run.selections[f"{selector}-10"]
    reason, cluster = (Select(page.find_element(By.ID, f"by-{n}")) for n in ("fate", "cluster"))
    assert frames(page) == list(range(60))
    for value, name in enumerate(("kept", "duplicate", "disruptive", "budget")):
        reason.select_by_value(str(value))
        assert frames(page) == np.flatnonzero(selection.reason == name).tolist()
        assert found(page).startswith(f"{(selection.reason == name).sum()} of 60 frames")
    reason.select_by_value("dropped")
    assert frames(page) == np.flatnonzero(~selection.mask).tolist()
    clusters = [o.get_dom_attribute("value") for o in cluster.options][1:]
    assert [int(c) for c in clusters] == sorted(set(selection.cluster.tolist()) - {-1})
    for value in clusters:
        cluster.select_by_value(value)
        inside = (selection.cluster == int(value)) & ~selection.mask
        assert frames(page) == np.flatnonzero(inside).tolist()
    reason.select_by_value("")
    page.find_element(By.ID, "by-name").send_keys("no such frame")
    assert frames(page) == []
    assert "No frame passes the filters." in page.find_element(By.ID, "why").text


def test_names_filter_and_order_follows_the_stand_ins(page: Any) -> None:
    Select(page.find_element(By.ID, "by-order")).select_by_value("far")
    cosines = []
    for cell in page.find_elements(By.CSS_SELECTOR, "#cells .cell")[:5]:
        ActionChains(page).move_to_element(cell).perform()
        said = page.find_element(By.CSS_SELECTOR, "#why p").text
        cosines.append(float(said.partition("Cosine ")[2].partition(". ")[0]))
    assert cosines == sorted(cosines)
    page.find_element(By.ID, "by-name").send_keys("FRAME-01")
    assert sorted(frames(page)) == list(range(10, 20))


def test_frames_are_walked_by_keys(page: Any) -> None:
    cells = page.find_elements(By.CSS_SELECTOR, "#cells .cell")
    page.execute_script("document.getElementById('by-name').focus()")
    press(page, Keys.TAB)
    focus = page.switch_to.active_element
    assert focus == cells[0]
    for key, at in ((Keys.ARROW_RIGHT, 1), (Keys.END, 59), (Keys.ARROW_RIGHT, 59), (Keys.HOME, 0)):
        press(page, key)
        assert page.switch_to.active_element == cells[at]
    press(page, Keys.ARROW_DOWN)
    below = page.switch_to.active_element
    assert below.location["y"] > cells[0].location["y"]
    assert below.location["x"] == cells[0].location["x"]
    assert below.get_dom_attribute("aria-selected") == "true"
    assert style(page, below, "outlineStyle") == "solid"
    names = texts(page, "#why figcaption")
    assert below.get_dom_attribute("aria-label").partition(",")[0] in names[0]
    press(page, Keys.TAB)  # the group is one stop
    assert page.switch_to.active_element.get_dom_attribute("class") != "cell"


def test_galleries_are_walked_by_keys_and_enlarge(page: Any) -> None:
    frames = page.find_elements(By.CSS_SELECTOR, ".panel:not([data-later]) .frames")
    assert len(frames) >= 4
    figures = frames[0].find_elements(By.TAG_NAME, "figure")
    assert [f.get_property("tabIndex") for f in figures] == [0] + [-1] * (len(figures) - 1)
    page.execute_script("arguments[0].focus()", figures[0])
    press(page, Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == figures[1]
    tip = page.find_element(By.ID, "tip")
    assert tip.is_displayed()
    assert "cosine" in tip.text
    assert tip.find_element(By.TAG_NAME, "svg").size["width"] >= 150
    press(page, Keys.ESCAPE)
    assert not tip.is_displayed()


def test_the_map_answers_to_keys(page: Any) -> None:
    card = page.find_element(By.ID, "map-card")
    assert not card.is_displayed()
    page.execute_script("document.getElementById('map').focus()")
    press(page, Keys.ARROW_RIGHT)
    assert card.is_displayed()
    assert "kept" in card.text
    press(page, Keys.ESCAPE)
    assert not card.is_displayed()


def test_every_control_is_reached_by_the_tab_key_and_shows_it(page: Any) -> None:
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0);")
    seen = []
    for _ in range(400):
        press(page, Keys.TAB)
        name, ring = page.execute_script(
            "const e = document.activeElement, n = e.nextElementSibling;"
            "const ring = (t) => { const s = getComputedStyle(t);"
            " return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1; };"
            "return [e.id || e.name || e.className || e.tagName,"
            " ring(e) || (e.type === 'radio' && ring(n))];"
        )
        if name == "BODY":
            break
        seen.append((name, ring))
    names = [name for name, _ in seen]
    for name in ("skip", "theme", "metric", "selector", "ratio", "map", "by-fate", "by-cluster",
                 "by-order", "by-name"):  # fmt: skip
        assert name in names
    assert names.index("skip") < names.index("theme") < names.index("metric") < names.index("map")
    assert [name for name, ring in seen if not ring] == []


def test_a_hostile_name_is_only_shown(page: Any) -> None:
    page.find_element(By.ID, "by-name").send_keys("onerror")
    assert frames(page) == [7]
    shown = HOSTILE.replace("\u202e", "\\u202e")
    assert shown in page.find_element(By.ID, "why").text
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert page.get_log("browser") == []


CONTRAST = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgba = (text) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
const light = (c) => c.map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => {
  const layers = [];
  for (; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor);
    layers.push(c);
    if (c[3] === 1) break;
  }
  return layers.reduceRight((below, top) => over(top, below), [255, 255, 255]);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || ["SCRIPT", "STYLE"].includes(e.tagName) || e.closest("[aria-hidden=true]")) continue;
  if (!e.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  const style = getComputedStyle(e);
  const below = ground(e);
  const ink = over(rgba(e.namespaceURI.endsWith("svg") ? style.fill : style.color), below);
  const [dark, bright] = [light(ink), light(below)].sort((a, b) => a - b);
  found.push([(bright + 0.05) / (dark + 0.05), text.slice(0, 40), e.tagName]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(page: Any, scheme: str) -> None:
    emulate(page, scheme)
    assert (sum(map(int, ground(page)[4:-1].split(","))) < 150) == (scheme == "dark")
    found = page.execute_script(CONTRAST)
    assert len(found) > 300
    assert [entry for entry in found if entry[0] < 4.5] == []


def test_the_theme_can_be_chosen_by_hand(page: Any) -> None:
    grounds = []
    for _ in range(3):
        click(page, page.find_element(By.ID, "theme"))
        grounds.append(ground(page))
    assert grounds[0] == grounds[2] != grounds[1]  # light, dark, as the system says


def test_it_prints_without_its_controls(page: Any) -> None:
    emulate(page, "dark", "print")
    for name in ("nav", "#theme", "#browser", ".choose", ".legend"):
        assert not page.find_element(By.CSS_SELECTOR, name).is_displayed()
    for name in ("#scores", "#leakage", ".panel:not([data-later])"):
        assert page.find_element(By.CSS_SELECTOR, name).is_displayed()
    assert ground(page) == "rgb(255, 255, 255)"


@pytest.fixture
def window(chromium: Any) -> Iterator[Any]:
    """Sets the size of the window."""

    def resize(width: int, height: int = 900) -> None:
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False
        })  # fmt: skip

    yield resize
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [380, 390, 1240, 1400])
def test_nothing_is_wider_than_the_window(page: Any, window: Any, width: int) -> None:
    window(width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    if width == 1400:  # nor is a table, or the way to the sections, within the page
        wide = page.execute_script(
            "return [...document.querySelectorAll('nav, .scroll')]"
            ".filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"
        )
        assert wide == []


def test_tables_of_a_probe_that_judges_nothing_fit(
    chromium: Any, window: Any, tmp_path: Path
) -> None:
    folder = made_verdicts.make(tmp_path, made_verdicts.EFFECT, kind="probe")
    place = folder / "score" / "probe.json"
    found = json.loads(place.read_text())
    for row in found["differences"]:
        row |= {"verdict": "not judged", "why": "neither clears the floor"}
        row |= {"difference": -0.1234, "all_low": -0.4455, "all_high": -0.4434}
    place.write_text(json.dumps(found))
    emulate(chromium)
    window(1400)
    chromium.get(render(folder).as_uri())
    wide = chromium.execute_script(
        "document.querySelectorAll('details').forEach((one) => { one.open = true; });"
        "return [...document.querySelectorAll('.scroll')]"
        ".filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.ariaLabel)"
    )
    assert wide == []


def test_the_first_screen_answers_and_the_rest_is_folded(
    chromium: Any, window: Any, run: Run
) -> None:
    emulate(chromium)
    window(1400)
    chromium.get((run.folder / "report" / "report.html").as_uri())
    answer = chromium.find_element(By.ID, "answer")
    assert answer.rect["y"] + answer.rect["height"] <= 900
    assert len(answer.find_elements(By.CSS_SELECTOR, ".answer p")) == 3
    assert len(answer.find_elements(By.CSS_SELECTOR, "svg.chart[aria-label]")) == 1
    assert not any(table.is_displayed() for table in chromium.find_elements(By.TAG_NAME, "table"))
