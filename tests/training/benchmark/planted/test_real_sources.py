"""Sources as they are: an unbiased test set, as many patients at every rho, whole sources outside."""

import numpy as np
import pandas as pd
import pytest

from datasets.cohort.films import Cohort
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from training.benchmark.planted.real_sources import RealDesign, own_classes


def cohort_of(patients: dict[str, tuple[int, int]], external: tuple[str, ...] = (), shared: int = 0) -> Cohort:
    """Patients of class 0 and 1 by source; some of the first source also have a film in the second."""
    rows = [
        (f"{source}-{target}-{number}", source, target)
        for source, counts in patients.items()
        for target, count in enumerate(counts)
        for number in range(count)
    ]
    first, second = list(patients)[:2]
    rows += [(f"{first}-0-{number}", second, 0) for number in range(shared)]
    table = pd.DataFrame(rows, columns=["patient", "source", "target"])
    table["split"] = np.where(table["source"].isin(external), "external", "train")
    table = table.assign(row=range(len(table)), bias=0, label="x", path="x")
    return Cohort(
        DatasetInfo("covid", ("not covid", "covid"), tuple(patients), "source", 1, False), table, Preprocessing(8)
    )


SOURCES = {"north": (60, 140), "south": (150, 50), "tiny": (30, 2), "away": (20, 20)}


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.95])
def test_each_source_has_its_usual_label_at_rho_and_the_test_is_unbiased(rho: float) -> None:
    cohort = cohort_of(SOURCES, external=("away",))
    ours = RealDesign(cohort, 0)
    assert ours.own == {"north": 1, "south": 0} and ours.left_out == {"tiny": "2 patients of class covid, 5 are needed"}
    ours.require(0.95)
    drawn = ours.drawn(rho, 4)
    films = cohort.table.iloc[drawn["position"]].reset_index(drop=True).assign(split=drawn["split"])
    counts = films.groupby(["split", "source", "target"]).size()
    assert counts["test"].to_dict() == {
        ("north", 0): 24, ("north", 1): 24, ("south", 0): 20, ("south", 1): 20,
    }  # fmt: skip
    assert counts["external"].to_dict() == {("away", 0): 20, ("away", 1): 20}
    learned = films[films["split"].isin(["train", "validation"])]
    follows = learned["source"].map(ours.own) == learned["target"]
    for source, size in ours.sizes.items():
        assert follows[learned["source"] == source].sum() == round(rho * size)
        assert (learned["source"] == source).sum() == size
    assert abs(ours.sizes["north"] - ours.sizes["south"]) <= 1, "either side has as many"
    assert learned["target"].mean() == pytest.approx(0.5, abs=0.02)
    assert films["patient"].is_unique


def test_the_test_patients_are_those_of_every_seed_and_training_is_redrawn() -> None:
    ours = RealDesign(cohort_of(SOURCES), 0)
    first, second = (ours.drawn(0.9, seed) for seed in (0, 1))
    tests = [set(drawn["position"][drawn["split"] == "test"]) for drawn in (first, second)]
    assert tests[0] == tests[1]
    trains = [set(drawn["position"][drawn["split"] == "train"]) for drawn in (first, second)]
    assert trains[0] != trains[1] and not (trains[0] | trains[1]) & tests[0]
    assert set(RealDesign(cohort_of(SOURCES), 1).tested) != set(ours.tested)


def test_a_patient_of_two_sources_takes_no_part() -> None:
    cohort = cohort_of(SOURCES, shared=5)
    positions = RealDesign(cohort, 0).drawn(0.9, 0)["position"]
    assert not set(cohort.table["patient"].iloc[positions]) & {f"north-0-{number}" for number in range(5)}


def test_own_classes_are_relative() -> None:
    assert own_classes({"a": (10, 90), "b": (40, 60), "c": (20, 80)}) == {"a": 1, "b": 0, "c": 1}
    assert own_classes({"a": (50, 50), "b": (20, 20)}) == {"a": 1, "b": 0}


def test_what_can_not_be_drawn_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"needs two sources of both classes, and there are 1 \(south: 3 patients of class"
    ):
        RealDesign(cohort_of({"north": (50, 50), "south": (3, 50)}), 0)
    with pytest.raises(ValueError, match="test set would have 4 patients of each class: 10 are needed"):
        RealDesign(cohort_of({"north": (6, 50), "south": (50, 6)}), 0).require(0.9)
    with pytest.raises(ValueError, match=r"--rho 0.99 of \d+ training patients of away leaves none without"):
        RealDesign(cohort_of(SOURCES), 0).require(0.99)
