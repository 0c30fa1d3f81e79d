"""The layouts of other tools: their columns and values, checked against the rules that their loaders apply."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from training.bias.report.interchange import faircare_layout, fmm_layout

LAYOUTS = pytest.mark.parametrize("layout", [faircare_layout, fmm_layout])


def predictions(**changes: object) -> pd.DataFrame:
    """Three labelled films and one without a label; the threshold was 0.3."""
    columns = {
        "run": "r", "row": [0, 1, 2, 3], "file": ["f0", "f1", "f2", "f3"], "patient": ["p0", "p0", "p1", "p2"],
        "source": ["a", "a", "b", "b"], "split": "test", "target": ["covid", "not covid", "covid", None],
        "score": [0.4, 0.1, 0.2, 0.9], "logit": [-0.4, -2.2, -1.4, 2.2],
        "prediction": ["covid", "not covid", "not covid", "covid"],
        "view": ["PA", "AP", None, "AP"], "sex": ["F", "F", None, "M"], "age_band": ["40-49", "40-49", "50-59", None],
    } | changes  # fmt: skip
    return pd.DataFrame(columns)


def several() -> pd.DataFrame:
    """Three classes, none of them called by threshold; `score` is of covid."""
    table = predictions(
        target=["covid", "normal", "pneumonia", "covid"], prediction=["covid", "normal", "normal", "covid"]
    )
    for name, scores in (("covid", [0.6, 0.1, 0.2, 0.7]), ("normal", [0.3, 0.8, 0.5, 0.2])):
        table[f"score_{name}"] = scores
    table["score_pneumonia"] = 1 - table["score_covid"] - table["score_normal"]
    return table.assign(score=table["score_covid"])


def read_back(table: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(table.to_csv(index=False)))


def test_faircare_by_hand() -> None:
    found = faircare_layout(predictions(), "covid")
    assert found.columns.tolist() == ["patient_id", "source", "view", "sex", "age_band", "y_true", "y_prob", "y_pred"]
    assert found["patient_id"].tolist() == ["p0", "p0", "p1"]
    assert found["y_true"].tolist() == [1, 0, 1] and found["y_pred"].tolist() == [1, 0, 0]
    assert found["y_prob"].tolist() == [0.4, 0.1, 0.2]
    # FairCareAI calls films by the threshold it is given: it is to agree with the run.
    assert (found["y_prob"] >= 0.3).astype(int).equals(found["y_pred"])


def test_fmm_has_the_header_of_its_example() -> None:
    found = fmm_layout(predictions().drop(columns="view"), "covid")
    assert ",".join(found) == "y_true,y_pred,y_score,site,sex,age_bucket"
    assert found["site"].tolist() == ["a", "a", "b"] and found["age_bucket"].tolist() == ["40-49", "40-49", "50-59"]
    assert found["y_true"].tolist() == [1, 0, 1] and found["y_score"].tolist() == [0.4, 0.1, 0.2]


@LAYOUTS
def test_what_both_loaders_demand_survives_the_file(layout) -> None:
    found = read_back(layout(predictions(), "covid"))
    score = found["y_prob" if layout is faircare_layout else "y_score"]
    assert len(found) == 3
    for name in ("y_true", "y_pred"):
        assert found[name].dtype == np.int64 and set(found[name]) <= {0, 1}
    assert score.dtype == np.float64 and score.between(0, 1).all()
    assert found["sex"].isna().tolist() == [False, False, True]


@LAYOUTS
def test_scores_are_exact_in_the_file(layout) -> None:
    rng = np.random.default_rng(0)
    score = rng.random(200)
    called = np.where(score >= 0.5, "covid", "not covid")
    target = np.where(rng.random(200) < score, "covid", "not covid")
    table = pd.DataFrame(
        {
            "patient": [f"p{i}" for i in range(200)],
            "source": "a",
            "target": target,
            "score": score,
            "prediction": called,
        }
    )
    found = read_back(layout(table, "covid"))
    written = found["y_prob" if layout is faircare_layout else "y_score"]
    assert roc_auc_score(found["y_true"], written) == roc_auc_score(target == "covid", score)


@LAYOUTS
def test_several_classes_are_one_against_the_rest(layout) -> None:
    for positive in ("covid", "normal", "pneumonia"):
        table = several()
        found = layout(table, positive)
        assert found["y_true"].tolist() == (table["target"] == positive).astype(int).tolist()
        assert found["y_pred"].tolist() == (table["prediction"] == positive).astype(int).tolist()
        score = found["y_prob" if layout is faircare_layout else "y_score"]
        assert score.tolist() == table[f"score_{positive}"].tolist()
        assert not [
            name for name in found if name.startswith(("score_", "y_score_"))
        ]  # fmm would count classes by them


@LAYOUTS
def test_any_further_column_is_an_attribute_and_nothing_tells_of_the_file(layout) -> None:
    found = layout(predictions(manufacturer="m", detector=["x", "y", "x", "y"]), "covid")
    assert {"manufacturer", "detector"} <= set(found)
    assert not {"run", "row", "file", "split", "logit", "target", "prediction"} & set(found)


@LAYOUTS
def test_a_filtered_table_keeps_its_rows_together(layout) -> None:
    table = predictions().iloc[[2, 0]]
    found = layout(table, "covid")
    assert found["site" if layout is fmm_layout else "source"].tolist() == ["b", "a"]
    assert found["y_pred"].tolist() == [0, 1] and found.index.tolist() == [0, 1]


@LAYOUTS
def test_refusals_are_sentences(layout) -> None:
    with pytest.raises(ValueError, match="no positive class"):
        layout(predictions(), None)
    with pytest.raises(ValueError, match="no class 'flu'; its classes are covid, not covid"):
        layout(predictions(), "flu")
    with pytest.raises(ValueError, match="no class 'flu'; its classes are covid, normal, pneumonia"):
        layout(several(), "flu")
    with pytest.raises(ValueError, match="no film has a label"):
        layout(predictions(target=None), "covid")
    with pytest.raises(ValueError, match=r"2 labelled film\(s\) have no score"):
        layout(predictions(score=[0.4, None, None, 0.9]), "covid")
    with pytest.raises(ValueError, match="`score` is of the other class"):
        layout(predictions(), "not covid")
