"""Columns whose values are groups of films."""

import pandas as pd
import pytest

from datasets.cohort.external import require_groups
from datasets.cohort.films import CohortError


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("patient_id", ["a", "a", "b", "b"]),
        ("path", ["a"]),
        ("mrn", [f"m{i}" for i in range(40)]),
        ("name", [f"m{i // 3}" for i in range(36)]),
        ("accession", [f"m{i}" for i in range(40)] + ["unknown"] * 20),
    ],
)
def test_a_column_that_names_films_or_patients_is_refused(column: str, values: list[str]) -> None:
    patients = range(len(values)) if column != "name" else [i // 3 for i in range(len(values))]
    with pytest.raises(CohortError, match=f"--by {column}: its .* values name single films or patients"):
        require_groups("--by", column, pd.Series(values), pd.Series(patients))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("sex", ["F", "M"] * 20),
        ("ward", [f"w{i}" for i in range(5)]),  # few films have few groups
        ("age", [str(20 + i % 60) for i in range(200)]),
        ("note", [""] * 50 + ["-"] * 50),
    ],
)
def test_a_column_of_groups_passes(column: str, values: list[str]) -> None:
    patients = range(len(values))
    require_groups("--by", column, pd.Series(values), pd.Series(patients))
