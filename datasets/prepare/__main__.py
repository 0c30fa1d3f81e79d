"""A public chest X-ray data set, as it lies on disk after the download, becomes a cohort that can be trained on.

python -m datasets.prepare cohen data/covid-chestxray-dataset --out data/cohort
python -m datasets.prepare nih data/ChestX-ray14 --out data/cohort

The second command adds to the first: the folder --out holds one metadata.csv of all data sets put there. Given again for
a data set, the command replaces its rows.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.film.admission import add_arguments, as_flags, policy_of
from datasets.film.policy import DicomPolicy
from datasets.film.words import WordsError
from datasets.prepare.layouts import LAYOUTS

RESEARCH_ONLY = "For research. Not a medical device."


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare the data set that the command line names, and say what became of it."""
    folders = "\n".join(f"  {name:9} {layout.title}: {layout.expects}" for name, layout in LAYOUTS.items())
    parser = argparse.ArgumentParser(
        prog="python -m datasets.prepare",
        description=f"{(__doc__ or '').strip()}\n\n{RESEARCH_ONLY}",
        epilog=f"what SRC must hold:\n{folders}\n\ndocs/data.md says where they come from and what becomes of their labels.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("dataset", choices=LAYOUTS, help="which data set SRC is")
    parser.add_argument("src", type=Path, metavar="SRC", help="its folder, as downloaded and unpacked; is not changed")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the cohort; may hold others already"
    )
    parser.add_argument(
        "--no-copies",
        action="store_true",
        help="don't look for near-copies, which decodes every film once (some 20 ms each)",
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="threads that decode (default: all cores)"
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers must be 1 or more")

    try:
        policy = policy_of(vars(options))
    except WordsError as error:
        parser.error(str(error))
    try:
        workers = 0 if options.no_copies else options.workers
        _run(options.dataset, options.src, options.out, workers, policy, as_flags(vars(options)))
    except KeyboardInterrupt:  # also while torch is being imported
        sys.stderr.write("stopped; the same command goes on\n")
        raise SystemExit(130) from None


def _run(name: str, src: Path, out: Path, workers: int, policy: DicomPolicy, flags: str) -> None:
    """Prepare, look for copies with so many threads (0: not at all), and report; a user's mistake exits with 2.

    `flags` are those of the policy, for the next command.
    """
    from rich.console import Console

    from datasets.cohort.films import CohortError
    from datasets.prepare.cohort import alone, prepare, with_copies
    from datasets.prepare.layouts.film import LayoutError
    from datasets.prepare.report import report

    errors, copies = Console(stderr=True), None
    try:
        with alone(out):
            table, left_out, placing = prepare(name, src, out, policy)
            if workers:
                table, left_out, copies = with_copies(out, table, left_out, workers, errors, policy)
    except (LayoutError, CohortError, OSError) as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
    report(name, out, table, left_out, placing, copies, flags)


if __name__ == "__main__":
    main()
