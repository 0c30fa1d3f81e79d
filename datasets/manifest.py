"""A cohort as a list that may be published: which film is in which split, where it came from, and no image.

python -m datasets.manifest --data-dir data/covid-cxr --external-sources eurorad --output manifest.csv
"""

import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.files import PlaceError, require_new_file, write_aside
from datasets.help_text import HelpFormatter, SentenceParser
from datasets.listed import split_names
from datasets.seed import seed_number

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("source", "label", "patient", "split", "url", "sha1")


def manifest(data_dir: Path, external_sources: tuple[str, ...] = (), split_seed: int = 0) -> "pd.DataFrame":
    """Source, label, patient (as metadata.csv has it), split, url (or empty) and SHA-1 of each usable film's file.

    The same cohort, sources and split seed give the same splits as in training.
    """
    # Imported here, so that --help and mistakes answer at once.
    from datasets.covid import load_covid
    from datasets.film.preprocessing import Preprocessing

    table = load_covid(data_dir, Preprocessing(32), external_sources=external_sources, split_seed=split_seed).table
    table["sha1"] = [hashlib.sha1((data_dir / path).read_bytes()).hexdigest() for path in table["path"]]
    if "url" not in table:
        table["url"] = ""
    return table[list(COLUMNS)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the manifest that the command line asks for."""
    parser = SentenceParser(
        prog="python -m datasets.manifest", description=__doc__, formatter_class=HelpFormatter,
        epilog="For research; not a medical device.",
    )  # fmt: skip
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with metadata.csv")
    parser.add_argument("--external-sources", default="", help="as training.train takes them")
    parser.add_argument("--split-seed", type=seed_number, default=0, help="seed of the split")
    parser.add_argument("--output", type=Path, required=True, help="CSV file to write")
    options = parser.parse_args(arguments)
    if options.output.resolve() == (options.data_dir / "metadata.csv").resolve():
        parser.error(
            f"--output {options.output}: this is the cohort's own table, which would be lost; name another file"
        )
    from datasets.cohort.films import CohortError

    sources = split_names(options.external_sources)
    try:
        require_new_file(options.output, "--output", ",".join(COLUMNS).encode(), "manifest")
        table = manifest(options.data_dir, sources, options.split_seed)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_aside(options.output, partial(table.to_csv, index=False))
    except (CohortError, PlaceError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was written\n")
        raise SystemExit(130) from None
    sys.stdout.write(f"wrote {len(table)} films to {options.output}\n")


if __name__ == "__main__":
    main()
