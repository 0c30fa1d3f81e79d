"""Deep feature reweighting: the last layer alone is fitted anew, on frozen features of films balanced over groups.

Kirichenko, Izmailov and Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations", ICLR 2023.
Features are standardised on the training films; logistic regression with an L1 penalty is fitted to draws that hold as many
films of each target x bias group as the smallest group has, and the coefficients of the draws are averaged. Its inverse
strength C is the one of seven with the highest worst-group accuracy on films that it wasn't fitted to.

`validation` (the paper's DFR^Val_Tr) fits to validation films, which the features were not trained on; `train` (DFR^Tr_Tr) to
training films, whose features are already fitted to their labels: the paper finds it weaker.

Deviations. The validation split is cut in two halves by patient. For `validation` one half is fitted to; the other chooses C
and calibrates temperature and threshold, so that these are read off films the layer has not seen, but for the choice among
seven values of C. The paper fits to the whole split once C is chosen. For `train` one half chooses C, the other calibrates.
Ties of worst-group accuracy, common where groups are small, go to the higher mean over groups. Classes beyond two are fitted
jointly (softmax). Groups without films can't be balanced: those that exist are.
"""

import warnings
from typing import NamedTuple

import numpy as np
import yaml
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from datasets.cohort.films import Cohort
from datasets.cohort.groups import balanced_groups
from datasets.files import write_text
from datasets.sample import Split
from training.loop.measure import KeptEpoch, write_run
from training.loop.obtain import prepare_folder
from training.parallel.device import choose_device
from training.recipe.last_layer import LastLayer, replace_head
from training.recipe.parent import Parent, RecipeError, own_calls
from training.run.checkpoint import load_checkpoint
from training.run.config import as_settings
from training.run.recipe import Recipe
from training.run.report import RunResult
from training.scoring.predict import infer

STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)  # of C, the paper's


class Films(NamedTuple):
    """Features (films x width) with the class and the group of each film."""

    features: np.ndarray
    target: np.ndarray
    group: np.ndarray


def reweight_features(parent: Parent, cohort: Cohort, fit_on: str, penalty: str, subsets: int, seed: int) -> RunResult:
    """Fit the last layer of a run anew, and measure the result as a run of its own.

    Args:
        fit_on: `validation` or `train`.
        penalty: `l1` or `l2`.
        seed: of the draws and of the halves.

    Raises:
        RecipeError: a class without films to fit to, a validation split of fewer than 4 patients, or other films.
    """
    config, device = parent.config, choose_device(parent.config.device)
    own_calls(parent, cohort, Split.VALIDATION)  # a film of validation that was trained on would be no evidence
    model = load_checkpoint(parent.folder).build().to(device)
    table, everything = cohort.table, np.arange(len(cohort.table))
    features = infer(model, cohort.samples(), everything, device, channels_last=config.channels_last).features
    target = table["target"].to_numpy()
    group = balanced_groups(target, cohort.bias)
    seen, (first, second) = cohort.positions(Split.TRAIN), validation_halves(cohort, group, seed)
    fitted_to, chosen_on = (first, second) if fit_on == "validation" else (seen, first)
    fit, judge = (Films(features[at], target[at], group[at]) for at in (fitted_to, chosen_on))
    _require_classes(fit, cohort.info.targets, fit_on)

    scaler = StandardScaler().fit(features[seen].astype(np.float64))
    strength = choose_strength(fit, judge, scaler, penalty, seed)
    layer = fit_last_layer(fit, scaler, penalty, strength, subsets, seed)
    replace_head(model, layer)

    counts = np.unique(fit.group, return_counts=True)[1]
    options = {"fit_on": fit_on, "penalty": penalty, "subsets": subsets, "fit_seed": seed}
    options |= {"strength": strength, "groups": len(counts), "films_per_group": int(counts.min())}
    name, label = parent.folder.name, f"{parent.result.method}+dfr"
    notes = (_note(name, fit_on, len(fitted_to), len(second)),)
    recipe = Recipe("dfr", name, label, options, uses_bias=True, calibrated_on=second, notes=notes)
    folder = prepare_folder(config.output, f"{name}-dfr")
    write_text(folder / "config.yaml", yaml.safe_dump(as_settings(config) | recipe.settings()))
    kept = KeptEpoch(parent.selection["epoch"], parent.selection["last_epoch_on_test"])  # of the features
    inference = infer(model, cohort.samples(), everything, device, channels_last=config.channels_last)
    return write_run(model, inference, cohort, config, folder, kept, recipe)


def validation_halves(cohort: Cohort, group: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the two halves of validation: no patient in both, groups alike in both as far as patients allow."""
    at = cohort.positions(Split.VALIDATION)
    patient = cohort.table["patient"].to_numpy()[at]
    if len(set(patient)) < 4:
        raise RecipeError(f"validation has films of {len(set(patient))} patients: dfr cuts it in halves and needs 4")
    cells = group[at]
    if np.unique(cells, return_counts=True)[1].max() < 2:
        cells = np.zeros_like(cells)  # scikit-learn refuses strata that are all smaller than the folds
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        cutter = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
        first, second = next(cutter.split(at, cells, patient))
    return at[first], at[second]


def balanced_draw(group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices of as many films of each group that exists as the smallest has, drawn without replacement."""
    groups, counts = np.unique(group, return_counts=True)
    return np.concatenate([rng.choice(np.flatnonzero(group == value), counts.min(), replace=False) for value in groups])


def fit_last_layer(
    films: Films, scaler: StandardScaler, penalty: str, strength: float, subsets: int, seed: int
) -> LastLayer:
    """The mean of the regressions on `subsets` balanced draws, as a layer on features that aren't standardised."""
    rng = np.random.default_rng(seed)
    scaled, weights, biases = scaler.transform(films.features.astype(np.float64)), [], []
    for _ in range(subsets):
        drawn = balanced_draw(films.group, rng)
        fitted = regression(penalty, strength, len(np.unique(films.target)))
        with warnings.catch_warnings():
            # Most draws are small and their solutions far out; the last digits of one of several draws don't matter.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted.fit(scaled[drawn], films.target[drawn])
        weights.append(fitted.coef_)
        biases.append(fitted.intercept_)
    return LastLayer.folded(np.mean(weights, axis=0), np.mean(biases, axis=0), scaler)


def regression(penalty: str, strength: float, classes: int) -> LogisticRegression:
    """scikit-learn's regression, by the paper's solver for two classes, which knows no softmax."""
    solver = "liblinear" if classes == 2 else "saga" if penalty == "l1" else "lbfgs"
    return LogisticRegression(
        C=strength, l1_ratio=float(penalty == "l1"), solver=solver, max_iter=300, tol=1e-3, random_state=0
    )


def choose_strength(fit: Films, judge: Films, scaler: StandardScaler, penalty: str, seed: int) -> float:
    """The C of `STRENGTHS` that does best on `judge` by `group_accuracies`, each fitted to the same one draw of `fit`."""

    def accuracies(strength: float) -> tuple[float, float]:
        layer = fit_last_layer(fit, scaler, penalty, strength, 1, seed)
        return group_accuracies(layer.logits(judge.features).argmax(1), judge)

    return max(STRENGTHS, key=accuracies)


def group_accuracies(prediction: np.ndarray, films: Films) -> tuple[float, float]:
    """Accuracy of the worst group, and the mean over groups, among groups that have films."""
    right = prediction == films.target
    each = [right[films.group == value].mean() for value in np.unique(films.group)]
    return float(np.min(each)), float(np.mean(each))


def _require_classes(films: Films, names: tuple[str, ...], fit_on: str) -> None:
    lacking = [name for number, name in enumerate(names) if number not in films.target]
    if lacking:
        where = "a half of validation" if fit_on == "validation" else "train"
        raise RecipeError(f"{where} has no film of {', '.join(lacking)}: a last layer can't be fitted to it")


def _note(parent: str, fit_on: str, fitted: int, calibrated: int) -> str:
    split = "validation films (one half of the split, by patient)" if fit_on == "validation" else "training films"
    choice = "the other half" if fit_on == "validation" else "one half of validation"
    return (
        f"The last layer of {parent} was fitted anew to balanced draws from {fitted} {split}; bias labels chose "
        f"its penalty on {choice}. Temperature and threshold were fitted on {calibrated} validation films that the layer was "
        "not fitted to. Metrics of the whole validation split are therefore no independent evidence."
    )
