"""The app in a real browser: a server of its own and Chromium through Playwright."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]
APP = '[data-testid="stApp"]'
SECONDS = 90.0


@contextmanager
def server(runs: Path, log: Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The app on a free port: its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--server.headless", "true", "--server.port", str(port)]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", *flags, "--", str(runs)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, env=os.environ | environment)
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the app did not start: {log.read_text(errors='replace')[-2000:]}") from None
                time.sleep(0.05)
        yield address, process
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """A fresh Chromium. Each of its pages is a visit of its own to the app, and all run what the first has fetched."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield opened.new_context()
        finally:
            opened.close()


@contextmanager
def tab(chromium: BrowserContext, width: int = 1440, height: int = 1200, dark: bool = False) -> Iterator[Page]:
    """An empty page."""
    page = chromium.new_page()
    page.set_default_timeout(1000 * SECONDS)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme="dark" if dark else "light")
    try:
        yield page
    finally:
        page.close()


@contextmanager
def browser(width: int = 1440, height: int = 1200, dark: bool = False) -> Iterator[Page]:
    """One page of a fresh Chromium."""
    with chromium() as opened, tab(opened, width, height, dark) as page:
        yield page


def settle(page: Page, calm: float = 0.5) -> None:
    """Wait until the app is connected and has not been running for so many seconds."""
    page.wait_for_selector(f"{APP}[data-test-connection-state=CONNECTED]")
    since, until = time.monotonic(), time.monotonic() + SECONDS
    while time.monotonic() - since < calm:
        if page.locator(f"{APP}[data-test-script-state=notRunning]").count() == 0:
            since = time.monotonic()
        if time.monotonic() > until:
            raise TimeoutError("the page is still running")
        page.wait_for_timeout(50)


def darken(page: Page) -> None:
    """Turn the system's colours dark, and have the page drawn anew, for its pictures are drawn in colours of the server."""
    page.emulate_media(color_scheme="dark")
    page.keyboard.press("r")  # streamlit's key to run again
    settle(page)


def upload(page: Page, files: list[dict[str, object]]) -> None:
    """Give films to the uploader; each has name, mimeType and buffer."""
    page.set_input_files('[data-testid="stFileUploader"] input[type=file]', files)  # type: ignore[arg-type]


def visit(page: Page, title: str) -> None:
    """Go to a page by its link in the sidebar."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()
