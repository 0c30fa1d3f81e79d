"""What can't be audited is told before anything is measured."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datasets.sample import Split
from training.bias.evidence import SPLITS, TRAINED_ON, Evidence
from training.bias.numbers.metrics import PredictionsError
from training.bias.report.soundness import require_references, require_sound

FILMS = 4


def evidence(features: Any = None, **columns: Any) -> Evidence:
    table = pd.DataFrame(
        {
            "file": list("abcd"), "patient": list("abcd"), "source": "north", "target": ["covid", "normal", None, "covid"],
            "score": 0.5, "prediction": ["covid", "normal", "normal", "normal"],
        }
        | columns
    )  # fmt: skip
    return Evidence("run", {}, "covid", table, np.zeros((FILMS, 2)) if features is None else features)


def test_sound_evidence_passes() -> None:
    require_sound(evidence())
    require_sound(evidence(target=["pneumonia", "normal", "normal", None]))
    require_sound(evidence(target="normal", prediction="covid"))
    require_sound(
        evidence(
            score=[0.1, 0.9, 0.8, 0.7], source=["north", "north", "south", "south"], prediction=["normal", "covid"] * 2
        )
    )
    assert tuple(map(str, Split)) == SPLITS
    require_sound(evidence(split=[*list(Split)[1:], Split.TEST]))
    require_sound(evidence(split=pd.Categorical([*SPLITS[1:], "test"])))
    per_site = {"source": ["a", "a", "b", "b"], "prediction": ["covid", "normal"] * 2, "score": [0.3, 0.1, 0.9, 0.8]}
    require_sound(evidence(**per_site))


def test_a_class_that_no_film_has_is_one_of_the_models_own() -> None:
    table = evidence(target="normal", prediction="normal").predictions
    require_sound(Evidence("run", {"classes": ["normal", "covid"]}, "covid", table, np.zeros((FILMS, 2))))
    with pytest.raises(PredictionsError, match="'normal' is none of the model's classes covid, not covid"):
        require_sound(Evidence("run", {"classes": ["covid", "not covid"]}, "covid", table, np.zeros((FILMS, 2))))


@pytest.mark.parametrize(
    ("features", "columns", "words"),
    [
        (None, {"target": [0, 1, 1, 0]}, "target holds 0: write the names"),
        (None, {"target": [True, False, True, None]}, "target holds True"),
        (None, {"prediction": [1.0, 0.0, 1.0, 1.0]}, r"prediction holds 1\.0"),
        (None, {"target": list("0101")}, "targets are 0, 1, predictions covid, normal: write both in the same"),
        (
            None,
            {"target": ["covid", "pneumonia", "normal", None], "prediction": ["covid", "not covid"] * 2},
            "same class names",
        ),
        (None, {"target": ["covid", "covid ", "normal", None]}, "target holds 'covid ': .* without blanks"),
        (None, {"target": ["covid", "", "normal", None]}, "target holds ''"),
        (
            None,
            {"target": "normal", "prediction": "normal"},
            "no film has or is called 'covid', the positive class: they are",
        ),
        (
            None,
            {"split": ["train", "test", "test", "train"]},
            "2 films are of split train: the model was fitted to them",
        ),
        (None, {"patient": ["a", 1, "c", 2]}, "holds text and numbers"),
        (None, {"file": list("aabc")}, "1 predictions are of a file that has one already"),
        (None, {"score": [0.1, 0.9, 0.8, 0.7]}, "called covid have lower scores than the others"),
        (np.zeros((3, 2)), {}, r"features of shape \(3, 2\) for 4 predictions"),
        (np.zeros(FILMS), {}, r"features of shape \(4,\)"),
        (np.full((FILMS, 2), np.nan), {}, "without NaN"),
        ([[0.0, 1.0]] * FILMS, {}, "features are list: give a numpy array"),
        (None, {"patient": ["a", None, "c", "d"]}, "1 predictions have no patient"),
        (
            None,
            {"split": "External"},
            "split holds 'External': write train, validation, test or external for each film",
        ),
        (None, {"split": ["test", "test", " external", "test"]}, "split holds ' external'"),
        (None, {"split": ["test", None, "external", "test"]}, "split holds nan"),
        (None, {"split": pd.array(["test", pd.NA, "external", "test"], dtype="string")}, "split holds <NA>"),
        (None, {"split": [0, 1, 0, 1]}, "split holds 0"),
        (None, {"score": ["0.5"] * FILMS}, "scores must be numbers"),
        (None, {"target": ["COVID", "normal", None, None], "prediction": "normal"}, "did you mean 'COVID'"),
    ],
)
def test_what_does_not_fit_is_a_sentence(features: Any, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(PredictionsError, match=words):
        require_sound(evidence(features, **columns))


def test_what_else_is_known_is_of_the_same_films() -> None:
    one = evidence()
    for parts, words in (
        ({"distances": np.zeros(3)}, "distances has 3 values for 4 predictions"),
        ({"perturbed": {"mirrored": np.zeros(5)}}, "perturbed.'mirrored'. has 5 values for 4"),
        ({"training": one.predictions.drop(columns="source")}, "training has no column source"),
    ):
        with pytest.raises(PredictionsError, match=words):
            require_sound(replace(one, **parts))
    told = replace(
        one, predictions=one.predictions.assign(split="train"), notes=(f"{TRAINED_ON} some of these films.",)
    )
    require_sound(told)


def test_a_missing_column_is_named() -> None:
    whole = evidence()
    with pytest.raises(PredictionsError, match="no column 'patient' in the predictions"):
        require_sound(Evidence("run", {}, "covid", whole.predictions.drop(columns="patient"), whole.features))


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"source": "south"}, "reference source=south: no film has this source; they have north"),
        ({"vieww": "PA"}, "reference vieww=PA: the films have no column vieww"),
    ],
)
def test_a_group_that_no_film_is_in_is_no_reference(reference: dict[str, str], words: str) -> None:
    require_references({"source": "north"}, [evidence().predictions])
    with pytest.raises(PredictionsError, match=words):
        require_references(reference, [evidence().predictions])
