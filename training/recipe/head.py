"""A head in seconds: one linear layer on frozen middle and last layers, every target x bias group weighing alike.

The backbone stays as it is: of a finished run, or published weights that saw no film. Each film goes through it once,
without augmentation; the maps of the chosen layers are averaged over the image. Logistic regression with an L2 penalty is
fitted to the training films, standardised on them. With N films in G groups that have any, a film counts

    w = N / G * v / (sum of v in its group)

where v is 1, or less for the films of a patient with many (`training.bias.numbers.weighting.film_weights`). Its inverse
strength C is chosen on training films (`training.recipe.strength`). Temperature and threshold come from validation, as
those of a training; nothing else reads it.

On published weights it is the baseline that a method has to beat: it costs one pass over the films. On a run it asks what
that run's backbone holds; since that was fitted to these training films, the head leans on features that are better there
than elsewhere, and `dfr`, which fits to validation, may do better.
"""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np
import torch
import yaml
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from datasets.cohort.films import Cohort
from datasets.files import write_text
from datasets.sample import Split
from models.classifier import Classifier, ModelConfig, build_classifier, usual_layers
from models.intermediates import OUTPUT, Layers
from models.keywords import parse_keywords
from training.bias.numbers.weighting import film_weights
from training.loop.measure import KeptEpoch, write_run
from training.loop.obtain import prepare_folder
from training.parallel.device import choose_device
from training.recipe.last_layer import LastLayer, replace_head
from training.recipe.parent import Parent, RecipeError, own_calls
from training.recipe.strength import RULES, Films, Strength, choose_strength
from training.run.checkpoint import load_checkpoint
from training.run.config import TrainConfig, as_settings
from training.run.recipe import Recipe
from training.run.report import RunResult
from training.scoring.predict import infer


class Frozen(NamedTuple):
    """A backbone that is not trained any more.

    Attributes:
        shape: of a classifier with this backbone, whose features are those of the chosen layers.
        weights: of the backbone.
    """

    shape: ModelConfig
    weights: dict[str, Tensor]

    def classifier(self, classes: int) -> Classifier:
        """One with this backbone and a last layer at random."""
        model = Classifier(dataclasses.replace(self.shape, num_classes=classes))
        model.backbone.load_state_dict(self.weights)
        return model.eval()


def settings_of_head(config: TrainConfig, parent: Parent | None) -> TrainConfig:
    """The settings with features as a head reads them, neither of unit length nor centred, and without a training's."""
    plain = dataclasses.replace(config, unit_norm=False, centred=False, logit_scale=1.0)
    if parent is not None:
        return plain
    return dataclasses.replace(
        plain, paired=False, resume=None, tracker=None, augment=False, amp=False, compile=False, ema=None, select="last"
    )


def freeze(config: TrainConfig, parent: Parent | None, layers: Layers | None) -> Frozen:
    """The backbone of a run, or the published weights that the settings name.

    Args:
        layers: see `ModelConfig.layers`; `output` alone is the backbone's own features, None the middle and the last layer.

    Raises:
        ModelError, CheckpointError: weights that don't fit or aren't there, layers that the backbone lacks.
    """
    if parent is None:
        keywords = parse_keywords((config.model_kwargs or "").split())
        shape = ModelConfig(config.model, 2, config.in_chans, config.img_size, keywords=keywords)
        model = build_classifier(shape, config.pretrained, config.weights)
    else:
        model = load_checkpoint(parent.folder).build()
        shape = dataclasses.replace(model.config, unit_norm=False, centred=False, logit_scale=1.0, layers=())
    chosen = usual_layers(shape) if layers is None else () if layers == (OUTPUT,) else layers
    frozen = Frozen(dataclasses.replace(shape, layers=chosen), model.backbone.state_dict())
    frozen.classifier(2)  # says before any film is decoded which layers there are
    return frozen


def fit_new_head(frozen: Frozen, cohort: Cohort, config: TrainConfig, parent: Parent | None) -> RunResult:
    """Fit the last layer, and measure the result as a run of its own.

    Raises:
        RecipeError: a class without training films, or other films than those of the parent.
    """
    if parent is not None:
        own_calls(parent, cohort, Split.VALIDATION)  # a film of validation that was trained on would be no evidence
    seen = cohort.positions(Split.TRAIN)
    target, bias = (cohort.table[name].to_numpy() for name in ("target", "bias"))
    lacking = [name for number, name in enumerate(cohort.info.targets) if number not in target[seen]]
    if lacking:
        raise RecipeError(f"train has no film of {', '.join(lacking)}: a head can't be fitted to it")
    device = choose_device(config.device)
    model = frozen.classifier(len(cohort.info.targets)).to(device)
    everything = np.arange(len(cohort.table))
    inference = infer(model, cohort.samples(), everything, device, channels_last=config.channels_last)
    patient = np.unique(cohort.table["patient"].to_numpy(), return_inverse=True)[1]
    films = Films(inference.features[seen].astype(np.float64), target[seen], bias[seen], patient[seen])
    strength = choose_strength(films, fit_head)
    replace_head(model, fit_head(films, strength.value))
    with torch.inference_mode():
        logits = model.head(torch.from_numpy(inference.features).to(device)).cpu().numpy()

    recipe = recipe_of(frozen, films, strength, parent)
    name = (
        f"{config.cohort_name}-head-{config.model}-s{config.seed}" if parent is None else f"{parent.folder.name}-head"
    )
    folder = prepare_folder(config.output, name)
    write_text(folder / "config.yaml", yaml.safe_dump(as_settings(config) | recipe.settings()))
    # Of the features; without a training there was no epoch.
    kept = KeptEpoch(parent.selection["epoch"], parent.selection["last_epoch_on_test"]) if parent else KeptEpoch(0, {})
    return write_run(model, inference._replace(logits=logits), cohort, config, folder, kept, recipe)


def fit_head(films: Films, strength: float) -> LastLayer:
    """Logistic regression on weighted films, as a layer on features that aren't standardised; softmax beyond two classes."""
    scaler = StandardScaler().fit(films.features)
    fitted = LogisticRegression(C=strength, max_iter=1000)
    with warnings.catch_warnings():
        # Of the weakest penalties, whose last digits decide nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(scaler.transform(films.features), films.target, sample_weight=balanced_weights(films))
    return LastLayer.folded(fitted.coef_, fitted.intercept_, scaler)


def balanced_weights(films: Films) -> np.ndarray:
    """Weight of each film, of mean 1: see the module."""
    cell = np.unique(np.stack([films.target, films.source]), axis=1, return_inverse=True)[1]
    weight = film_weights(np.unique(films.patient, return_inverse=True)[1], cell)
    by_cell = np.bincount(cell, weight)
    fair: np.ndarray = weight / by_cell[cell] * (len(cell) / len(by_cell))
    return fair


def recipe_of(frozen: Frozen, films: Films, strength: Strength, parent: Parent | None) -> Recipe:
    """What the run says of itself."""
    layers = frozen.shape.layers or (OUTPUT,)
    options = {
        "layers": list(layers),
        "strength": strength.value,
        "strength_rule": strength.rule,
        "strength_auroc": None if np.isnan(strength.auroc) else round(strength.auroc, 4),
        "groups": len(np.unique(np.stack([films.target, films.source]), axis=1).T),
    }
    whose = f"the backbone of {parent.folder.name}" if parent else f"published weights of {frozen.shape.name}"
    which = "its pooled features" if layers == (OUTPUT,) else f"layers {', '.join(map(str, layers))}, pooled"
    note = (
        f"The last layer was fitted to {len(films.target)} training films on {whose}, frozen ({which}); every group of "
        f"target and bias weighs alike. Its penalty (C {strength.value:g}) was chosen by "
        f"{RULES[strength.rule].format(sources=strength.sources)}"
        + (f" ({strength.auroc:.3f})." if strength.sources else ".")
    )
    label = f"{parent.result.method}+head" if parent else "head"
    name = parent.folder.name if parent else None
    return Recipe("head", name, label, options, uses_bias=True, notes=(note,))
