"""Synthetic films for trying things out: `python -m datasets.phantom --dicom OUT` or `--sheet OUT.png`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.files import require_new_file
from datasets.help_text import HelpFormatter, SentenceParser
from datasets.seed import seed_number


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the contact sheet of the README, or a folder of DICOM films to try a batch evaluation on."""
    parser = SentenceParser(
        prog="python -m datasets.phantom", formatter_class=HelpFormatter,
        description="Draws synthetic films, procedural phantoms of no patient, for trying things out.",
    )  # fmt: skip
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
    try:
        # Imported here, so that --help and mistakes answer at once.
        from datasets.phantom.film import NOTICE

        if options.sheet:
            from datasets.phantom.sheet import sheet

            require_new_file(options.sheet, "--sheet", b"\x89PNG", "PNG picture")
            sheet(options.seed, 192 if options.size is None else options.size).save(options.sheet, "PNG")
            said = f"wrote {options.sheet}: {NOTICE}\n"
        else:
            from datasets.phantom.folder import write_folder  # here, so that drawing films needs no pydicom

            size = 1024 if options.size is None else options.size
            odd = write_folder(options.dicom, options.n, options.rho, options.seed, size)
            said = written(options.dicom, options.n, odd, NOTICE)
        sys.stdout.write(said)
        sys.stdout.flush()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        left = "" if options.sheet else f"; {options.dicom} may hold some of its films: name a new folder next time"
        sys.stderr.write(f"interrupted{left}\n")
        raise SystemExit(130) from None


def written(place: Path, films: int, odd: int, notice: str) -> str:
    """What was written to a folder, and the commands that go on with it."""
    flags = f"--dicom-dir {shlex.quote(str(place))} --labels {shlex.quote(str(place / 'labels.csv'))}"
    return (
        f"wrote {films} films and their labels.csv to {place}: {notice}\n"
        f"{odd} files in {place / 'odd'} are to be skipped or to fail with a reason\n"
        f"next, train on them:\n  python -m training.train {flags} --paired\n"
        f"or score them with a run:\n  python -m training.evaluate RUN {flags} --output results\n"
    )


if __name__ == "__main__":
    main()
