"""COVID-19 image repository of Hannover Medical School: data.csv with one row a film, and png/<image_id>.png.

Winther et al., COVID-19 Image Repository, figshare, 2020, doi 10.6084/m9.figshare.12275009. Licence by its readme: "Creative
Commons Attribution 3.0 Unported".
"""

from collections.abc import Iterator
from pathlib import Path

from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.prepare.layouts.film import Film, LeftOut, age, known_view, records, sex, table, text, view_problem


def read(src: Path, policy: DicomPolicy = DEFAULT) -> Iterator[Film | LeftOut]:
    """The films of the repository, all of patients with COVID-19."""
    for line, row in records(table(src / "data.csv", ("patient_id", "image_id", "projection"))):
        path, origin, view = f"png/{row['image_id']}.png", f"data.csv line {line}", row["projection"]
        if not row["image_id"]:
            yield LeftOut("", origin, "no file is named")
        elif row["modality"].upper() == "CT":
            yield LeftOut(path, origin, "CT, not a radiograph")
        elif problem := view_problem(view, policy):
            yield LeftOut(path, origin, problem)
        elif not row["patient_id"]:
            yield LeftOut(path, origin, "no patient is named")
        else:
            yield Film(
                path,
                "covid",
                "hannover",
                f"hannover_{text(row['patient_id'])}",
                origin,
                **known_view(view, policy),
                sex=sex(row["sex"]),
                age=age(row["age"]),
                licence="CC BY 3.0",
                finding="COVID-19",
                location="Hannover Medical School",
            )
