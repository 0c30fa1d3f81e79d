"""Who trains under which signature: exactly rho, one site and one split a patient, and a test that shows everything."""

import numpy as np
import pandas as pd
import pytest

from datasets.cohort.films import Cohort
from datasets.cohort.splits import patients_in_two_splits
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from training.benchmark.planted.draw import SHARE, PlantedDesign
from training.benchmark.planted.signatures import OWN, SIGNATURES


def cohort_of(patients: dict[str, tuple[int, int]], films: int = 2) -> Cohort:
    """Patients of class 0 and 1 by split, each with some films."""
    rows = [
        (f"{split}-{target}-{number}", split, target)
        for split, counts in patients.items()
        for target, count in enumerate(counts)
        for number in range(count)
        for _ in range(films)
    ]
    table = pd.DataFrame(rows, columns=["patient", "split", "target"])
    table = table.assign(row=range(len(table)), bias=0, source="clinic", label="x", path="x")
    info = DatasetInfo("covid", ("normal", "pneumonia"), ("clinic",), "source", 1, False)
    return Cohort(info, table.sample(frac=1, random_state=0).reset_index(drop=True), Preprocessing(8))


def design(cohort: Cohort, count: int = 2) -> PlantedDesign:
    signatures = {signature.name: signature for signature in SIGNATURES[:count]}
    return PlantedDesign(cohort, {name: OWN[name] for name in signatures}, dict(signatures))


COHORT = cohort_of({"train": (200, 100), "validation": (40, 25), "test": (30, 12), "external": (5, 5)})


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("rho", [0.5, 0.9, 0.95])
def test_rho_is_the_share_of_patients_under_their_labels_signature(rho: float, count: int) -> None:
    ours = design(COHORT, count)
    drawn = ours.drawn(rho, 3)
    films = COHORT.table.iloc[drawn["position"]].reset_index(drop=True).assign(source=drawn["source"])
    for split, sizes in (("train", (160, 80)), ("validation", (32, 20))):
        people = films[(drawn["split"] == split).to_numpy()].drop_duplicates("patient")
        for target, size in enumerate(sizes):
            of_class = people[people["target"] == target]
            follows = of_class["source"].map(ours.own) == target
            assert len(of_class) == size == round(SHARE * size / SHARE)
            assert follows.sum() == round(rho * size)
    if count > 2:  # both sites of one own class are used
        assert set(films["source"][(drawn["split"] == "train").to_numpy()]) == set(ours.own)


def test_no_patient_is_in_two_splits_or_under_two_signatures_in_training() -> None:
    drawn = design(COHORT, 4).drawn(0.9, 1)
    patient = COHORT.table["patient"].iloc[drawn["position"]].reset_index(drop=True)
    assert not patients_in_two_splits(patient, drawn["split"])
    seen = drawn["split"] != "test"
    assert drawn["source"][seen].groupby(patient[seen]).nunique().max() == 1
    assert set(drawn["split"]) == {"train", "validation", "test"}, "external films are nobody's"
    own_split = COHORT.table["split"].iloc[drawn["position"]].to_numpy()
    assert (own_split == drawn["split"]).all(), "no test patient of the cohort ever trains"


def test_every_test_film_is_shown_under_every_signature_with_every_seed() -> None:
    for rho, seed in ((0.95, 0), (0.5, 7)):
        drawn = design(COHORT, 3).drawn(rho, seed)
        test = drawn[drawn["split"] == "test"]
        assert len(test) == 3 * len(COHORT.positions("test")) == len(test.drop_duplicates())
        assert test["position"].tolist() == np.repeat(COHORT.positions("test"), 3).tolist()


def test_a_seed_draws_the_same_patients_at_every_rho_and_others_than_another_seed() -> None:
    def trained(rho: float, seed: int) -> pd.DataFrame:
        drawn = design(COHORT).drawn(rho, seed)
        return drawn[drawn["split"] == "train"].set_index("position").sort_index()

    low, high = trained(0.8, 0), trained(0.95, 0)
    assert low.index.equals(high.index) and not low.index.equals(trained(0.8, 1).index)
    target = COHORT.table["target"].iloc[low.index].to_numpy()
    breaks = [frame["source"].map(OWN).to_numpy() != target for frame in (low, high)]
    assert (breaks[0] | ~breaks[1]).all() and breaks[0].sum() > breaks[1].sum() > 0
    pd.testing.assert_frame_equal(high, trained(0.95, 0))
    assert (high["source"] != trained(0.95, 1)["source"].reindex(high.index)).any()


def test_the_truth_holds_nothing_of_the_label() -> None:
    drawn = design(COHORT).drawn(0.5, 2)
    films = COHORT.table.iloc[drawn["position"]].reset_index(drop=True)
    counts = pd.crosstab(films["target"], [drawn["split"], drawn["source"]])
    for split in ("train", "validation", "test"):
        shares = counts[split] / counts[split].sum(axis=1).to_numpy()[:, None]
        assert shares.iloc[0].tolist() == pytest.approx(shares.iloc[1].tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("patients", "rho", "expected"),
    [
        (
            {"train": (50, 50), "validation": (20, 20), "test": (20, 9)},
            0.9,
            "test set has 9 patients of class pneumonia: 10",
        ),
        (
            {"train": (50, 8), "validation": (20, 20), "test": (20, 20)},
            0.95,
            "of 6 training patients of class pneumonia leaves",
        ),
    ],
)
def test_too_few_patients_are_refused(patients: dict[str, tuple[int, int]], rho: float, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        design(cohort_of(patients)).require(rho)


def test_a_patient_of_both_classes_has_the_one_of_most_films() -> None:
    cohort = cohort_of({"train": (20, 20), "validation": (10, 10), "test": (10, 10)})
    mixed = cohort.table["patient"] == "train-0-0"
    cohort.table.loc[cohort.table.index[mixed][:1], "target"] = 1  # one film of two
    ours = design(cohort)
    assert "train-0-0" in ours.patients["train"][1] and "train-0-0" not in ours.patients["train"][0]
    films = cohort.table.iloc[ours.drawn(0.9, 0)["position"]]["patient"]
    assert (films == "train-0-0").sum() in (0, 2), "all films of a patient, or none"
