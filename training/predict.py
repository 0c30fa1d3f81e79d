"""`from training.predict import Predictor`: the name that model cards and notebooks use; the code is in training/scoring."""

from training.scoring.predict import Predictor as Predictor
