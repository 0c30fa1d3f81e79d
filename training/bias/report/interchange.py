"""The predictions table in the column layouts of two fairness audit tools, for a second opinion from code that isn't ours.

1. FairCareAI, PyPI `faircare` 0.3.0, github.com/riccc-rush-lab/faircareai: `core/audit.py` (what it checks),
   `data/synthetic.py` (its own column names), `data/sensitive_attrs.py` (the attribute names that it finds by itself).
2. fmm-fairness-eval 0.1.0 (PyPI) and 0.2.0a2 (github.com/Ces107/fmm-fairness-eval-cli): `cli.py`, `examples/predictions.csv`.

Both are binary: with more than two classes, the positive class stands against the rest. Both resample films, not patients,
so their intervals are too narrow where a patient has several films. Give them test films alone; training films flatter.
Write either with `to_csv(path, index=False)`.
"""

import pandas as pd

# What the predictions table always has; any other column is an attribute of the film or the patient.
CORE = ("run", "row", "file", "patient", "source", "split", "target", "score", "logit", "prediction")


def faircare_layout(table: pd.DataFrame, positive: str | None) -> pd.DataFrame:
    """Labelled films in the layout of FairCareAI, a row a film.

    Read it with `faircareai audit FILE.csv -P y_prob -t y_true --threshold T -a source -a sex`, where T is the checkpoint's
    threshold: FairCareAI calls films by `y_prob >= T` (0.5 by default), never by `y_pred`. Without `-a` it finds `sex` and
    `age_band` by their names, but not `source`. A missing attribute is in its group "Unknown".

    Returns:
        `patient_id` (keyed hash), `source` and the other attributes (text, missing where unknown), `y_true` (int, 0 or 1),
        `y_prob` (float in [0, 1]), `y_pred` (int, 0 or 1: as the run called the film).

    Raises:
        ValueError: no positive class, a class that is not in the table or to which `score` does not belong, no labelled
            film, or one without a score.
    """
    films, outcome = _one_against_rest(table, positive)
    attributes = films[["source", *_attributes(films)]]
    outcome = outcome.rename(columns={"y_score": "y_prob"})[["y_true", "y_prob", "y_pred"]]
    return pd.concat([films["patient"].rename("patient_id"), attributes, outcome], axis=1)


def fmm_layout(table: pd.DataFrame, positive: str | None) -> pd.DataFrame:
    """Labelled films in the layout of fmm-fairness-eval, a row a film.

    Read it with `fmm-fairness evaluate FILE.csv --protected-attrs site,sex,age_bucket`. It leaves films without an attribute
    out of that attribute's figures, and groups of fewer than 20 films. Where fewer than two groups are left, its gaps are 0,
    not undefined.

    Returns:
        `y_true` and `y_pred` (int, 0 or 1), `y_score` (float in [0, 1]), `site` (the source), then the other attributes
        under their names but for `age_bucket` (`age_band` here); text, missing where unknown.

    Raises:
        ValueError: as `faircare_layout`.
    """
    films, outcome = _one_against_rest(table, positive)
    attributes = films[_attributes(films)].rename(columns={"age_band": "age_bucket"})
    return pd.concat([outcome, films["source"].rename("site"), attributes], axis=1)


def _attributes(table: pd.DataFrame) -> list[str]:
    return [name for name in map(str, table) if name not in CORE and not name.startswith("score_")]


def _one_against_rest(table: pd.DataFrame, positive: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The labelled films, and their y_true, y_pred and y_score for the positive class."""
    if positive is None:
        raise ValueError("this model has no positive class: both layouts need one class against the rest")
    several = [name.removeprefix("score_") for name in map(str, table) if name.startswith("score_")]
    classes = several or sorted(set(table["target"].dropna()) | set(table["prediction"]))
    if positive not in classes:
        raise ValueError(f"the table has no class {positive!r}; its classes are {', '.join(classes)}")
    films = table[table["target"].notna()].reset_index(drop=True)
    score = films[f"score_{positive}" if several else "score"]
    if films.empty:
        raise ValueError("no film has a label")
    if score.isna().any():
        raise ValueError(f"{score.isna().sum()} labelled film(s) have no score")
    called = films["prediction"] == positive
    if not several and score[called].mean() < score[~called].mean():
        raise ValueError(f"films called {positive!r} have the lower scores: `score` is of the other class")
    y_true = (films["target"] == positive).astype(int)
    return films, pd.DataFrame({"y_true": y_true, "y_pred": called.astype(int), "y_score": score.astype(float)})
