"""Checkpoints applied to films: features, logits, predictions.

predict.py           `Predictor`, inference over a cohort, the predictions table
score.py             several checkpoints in one pass over the films
own_predictions.py   what a run predicted for its own films
by_site.py           films that are read by site: what is left out, what it changes
subjects.py          checkpoints to evaluate, with the settings of their runs
films.py             the films that a checkpoint may be judged on
lung_masks.py        where the lungs of these films are
saliency_picture.py  a saliency map drawn over its film
"""
