"""Fit a temperature and a threshold for each site on its labelled films: `python -m training.calibrate RUN --data-dir DIR`.

What a hospital does in the week after installing a model. They are written beside the checkpoint (site_calibration.json),
which stays as it is; `training.evaluate --site-calibration` and the app read films with them. A site of fewer than ten
patients of either class keeps the model's own. The table says what they change on films that they were not fitted on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.cohort.label_words import LabelWordsError, add_map_arguments, label_map
from datasets.film.admission import add_arguments, policy_of
from datasets.film.words import WordsError
from datasets.seed import seed_number
from training.console.commandline import RESAMPLES, Parser
from training.console.messages import mistakes_as_sentences


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(
        prog="python -m training.calibrate",
        description=__doc__,
        epilog="For research; not a medical device. Scores are model scores, not diagnoses.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="run folder of a model of two classes")
    cohort = "cohort with metadata.csv; with --dicom-dir where it goes (default: cohorts/SRC-calibration beside RUN)"
    add("--data-dir", type=Path, metavar="DIR", help=cohort)
    add("--dicom-dir", type=Path, metavar="SRC", help="folder of DICOM films, made into a cohort first")
    add("--labels", type=Path, metavar="FILE", help="its labels: label, and sop_instance_uid, file or accession_number")
    tag = "what a site is: institution (default), station, manufacturer, model, detector or a column of the labels"
    add("--source-tag", metavar="NAME", help=tag)
    add(
        "--by",
        choices=("source",),
        default="source",
        help="column of metadata.csv that names the site (default: source)",
    )
    split = "splits of the run's own films, where DIR is the folder that it was trained on (default: %(default)s)"
    add("--split", default="validation", help=split)
    point = "where thresholds lie: youden, sensitivity:0.9 or specificity:0.9 (default: that of the run's training)"
    add("--operating-point", metavar="POINT", help=point)
    add("--resamples", type=int, default=500, help="of each bootstrap over patients (default: 500)")
    add("--seed", type=seed_number, default=0, help="of resampling and folds (default: 0)")
    add("--device", default="auto", help="cuda, cpu or auto")
    known = "use films of which it can't be told whether RUN was trained on them; for who knows that it was not"
    add("--allow-training-films", action="store_true", help=known)
    add_map_arguments(parser)
    add_arguments(parser)
    options = parser.parse_strictly(arguments)
    if options.dicom_dir is None:
        if alone := [name for name in ("labels", "source_tag") if getattr(options, name) is not None]:
            parser.error(f"--{alone[0].replace('_', '-')} belongs to --dicom-dir")
    elif options.labels is None:
        parser.error("--dicom-dir needs --labels FILE: without labels nothing can be fitted")
    if options.resamples not in RESAMPLES:
        parser.error(f"--resamples {options.resamples}: {RESAMPLES.words}")
    try:
        policy_of(vars(options))
        label_map(options.map, options.map_file)
    except (WordsError, LabelWordsError) as error:
        parser.error(str(error))
    return options


def main(arguments: Sequence[str]) -> None:
    """Fit, write site_calibration.json, print what changes."""
    options = read_arguments(arguments)
    with mistakes_as_sentences("interrupted; nothing was written"):
        # Imported here, so that --help and mistakes answer at once.
        from training.calibrate.fitting import calibrate

        calibrate(options)


if __name__ == "__main__":
    main(sys.argv[1:])
