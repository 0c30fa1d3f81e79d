"""The main paths through the app in Chromium: no error, no identifier, nothing out of reach of a screen reader."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

import numpy as np
import pandas as pd
from playwright.sync_api import BrowserContext, Page

from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film
from datasets.phantom.folder import write_folder
from tests.app_browser import APP, CHROMIUM, chromium, darken, server, settle, tab, upload, visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]

PAGES = ("Compare on a film", "Disagreements", "Batch", "Bias", "Feature space", "Threshold", "Runs")
MARKERS = ("MARKERNAME", "MARKERID", "MARKERHOSPITAL", "MARKERACCESSION")
SCANNER = Scanner("MARKERSTATION", "Lilliput Imaging", "Panel", "CR", "MONOCHROME2", 12, False, "window", "jpeg 2000")


def film(number: int = 0) -> dict[str, object]:
    """An upload whose tags name a patient."""
    exam = Exam(f"{MARKERS[1]}{number}", f"{MARKERS[0]}^JANE", "F", 50, "PA", MARKERS[2], MARKERS[3], str(number), "1")
    content = io.BytesIO()
    dicom_film(phantom.film(0, number, "covid", "north", 256).pixels, SCANNER, exam).save_as(
        content, enforce_file_format=True
    )
    return {"name": f"film{number}.dcm", "mimeType": "application/dicom", "buffer": content.getvalue()}


@pytest.fixture(scope="module")
def app(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    log = tmp_path_factory.mktemp("log") / "app.log"
    with server(runs, log) as (address, _):
        yield address, log


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with chromium() as opened:
        yield opened


@contextmanager
def opened(browser: BrowserContext, address: str, asked: list[object] | None = None) -> Iterator[Page]:
    """The app as it opens, what it then asks of the server; its console has no error at the end."""
    errors: list[str] = []
    with tab(browser) as page:
        # Without internet the browser can't fetch what streamlit's front end asks of its maker's servers.
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        if asked is not None:
            page.on("websocket", lambda socket: socket.on("framesent", lambda frame: asked.append(frame)))
        page.goto(address)
        settle(page)
        yield page
    assert not [error for error in errors if "Failed to load resource" not in error], errors


@pytest.fixture
def page(app: tuple[str, Path], browser: BrowserContext) -> Iterator[Page]:
    with opened(browser, app[0]) as page:
        yield page


@pytest.fixture(scope="module")
def example(app: tuple[str, Path], browser: BrowserContext) -> Iterator[tuple[Page, list[object]]]:
    """One click: the example film with its answer, which tests look at in windows of any width; what the server is asked."""
    asked: list[object] = []
    with opened(browser, app[0], asked) as page:
        page.get_by_text("Example film", exact=True).click()
        page.get_by_text("Nearest covid").wait_for()
        page.locator(".pane").nth(2).wait_for()
        settle(page)
        yield page, asked


@pytest.mark.parametrize("title", PAGES)
def test_every_page_opens_without_an_error_and_without_a_barrier(page: Page, title: str) -> None:
    """axe-core finds nothing in a wide and in a narrow window, by day and by night."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visit(page, title)
    settle(page)
    assert page.get_by_role("heading", name=title, exact=True).count() == 1
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_text("Not a medical device").count() == 1
    assert page.get_by_text("SYNTHETIC images").count() == 1
    if title == "Compare on a film":
        page.get_by_text("Example film", exact=True).click()
        page.get_by_text("Nearest covid").wait_for()
        page.locator(".pane").first.wait_for()
    elif title == "Batch":
        page.get_by_text("Which films are scored").click()
    grounds = []
    for dark in (False, True):
        if dark:
            darken(page)
        for width in (1440, 1024):
            page.set_viewport_size({"width": width, "height": 768})
            settle(page)
            assert not barriers(axe.Axe().run(page).response["violations"]), (dark, width)
        grounds.append(page.locator(APP).evaluate("app => getComputedStyle(app).backgroundColor"))
    light, night = grounds
    assert light != night, "the app follows the system's colours"


def test_a_film_is_scored_and_names_nobody(page: Page, app: tuple[str, Path]) -> None:
    visit(page, "Compare on a film")  # the link of the page itself keeps it as it is
    settle(page)
    upload(page, [film()])
    page.get_by_test_id("stTable").wait_for()
    assert "film=" not in page.url, "an upload is in no link"
    for part in ("Parts blanked", "Nearest training films", "What the reader did"):
        page.get_by_role("radio", name=part).or_(page.get_by_role("button", name=part)).first.click()
        settle(page)
        assert page.get_by_test_id("stException").count() == 0
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        seen = page.content() + page.url + app[1].read_text(errors="replace")
        assert not [marker for marker in (*MARKERS, "MARKERSTATION") if marker in seen]


def row_of(page: Page, name: str) -> list[str]:
    """The cells of a row of the answer's table."""
    row = page.get_by_test_id("stTable").get_by_role("row").filter(has=page.get_by_text(name, exact=True))
    return row.locator("td").all_inner_texts()


def test_is_end_less_dependent_on_the_hospital_on_this_film(example: tuple[Page, list[object]]) -> None:
    """The answer is a sentence, its numbers stand in the table."""
    page, _ = example
    answer = page.get_by_text("border and corners, where hospitals leave their marks").first
    answer.wait_for()
    said = re.search(r"erm · s0 by up to (\d\.\d\d), end · s0 by up to (\d\.\d\d)", answer.inner_text())
    assert said, answer.inner_text()
    rows = [row_of(page, f"Without {part}") for part in ("border and corners", "border", "corners")]
    moves = [[abs(float(cell.replace("\N{MINUS SIGN}", "-"))) for cell in row] for row in rows]
    assert [max(of_run) for of_run in zip(*moves, strict=True)] == [float(number) for number in said.groups()]
    assert all(cell.startswith(("like", "unlike")) for cell in row_of(page, "Training films"))


def test_which_films_do_they_disagree_on_and_why(page: Page) -> None:
    """Two clicks: the page shows the films with both scores, the switch says over which part they part."""
    visit(page, "Disagreements")
    page.get_by_test_id("stImage").first.wait_for()
    settle(page)
    page.get_by_text("Why: which part of the film do they disagree on?").click()
    summary = page.get_by_text("scores part most over").or_(page.get_by_text("On none of these films"))
    summary.wait_for()
    settle(page)
    card = page.get_by_test_id("stVerticalBlock").filter(has=page.get_by_role("button", name="Open film")).last
    assert re.search(r"erm · s0 \d\.\d\d (not )?covid", card.inner_text()) and "end" in card.inner_text()
    page.get_by_role("button", name="Open film").first.click()
    page.get_by_role("heading", name="Compare on a film").wait_for()
    page.get_by_text("Disagreement 1 of").wait_for()
    page.get_by_test_id("stTable").wait_for()


def test_score_a_folder_and_join_the_table_to_file_names(runs: Path, tmp_path: Path, browser: BrowserContext) -> None:
    """Two clicks: file names, Score; the CSV holds the name of each film and what warns of its score."""
    films = tmp_path / "films"
    write_folder(films, 6, 0.9, 1, 64)
    with (
        server(runs, tmp_path / "log", END_CXR_FILMS=str(films)) as (address, _),
        tab(browser) as page,
    ):
        page.goto(f"{address}/batch")
        settle(page)
        page.get_by_text("A folder of this server").click()
        settle(page)
        page.get_by_text("File names in the results").click()
        page.get_by_role("button", name="Score", exact=True).click()
        page.get_by_text("is your file's name with its path below the folder").wait_for(timeout=300_000)
        settle(page)
        with page.expect_download() as download:
            page.get_by_role("button", name="predictions.csv").click()
        table = pd.read_csv(download.value.path())
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        page.mouse.move(0, 0)  # off the button, whose tooltip lies over the page
        page.get_by_role("tooltip").wait_for(state="hidden")
        settle(page)
        assert not barriers(axe.Axe().run(page).response["violations"])
    assert set(table["film"]) <= {str(path.relative_to(films)) for path in films.rglob("*.dcm")}
    assert {"unlike_training", "score", "prediction", "threshold"} <= set(table)
    assert len(table) == 2 * table["film"].nunique() >= 12


PARTS_SHOWN = """layers => layers.map(layer => {
    const { a: zoom, e: x, f: y } = new DOMMatrix(getComputedStyle(layer).transform);
    const { width, height } = layer.parentElement.getBoundingClientRect();
    return [zoom, x / width, y / height];
})"""


def part_shown(page: Page) -> np.ndarray:
    """Zoom and place of what the viewer shows of the film, in each of its panes."""
    page.wait_for_timeout(200)
    parts = np.array(page.locator(".layer").evaluate_all(PARTS_SHOWN))
    assert np.ptp(parts, axis=0).max() < 0.01, "all panes show the same part"
    return parts[0]


@pytest.mark.parametrize("width", [1440, 1024])
def test_film_and_maps_zoom_and_move_as_one(example: tuple[Page, list[object]], width: int) -> None:
    """By the wheel, by dragging, by buttons and by keys alone; and the server is asked nothing."""
    page, asked = example
    page.set_viewport_size({"width": width, "height": 900})
    settle(page)
    panes = page.locator(".pane")
    asked.clear()
    assert panes.count() == 3, "film and two maps"
    parts = [part_shown(page)]
    box = panes.first.bounding_box()
    room = page.evaluate("document.querySelector('[data-testid=stHeading]').getBoundingClientRect().width")
    assert box is not None and box["width"] >= 0.5 * room
    full = "images => images.every(image => image.naturalWidth == 1024 && image.naturalHeight == 1024)"
    assert page.locator("img.film").evaluate_all(full), "the film's own resolution"

    panes.first.scroll_into_view_if_needed()
    box = panes.first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.wheel(0, -600)
    parts.append(part_shown(page))
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"], steps=4)
    page.mouse.up()
    parts.append(part_shown(page))
    page.get_by_role("button", name="Whole film").click()
    parts.append(part_shown(page))
    page.keyboard.press("Tab")  # over the slider of the opacity
    page.keyboard.press("Tab")
    for key in ("+", "ArrowRight", "0"):
        page.keyboard.press(key)
        parts.append(part_shown(page))
    wheeled, dragged, again, zoomed, moved, last = parts[1:]
    for whole in (parts[0], again, last):
        assert np.allclose(whole, [1, 0, 0])
    assert wheeled[0] > 1.5 and dragged[0] == wheeled[0] and dragged[1] < wheeled[1]
    assert zoomed[0] > 1 and moved[0] == zoomed[0] and moved[1] < zoomed[1] and moved[2] == zoomed[2]
    assert not asked


@pytest.mark.parametrize("width", [1440, 1024])
def test_the_answer_fits_the_page(example: tuple[Page, list[object]], width: int) -> None:
    """No column of the table of the answer is cut, and the film has half of the page or more."""
    page, _ = example
    page.set_viewport_size({"width": width, "height": 768})
    settle(page, 1.0)
    room = page.evaluate("document.querySelector('[data-testid=stHeading]').getBoundingClientRect().width")
    shown = page.locator("[data-testid=stImage] img").first.bounding_box()
    table = page.get_by_test_id("stTable").bounding_box()
    assert shown is not None and table is not None
    assert shown["width"] >= 0.5 * room and table["width"] <= room
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def barriers(found: list[dict[str, Any]]) -> list[str]:
    """What axe-core found, but for what it calls minor: streamlit's uploader has a role that says nothing."""
    return [
        f"{entry['id']}: {node['html'][:200]}"
        for entry in found
        if entry["impact"] != "minor"
        for node in entry["nodes"]
    ]
