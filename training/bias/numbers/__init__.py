"""Metrics as functions of patient weights, their intervals, and comparisons.

metrics.py      metrics of a predictions table
auroc.py        AUROC: interval, difference, permutation test
groups.py       metrics by group, and gaps between groups
uncertainty.py  intervals that resample patients
compare.py      two checkpoints on the same films
calibration.py  temperature and threshold, from validation
drift.py        how far films are from those of the training
"""
