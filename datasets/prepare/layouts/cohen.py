"""COVID-19 image data collection: metadata.csv with one row an image, from publications and teaching files.

Findings are a path ("Pneumonia/Viral/COVID-19") in later versions and words ("COVID-19, ARDS") in earlier ones. The source is
who published the film, by the host of its url: radiopaedia, eurorad, sirm, hannover (the collection holds films of that
repository), figure1, all scholarly articles as `journals`, else the host itself.

Cohen, Morrison, Dao, Roth, Duong and Ghassemi, COVID-19 Image Data Collection: Prospective Predictions Are the Future,
arXiv:2006.11988, 2020. Licences are the collection's own, a column with one for each image, mostly empty.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts.film import (
    Film,
    LayoutError,
    LeftOut,
    age,
    known_view,
    records,
    sex,
    table,
    text,
    view_problem,
)

PUBLISHERS = ("radiopaedia", "eurorad", "sirm", "figure1")
HANNOVER = "ml-workgroup/covid-19-image-repository"
NOT_SAID = ("", "todo", "unknown")
# Of the version with words in place of paths.
PNEUMONIAS = frozenset(
    """
    aspiration aspergillosis bacterial chlamydophila e.coli fungal h1n1 herpes influenza klebsiella legionella lipoid mers
    mers-cov mrsa mycoplasma nocardia pneumocystis pneumonia sars staphylococcus streptococcus varicella viral
    """.split()  # noqa: SIM905
)


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films of the collection; lateral views, CT and findings that are not filled in are left out."""
    rows = table(src / "metadata.csv", ("patientid", "finding", "view", "filename"))
    if "path" in rows and "label" in rows:
        raise LayoutError(f"{src / 'metadata.csv'} is a cohort's table already, not the collection's")
    for line, row in records(rows):
        path, origin = f"{row['folder'] or 'images'}/{row['filename']}", f"metadata.csv line {line}"
        if not row["filename"]:
            yield LeftOut(path, origin, "no file is named")
        elif row["modality"].upper() == "CT" or row["view"].upper() in ("AXIAL", "CORONAL", "SAGITTAL"):
            yield LeftOut(path, origin, "CT, not a radiograph")
        elif problem := view_problem(row["view"], policy):
            yield LeftOut(path, origin, problem)
        elif (label := _label(row["finding"])) is None:
            yield LeftOut(path, origin, "finding not filled in")
        elif not row["patientid"]:
            yield LeftOut(path, origin, "no patient is named")
        else:
            yield Film(
                path,
                label,
                _source(row["url"], row["doi"]),
                f"cohen_{text(row['patientid']).removesuffix('.0')}",  # of a table that went through pandas
                origin,
                **known_view(row["view"], policy),
                sex=sex(row["sex"]),
                age=age(row["age"]),
                licence=text(row["license"]) or "unknown",
                finding=text(row["finding"]),
                location=text(row["location"]),
                url=text(row["url"]),
            )


def _label(finding: str) -> str | None:
    """The label of a finding; None where it is not filled in."""
    words = finding.strip().lower()
    if words in NOT_SAID:
        return None
    if words == "no finding":
        return "normal"
    parts = set(re.split(r"[/,\s]+", words))
    if "covid-19" in parts:
        return "covid"
    return "pneumonia" if parts & PNEUMONIAS else "other"


def _source(url: str, doi: str) -> str:
    """Who published the film."""
    try:
        host = (urlsplit(url.strip().lower()).hostname or "").removeprefix("www.")
    except ValueError:  # brackets that are no address
        host = ""
    if HANNOVER in url.lower():
        return "hannover"
    for name in PUBLISHERS:
        if name in host.split("."):
            return name
    if doi:
        return "journals"
    return host if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host) else "cohen (unstated)"
