"""NIH ChestX-ray14: Data_Entry_2017.csv with one row a film, PNG files in one folder or in images_001/ to images_012/.

Wang, Peng, Lu, Lu, Bagheri and Summers, ChestX-ray8, CVPR 2017. Licence by the NIH Clinical Center: no restrictions on
use, with a link to the download, the citation and the NIH Clinical Center named as the provider.
"""

from collections.abc import Iterator
from pathlib import Path

from datasets.prepare.layouts.film import (
    Film,
    LayoutError,
    LeftOut,
    age,
    by_name,
    column,
    lines,
    one_file,
    sex,
    table,
    text,
)

LICENCE = "NIH Clinical Center: no restrictions on use; link, citation and acknowledgement required"
SPLITS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def read(src: Path) -> Iterator[Film | LeftOut]:
    """The films, all frontal: No Finding is normal, any mention of Pneumonia pneumonia, all else other."""
    file = one_file(src, "Data_Entry_2017*.csv", "labels/Data_Entry_2017*.csv")
    if file is None:
        raise LayoutError("Data_Entry_2017.csv is missing")
    rows = table(file, ("Image Index", "Finding Labels", "Patient ID", "View Position"))
    places = by_name(
        src, [*src.glob("images*/*.png"), *src.glob("images*/images/*.png"), *src.glob("images/images_*/**/*.png")]
    )
    if not places:
        raise LayoutError("there is no PNG file below images/ or images_001/ to images_012/")
    split = _splits(file.parent)
    columns = ("Image Index", "Finding Labels", "Patient ID", "View Position")
    genders, ages = column(rows, "Patient Gender", "Patient Sex"), column(rows, "Patient Age")
    fields = zip(*(rows[name] for name in columns), genders, ages, strict=True)
    for number, (name, finding, patient, view, gender, years) in enumerate(fields):
        origin, place = f"{file.name} line {number + 2}", places.get(name, f"images/{name}")
        if not name:
            yield LeftOut("", origin, "no file is named")
        elif not patient:
            yield LeftOut(place, origin, "no patient is named")
        elif not finding:
            yield LeftOut(place, origin, "finding not filled in")
        elif view.upper() not in ("PA", "AP"):
            yield LeftOut(place, origin, f"view {text(view)}" if view else "view not stated")
        else:
            findings = finding.split("|")
            label = "normal" if findings == ["No Finding"] else "pneumonia" if "Pneumonia" in findings else "other"
            yield Film(
                place,
                label,
                "nih",
                f"nih_{text(patient.lstrip('0'))}",
                origin,
                view=view.upper(),
                sex=sex(gender),
                age=age(years),
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
        for name in lines(folder / file)
    }
