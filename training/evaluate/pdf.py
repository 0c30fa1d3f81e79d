"""report.pdf: report.html as Chromium prints it, where one is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LONGEST = 120.0  # seconds


class PdfError(RuntimeError):
    """The page could not be printed; the message says why and what to do."""


def print_page(page: Path, file: Path) -> None:
    """Print a page to a PDF file, which is whole or not there; raises PdfError."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    by_hand = f"open {page.name} in a browser and print it"
    if browser is None:
        raise PdfError(f"neither Chromium nor Chrome is installed; {by_hand}")
    with tempfile.TemporaryDirectory(prefix=".pdf-", dir=file.parent) as folder:
        made = Path(folder).resolve() / file.name
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium's sandbox refuses to run as root
            options.append("--no-sandbox")
        command = [browser, *options, f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            subprocess.run(command, capture_output=True, timeout=LONGEST, check=True)
            made.replace(file)
        except (OSError, subprocess.SubprocessError) as error:
            raise PdfError(f"{Path(browser).name} did not print it ({type(error).__name__}); {by_hand}") from None
