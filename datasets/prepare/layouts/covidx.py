"""COVIDx of COVID-Net: lists of "patient file class source", a folder with the images of each list.

Wang, Lin and Wong, COVID-Net, Scientific Reports 10, 2020; Wu et al., COVIDx CXR-4, arXiv:2311.17677. The films are those
of other collections, whose licences hold; where this project could not see one stated it is unknown.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts.bimcv import LICENCE as BIMCV
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, lines, one_file, text
from datasets.prepare.layouts.rsna import LICENCE as RSNA

SPLITS = {"train": "train", "val": "validation", "test": "test"}
LABELS = {"covid-19": "covid", "positive": "covid", "pneumonia": "pneumonia", "normal": "normal", "negative": "other"}
SOURCES = {"fig1": "figure1"}
LICENCES = {"rsna": RSNA, "bimcv": BIMCV, "fig1": "none stated (for research purposes only)"}
ABDOMEN = re.compile(r"ABD(OMEN|_)", re.IGNORECASE)  # of Stony Brook, whose file names hold the examination


def read(src: Path, _: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films of all lists, which state no view; the list that a film is on becomes `original_split`."""
    lists = {
        folder: file
        for folder in SPLITS
        if (file := one_file(src, f"{folder}.txt", f"{folder}_*.txt", f"labels/{folder}.txt", f"labels/{folder}_*.txt"))
    }
    if not lists:
        raise LayoutError("there is no train.txt, val.txt or test.txt")
    for folder, file in lists.items():
        if not (src / folder).is_dir():
            raise LayoutError(f"{file.name} is there, but the folder {folder}/ with its images is missing")
        for number, line in enumerate(lines(file), start=1):
            if line.strip():
                yield _film(folder, line.split(), f"{file.relative_to(src).as_posix()} line {number}")


def _film(folder: str, words: list[str], origin: str) -> Film | LeftOut:
    """One line; only the patient may have blanks ("COVID 1")."""
    # The lists up to COVIDx5 name no source.
    sourced = len(words) >= 4 and words[-1].lower() not in LABELS
    if len(words) < 3:
        return LeftOut("", origin, "a line with fewer than three words")
    name, finding, source = words[-3:] if sourced else (*words[-2:], "")
    patient, source, path = " ".join(words[: -3 if sourced else -2]), source.lower(), f"{folder}/{name}"
    label = LABELS.get(finding.lower())
    if label is None:
        return LeftOut(path, origin, f"class {text(finding)}")
    if source == "stonybrook" and ABDOMEN.search(name):
        return LeftOut(path, origin, "another part of the body")
    collection = text(SOURCES.get(source, source)) or "covidx (unstated)"
    return Film(
        path,
        label,
        _site(collection, patient),
        f"{collection}_{text(patient)}" if source else f"covidx_{text(patient)}",
        origin,
        licence=LICENCES.get(source, "unknown"),
        finding=text(finding),
        original_split=SPLITS[folder],
    )


def _site(collection: str, patient: str) -> str:
    """RICORD's patients are numbered by hospital: 419639-000025, SITE2-000014."""
    site = re.fullmatch(r"([0-9A-Za-z]+)-\d+", patient)
    return f"ricord-{site[1]}" if collection == "ricord" and site else collection
