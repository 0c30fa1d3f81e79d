"""The main paths through the app in Chromium: no error, no identifier, nothing out of reach of a screen reader."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film
from tests.app_browser import CHROMIUM, browser, server, settle, upload, visit

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


@pytest.fixture
def page(app: tuple[str, Path]) -> Iterator[Page]:
    errors: list[str] = []
    with browser() as opened:
        # Without internet the browser can't fetch what streamlit's front end asks of its maker's servers.
        opened.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(app[0])
        settle(opened)
        yield opened
    assert not [error for error in errors if "Failed to load resource" not in error], errors


@pytest.mark.parametrize("title", PAGES)
def test_every_page_opens_without_an_error(page: Page, title: str) -> None:
    visit(page, title)
    settle(page)
    assert page.get_by_role("heading", name=title, exact=True).count() == 1
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_text("Not a medical device").count() == 1
    assert page.get_by_text("SYNTHETIC images").count() == 1


def test_a_film_is_scored_and_names_nobody(page: Page, app: tuple[str, Path]) -> None:
    visit(page, "Compare on a film")  # the link of the page itself keeps it as it is
    settle(page)
    upload(page, [film()])
    page.get_by_test_id("stTable").wait_for()
    assert page.get_by_text("Label of this film").count() == 0, "the upload is shown, no film of the runs"
    for part in ("Parts blanked", "Nearest training films", "What the reader did"):
        page.get_by_role("radio", name=part).or_(page.get_by_role("button", name=part)).first.click()
        settle(page)
        assert page.get_by_test_id("stException").count() == 0
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        seen = page.content() + page.url + app[1].read_text(errors="replace")
        assert not [marker for marker in (*MARKERS, "MARKERSTATION") if marker in seen]


def test_a_disagreement_opens_its_film(page: Page) -> None:
    visit(page, "Disagreements")
    settle(page)
    page.get_by_test_id("stDataFrame").first.click(position={"x": 15, "y": 55})
    page.get_by_role("heading", name="Compare on a film").wait_for()
    page.get_by_text("Label of this film").wait_for()


@pytest.mark.parametrize("title", PAGES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_serious_barrier(app: tuple[str, Path], title: str, dark: bool) -> None:
    """axe-core finds nothing serious that the app itself draws."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with browser(dark=dark) as page:
        page.goto(app[0])
        settle(page)
        visit(page, title)
        settle(page)
        found = axe.Axe().run(page).response["violations"]
    serious = [
        f"{entry['id']}: {node['html'][:200]}"
        for entry in found
        if entry["impact"] in ("serious", "critical")
        for node in entry["nodes"]
        if not beyond_us(entry["id"], node["html"], dark)
    ]
    assert not serious, serious


def beyond_us(rule: str, html: str, dark: bool) -> bool:
    """What the libraries draw and can't be changed here.

    Streamlit writes chosen items of a multiselect white on the theme's colour, which must be light on dark pages for text
    elsewhere (in the sidebar, where the runs are chosen, it has a colour of its own); Vega gives the box that a visitor draws no name (what it picks is listed below the maps).
    """
    chosen_item = dark and rule == "color-contrast" and html.startswith('<span title="') and " · " not in html
    return chosen_item or (rule == "svg-img-alt" and "box_brush" in html)
