"""A last layer that a regression on standardised features gives, put into a classifier."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from models.classifier import Classifier


class LastLayer(NamedTuple):
    """Logits are `features @ weight.T + bias`, weight classes x width."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def folded(cls, coefficients: np.ndarray, intercept: np.ndarray, scaler: StandardScaler) -> "LastLayer":
        """The regression on features that `scaler` standardised, as a layer on features that aren't.

        Two classes, whose regression has one row: its decision d becomes logits (-d/2, d/2), whose softmax is its
        probability.
        """
        weight = coefficients / scaler.scale_
        bias = intercept - weight @ scaler.mean_
        if len(bias) == 1:
            weight, bias = (np.concatenate([-values, values]) / 2 for values in (weight, bias))
        return cls(weight, bias)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Films x classes."""
        scores: np.ndarray = features @ self.weight.T + self.bias
        return scores


@torch.no_grad()
def replace_head(model: Classifier, layer: LastLayer) -> None:
    """Give the model this last layer; its logit scale is divided out, so that the logits are the layer's."""
    for parameter, values in ((model.head.weight, layer.weight), (model.head.bias, layer.bias)):
        parameter.copy_(torch.from_numpy(values / model.config.logit_scale))
