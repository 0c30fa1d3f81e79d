"""Films set apart as external: those with certain values in a column, such as a source, a view or a manufacturer."""

from collections.abc import Sequence

import pandas as pd

from datasets.cohort.csv_table import NOT_KNOWN
from datasets.cohort.films import CohortError, age_bands
from datasets.cohort.source_names import with_one_spelling
from datasets.listed import named, quoted
from datasets.spelling import differing_letters, looks_like, spelling_key

NAMES = ("row", "path", "mask", "patient", "patient_id")  # columns that name single films or patients
NO_GROUPS = (*NAMES, "split", "label", "target", "target_name", "bias")
FEW_GROUPS = 5  # so many values may be of one patient each


def values_of(table: pd.DataFrame, column: str, known: Sequence[str] = ()) -> pd.Series:
    """The value of each film in one spelling, empty where it is unknown; `age_band` also follows from `age`.

    Args:
        known: spellings that win.

    Raises:
        CohortError: no such column, or one whose values are no groups of films.
    """
    if column == "age_band" and column not in table and "age" in table:
        return age_bands(table["age"])
    groups = sorted({*table.columns, *(["age_band"] if "age" in table else [])} - set(NO_GROUPS))
    if column not in groups:
        wrong = "its values are no groups of films" if column in NO_GROUPS else "there is no such column"
        raise CohortError(f"column {column}: {wrong}; choose from {', '.join(groups)}")
    values, _ = with_one_spelling(table[column].fillna("").astype(str), known)
    return values.mask(values.str.casefold().isin(NOT_KNOWN), "")


def require_groups(flag: str, column: str, values: pd.Series, patient: pd.Series) -> None:
    """Refuse a column whose values name films or patients: they are no groups, and a report would tell who is who.

    Raises:
        CohortError: the column is one of `NAMES`, or most of its values are of one patient each.
    """
    known = ~values.astype(str).str.casefold().isin(NOT_KNOWN).to_numpy()
    patients = patient[known].groupby(values[known].to_numpy()).nunique()
    if column in NAMES or (len(patients) > FEW_GROUPS and (patients == 1).mean() > 0.5):
        raise CohortError(
            f"{flag} {column}: its {len(patients)} values name single films or patients, not groups; name a column whose "
            "values many patients share, such as sex, view or age_band"
        )


def external_films(table: pd.DataFrame, column: str, names: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    """Which films have one of the values named, however spelled, and of which the value is unknown.

    Raises:
        CohortError: as `values_of`, or a value that no film has, or nothing but the values named.
    """
    values = values_of(table, column)
    key, wanted = values.map(spelling_key), {spelling_key(name): name for name in names}
    there = sorted(set(values) - {""})
    missing = sorted(wanted[name] for name in wanted.keys() - set(key))
    if missing:
        what = "comes from" if column == "source" else f"has {column}"
        whose = "sources" if column == "source" else "there"
        told = f"--external-sources: no film {what} {missing[0]!r}; {whose} are {named(there)}"
        alike = next((name for name in there if looks_like(name) == looks_like(missing[0])), None)
        hint = f". {alike!r} looks the same, but {differing_letters(missing[0], alike)}: copy it" if alike else ""
        raise CohortError(told + hint)
    if len(wanted) == len(there):
        what = "sources" if column == "source" else f"values of {column}"
        raise CohortError(
            f"--external-sources names all {len(there)} {what} ({', '.join(map(quoted, there))}): leave one or more to "
            "train on"
        )
    return key.isin(list(wanted)), values == ""
