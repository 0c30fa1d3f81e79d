"""Films without labels: distributions, abstention and drift against hand values, SciPy and simulations of the null."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from training.bias.evidence import Evidence
from training.bias.numbers.drift import DIFFERS, NOT_SHOWN, UNKNOWN, drift, drift_notes
from training.bias.numbers.metrics import PredictionsError
from training.bias.questions.unlabelled import VALIDATION_FILMS, abstention, describe_run, score_distributions
from training.bias.report.audit import audit, describe
from training.bias.report.page import share, write_page

ABOUT = {
    "positive": "covid", "method": "end", "model": "m", "seed": 0, "threshold": 0.5, "temperature": 1.0,
    "operating_point": "youden", "left_out": 1, "synthetic": False, "training_used_source_labels": True, "splits": [],
}  # fmt: skip
WHOLE = {
    "notice": "for research", "made": "now", "films": "a folder", "resamples": 200, "permutations": 200, "seed": 0,
    "synthetic": False, "versions": {"python": "3"},
}  # fmt: skip


def films(
    patients: int, seed: int = 0, shift: float = 0.0, each: int = 2, ap: float = 0.4, source: str | None = None
) -> pd.DataFrame:
    """Films whose scores and views are alike within a patient; each source has its own patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), each)
    own = rng.normal(size=patients)[patient]
    score = 1 / (1 + np.exp(-(own + 0.3 * rng.normal(size=len(patient)) + shift)))
    return pd.DataFrame(
        {
            "file": [f"f{seed}-{number}" for number in range(len(patient))],
            "patient": [f"p{seed}-{number}" for number in patient],
            "source": source or np.array(["north", "east"], dtype=object)[patient % 2],
            "split": "test",
            "target": None,
            "score": score,
            "prediction": np.where(score >= 0.5, "covid", "not covid"),
            "view": np.where(rng.random(patients) < ap, "AP", "PA")[patient],
            "sex": np.array(["F", "M", None], dtype=object)[rng.integers(0, 3, patients)][patient],
        }
    )


def by_hand() -> pd.DataFrame:
    """Ten patients at a, the first of two films; twelve at b, all alike; one at c."""
    score = [0.1, 0.9, *np.linspace(0.0, 0.8, 9), *[0.2] * 12, 0.5]
    table = pd.DataFrame({"score": score, "patient": [0, *range(23)], "source": ["a"] * 11 + ["b"] * 12 + ["c"]})
    return table.assign(prediction=np.where(table["score"] >= 0.45, "covid", "other"))


def test_distributions_by_hand() -> None:
    found = score_distributions(by_hand(), "covid", resamples=200).set_index("group")
    assert found.index.tolist() == ["all films", "a", "b", "c"]
    a = found.loc["a"]
    assert (a["films"], a["patients"]) == (11, 10)
    assert a["mean"] == pytest.approx((0.1 + 0.9 + 3.6) / 11)
    assert a["median"] == pytest.approx(0.4) and a["p25"] == pytest.approx(0.15)
    assert a["estimate"] == pytest.approx(5 / 11) and a["low"] < 5 / 11 < a["high"]
    assert found.loc["all films", "estimate"] == pytest.approx(6 / 24)
    c = found.loc["c"]
    assert "cannot conclude: 1 patient" in c["note"] and c[["mean", "p5", "median", "estimate", "low"]].isna().all()


def test_no_film_of_twelve_patients_is_not_no_film_at_all() -> None:
    found = score_distributions(by_hand(), "covid", resamples=200).set_index("group").loc["b"]
    assert (found["estimate"], found["low"], found["method"]) == (0, 0, "exact")
    assert found["high"] == pytest.approx(1 - 0.025 ** (1 / 12))  # Clopper and Pearson
    every = abstention(by_hand(), np.ones(24), 0.5, resamples=200).set_index("group").loc["b"]
    assert (every["estimate"], every["high"]) == (1, 1) and every["low"] == pytest.approx(0.025 ** (1 / 12))


def test_abstention_counts_films_beyond_the_limit() -> None:
    distances = np.r_[np.full(4, 2.0), np.full(7, 1.0), np.full(13, 0.5)]
    found = abstention(by_hand(), distances, 1.0, resamples=200).set_index("group")
    assert found.loc["a", "estimate"] == pytest.approx(4 / 11)  # a film at the limit is not beyond it
    assert found.loc["all films", "estimate"] == pytest.approx(4 / 24)
    for limit in (None, np.nan):
        none = abstention(by_hand(), distances, limit)
        assert none["estimate"].isna().all() and none["note"].str.contains("too few validation films").all()
    with pytest.raises(PredictionsError, match="3 distances to the training films for 24 films"):
        abstention(by_hand(), distances[:3], 1.0)


def test_the_interval_is_wider_where_a_patient_s_films_are_alike() -> None:
    once, five = films(60, each=1), films(60, each=5)
    alike = five.assign(prediction=five.groupby("patient")["prediction"].transform("first"))
    widths = [
        score_distributions(table, "covid", (), 500).assign(width=lambda f: f["high"] - f["low"])["width"].iloc[0]
        for table in (once, alike, alike.assign(patient=alike["file"]))
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.3) and widths[1] > 1.5 * widths[2]


def test_distances_are_those_of_scipy_and_of_a_count() -> None:
    here, there = films(40, 1, shift=0.5), films(30, 2)
    rows = drift(here, there, there, "covid", 100).set_index(["attribute", "group"])
    for group, part in {"all films": here, "north": here[here["source"] == "north"]}.items():
        expected = ks_2samp(part["score"], there["score"]).statistic
        assert rows.loc[("score", group), "distance"] == pytest.approx(expected, abs=1e-12)
    sex = [table["sex"].fillna("missing").value_counts(normalize=True) for table in (here, there)]
    by_count = sum(abs(sex[0][name] - sex[1][name]) for name in ("F", "M", "missing")) / 2
    assert rows.loc[("sex", "all films"), "distance"] == pytest.approx(by_count)
    ties = here.assign(score=here["score"].round(1))
    tied = drift(ties, None, there.round({"score": 1}), "covid", 100)["distance"].iloc[0]
    assert tied == pytest.approx(ks_2samp(ties["score"], there["score"].round(1)).statistic)


def test_order_and_names_of_patients_do_not_count() -> None:
    here, there = films(40, 1, shift=0.5), films(30, 2)
    rows = drift(here, there, there, "covid", 100)
    again = drift(
        here.sample(frac=1, random_state=0), there.assign(patient="x" + there["patient"]), there, "covid", 100
    )
    np.testing.assert_allclose(rows["distance"], again["distance"])
    assert rows["verdict"].tolist() == again["verdict"].tolist()


def test_the_p_of_every_permutation_counted() -> None:
    """Ten patients a side, one film each, scores apart but for one: the share of 184,756 assignments is known."""
    here, there = films(10, 1, each=1, source="x"), films(10, 2, each=1)
    here["score"], there["score"] = np.linspace(0.6, 0.9, 10), np.linspace(0.1, 0.4, 10)
    there.loc[0, "score"] = 0.95
    row = drift(here, None, there, "covid", 5000).iloc[0]
    exact = ks_2samp(here["score"], there["score"], method="exact")
    assert row["distance"] == pytest.approx(0.9) == pytest.approx(exact.statistic)
    assert row["p"] == pytest.approx(exact.pvalue, abs=3e-4)


@pytest.mark.trains
def test_p_is_uniform_where_nothing_differs_and_a_film_wise_test_would_not_be() -> None:
    p, film_wise = [], []
    for seed in range(150):
        here, there = films(24, 2 * seed, each=4, source="x"), films(30, 2 * seed + 1, each=4)
        rows = drift(here, there, there, "covid", 99, seed).set_index("attribute")["p"]
        p.append([rows["score"], rows["view"]])
        film_wise.append(ks_2samp(here["score"], there["score"]).pvalue)
    rejected = (np.array(p) <= 0.05).mean(axis=0)
    assert (rejected <= 0.1).all() and abs(np.mean(p, axis=0)[0] - 0.5) < 0.08
    assert 0.45 < np.mean(p, axis=0)[1] < 0.7  # two categories make ties, which count against a difference
    assert (np.array(film_wise) <= 0.05).mean() > 0.2


def test_a_shift_is_found_and_named() -> None:
    rows = drift(films(150, 1, shift=1.0, ap=0.8), films(150, 2), films(150, 3), "covid", 500)
    verdicts = rows.set_index(["attribute", "group"])["verdict"]
    assert verdicts["score", "all films"] == verdicts["score", "north"] == verdicts["view", "all films"] == DIFFERS
    assert verdicts["sex", "all films"] == verdicts["source", "all films"] == NOT_SHOWN
    view = rows[rows["attribute"] == "view"].iloc[0]
    assert view["largest_change"] == "AP 78 %, training 35 %"
    assert view["distance"] > view["by_chance"] > 0 and (rows["p_holm"] >= rows["p"]).all()


def test_too_few_patients_on_either_side_and_permutations_too_few() -> None:
    few, many = films(9, 1, source="x"), films(40, 2)
    for here, there in ((few, many), (many, few)):
        rows = drift(here, there, there, "covid", 100)
        assert (rows["verdict"] == UNKNOWN).all() and rows[["distance", "p", "p_holm"]].isna().all(axis=None)
        assert rows["note"].str.startswith("cannot conclude: 9 patients").all()
    # a source of five patients among enough in all
    mixed = pd.concat([many, films(5, 3, source="small")])
    rows = drift(mixed, None, many, "covid", 100).set_index("group")
    assert rows.loc["small", "verdict"] == UNKNOWN and rows.loc["north", "note"] == ""
    assert rows["p_holm"].notna().sum() == 3
    assert drift(many, None, None, "covid").empty
    assert not drift_notes(rows, 100) and "too few for 3" in drift_notes(rows, 50)[0]


def test_a_column_nobody_recorded_is_no_row_and_one_recorded_here_alone_differs() -> None:
    here, there = (
        films(60, 1).assign(manufacturer="A", age_band=None),
        films(60, 2).assign(manufacturer=None, age_band=None),
    )
    rows = drift(here, there, None, "covid", 500).set_index("attribute")
    assert "age_band" not in rows.index
    assert rows.loc["manufacturer", "distance"] == 1 and rows.loc["manufacturer", "verdict"] == DIFFERS


def evidence(name: str = "run", known: bool = True, shift: float = 1.0, positive: str | None = "covid") -> Evidence:
    table = pd.concat([films(60, 1, shift=shift), films(4, 4, source="small <clinic>")], ignore_index=True)
    one = Evidence(
        name, ABOUT | {"positive": positive}, positive, table, np.random.default_rng(0).normal(size=(len(table), 3))
    )
    if not known:
        return one
    distances = np.where(np.arange(len(table)) % 5 < 2, 2.0, 0.5)
    return Evidence(
        name, one.about, positive, table, one.features, training=films(80, 2), validation=films(60, 3),
        distances=distances, distance_limit=1.0,
    )  # fmt: skip


def test_the_headline_says_what_cannot_be_known_first() -> None:
    found = describe_run(evidence(), 200, 500)
    assert found.headline.startswith(
        "No film has a label, so whether the scores are right is not known. 41 % of films are outliers"
    )
    assert "5 % expected" in found.headline and "Different from the run's own films: score" in found.headline
    assert found.distributions["group"].tolist() == ["all films", "east", "north", "small <clinic>", VALIDATION_FILMS]
    assert (found.films, found.patients) == (128, 64)
    same = describe_run(evidence(shift=0.0), 200, 500)
    assert "No difference from the run's own films was shown" in same.headline
    nothing = describe_run(evidence(known=False), 200, 200)
    assert nothing.headline.count("not known") == 3 and nothing.drift.empty and len(nothing.notes) == 3


def test_one_source_alone_that_differs_is_named() -> None:
    far = pd.concat([films(400, 1), films(30, 4, shift=2.5, source="far")], ignore_index=True)
    one = Evidence("run", ABOUT, "covid", far, np.zeros((len(far), 2)), validation=films(300, 3))
    assert "the score at far." in describe_run(one, 200, 500).headline


def test_what_cannot_be_described_is_a_sentence() -> None:
    table = films(20)
    for change, expected in (
        ({"score": 1.5}, "outside 0 to 1"), ({"score": np.nan}, "no score for covid"), ({"patient": None}, "no patient"),
    ):  # fmt: skip
        with pytest.raises(PredictionsError, match=expected):
            describe([Evidence("run", ABOUT, "covid", table.assign(**change), np.zeros((40, 2)))], WHOLE)
    with pytest.raises(PredictionsError, match="no film"):
        describe([Evidence("run", ABOUT, "covid", table.head(0), np.zeros((0, 2)))], WHOLE)


@pytest.mark.trains
@pytest.mark.parametrize("what", ["all known", "nothing known", "no positive class", "one source", "few patients"])
def test_the_page_and_the_plain_form(what: str, tmp_path: Path) -> None:
    one = evidence(known=what != "nothing known", positive=None if what == "no positive class" else "covid")
    if what == "one source":
        one.predictions["source"] = "north"
    elif what == "few patients":
        one.predictions["patient"] = "p"
    report = describe([one, evidence("second")], WHOLE, 200, 200)
    write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "that takes labels" in page and "about 5 % are expected even where nothing has changed" in page
    assert "ROC" not in page and "<clinic>" not in page and ("cannot conclude" in page)
    assert page.count("<svg") == {"nothing known": 3, "no positive class": 3, "few patients": 3}.get(what, 4)
    values = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert values["runs"] == [] and [run["name"] for run in values["unlabelled"]] == ["run", "second"]
    assert values["unlabelled"][1]["distributions"][3]["mean"] is None


@pytest.mark.trains
def test_a_labelled_audit_has_the_abstention_too_where_distances_are_known(tmp_path: Path) -> None:
    one = evidence()
    for table in (one.predictions, one.training, one.validation):
        assert table is not None
        table["target"] = np.where(np.arange(len(table)) % 3 == 0, "covid", "not covid")
    one.predictions.loc[:1, "target"] = None  # films without a label are left out with their distances
    report = audit([one], WHOLE, resamples=100, permutations=100)
    assert report.runs[0].abstention.loc[0, ["films", "estimate"]].tolist() == [126, pytest.approx(50 / 126)]
    write_page(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "An outlier is a film" in page and "that takes labels" not in page
    assert "unlabelled" not in report.as_json()


def test_a_share_in_words() -> None:
    assert share({"estimate": 0.414, "low": 0.3, "high": 0.516}) == "41 % (30 to 52 %)"
    assert share({"estimate": np.nan, "low": np.nan, "high": np.nan}) == "cannot conclude"
