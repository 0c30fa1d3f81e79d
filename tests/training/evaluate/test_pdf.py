"""report.pdf: printed by a browser that is there, a sentence where none is or it fails."""

from pathlib import Path

import pytest

from training.evaluate import pdf
from training.evaluate.pdf import PdfError, print_page


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    file.write_text("<!doctype html><title>x</title><p>text", encoding="utf-8")
    return file


def browser(folder: Path, script: str) -> str:
    """A program in place of Chromium; `$made` is the file that it is asked for."""
    program = folder / "chromium"
    find = 'for word in "$@"; do case "$word" in --print-to-pdf=*) made="${word#--print-to-pdf=}";; esac; done\n'
    program.write_text(f"#!/bin/sh\n{find}{script}\n")
    program.chmod(0o755)
    return str(program)


def test_without_a_browser_it_says_what_to_do(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    with pytest.raises(PdfError, match=r"neither Chromium nor Chrome is installed; open report\.html"):
        print_page(page, page.with_suffix(".pdf"))


def test_a_browser_prints_the_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "BROWSERS", (browser(tmp_path, 'for last in "$@"; do :; done; echo "$last" > "$made"'),))
    print_page(page, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_text().strip() == page.as_uri()
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "report.pdf", "chromium"}


@pytest.mark.parametrize("script", ["exit 3", "exit 0", "sleep 30"])
def test_a_browser_that_fails_leaves_nothing(
    script: str, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "BROWSERS", (browser(tmp_path, script),))
    monkeypatch.setattr(pdf, "LONGEST", 0.5)
    with pytest.raises(PdfError, match="chromium did not print it"):
        print_page(page, tmp_path / "report.pdf")
    assert {file.name for file in tmp_path.iterdir()} == {"report.html", "chromium"}
