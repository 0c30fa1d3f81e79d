"""COVID-19 image repository of Hannover Medical School: data.csv with one row a film, and png/<image_id>.png.

Winther et al., COVID-19 Image Repository, figshare, 2020, doi 10.6084/m9.figshare.12275009. Licence by its readme: "Creative
Commons Attribution 3.0 Unported".
"""

from collections.abc import Iterator
from pathlib import Path

from datasets.prepare.layouts.film import Film, LayoutError, LeftOut, age, column, sex, table, text


def read(src: Path) -> Iterator[Film | LeftOut]:
    """The films of the repository, all of patients with COVID-19."""
    file = src / "data.csv"
    if not file.is_file():
        raise LayoutError("data.csv is missing")
    rows = table(file, ("patient_id", "image_id", "projection"))
    columns = ("patient_id", "image_id", "projection", "modality", "sex", "age")
    for number, (patient, image, view, modality, gender, years) in enumerate(
        zip(*(column(rows, name) for name in columns), strict=True)
    ):
        path, origin, view = f"png/{image}.png", f"data.csv line {number + 2}", view.upper()
        if not image:
            yield LeftOut("", origin, "no file is named")
        elif modality.upper() == "CT":
            yield LeftOut(path, origin, "CT, not a radiograph")
        elif view not in ("AP", "PA"):
            lateral = view.startswith("L")
            yield LeftOut(
                path, origin, "lateral view" if lateral else f"view {text(view)}" if view else "view not stated"
            )
        elif not patient:
            yield LeftOut(path, origin, "no patient is named")
        else:
            yield Film(
                path,
                "covid",
                "hannover",
                f"hannover_{text(patient)}",
                origin,
                view=view,
                sex=sex(gender),
                age=age(years),
                licence="CC BY 3.0",
                finding="COVID-19",
                location="Hannover Medical School",
            )
