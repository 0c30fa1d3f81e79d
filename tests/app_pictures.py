"""Pictures of every page of the app, light and dark, for the documentation: `python -m tests.app_pictures RUNS OUT`.

RUNS holds a plain run and its twin on phantoms, with an audit.
"""

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from datasets.phantom.folder import film_dataset, scanner_of, write_folder
from tests.app_browser import browser, server, settle, upload, visit

FILM = 90_001  # drawn with other random numbers than any training film
HEIGHTS = {
    "Compare on a film": 2340,
    "Disagreements": 1900,
    "Batch": 1000,
    "Bias": 2060,
    "Feature space": 1900,
    "Threshold": 1950,
    "Runs": 1600,
}


def film() -> dict[str, object]:
    """A phantom film of a hospital that marks its films, as DICOM."""
    content = io.BytesIO()
    film_dataset(0, FILM, "normal", "north", 512, scanner_of("north", FILM)).save_as(content, enforce_file_format=True)
    return {"name": "film.dcm", "mimeType": "application/dicom", "buffer": content.getvalue()}


def prepare(page: Page, title: str) -> None:
    """Bring a page into the state that is worth a picture."""
    if title == "Compare on a film":
        upload(page, [film()])
        page.get_by_test_id("stTable").wait_for()
    elif title == "Disagreements":
        page.get_by_text("Why: which part of the film do they disagree on?").click()
        page.get_by_text("scores part most over").or_(page.get_by_text("On none of these films")).wait_for()
    settle(page, 2.0)


def main() -> None:
    """Write OUT/PAGE-light.png and OUT/PAGE-dark.png."""
    parser = argparse.ArgumentParser(prog="python -m tests.app_pictures", description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1440)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        films = Path(place) / "films"
        write_folder(films, 12, 0.5, 0, 128)
        with server(options.runs, Path(place) / "log", END_CXR_FILMS=str(films)) as (address, _):
            for dark in (False, True):
                for title, height in HEIGHTS.items():
                    with browser(options.width, height, dark) as page:
                        page.goto(address)
                        settle(page)
                        visit(page, title)
                        settle(page)
                        prepare(page, title)
                        picture = Image.open(io.BytesIO(page.screenshot()))
                    name = f"{title.lower().replace(' ', '_')}-{'dark' if dark else 'light'}.png"
                    # 256 colours are enough for a page and its films, in a third of the bytes.
                    picture.convert("RGB").quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(options.out / name)
                    print(options.out / name)


if __name__ == "__main__":
    main()
