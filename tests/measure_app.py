"""How quick the app is in a browser, and its memory when many use it: `python -m tests.measure_app {speed,load}`.

`speed` prints the time from the command to the first paint, from an upload to its score and to its score without each part,
of the first feature map, from a disagreement to its film, and of a change of page, with resnet18 at 224 px and uploads of
2048 x 2048. It trains two such runs for an epoch. `load` lets 20 browser sessions upload 10 films each, twice, and prints
errors and the peak memory of the server with its processes.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page
from scipy.ndimage import zoom

from datasets.film.preprocessing import Preprocessing
from datasets.phantom import film as phantom
from datasets.phantom.dicom_write import Exam, Scanner, dicom_film
from datasets.sample import DatasetInfo
from models.classifier import ModelConfig, build_classifier
from tests.app_browser import APP, browser, server, settle, upload, visit
from training.run.checkpoint import Checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME
from training.run.report import machine, versions

SCANNER = Scanner("S1", "Lilliput Imaging", "Panel", "CR", "MONOCHROME2", 12, False, "window", "explicit")
PAGES = ("Disagreements", "Batch", "Bias", "Feature space", "Threshold", "Runs", "Compare on a film")
FORGOTTEN = 60.0  # seconds between two loads: twice what the server holds the films of a closed page for
SETTINGS = {"dataset": "covid", "method": "erm", "model": "resnet18", "seed": 0}


def make_run(root: Path) -> None:
    """A resnet18 of random weights, as fast as a trained one."""
    model, info = ModelConfig("resnet18", 2), DatasetInfo("covid", ("not covid", "covid"), ("a",), "source", 1, True)
    weights = build_classifier(model).state_dict()
    (root / "resnet18").mkdir()
    made = Checkpoint(model, Preprocessing(224, 3), info, 0.5, 1.0, SETTINGS, {}, versions(), weights)
    save_checkpoint(made, root / "resnet18" / NAME)


def film(number: int, side: int) -> dict[str, object]:
    """An upload."""
    small = phantom.film(0, number, "covid", "north", 256).pixels
    grain = np.random.default_rng(number).normal(0, 0.01, (side, side))
    exam = Exam(f"phantom-{number}", f"PHANTOM^{number}", "F", 50, "PA", "North", f"A{number}", str(number), "1")
    content = io.BytesIO()
    dicom_film(np.clip(zoom(small, side / 256, order=1) + grain, 0, 1), SCANNER, exam).save_as(content)
    return {"name": f"{number}.dcm", "mimeType": "application/dicom", "buffer": content.getvalue()}


def speed(repeats: int) -> None:
    """Print medians and the slowest of each."""
    scored: list[float] = []
    answered: list[float] = []
    switched: dict[str, list[float]] = {title: [] for title in PAGES}
    with tempfile.TemporaryDirectory() as place:
        make_run(Path(place))
        started = time.perf_counter()
        with server(Path(place), Path(place) / "log") as (address, _), browser() as page:
            page.goto(address)
            page.get_by_role("heading", name="Compare on a film").wait_for()
            first = time.perf_counter() - started
            settle(page)
            for number in range(repeats + 1):
                page.reload()
                settle(page)
                content = film(number, 2048)
                began = time.perf_counter()
                upload(page, [content])
                page.get_by_test_id("stTable").wait_for()
                scored.append(time.perf_counter() - began)
                page.get_by_text("Without lungs").wait_for()
                answered.append(time.perf_counter() - began)
                settle(page, 1.0)
            for _ in range(repeats + 1):
                for title in PAGES:
                    began = time.perf_counter()
                    visit(page, title)
                    page.get_by_role("heading", name=title, exact=True).wait_for()
                    page.wait_for_selector(f"{APP}[data-test-script-state=notRunning]")
                    switched[title].append(time.perf_counter() - began)
                    settle(page)
    with tempfile.TemporaryDirectory() as place:
        mapped, opened = pair_speed(Path(place), repeats)
    warm = [seconds for times in switched.values() for seconds in times[1:]]
    print(f"{machine()}; Chromium and server on the same cores")
    print(f"from the command to the first paint: {first:.1f} s, browser's own start included")
    print(f"from upload to score, 2048 x 2048 DICOM, resnet18: {scored[0]:.1f} s the first time (the model is loaded),")
    print(f"  then {statistics.median(scored[1:]):.2f} s (slowest of {repeats}: {max(scored[1:]):.2f} s)")
    print(f"from upload to the score without each part: {typical(answered)}")
    print(f"first feature map of a server: {mapped:.1f} s")
    print(f"from a disagreement to the two scores of its film: {typical(opened)}")
    print(f"change of page: {statistics.median(warm):.2f} s (slowest of {len(warm)}: {max(warm):.2f} s)")
    slowest = max(PAGES, key=lambda title: max(switched[title][1:]))
    print(f"  first visits up to {max(times[0] for times in switched.values()):.2f} s; slowest page: {slowest}")


def typical(seconds: list[float]) -> str:
    """The median, and the first, for which models are loaded."""
    return f"{statistics.median(seconds[1:]):.2f} s, {seconds[0]:.1f} s the first time"


def pair_speed(runs: Path, repeats: int) -> tuple[float, list[float]]:
    """Seconds to the first feature map, and from the click on a disagreement to the scores of its film."""
    arguments = ["--dataset", "phantom", "--films", "120", "--model", "resnet18", "--img-size", "224", "--epochs", "1"]
    command = [sys.executable, "-m", "training.train", *arguments, "--paired", "--output", str(runs)]
    subprocess.run(command, check=True, capture_output=True)
    opened: list[float] = []
    with server(runs, runs / "log") as (address, _), browser() as page:
        page.goto(address)
        settle(page)
        began = time.perf_counter()
        visit(page, "Feature space")
        page.locator("canvas").first.wait_for()
        mapped = time.perf_counter() - began
        settle(page)
        for number in range(repeats + 1):
            visit(page, "Disagreements")
            films = page.get_by_role("button", name="Open film")
            films.nth(number).wait_for()
            settle(page)
            began = time.perf_counter()
            films.nth(number).click()
            page.get_by_test_id("stTable").wait_for()
            opened.append(time.perf_counter() - began)
            settle(page)
    return mapped, opened


def load(sessions: int, films: int) -> None:
    """Print errors and peaks of two equal loads."""
    with tempfile.TemporaryDirectory() as place:
        make_run(Path(place))
        contents = [[film(films * visitor + number, 512) for number in range(films)] for visitor in range(sessions)]
        with server(Path(place), Path(place) / "log") as (address, process):
            peaks = []
            for number in range(2):
                if number:
                    time.sleep(FORGOTTEN)
                    with browser() as other:  # a page that closes is when the server lets go of those before
                        other.goto(address)
                        settle(other)
                    time.sleep(2)
                with Peak(process.pid) as peak:
                    began = time.perf_counter()
                    errors = visitors(address, contents)
                    took = time.perf_counter() - began
                peaks.append(peak.bytes / 2**20)
                print(
                    f"{sessions} sessions x {films} films: {errors} errors, {took:.0f} s, peak {peaks[-1]:.0f} MiB",
                    flush=True,
                )
            print(
                f"the second load's peak, {FORGOTTEN:.0f} s later, is {100 * (peaks[1] / peaks[0] - 1):+.1f} % of the first's"
            )
    print(machine())


def visitors(address: str, contents: list[list[dict[str, object]]]) -> int:
    """Sessions of one Chromium, each with its own films, all open before the first; returns errors on their pages."""
    with browser() as first:
        assert first.context.browser is not None
        pages = [first.context.browser.new_context().new_page() for _ in contents]
        for page in pages:
            page.set_default_timeout(600_000)
            page.goto(address)
        for page in pages:
            page.get_by_test_id("stFileUploader").wait_for()
        for page, films in zip(pages, contents, strict=True):
            upload(page, films)
        for page in pages:
            page.get_by_test_id("stTable").wait_for()
        return sum(map(wrong, pages))


def wrong(page: Page) -> int:
    """Errors on the page."""
    return page.get_by_test_id("stException").count() + page.get_by_test_id("stAlertContentError").count()


class Peak:
    """Largest proportional set size of a process and its descendants while inside, sampled twice a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.bytes = pid, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.bytes = max(self.bytes, sum(map(_proportional, _family(self.pid))))


def _family(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
        except OSError:
            continue
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(status.parent.name))
    family = [pid]
    for member in family:
        family += children.get(member, [])
    return family


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.measure_app", description=__doc__)
    parser.add_argument("what", choices=("speed", "load"))
    parser.add_argument("--repeats", type=int, default=5, help="of each timing")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--films", type=int, default=10, help="that each session uploads")
    options = parser.parse_args()
    if options.what == "speed":
        speed(options.repeats)
    else:
        load(options.sessions, options.films)
