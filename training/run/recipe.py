"""Recipes make a run as no method can: by two trainings, or by a fit on frozen features."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SUMMARIES = {
    "jtt": "Just train twice: train again, with the training films that RUN got wrong seen more often",
    "dfr": "Deep feature reweighting: refit the last layer of RUN on equally many films of each target and bias",
    "head": "A head in seconds: one linear layer on frozen layers of RUN, or of published weights, groups weighing alike",
}


@dataclass(frozen=True)
class Recipe:
    """What is said and done differently in a run that comes from another.

    Attributes:
        parent: folder name of the run that it comes from; None for a head on published weights.
        label: what tables call the run, such as `erm+dfr`; its settings keep the method of the training.
        options: of the recipe, and what it found; plain values.
        repeats: how often each training film is dealt in an epoch, in the order of the cohort; None is once.
        calibrated_on: positions of the validation films that temperature and threshold are fitted on; None is all.
        notes: sentences for the report and the model card.
    """

    name: str
    parent: str | None
    label: str
    options: dict[str, Any]
    uses_bias: bool
    repeats: "np.ndarray | None" = None
    calibrated_on: "np.ndarray | None" = None
    notes: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """What config.yaml, the checkpoint and the report say beside the settings of the training."""
        return {"recipe": self.name, "parent": self.parent, "recipe_used_bias": self.uses_bias} | self.options
