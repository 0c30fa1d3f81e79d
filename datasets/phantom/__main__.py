"""Synthetic films for trying things out: `python -m datasets.phantom --dicom OUT` or `--sheet OUT.png`."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from datasets.phantom.film import HOSPITALS, NOTICE, film
from datasets.seed import seed_number


def sheet(seed: int, size: int) -> Image.Image:
    """A contact sheet: one row per label, one column per hospital, each film of another patient; size is a film's side."""
    labels, cell, left, top = ("normal", "pneumonia", "covid"), size + 4, 64, 20
    page = Image.new("L", (left + len(HOSPITALS) * cell, len(labels) * cell + 2 * top), 0)
    pen = ImageDraw.Draw(page)
    for row, label in enumerate(labels):
        pen.text((4, top + row * cell + size // 2), label, fill=230)
        for column, hospital in enumerate(HOSPITALS):
            pixels = film(seed, 3 * (3 * column + row), label, hospital.name, size).pixels
            page.paste(Image.fromarray((255 * pixels).astype(np.uint8)), (left + column * cell, top + row * cell))
    for column, hospital in enumerate(HOSPITALS):
        pen.text((left + column * cell, 4), hospital.name, fill=230)
    pen.text((left, top + len(labels) * cell + 2), NOTICE, fill=230)
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the contact sheet of the README, or a folder of DICOM films to try a batch evaluation on."""
    parser = argparse.ArgumentParser(prog="python -m datasets.phantom", description=f"Draws films: {NOTICE}.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sheet", type=Path, metavar="OUT.png", help="write one picture of all hospitals and labels")
    what.add_argument("--dicom", type=Path, metavar="OUT", help="write a new folder of DICOM films, with labels.csv")
    parser.add_argument("--seed", type=seed_number, default=0, help="of the cohort (default 0)")
    parser.add_argument("--size", type=int, help="side of a film in pixels (default: --sheet 192, --dicom 1024)")
    parser.add_argument("--n", type=int, default=200, help="--dicom: how many films (default 200)")
    parser.add_argument(
        "--rho",
        type=float,
        default=0.5,
        help="--dicom: how often a film has its hospital's label (default 0.5: chance)",
    )
    options = parser.parse_args(arguments)
    if options.sheet:
        sheet(options.seed, options.size or 192).save(options.sheet)
        sys.stdout.write(f"wrote {options.sheet}: {NOTICE}\n")
        return
    from datasets.phantom.folder import write_folder  # here, so that drawing films needs no pydicom

    try:
        odd = write_folder(options.dicom, options.n, options.rho, options.seed, options.size or 1024)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    films = f"--dicom-dir {shlex.quote(str(options.dicom))} --labels {shlex.quote(str(options.dicom / 'labels.csv'))}"
    sys.stdout.write(
        f"wrote {options.n} films and their labels.csv to {options.dicom} ({NOTICE}), and {odd} files to "
        f"{options.dicom / 'odd'} that are to be skipped or to fail with a reason.\n"
        f"Next, train on them: python -m training.train {films} --paired\n"
        f"Or score them with a run: python -m training.evaluate RUN {films} --output results\n"
    )


if __name__ == "__main__":
    main()
