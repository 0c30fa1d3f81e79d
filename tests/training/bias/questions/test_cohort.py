"""Who the audited patients are: counts by source and label, and what a source of one label can't tell."""

import pandas as pd
import pytest

from training.bias.questions.cohort import cohort_table, what_sources_cannot_tell


def films(*groups: tuple[str, str, int, int], **columns: list) -> pd.DataFrame:
    """Films of (source, label, patients, films a patient)."""
    rows = [
        {"source": source, "target": label, "patient": f"{source}{label}{patient}", "split": "test"}
        for source, label, patients, each in groups
        for patient in range(patients)
        for _ in range(each)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_patients_are_counted_by_source_and_label() -> None:
    table = films(("a", "ill", 120, 1), ("a", "well", 100, 2), ("b", "ill", 12, 1), ("b", "well", 11, 1))
    table["sex"] = ["F"] * 120 + [None] * 200 + ["M"] * 23
    table.loc[table["source"] == "b", "split"] = "external"
    rows = cohort_table(table).set_index("source")
    assert rows.loc["a", ["films", "patients", "patients, ill", "patients, well"]].tolist() == [320, 220, 120, 100]
    assert rows["adequacy"].tolist() == ["enough", "enough", "rough"]
    assert rows["never_seen"].tolist() == [False, False, True]
    assert rows.loc["a", "sex"] == "not recorded 62 %, F 38 %" and rows.loc["b", "sex"] == "M 100 %"
    assert "view" not in rows and what_sources_cannot_tell(cohort_table(table)) == ""


def test_one_patient_with_many_films_is_not_many_patients() -> None:
    table = films(("a", "ill", 9, 1), ("a", "well", 30, 1))
    table = pd.concat([table, films(("a", "ill", 1, 90))], ignore_index=True)
    row = cohort_table(table).iloc[1]
    assert row["patients, ill"] < 10 and row["adequacy"] == "too few"


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"a": "both", "b": "both"}, ""),
        ({"a": "both", "b": "ill"}, "Only a has 10 patients of each label; at b source and label can't be told apart."),
        ({"a": "both", "b": "few", "c": "both"}, "Only a and c have 10 patients of each label; at b source"),
        ({"a": "well", "b": "ill"}, "No source has 10 patients of each label"),
        ({"a": "both"} | {f"s{i}": "ill" for i in range(11)}, " and 3 others source"),
    ],
)
def test_sources_of_one_label_are_named_once(labels: dict[str, str], sentence: str) -> None:
    groups = []
    for source, label in labels.items():
        groups += [
            (source, one, 5 if label == "few" else 10, 1) for one in ("ill", "well") if label in (one, "both", "few")
        ]
    told = what_sources_cannot_tell(cohort_table(films(*groups)))
    assert sentence in told and bool(told) == bool(sentence)
