"""Two questions answered in Chromium within two clicks: is EnD less dependent on the source, and which threshold to take."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import BrowserContext, Page

from app.numbers.audit import read_audit
from app.numbers.dependence import dependence
from tests.app_browser import CHROMIUM, chromium, darken, server, settle, tab, visit
from tests.app_pages import END, ERM
from training.evaluate.__main__ import main as evaluate
from training.run.index import audit_folder
from training.train import main as train

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")]

WIDTHS = [1440, 1024]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain run and its twin with an audit, on enough films for a source to have ten patients in validation."""
    root = tmp_path_factory.mktemp("audited") / "runs"
    small = ["--films", "400", "--model", "test_resnet", "--img-size", "32", "--epochs", "2", "--in-chans", "1"]
    train(["--dataset", "phantom", *small, "--paired", "--output", str(root)])
    few = ["--resamples", "200", "--permutations", "200", "--shortcut-films", "100"]
    evaluate([str(root / ERM), str(root / END), *few])
    return root


@pytest.fixture(scope="module")
def address(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(audited, tmp_path_factory.mktemp("log") / "app.log") as (address, _):
        yield address


@pytest.fixture(scope="module")
def chrome() -> Iterator[BrowserContext]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(address: str, chrome: BrowserContext) -> Iterator[Page]:
    """The app as it opens."""
    with tab(chrome, height=768) as opened:
        opened.goto(address)
        settle(opened)
        yield opened


def words(page: Page) -> str:
    """What stands on the page, as it is read."""
    return re.sub(r"\s+", " ", page.get_by_test_id("stMain").inner_text())


def resized(page: Page, calm: float = 0.5) -> Iterator[int]:
    """The widths, once the page is laid out in a window that wide."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 768})
        settle(page, calm)
        yield width


def test_is_end_less_dependent_on_the_source(page: Page, audited: Path) -> None:
    visit(page, "Bias")  # the only click
    settle(page)
    report = read_audit((audit_folder([audited / ERM, audited / END]) / "report.json").read_text(encoding="utf-8"))
    (expected,) = dependence(report.with_short_names())
    assert report.verdict is not None
    for width in resized(page):
        read, drawn = words(page), page.locator("[aria-label^='Forest plot']")
        assert f"Is end less dependent on the source than erm? {expected.answer}. {expected.sentence}" in read, width
        assert page.get_by_role("img", name="Forest plot").count() or drawn.count(), width
        assert report.verdict.headline in read, width


def test_which_threshold_gives_ninety_per_cent_sensitivity_at_a_source(page: Page, audited: Path) -> None:
    visit(page, "Threshold")
    settle(page)
    page.get_by_role("radio", name="north").or_(page.get_by_role("button", name="north")).first.click()
    settle(page)
    for width in resized(page):
        for run, name in (("erm · s0", ERM), ("end · s0", END)):
            films = pd.read_parquet(audited / name / "predictions.parquet").query(
                "split == 'validation' and source == 'north'"
            )
            ill = films["score"][films["target"] == "covid"].sort_values(ascending=False)
            threshold = next(score for score in ill if (ill >= score).mean() >= 0.9)
            assert f"{run}: threshold {threshold:.3f}" in words(page), width
        assert "90 % sensitivity, north" in words(page), width


def test_a_threshold_is_carried_with_the_keyboard_alone(page: Page) -> None:
    visit(page, "Threshold")
    settle(page)
    page.set_viewport_size({"width": min(WIDTHS), "height": 768})
    settle(page)
    button = page.get_by_role("button", name=re.compile(r"Use 0\.\d+ for erm · s0"))
    button.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert "In use on Compare on a film and Batch, until this visit ends: erm · s0 from 0." in words(page)


CUT_OFF = """parts => parts
    .filter(part => part.getBoundingClientRect().right > window.innerWidth || part.scrollWidth > part.clientWidth + 1)
    .map(part => part.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("title", ["Bias", "Threshold", "Runs"])
def test_nothing_is_cut_off_sideways(page: Page, title: str) -> None:
    visit(page, title)
    settle(page)
    parts = "[data-testid=stMain] :is(table, [role=radiogroup], [data-testid=stVegaLiteChart])"
    for width in resized(page, 1.0):
        cut = page.locator(parts).evaluate_all(CUT_OFF)
        assert not cut, (width, cut)
    assert page.get_by_test_id("stException").count() == 0


def test_the_answers_of_an_audit_have_no_barrier(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    visit(page, "Bias")
    settle(page)
    page.get_by_text("Details: all answers").click()
    settle(page)
    page.get_by_test_id("stMain").evaluate("part => part.setAttribute('id', 'audited')")
    for dark in (False, True):
        if dark:
            darken(page)
        found = axe.Axe().run(page, context="#audited").response["violations"]
        assert not [entry for entry in found if entry["impact"] != "minor"], (dark, found)
