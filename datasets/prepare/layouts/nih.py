"""NIH ChestX-ray14: Data_Entry_2017.csv with one row a film, PNG files in one folder or in images_001/ to images_012/.

Wang, Peng, Lu, Lu, Bagheri and Summers, ChestX-ray8, CVPR 2017. Licence by the NIH Clinical Center: no restrictions on
use, with a link to the download, the citation and the NIH Clinical Center named as the provider.
"""

from collections.abc import Iterator
from pathlib import Path

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts import film
from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, text

LICENCE = "NIH Clinical Center: no restrictions on use; link, citation and acknowledgement required"
SPLITS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films, all frontal: No Finding is normal, any mention of Pneumonia pneumonia, all else other."""
    file = film.one_file(src, "Data_Entry_2017*.csv", "labels/Data_Entry_2017*.csv")
    if file is None:
        raise LayoutError("Data_Entry_2017.csv is missing")
    rows = film.table(file, ("Image Index", "Finding Labels", "Patient ID", "View Position"))
    patterns = ("images*/*.png", "images*/images/*.png", "images/images_*/**/*.png")
    places = film.by_name(src, (image for pattern in patterns for image in src.glob(pattern)))
    if not places:
        raise LayoutError("there is no PNG file below images/ or images_001/ to images_012/")
    split = _splits(file.parent)
    for line, row in film.records(rows):
        name, finding, patient, view = (
            row["Image Index"],
            row["Finding Labels"],
            row["Patient ID"],
            row["View Position"],
        )
        origin, place = f"{file.name} line {line}", places.get(name, f"images/{name}")
        if not name:
            yield LeftOut("", origin, "no file is named")
        elif not patient:
            yield LeftOut(place, origin, "no patient is named")
        elif not finding:
            yield LeftOut(place, origin, "finding not filled in")
        elif problem := film.view_problem(view, policy):
            yield LeftOut(place, origin, problem)
        else:
            findings = finding.split("|")
            label = "normal" if findings == ["No Finding"] else "pneumonia" if "Pneumonia" in findings else "other"
            yield Film(
                place,
                label,
                "nih",
                f"nih_{text(patient.lstrip('0'))}",
                origin,
                **film.known_view(view, policy),
                sex=film.sex(row["Patient Gender"] or row["Patient Sex"]),
                age=film.age(row["Patient Age"]),
                licence=LICENCE,
                finding=text(finding),
                original_split=split.get(name, ""),
            )


def _splits(folder: Path) -> dict[str, str]:
    """The official split by file name, from the two lists where they are there."""
    return {
        name.strip(): split
        for file, split in SPLITS.items()
        if (folder / file).is_file()
        for name in film.lines(folder / file)
    }
