"""What the evaluation of a folder refuses, with a sentence for the user, before any file is read."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets.cohort.external import require_groups
from datasets.cohort.label_table import Labels
from datasets.film.folder import Folder, LocalFolder
from datasets.film.linkage import require_place
from datasets.sample import DatasetInfo
from training.bias.evidence import UNSEEN
from training.bias.report.audit import columns_of
from training.bias.report.gate import Condition, require_measurable
from training.folder.dicom_derived import require_highdicom
from training.folder.merge import NAMED, source_names
from training.scoring.subjects import EvaluationError, Subject


def check_options(options: argparse.Namespace, subjects: list[Subject], folder: Folder) -> None:
    """Refuse options that don't go together, with these runs or with this folder."""
    objects = options.sr is not None or options.saliency is not None  # of DICOM
    if options.site_calibration and options.source_tag in NAMED:
        raise EvaluationError(
            f"--site-calibration with --source-tag {options.source_tag}: a folder's {options.source_tag}s are letters by "
            "their number of films, which another folder gives to others. Make a cohort of it (python -m datasets.prepare "
            "dicom) and give that as --data-dir, or name a column of the labels as --source-tag"
        )
    if options.site_calibration and (objects or options.aggregate):
        raise EvaluationError(
            "--site-calibration does not go with --sr, --saliency or --aggregate: they have one threshold"
        )
    for subject in subjects:
        if subject.predictor.info.name == "biased-mnist":
            raise EvaluationError(f"{subject.name} is a model of digits: it can't score chest radiographs")
        if objects and subject.predictor.info.positive is None:
            raise EvaluationError(f"{subject.name} has no positive class, so there is no score for --sr and --saliency")
    shards = Path(options.shards) if options.shards and "://" not in options.shards else None
    for place in (options.output, options.sr, options.saliency, options.linkage, shards):
        if isinstance(folder, LocalFolder) and place is not None and place.resolve().is_relative_to(folder.root):
            raise EvaluationError(f"{place} lies in the folder that is read: write the results elsewhere")
    if options.linkage is not None:
        require_place(options.linkage)
    if objects:
        require_highdicom()
    if options.fail_on and options.labels is None:
        raise EvaluationError("--fail-on needs --labels: without them nothing is measured that could fail")


def check_names(
    options: argparse.Namespace, labels: Labels | None, infos: Sequence[DatasetInfo], conditions: Sequence[Condition]
) -> None:
    """Refuse a source, a grouping or a condition on what no film has, with the names there are.

    Args:
        infos: what the runs were trained on.
    """
    known = source_names(labels)
    for flag, name in [("--source-tag", options.source_tag), *(("--by", name) for name in columns_of(options.by))]:
        if name not in known:
            names = ", ".join(known)
            raise EvaluationError(f"{flag} {name}: nothing of that name is kept of a film; choose from {names}")
        if flag == "--by" and labels is not None and name in labels.table:
            films = labels.table.index.to_series()  # whose they are is not known yet
            require_groups(flag, name, labels.table[name], films)
    if options.by and labels is None:
        raise EvaluationError("--by groups what is measured against labels: give --labels")
    columns = ("split", "source", "target", *known)
    require_measurable(conditions, infos, columns, options.by, UNSEEN, options.shortcuts)
