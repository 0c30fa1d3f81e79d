"""What is measured of a classifier: validation after each epoch, and every split once when training is over."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import log_softmax

from datasets.cohort.attributes import check_attributes
from datasets.cohort.films import Cohort, CohortError
from datasets.cohort.parquet_table import write_parquet
from datasets.film.identity import hash_key, key_id
from datasets.sample import Attribute, DatasetInfo, Split
from models.classifier import Classifier
from training.bias.numbers.alignment import majority_targets
from training.bias.numbers.calibration import fit_temperature, fit_threshold
from training.bias.numbers.groups import split_metrics
from training.bias.questions.leakage import source_leak
from training.bias.report.plain import plain
from training.console.messages import ERRORS
from training.loop.assembly import Assembly
from training.loop.divergence import require_finite
from training.loop.resume import Progress, digest
from training.parallel.ranks import is_first
from training.run.biases import reads_bias
from training.run.checkpoint import Calibration, Checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME
from training.run.config import TrainConfig, public_settings
from training.run.existing import FILMS
from training.run.recipe import Recipe
from training.run.reference import Reference, save_reference
from training.run.report import BY_ATTRIBUTE, RunResult, by_attribute, versions
from training.scoring.own_predictions import KEY
from training.scoring.predict import Inference, infer, predictions, predictions_table, read_logits


def infer_films(training: Assembly, progress: Progress, positions: np.ndarray) -> Inference:
    """Features and logits of films by the measured classifier.

    With --on-bad-image skip a film that can't be decoded is left out, here and of everything measured later, so that what is
    measured stays comparable; it is printed once.
    """
    config = training.config
    positions = positions[~np.isin(positions, list(progress.unmeasured))]
    inference = infer(
        training.measured, training.cohort.samples(), positions, training.device, config.channels_last,
        skip=config.on_bad_image == "skip",
    )  # fmt: skip
    for position, reason in inference.unreadable.items():
        progress.unmeasured[position] = reason
        ERRORS.print(f"{reason}; it is left out of what is measured", style="yellow", markup=False, highlight=False)
    return inference


def validate(training: Assembly, progress: Progress, split: Split = Split.VALIDATION) -> dict[str, float | None]:
    """Cross-entropy `ce` and the headline metrics of a split; each film is called for its most probable class.

    An output that is not finite raises DivergenceError.
    """
    cohort = training.cohort
    if not len(cohort.positions(split)):
        return {}
    inference = infer_films(training, progress, cohort.positions(split))
    logits = inference.logits
    if not len(logits):
        raise CohortError(f"no film of split {split} can be decoded any more")
    require_finite({"output": logits}, f"on {split} films")
    films = cohort.table.iloc[inference.positions]
    target = films["target"].to_numpy()
    names = films[["target_name", "source", "patient"]].rename(columns={"target_name": "target"})
    table = predictions(names, logits, cohort.info, Calibration())
    trained_on = cohort.table.iloc[cohort.positions(Split.TRAIN)]
    usual = majority_targets(trained_on["target_name"], trained_on["source"])
    metrics = split_metrics(table, cohort.info.positive_name, usual)
    metrics |= further_metrics(table, inference.positions, cohort)
    return plain({"ce": -float(log_softmax(logits, axis=1)[np.arange(len(target)), target].mean()), **metrics})


def finish(training: Assembly, progress: Progress, folder: Path, recipe: Recipe | None = None) -> RunResult:
    """Measure every film with the weights of the kept epoch, and write the run folder but for report.json.

    In a training of several processes all must call it; the first one alone writes, and its result alone has metrics.
    """
    config, cohort = training.config, training.cohort
    last_epoch = validate(training, progress, Split.TEST)
    training.measured.load_state_dict(progress.best.weights)
    inference = infer_films(training, progress, np.arange(len(cohort.table)))
    if not is_first():
        return RunResult(folder, config.method, config.model, config.seed, cohort.info.synthetic, {})
    if progress.unmeasured:
        cohort = cohort.without(progress.unmeasured)
    kept = KeptEpoch(progress.best.epoch, last_epoch)
    films = digest(training.cohort)
    return write_run(training.measured, inference, cohort, config, folder, kept, recipe, progress.stand_ins, films)


class KeptEpoch(NamedTuple):
    """Which epoch a run keeps.

    Attributes:
        epoch: from 1.
        last_on_test: metrics on test of the last epoch, which no rule chose; reported beside those of the kept one.
    """

    epoch: int
    last_on_test: dict[str, float | None]


def write_run(
    model: Classifier, inference: Inference, cohort: Cohort, config: TrainConfig, folder: Path, kept: KeptEpoch,
    recipe: Recipe | None = None, stand_ins: dict[int, str] | None = None, films: str | None = None,
) -> RunResult:  # fmt: skip
    """Calibrate on validation, measure each split, write the checkpoint, the predictions and the reference features.

    Args:
        model: with the weights of the kept epoch.
        inference: of every film of the cohort.
        stand_ins: reason by row, of training films that others replaced.
        films: digest of the films that the run is found again by, those that could not be read among them.
    """
    info, table = cohort.info, cohort.table
    features, logits = inference.features, inference.logits
    temperature, threshold = calibration = calibrate(logits, cohort, config.operating_point, recipe)
    key = hash_key(config.output, config.hash_key)
    scored = predictions_table(cohort, logits, calibration, folder.name, key, tuple(a.name for a in info.named))
    scored.attrs |= {KEY: key_id(key), FILMS: films}
    settings = public_settings(config) | (recipe.settings() if recipe else {})
    label, metrics = recipe.label if recipe else config.method, measure_splits(scored, features, cohort)
    run = RunResult(folder, label, config.model, config.seed, info.synthetic, metrics)
    checkpoint = Checkpoint(
        model.config, cohort.preprocessing, info, threshold, temperature, settings, run.as_json()["metrics"], versions(),
        model.state_dict(),
    )  # fmt: skip
    save_checkpoint(checkpoint, folder / NAME)
    train, validation = cohort.positions(Split.TRAIN), cohort.positions(Split.VALIDATION)
    rows = table["row"].to_numpy()[train]
    save_reference(Reference.of(features[train], features[validation], config.seed, rows), folder)
    write_parquet(scored, folder / "predictions.parquet")
    checks = {
        name: {
            "table": check.table.to_dict("index"),
            "cramers_v": plain(check.cramers_v),
            "pairs_per_random_batch": {"disentangling": check.pairs[0], "entangling": check.pairs[1]},
            "verdict": check.verdict,
        }
        for name, check in check_attributes(cohort, config.batch_size).items()
    }
    details = {
        "selection": {
            "rule": config.select,
            "epoch": kept.epoch,
            "used_bias_labels": config.select == "worst_group_accuracy",
            "last_epoch_on_test": kept.last_on_test,
        },
        "calibration": {"temperature": temperature, "threshold": threshold, "operating_point": config.operating_point},
        "recipe": recipe.settings() if recipe else None,
        "training_used_bias_labels": reads_bias(vars(config)) or bool(recipe and recipe.uses_bias),
        "confounding": next(iter(checks.values())),
        **({"confounding_by_attribute": checks} if info.named else {}),
        "excluded": cohort.excluded.to_dict("records"),
        "stood_in_for": [{"row": row, "reason": reason} for row, reason in sorted((stand_ins or {}).items())],
        "notes": [*cohort.notes, *(recipe.notes if recipe else ())],
        "versions": versions(),
    }
    return dataclasses.replace(run, details=details)


def calibrate(logits: np.ndarray, cohort: Cohort, operating_point: str, recipe: Recipe | None) -> Calibration:
    """Temperature and threshold from validation films; no threshold for more than two classes."""
    films = cohort.positions(Split.VALIDATION)
    if recipe is not None and recipe.calibrated_on is not None:
        films = recipe.calibrated_on
    target, positive = cohort.table["target"].to_numpy()[films], cohort.info.positive
    temperature = fit_temperature(logits[films], target)
    if positive is None or len(cohort.info.targets) != 2:
        return Calibration(temperature)
    score = read_logits(logits[films], positive, Calibration(temperature)).score
    return Calibration(temperature, fit_threshold(score, target == positive, operating_point))


def measure_splits(scored: pd.DataFrame, features: np.ndarray, cohort: Cohort) -> dict[str, dict[str, float]]:
    """The headline metrics of each split, with the leak on test and external films."""
    train = scored[scored["split"] == str(Split.TRAIN)]
    usual = majority_targets(train["target"], train["source"])
    metrics = {}
    for split in Split:
        films = cohort.positions(split)
        rows = scored.iloc[films]
        metrics[str(split)] = split_metrics(rows, cohort.info.positive_name, usual)
        metrics[str(split)] |= further_metrics(rows, films, cohort)
        if split in (Split.TEST, Split.EXTERNAL):
            target = rows["target"].to_numpy()
            patient = cohort.table["patient"].to_numpy()[films]  # not their hashes: folds must not depend on the key
            by = {"source": rows["source"]} | {a.name: cohort.values(a).iloc[films] for a in further(cohort.info)}
            for name, values in by.items():
                leak = source_leak(features[films], values.to_numpy(), target, patient)
                found = {"leak": leak.leak, "leak_chance": leak.chance, "leak_normalised": leak.normalised}
                metrics[str(split)] |= {metric_name(m, cohort.info, name): value for m, value in found.items()}
    return metrics


def further(info: DatasetInfo) -> tuple[Attribute, ...]:
    """The attributes that are measured beside the source, which always is."""
    return tuple(attribute for attribute in info.named if attribute.name != "source")


def metric_name(metric: str, info: DatasetInfo, attribute: str) -> str:
    """A metric by an attribute: `leak` by source, `leak_by_view` by view."""
    return by_attribute(metric, attribute) if attribute in [a.name for a in further(info)] else metric


def further_metrics(rows: pd.DataFrame, films: np.ndarray, cohort: Cohort) -> dict[str, float]:
    """How a split's films do by the attributes beside the source, for each as by source.

    Args:
        rows: predictions of these films, whose targets are class names.
        films: their positions.
    """
    trained_on, metrics = cohort.positions(Split.TRAIN), dict[str, float]()
    for attribute in further(cohort.info):
        values = cohort.values(attribute)
        usual = majority_targets(cohort.table["target_name"].iloc[trained_on], values.iloc[trained_on])
        found = split_metrics(rows.assign(source=values.to_numpy()[films]), cohort.info.positive_name, usual)
        metrics |= {by_attribute(name, attribute.name): found[name] for name in BY_ATTRIBUTE if name in found}
    return metrics
