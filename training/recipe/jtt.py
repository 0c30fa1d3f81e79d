"""Just train twice: a second training that sees the errors of a first one more often; needs no bias labels.

Liu et al., "Just Train Twice: Improving Group Robustness without Training Group Information", ICML 2021. The error set is
the training films that the identification model calls wrong; the second model starts anew and minimises

    lambda_up * sum of losses in the error set + sum of losses outside of it

by plain cross-entropy over films of which those in the error set occur lambda_up times. The paper takes lambda_up = 100
after 60 epochs of identification (Waterbirds), 50 after 1 (CelebA), 6 after 2 (text), and chooses both, and a strong weight
decay, by worst-group accuracy on a validation split with bias labels: without such a search nothing is promised.

Deviations: "wrong" is read at the run's own threshold where there is one, not at 0.5; the run is the epoch that its
selection rule kept. An epoch is as much longer as films are repeated, so compare with a plain run of as many steps too.
The same command resumes an interrupted second training. It makes no sense where the first model calls most films
wrong (then it is nearly ERM with longer epochs) or none.
"""

import dataclasses

import numpy as np

from datasets.cohort.films import Cohort
from datasets.sample import Split
from training.loop.obtain import SAME_COMMAND, train
from training.recipe.parent import Parent, RecipeError, own_calls, with_given
from training.run.config import TrainConfig
from training.run.existing import find_run
from training.run.recipe import Recipe
from training.run.report import RunResult


def second_config(parent: Parent, seed: int | None, epochs: int | None) -> TrainConfig:
    """Settings of the second training: the run's own where None, films in random order so that bias labels play no part.

    A run of another method than erm, which would have used more than its errors, raises RecipeError.
    """
    config, name = parent.config, parent.folder.name
    if config.method != "erm":
        raise RecipeError(f"{name} was trained with {config.method}: jtt starts from a run of --method erm")
    if config.redraw < 1 and seed not in (None, config.seed):
        raise RecipeError(
            f"{name} drew its training patients by its seed (--redraw {config.redraw:g}): leave --seed out, or give "
            f"{config.seed}"
        )
    return with_given(config, {"sampler": "random", "seed": seed, "epochs": epochs})


def just_train_twice(parent: Parent, cohort: Cohort, config: TrainConfig, upweight: int) -> RunResult:
    """Train on the films of `parent`, its errors dealt `upweight` times an epoch; raises RecipeError where it made none."""
    calls = own_calls(parent, cohort, Split.TRAIN)
    wrong = (calls["prediction"] != calls["target"]).to_numpy()
    name, count = parent.folder.name, int(wrong.sum())
    if not count:
        raise RecipeError(
            f"{name} called every training film right: nothing to see more often. Train the first run for fewer epochs"
        )
    seen = f"{count} of {len(wrong)} training films were called wrong by {name} and seen {upweight} times an epoch."
    options, repeats = {"upweight": upweight, "upweighted_films": count}, np.where(wrong, upweight, 1)
    label = f"{parent.result.method}+jtt"
    recipe = Recipe("jtt", name, label, options, parent.uses_bias, repeats=repeats, notes=(seen,))
    _, begun = find_run(config, recipe)
    return train(dataclasses.replace(config, resume=begun), cohort, recipe=recipe, how_to_resume=SAME_COMMAND)
