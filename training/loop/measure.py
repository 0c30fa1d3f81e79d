"""What is measured of a classifier: validation after each epoch, and every split once when training is over."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax

from datasets.cohort.confounding import check_confounding
from datasets.cohort.films import Cohort, CohortError
from datasets.files import write_aside
from datasets.film.identity import hash_key
from datasets.sample import Split
from models.classifier import Classifier
from training.bias.numbers.calibration import fit_temperature, fit_threshold
from training.bias.numbers.groups import majority_targets, split_metrics
from training.bias.questions.leakage import source_leak
from training.loop.divergence import require_finite
from training.methods import METHODS
from training.run.checkpoint import Checkpoint, save_checkpoint
from training.run.checkpoint_header import NAME
from training.run.config import LOCAL_SETTINGS, TrainConfig, as_settings
from training.run.recipe import Recipe
from training.run.reference import Reference, save_reference
from training.run.report import RunResult, json_numbers, versions
from training.scoring.predict import Inference, infer, predictions_table, read_logits


def validate(
    model: Classifier,
    cohort: Cohort,
    device: torch.device,
    channels_last: bool,
    split: Split = Split.VALIDATION,
    unreadable: dict[int, str] | None = None,
) -> dict[str, float | None]:
    """Cross-entropy `ce` and the headline metrics of a split; each film is called for its most probable class."""
    at = cohort.positions(split)
    if not len(at):
        return {}
    logits = infer(model, cohort.samples(), at, device, channels_last=channels_last, unreadable=unreadable).logits
    at = at[[position not in (unreadable or {}) for position in at]]
    if not len(at):
        raise CohortError(f"no film of split {split} can be decoded any more")
    require_finite({"output": logits}, f"on {split} films")
    films = cohort.table.iloc[at]
    target = films["target"].to_numpy()
    info, scores = cohort.info, read_logits(logits, cohort.info.positive, 1.0, None)
    names = np.array(info.targets, dtype=object)
    table = pd.DataFrame(
        {
            "target": names[target],
            "prediction": names[scores.prediction],
            "source": films["source"].to_numpy(),
            "patient": films["patient"].to_numpy(),
            "score": scores.probability[:, info.positive] if info.positive is not None else np.nan,
        }
    )
    seen = cohort.table.iloc[cohort.positions(Split.TRAIN)]
    metrics = split_metrics(table, info.positive_name, majority_targets(seen["target_name"], seen["source"]))
    return json_numbers({"ce": -float(log_softmax(logits, axis=1)[np.arange(len(target)), target].mean()), **metrics})


def finish(
    model: Classifier,
    inference: Inference,
    cohort: Cohort,
    config: TrainConfig,
    folder: Path,
    epoch: int,
    last: dict[str, float | None],
    recipe: Recipe | None = None,
    unreadable: dict[int, str] | None = None,
) -> RunResult:
    """Calibrate on validation, measure each split, write the checkpoint, the predictions and the reference.

    Args:
        model: with the weights of the kept epoch.
        inference: what it says of every film of the cohort.
        cohort: all its films.
        config: of the run.
        folder: of the run.
        epoch: the kept one, from 1.
        last: metrics of the last epoch on test, which no rule chose; told beside those of the kept one.
        recipe: by which another run led to this one.
        unreadable: reason by row, of training films that others stood in for.
    """
    info, table = cohort.info, cohort.table
    everything = np.arange(len(table))
    features, logits = inference
    held = validation = cohort.positions(Split.VALIDATION)
    if recipe is not None and recipe.calibrated_on is not None:
        held = recipe.calibrated_on
    temperature = fit_temperature(logits[held], table["target"].to_numpy()[held])
    threshold = None
    if info.positive is not None and len(info.targets) == 2:
        score = read_logits(logits[held], info.positive, temperature, None).probability[:, info.positive]
        threshold = fit_threshold(score, table["target"].to_numpy()[held] == info.positive, config.operating_point)
    key = hash_key(config.output, config.hash_key)
    predictions = predictions_table(cohort, everything, logits, temperature, threshold, folder.name, key)
    train_rows = predictions[predictions["split"] == str(Split.TRAIN)]
    majority = majority_targets(train_rows["target"], train_rows["source"])
    metrics = {}
    for split in Split:
        at = cohort.positions(split)
        rows = predictions.iloc[at]
        metrics[str(split)] = split_metrics(rows, info.positive_name, majority)
        if split in (Split.TEST, Split.EXTERNAL):
            source, target = (rows[name].to_numpy() for name in ("source", "target"))
            patient = table["patient"].to_numpy()[at]  # not their hashes: folds must not depend on the key
            leak = source_leak(features[at], source, target, patient)
            metrics[str(split)] |= {"leak": leak.leak, "leak_chance": leak.chance, "leak_normalised": leak.normalised}
    settings = as_settings(config) | (recipe.settings() if recipe else {})
    label = recipe.label if recipe else config.method
    run = RunResult(folder, label, config.model, config.seed, info.synthetic, metrics)
    checkpoint = Checkpoint(
        model.config, cohort.preprocessing, info, threshold, temperature,
        {name: value for name, value in settings.items() if name not in LOCAL_SETTINGS},
        run.as_json()["metrics"], versions(), model.state_dict(),
    )  # fmt: skip
    save_checkpoint(checkpoint, folder / NAME)
    seen = cohort.positions(Split.TRAIN)
    rows = table["row"].to_numpy()[seen]
    save_reference(Reference.of(features[seen], features[validation], config.seed, rows), folder)
    write_aside(folder / "predictions.parquet", lambda file: predictions.to_parquet(file, index=False))
    films = table.iloc[seen]
    check = check_confounding(films["target_name"], films["source"], config.batch_size, info.bias_name)
    details = {
        "selection": {
            "rule": config.select,
            "epoch": epoch,
            "used_bias_labels": config.select == "worst_group_accuracy",
            "last_epoch_on_test": last,
        },
        "calibration": {"temperature": temperature, "threshold": threshold, "operating_point": config.operating_point},
        "recipe": recipe.settings() if recipe else None,
        "training_used_bias_labels": METHODS[config.method].uses_bias or bool(recipe and recipe.uses_bias),
        "confounding": {
            "table": check.table.to_dict("index"),
            "cramers_v": json_numbers({"v": check.cramers_v})["v"],
            "pairs_per_random_batch": {"disentangling": check.pairs[0], "entangling": check.pairs[1]},
            "verdict": check.verdict,
        },
        "excluded": cohort.excluded.to_dict("records"),
        "stood_in_for": [{"row": row, "reason": reason} for row, reason in sorted((unreadable or {}).items())],
        "notes": [*cohort.notes, *(recipe.notes if recipe else ())],
        "versions": versions(),
    }
    return dataclasses.replace(run, details=details)
