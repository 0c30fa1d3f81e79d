"""Scores by hand, and a predictions table that tells nothing but what its schema allows."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from datasets.cohort.films import Cohort
from datasets.film.preprocessing import Preprocessing
from datasets.sample import DatasetInfo
from tests.small_checkpoint import small_checkpoint
from training.run.checkpoint import Calibration
from training.scoring.predict import Predictor, predictions_table, read_logits


def test_scores_of_two_classes_by_hand() -> None:
    logits = np.array([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    scores = read_logits(logits, 1, Calibration(2.0, 0.6))
    assert scores.score == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(0.5)), 0.5])
    assert scores.margin == pytest.approx([2, -1, 0])
    assert scores.prediction.tolist() == [1, 0, 0]
    assert read_logits(logits, 0, Calibration(2.0, 0.5)).prediction.tolist() == [1, 0, 0]


def test_scores_of_several_classes() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 4))
    scores = read_logits(logits, 2, Calibration(1.3))
    np.testing.assert_allclose(scores.probability, softmax(logits / 1.3, axis=1))
    np.testing.assert_array_equal(scores.prediction, logits.argmax(1))
    probability = softmax(logits, axis=1)[:, 2]
    np.testing.assert_allclose(scores.margin, np.log(probability / (1 - probability)))
    without = read_logits(logits, None, Calibration())
    assert np.isnan(without.margin).all() and np.isnan(without.score).all()


def cohort() -> Cohort:
    table = pd.DataFrame(
        {
            "row": [4, 7],
            "path": ["Doe_John/a.png", "Doe_John/b.png"],
            "patient": ["Doe^John", "Doe^John"],
            "label": ["covid", "normal"],
            "source": ["a", "b"],
            "split": ["test", "test"],
            "target": [1, 0],
            "bias": [0, 1],
            "view": ["PA", ""],
            "comment": ["seen by Dr Doe", ""],
        }
    )
    info = DatasetInfo("covid", ("not covid", "covid"), ("a", "b"), "source", 1, synthetic=False)
    return Cohort(info, table, Preprocessing(32))


def test_the_table_holds_hashes_and_nothing_else_of_a_person() -> None:
    logits = np.array([[0.0, 1.0], [1.0, 0.0]])
    table = predictions_table(cohort(), logits, Calibration(1.0, 0.5), "run", b"k" * 32)
    assert table.columns.tolist() == [
        "run", "row", "file", "patient", "source", "split", "target", "score", "logit", "prediction", "view",
    ]  # fmt: skip
    assert "Doe" not in table.to_csv()
    assert table["patient"].nunique() == 1 and table["file"].nunique() == 2
    assert table["patient"].str.fullmatch("[0-9a-f]{16}").all()
    assert table["row"].tolist() == [4, 7] and table["prediction"].tolist() == ["covid", "not covid"]
    assert table["view"][0] == "PA" and pd.isna(table["view"][1])
    other = predictions_table(cohort(), logits, Calibration(1.0, 0.5), "run", b"q" * 32)
    assert not set(other["patient"]) & set(table["patient"])


def test_mistakes_in_python_get_a_sentence() -> None:
    with pytest.raises(ValueError, match="device 'tpu': there is no such device; give cpu or cuda"):
        Predictor(small_checkpoint(), "tpu")
    predictor = Predictor(small_checkpoint())
    for film in (None, np.zeros((9, 9)), 3):
        with pytest.raises(TypeError, match="a film is a path or the bytes of its file, not "):
            predictor.score(film)  # type: ignore[arg-type]
