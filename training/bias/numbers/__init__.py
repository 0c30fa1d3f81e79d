"""Metrics as functions of patient weights: their intervals, comparisons and tests.

A `Statistic` holds some films, sorted and summed once, and gives its metrics for any weights of their patients. Every number
of the audit is one statistic and a choice of weights, patients x resamples in, metrics x resamples out:

    all ones                                 the estimate
    how often each patient was drawn         bootstrap resamples: the interval
    ones, but 0 for one patient              jackknife: the acceleration of a BCa interval, covariances of seeds
    1 where a patient's models are swapped   permutations: the p-value of a comparison
    1 where a patient is on one side         permutations: the p-value of drift

weighting.py    how much a film counts, and how many patients films are worth
interval.py     an estimate with its bounds
metrics.py      metrics of a predictions table
auroc.py        AUROC: interval, difference, permutation test
alignment.py    usual labels of sources, aligned and conflicting films
contrast.py     accuracy on conflicting films, within a label
groups.py       metrics by group, and gaps between groups
proportions.py  intervals that hold near 0 and 1, and gaps between groups
uncertainty.py  intervals that resample patients
usefulness.py   predictive values at a prevalence, net benefit
compare.py      two checkpoints on the same films
source_gap.py   equalised odds between sources, and how two models differ in it
two_level.py    several trainings: intervals over patients and seeds
gap_closed.py   how much of the way from a plain model to the best possible one a method goes
calibration.py  temperature and threshold, from validation; slope, and observed over expected
site_calibration.py  a temperature and a threshold for each site, and what they change
drift.py        how far films are from those of the training
"""
