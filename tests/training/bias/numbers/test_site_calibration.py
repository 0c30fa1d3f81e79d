"""Sites whose true temperature and threshold are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from training.bias.numbers.site_calibration import ALL_SITES, changes, cross_fitted, fit_site, read_again

OWN = (1.0, 0.5)
NAMES = ("normal", "covid")


def films_of_a_site(patients: int, scale: float, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins of two films a patient: calibrated ones times `scale`, plus `shift`; labels; patients."""
    rng = np.random.default_rng(seed)
    true = np.repeat(rng.normal(0, 2, patients), 2)
    positive = np.repeat(rng.random(patients), 2) < expit(true)
    return scale * true + shift, positive, np.repeat(np.arange(patients), 2).astype(str)


def test_a_site_whose_logits_are_too_large_gets_its_temperature() -> None:
    fit = fit_site(*films_of_a_site(2000, 3.0, 0.0, seed=1), OWN, resamples=100)
    assert fit.own and fit.temperature.estimate == pytest.approx(3.0, rel=0.15)
    assert fit.temperature.low < fit.temperature.estimate < fit.temperature.high < 3.6
    assert fit.threshold.low <= fit.threshold.estimate <= fit.threshold.high
    assert 0.35 < fit.threshold.estimate < 0.65


def test_a_site_whose_scores_lie_higher_gets_a_threshold_that_makes_up_for_it() -> None:
    margin, positive, patient = films_of_a_site(2000, 1.0, 2.0, seed=2)
    fit = fit_site(margin, positive, patient, OWN, resamples=100)
    cut = fit.temperature.estimate * np.log(fit.threshold.estimate / (1 - fit.threshold.estimate))
    assert cut == pytest.approx(2.0, abs=0.6), "on the scale of margins it lies where 0.5 lay before the shift"


@pytest.mark.parametrize(("patients", "all_ill"), [(12, False), (40, True)])
def test_too_few_patients_keep_the_model_s(patients: int, all_ill: bool) -> None:
    margin, positive, patient = films_of_a_site(patients, 3.0, 0.0, seed=3)
    fit = fit_site(margin, positive | all_ill, patient, OWN)
    assert not fit.own and (fit.temperature.estimate, fit.threshold.estimate) == OWN
    assert "10 of each are needed" in fit.reason and np.isnan(fit.temperature.low)


def test_ten_films_of_one_patient_are_one_patient() -> None:
    margin, positive, _ = films_of_a_site(100, 3.0, 0.0, seed=3)
    patient = np.where(positive, "the same", np.arange(len(margin)).astype(str))
    assert not fit_site(margin, positive, patient, OWN).own


def test_a_film_is_read_with_what_other_patients_gave() -> None:
    margin, positive, patient = films_of_a_site(60, 3.0, 1.0, seed=4)
    temperature, _ = cross_fitted(margin, positive, patient)
    assert all(len({*pair}) == 1 for pair in temperature.reshape(-1, 2)), "both films of a patient alike"
    assert 2 <= len(np.unique(temperature)) <= 5
    # A film with an absurd margin moves what the others are read with, never what it is read with itself.
    moved = margin.copy()
    moved[:2] = np.where(positive[:2], -50.0, 50.0)
    assert cross_fitted(moved, positive, patient)[0][0] == temperature[0]
    assert (cross_fitted(moved, positive, patient)[0] != temperature).any()


def table_of(source: str, scale: float, shift: float, seed: int) -> pd.DataFrame:
    margin, positive, patient = films_of_a_site(150, scale, shift, seed)
    table = pd.DataFrame({"file": [f"{source}{i}" for i in range(len(margin))], "source": source, "logit": margin})
    table["patient"], table["target"] = [f"{source} {name}" for name in patient], np.where(positive, *NAMES[::-1])
    return table


def test_what_changes_is_found_where_there_is_something_and_not_elsewhere() -> None:
    films = pd.concat([table_of("fine", 1.0, 0.0, 5), table_of("shifted", 1.0, -3.0, 6)], ignore_index=True)
    before = read_again(films, *OWN, NAMES)
    again = []
    for _, part in films.groupby("source"):
        positive = (part["target"] == "covid").to_numpy()
        again.append(
            read_again(part, *cross_fitted(part["logit"].to_numpy(), positive, part["patient"].to_numpy()), NAMES)
        )
    found = changes(before, pd.concat(again).loc[films.index], "covid", resamples=300).set_index(["site", "metric"])
    assert list(dict.fromkeys(found.index.get_level_values(0))) == [ALL_SITES, "fine", "shifted"]
    assert found.loc[("shifted", "sensitivity"), "verdict"] == "better"
    assert found.loc[("shifted", "sensitivity"), "after"] > 0.6 > 0.4 > found.loc[("shifted", "sensitivity"), "before"]
    assert found.loc[("fine", "ece"), "verdict"] == "cannot conclude"
    assert found.loc[(ALL_SITES, "brier"), "films"] == len(films)
