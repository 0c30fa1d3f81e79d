"""How well does each metadata field alone predict the label? A question to the training films, not to a model.

Where one field predicts the label, a model can learn the field, or its traces on the film, in place of the disease.
Target encoding: Micci-Barreca, SIGKDD Explorations 2001, from scikit-learn, here with folds by patient. AUROC within folds:
Forman and Scholz, SIGKDD Explorations 2010 (pooled over folds, a useless field falls below 0.5). Cramer's V: H. Cramer,
Mathematical Methods of Statistics, 1946, from scipy.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats.contingency import association
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import TargetEncoder

from datasets.cohort.confounding import NEARLY_DETERMINED
from training.bias.numbers.auroc import auroc_interval
from training.bias.numbers.groups import NOT_RECORDED
from training.bias.numbers.metrics import MINIMUM_PATIENTS, require_columns
from training.bias.numbers.uncertainty import NO_INTERVAL, Interval

CONFOUNDED_AUROC = 0.8
CLEAN_AUROC = 0.65
RARE = "rare values"
BINS = 10  # of a numeric field, where it has more values
FOLDS = 5
# Films of the overall frequency that are added to each value's own.
SMOOTHING = 10.0


def field_risk(
    table: pd.DataFrame, positive: str, fields: Sequence[str], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Predict the label from each field alone, out of fold, with a verdict in words.

    A film's score is how often the label is positive among other patients' films of the same value. Missing is a value of
    its own, since missingness can give the label away too; values of fewer than ten patients are one value, `rare values`;
    numeric fields of more than ten values are cut at their deciles. Films without a target are left out.

    Args:
        table: predictions, or any table with patient, target and the fields; typically the training films.

    Returns:
        A row for each field: field, auroc, low, high (95 %; NaN below ten patients in either class), cramers_v (0 to 1, of
        these values and the label; NaN where either has a single value), missing (share of films), values (their number),
        verdict, sentence. Verdicts: `confounded`: V of 0.8 or more, or the interval of AUROC above 0.8; `weak`: the interval
        above 0.5; `clean`: not so, and the interval below 0.65; `cannot conclude`: none of these. An AUROC below 0.5 predicts
        nothing, even where its whole interval is below. The interval takes the frequencies as given: of simulated useless
        fields, about one in ten is called `weak`.

    Raises:
        PredictionsError: a field that is not a column; the message lists the columns.
    """
    require_columns(table, ("patient", "target", *fields))
    films = table[table["target"].notna()]
    is_positive, patient = (films["target"] == positive).to_numpy(), films["patient"].to_numpy()
    rows = []
    for name in fields:
        value = _values(films[name], films["patient"])
        auroc = _auroc(value, is_positive, patient, resamples, seed)
        counts = pd.crosstab(value, is_positive).to_numpy()
        v = float(association(counts, method="cramer")) if min(counts.shape) > 1 else float("nan")
        missing = float(_missing(films[name]).mean()) if len(films) else float("nan")
        verdict = _verdict(auroc, v)
        sentence = _sentence(name, positive, auroc, v, missing, counts, verdict)
        rows.append((name, *auroc, v, missing, len(counts), verdict, sentence))
    columns = ["field", "auroc", "low", "high", "cramers_v", "missing", "values", "verdict", "sentence"]
    return pd.DataFrame(rows, columns=columns)


def _missing(field: pd.Series) -> pd.Series:
    return field.isna() | (field == "")


def _values(field: pd.Series, patient: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(field) and field.nunique() > BINS:
        field = pd.qcut(field, BINS, duplicates="drop")
    value = field.astype(object).where(~_missing(field), NOT_RECORDED).astype(str)
    patients = patient.groupby(value).transform("nunique")
    return value.where(patients >= MINIMUM_PATIENTS, RARE).to_numpy(object)


def _auroc(value: np.ndarray, is_positive: np.ndarray, patient: np.ndarray, resamples: int, seed: int) -> Interval:
    score, fold = np.full(len(value), np.nan), np.zeros(len(value), dtype=np.int64)
    by_class = [len(np.unique(patient[is_positive == side])) for side in (False, True)]
    if min(by_class) < MINIMUM_PATIENTS:
        return NO_INTERVAL
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (fit, test) in enumerate(splitter.split(value, is_positive, patient)):
        encoder = TargetEncoder(smooth=SMOOTHING, target_type="binary").fit(value[fit, None], is_positive[fit])
        score[test], fold[test] = encoder.transform(value[test, None])[:, 0], number
    return auroc_interval(is_positive, score, patient, resamples, seed, stratum=fold)


def _verdict(auroc: Interval, v: float) -> str:
    if np.isnan(auroc.estimate):
        return "cannot conclude"
    if v >= NEARLY_DETERMINED or auroc.low > CONFOUNDED_AUROC:
        return "confounded"
    if auroc.low > 0.5:
        return "weak"
    return "clean" if auroc.high < CLEAN_AUROC else "cannot conclude"


def _sentence(
    name: str, positive: str, auroc: Interval, v: float, missing: float, counts: np.ndarray, verdict: str
) -> str:
    if np.isnan(auroc.estimate):
        return f"{name}: too few patients with or without {positive} to conclude (at least {MINIMUM_PATIENTS} of each)."
    if len(counts) == 1:
        return f"{name} has a single value: it can't give {positive} away."
    span = f"AUROC {auroc:.2f}, Cramer's V {v:.2f}"
    meaning = {
        "confounded": f"{name} alone nearly gives {positive}: a model can be right without looking at the lungs",
        "weak": f"{name} alone predicts {positive} better than chance: a possible shortcut",
        "clean": f"{name} alone says little about {positive}",
        "cannot conclude": f"{name} may or may not predict {positive}: too few patients to tell",
    }[verdict]
    absent = f"; not recorded for {missing:.0%} of films, counted as a value" if missing else ""
    return f"{meaning} ({span}{absent})."
