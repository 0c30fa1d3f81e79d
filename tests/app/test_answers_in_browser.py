"""Two questions answered in Chromium within two clicks: is EnD less dependent on the source, and which threshold to take."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page

from app.numbers.audit import read_audit
from app.numbers.dependence import dependence
from tests.app_browser import CHROMIUM, browser, server, settle, visit
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
    small = ["--films", "600", "--model", "test_resnet", "--img-size", "32", "--epochs", "2", "--in-chans", "1"]
    train(["--dataset", "phantom", *small, "--paired", "--output", str(root)])
    evaluate([str(root / ERM), str(root / END), "--resamples", "200", "--permutations", "200"])
    return root


@pytest.fixture(scope="module")
def address(audited: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(audited, tmp_path_factory.mktemp("log") / "app.log") as (address, _):
        yield address


@pytest.fixture(params=WIDTHS)
def page(address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The app as it opens, in a wide and in a narrow window."""
    with browser(request.param, 768) as opened:
        opened.goto(address)
        settle(opened)
        yield opened


def words(page: Page) -> str:
    """What stands on the page, as it is read."""
    return re.sub(r"\s+", " ", page.get_by_test_id("stMain").inner_text())


def test_is_end_less_dependent_on_the_source(page: Page, audited: Path) -> None:
    visit(page, "Bias")  # the only click
    settle(page)
    report = read_audit((audit_folder([audited / ERM, audited / END]) / "report.json").read_text(encoding="utf-8"))
    (expected,) = dependence(report.with_short_names())
    assert f"Is end less dependent on the source than erm? {expected.answer}. {expected.sentence}" in words(page)
    assert page.get_by_role("img", name="Forest plot").count() or page.locator("[aria-label^='Forest plot']").count()
    assert report.verdict is not None and report.verdict.headline in words(page)


def test_which_threshold_gives_ninety_per_cent_sensitivity_at_a_source(page: Page, audited: Path) -> None:
    visit(page, "Threshold")
    settle(page)
    page.get_by_role("radio", name="north").or_(page.get_by_role("button", name="north")).first.click()
    settle(page)
    for run, name in (("erm · s0", ERM), ("end · s0", END)):
        films = pd.read_parquet(audited / name / "predictions.parquet").query(
            "split == 'validation' and source == 'north'"
        )
        ill = films["score"][films["target"] == "covid"].sort_values(ascending=False)
        threshold = next(score for score in ill if (ill >= score).mean() >= 0.9)
        assert f"{run}: threshold {threshold:.3f}" in words(page)
    assert "90 % sensitivity, north" in words(page)


def test_a_threshold_is_carried_with_the_keyboard_alone(page: Page) -> None:
    visit(page, "Threshold")
    settle(page)
    button = page.get_by_role("button", name=re.compile(r"Use 0\.\d+ for erm · s0"))
    button.focus()
    page.keyboard.press("Enter")
    settle(page)
    assert "In use on Compare on a film and Batch, until this visit ends: erm · s0 from 0." in words(page)


@pytest.mark.parametrize("title", ["Bias", "Threshold", "Runs"])
def test_nothing_is_cut_off_sideways(page: Page, title: str) -> None:
    visit(page, title)
    settle(page, 1.0)
    parts = "[data-testid=stMain] :is(table, [role=radiogroup], [data-testid=stVegaLiteChart])"
    cut = page.evaluate(
        """parts => [...document.querySelectorAll(parts)]
            .filter(part => part.getBoundingClientRect().right > window.innerWidth || part.scrollWidth > part.clientWidth + 1)
            .map(part => part.outerHTML.slice(0, 200))""",
        parts,
    )
    assert not cut, cut


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_answers_of_an_audit_have_no_barrier(address: str, dark: bool) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    with browser(dark=dark) as page:
        page.goto(address)
        settle(page)
        visit(page, "Bias")
        settle(page)
        page.get_by_text("Details: all answers").click()
        settle(page)
        main = page.get_by_test_id("stMain")
        main.evaluate("part => part.setAttribute('id', 'audited')")
        found = axe.Axe().run(page, context="#audited").response["violations"]
    assert not [entry for entry in found if entry["impact"] != "minor"], found
