import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from datasets.cohort.splits import drawn_by_patient, patients_in_two_splits, split_by_patient, stratified_folds


def films(patients: int, most: int, sources: int, seed: int, one_source: bool = True) -> pd.DataFrame:
    """A random table whose patients have 1 to `most` films, of one label each and of one source or of any."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    source = rng.integers(0, sources, patients)[of] if one_source else rng.integers(0, sources, len(of))
    label = rng.choice(["covid", "normal"], patients)[of]
    table = pd.DataFrame({"label": label, "source": [f"s{i}" for i in source], "patient": [f"p{i}" for i in of]})
    return table.sample(frac=1, random_state=seed)  # an index that is not 0, 1, ...


def split(table: pd.DataFrame, seed: int = 0, **options: object) -> pd.Series:
    return split_by_patient(table["label"], table["source"], table["patient"], seed, **options)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(
    patients=st.integers(1, 80),
    most=st.integers(1, 5),
    sources=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    external=st.booleans(),
)
def test_no_patient_is_in_two_splits(patients: int, most: int, sources: int, seed: int, external: bool) -> None:
    table = films(patients, most, sources, seed, one_source=False)
    outside = table["source"].isin(["s0"] if external else [])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = split(table, seed, outside=outside)
    assert found.index.equals(table.index)
    assert set(found) <= {"train", "validation", "test", "external", ""}
    assert (found.groupby(table["patient"]).agg(lambda parts: len(set(parts) - {""})) <= 1).all()
    assert ((found == "external") == outside).all()
    abroad = set(table["patient"][outside])
    assert ((found == "") == (table["patient"].isin(abroad) & ~outside)).all()
    inside = table["patient"][~found.isin(["", "external"])].nunique()
    expected = {"train", "validation", "test"} if inside >= 3 else {"train"} if inside else set()
    assert set(found) - {"", "external"} == expected


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_near_what_they_should_be(seed: int) -> None:
    shares = split(films(400, 3, 3, seed), seed).value_counts(normalize=True)
    assert shares["validation"] == pytest.approx(0.15, abs=0.02)
    assert shares["test"] == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("patients", [24, 42, 60, 300])
def test_each_cell_has_its_share_of_each_split(patients: int) -> None:
    table = pd.DataFrame(
        {
            "label": ["covid", "normal", "normal"] * (patients // 3),
            "source": ["north", "north", "south"] * (patients // 3),
            "patient": [f"p{i}" for i in range(patients)],
        }
    )
    shares = {"test": 0.2, "validation": 0.2 if patients < 40 else 0.15}
    for seed in range(5):
        found = split(table, seed)
        for part, share in shares.items():
            for _, cell in table.groupby(["label", "source"]):
                assert (found[cell.index] == part).sum() == pytest.approx(share * patients / 3, abs=2)
            # for the smallest tables, too, both labels are everywhere
            assert set(table["label"][found == part]) == {"covid", "normal"}


def test_seed_decides_and_nothing_else() -> None:
    table = films(100, 3, 3, 0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = split(table, 1), split(table, 1), split(table, 2)
    assert first.equals(again)
    assert not first.equals(other)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_one_patient_with_most_films_is_still_in_one_part() -> None:
    table = films(30, 2, 2, 0)
    table.loc[table.index[:25], "patient"] = "many"
    assert split(table)[table["patient"] == "many"].nunique() == 1


def test_names_of_cells_are_not_confused() -> None:
    """ab + c and a + bc are two cells."""
    table = pd.DataFrame({"label": ["ab", "a"] * 100, "source": ["c", "bc"] * 100, "patient": range(200)})
    table["patient"] = table["patient"].astype(str)
    assert (split(table)[table["label"] == "a"] == "test").sum() == 20


@settings(deadline=None, max_examples=40)
@given(
    patients=st.integers(1, 80),
    sources=st.integers(1, 4),
    share=st.floats(0.05, 1),
    seed=st.integers(0, 2**32 - 1),
    one_source=st.booleans(),
)
def test_a_draw_keeps_patients_whole_and_every_cell(
    patients: int, sources: int, share: float, seed: int, one_source: bool
) -> None:
    table = films(patients, 4, sources, seed, one_source)
    cells = table["label"] + table["source"]
    drawn = drawn_by_patient(cells, table["patient"], share, seed)
    assert (pd.Series(drawn, table.index).groupby(table["patient"]).nunique() == 1).all()
    assert set(cells[drawn]) == set(cells)
    if one_source:  # a patient has one cell: of each cell, the share of its patients
        for _, cell in table.assign(drawn=drawn).groupby(cells):
            members = cell.groupby("patient")["drawn"].first()
            assert members.sum() == max(1, round(share * len(members)))


def test_a_draw_is_decided_by_the_seed_and_not_by_the_order_of_films() -> None:
    table = films(100, 3, 2, 0)
    mixed = table.sample(frac=1, random_state=1)

    def patients(rows: pd.DataFrame, seed: int) -> set[str]:
        return set(rows["patient"][drawn_by_patient(rows["label"] + rows["source"], rows["patient"], 0.8, seed)])

    assert patients(table, 1) == patients(mixed, 1) != patients(table, 2)
    assert len(patients(table, 1) - patients(table, 2)) > 5
    assert patients(table.iloc[:0], 1) == set()


def test_patients_in_two_splits() -> None:
    patient = pd.Series(["b", "b", "a", "a", "c"])
    assert patients_in_two_splits(patient, pd.Series(["train", "test", "test", "train", "test"])) == ["a", "b"]
    assert patients_in_two_splits(patient, pd.Series(["train", "train", "test", "test", "test"])) == []


@pytest.mark.trains
@settings(deadline=None, max_examples=60)
@given(
    patients=st.integers(3, 150),
    most=st.integers(1, 5),
    cells=st.integers(1, 12),
    folds=st.integers(2, 20),
    seed=st.integers(0, 2**32 - 1),
    one_cell=st.booleans(),
)
def test_folds_are_those_of_scikit_learn(
    patients: int, most: int, cells: int, folds: int, seed: int, one_cell: bool
) -> None:
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    cell = (rng.integers(0, cells, patients)[of] if one_cell else rng.integers(0, cells, len(of))).astype(str)
    folds = min(folds, patients, int(np.unique(cell, return_counts=True)[1].max()))
    assume(folds >= 2)
    expected = np.empty(len(of), dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small cells
        cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        for number, (_, members) in enumerate(cutter.split(cell, cell, of)):
            expected[members] = number
    assert (stratified_folds(cell, of, folds, seed) == expected).all()
