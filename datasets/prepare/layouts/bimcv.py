"""BIMCV-COVID19+ and BIMCV-COVID19-: sub-*/ses-*/mod-rx/*.png, DICOM attributes beside each as JSON, labels as TSV.

A set is the positive or the negative one, told apart by its table of labels. All patients of the positive set had a positive
test, so all its films are covid. Films of the negative set are labelled by the words of their report.

De la Iglesia Vayá et al., BIMCV COVID-19+, arXiv:2006.01174, 2020. Licence by its LICENSE.md: a research use agreement
that permits research alone, and neither redistribution nor sale.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from datasets.covid import resolved
from datasets.film.facts import film_facts
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.words import body_part_of
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, known_view, one_file, table, text, view_problem
from datasets.prepare.layouts.sidecar import Sidecar

LICENCE = "BIMCV-COVID19 research use agreement: research only, no redistribution"
ENTITY = re.compile(r"_(bp|vp)-([a-z0-9]+)")
IMAGES = (".png", ".nii", ".gz", ".dcm")


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films of one set, or of all sets that lie below `src`, each in a folder of its own.

    CT, lateral views and, in a negative set, reports without a label are left out.
    """
    below = [folder for folder in sorted(src.iterdir()) if (folder / "derivatives").is_dir()]
    for root in [src] if (src / "derivatives").is_dir() else below or [src]:
        yield from _read_set(src, root, policy)


def _read_set(src: Path, root: Path, policy: DicomPolicy) -> Iterator[Film | LeftOut]:
    """The films of one set."""
    file = one_file(root, "derivatives/labels/[Ll]abels*.tsv")
    if file is None:
        raise LayoutError("there is no table derivatives/labels/labels*.tsv")
    negative = "neg" in file.name.lower()
    rows = table(file, ("PatientID", "ReportID", "Labels"), "\t")
    reports = {
        (patient, report): _words(labels)
        for patient, report, labels in zip(rows["PatientID"], rows["ReportID"], rows["Labels"], strict=True)
    }
    empty = True
    for image in sorted(root.glob("sub-*/ses-*/*/*")):
        if image.suffix.lower() in IMAGES:
            empty = False
            yield _film(src, image.relative_to(src), reports, negative, policy)
    if empty:
        raise LayoutError("there is no image in sub-*/ses-*/mod-rx/")


def _film(
    src: Path, image: Path, reports: dict[tuple[str, str], list[str]], negative: bool, policy: DicomPolicy
) -> Film | LeftOut:
    """One image."""
    path, (subject, session, folder) = image.as_posix(), image.parts[-4:-1]
    entities = dict(ENTITY.findall(image.name.lower()))
    view, words = entities.get("vp", "").upper(), reports.get((subject, session), [])
    if folder != "mod-rx" or image.suffix.lower() != ".png":
        return LeftOut(path, path, "CT, not a radiograph")
    if (body_part_of(entities.get("bp", ""), policy.body_part_words) or "UNKNOWN") not in policy.body_parts:
        return LeftOut(path, path, "another part of the body")
    if problem := view_problem(view, policy):
        return LeftOut(path, path, problem)
    label = _label(words) if negative else "covid"
    if label is None:
        covid = any(word.startswith("covid") for word in words)
        return LeftOut(path, path, "negative set, but its report has COVID-19" if covid else "report without a label")
    sidecar = image.with_suffix(".json").as_posix()
    place = resolved(src.resolve(), sidecar)
    attributes = Sidecar.read(place) if place is not None and place.is_relative_to(src.resolve()) else None
    if attributes is None or attributes.polarity is None:
        return LeftOut(path, path, "no JSON file that says what its greys are")
    facts = film_facts(attributes, policy)
    if facts["view_position"] not in policy.views:
        return LeftOut(path, path, view_problem(str(facts["view_position"]), policy))
    if facts["body_part"] not in policy.body_parts:
        return LeftOut(path, path, "another part of the body")
    return Film(
        path,
        label,
        "bimcv",
        f"bimcv_{text(subject)}",
        path,
        **known_view(view, policy),
        sex=str(facts["sex"] or "").replace("O", ""),
        age=str(facts["age_band"] or ""),
        licence=LICENCE,
        finding=text("|".join(words)),
        manufacturer=text(str(facts["manufacturer"] or "")),
        sidecar=sidecar,
    )


def _words(labels: str) -> list[str]:
    """The labels of a report: a list as Python writes it, with commas or tabs between, or none."""
    quoted = [first or second for first, second in re.findall(r"'([^']*)'|\"([^\"]*)\"", labels)]
    words = quoted or re.split(r"[,\t]", labels.strip("[] "))
    return [word.strip().lower() for word in words if word.strip()]


def _label(words: list[str]) -> str | None:
    """The label of a film of the negative set; None where its report has none, or COVID-19 all the same."""
    known = [word for word in words if word not in ("unchanged", "exclude", "suboptimal study")]
    if not known or any(word.startswith("covid") for word in known):
        return None
    if any(word.endswith("pneumonia") for word in known):
        return "pneumonia"
    return "normal" if known == ["normal"] else "other"
