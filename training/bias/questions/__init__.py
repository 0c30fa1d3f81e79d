"""The questions that the audit asks of a checkpoint.

leakage.py            can the source be read from the features?
probing.py            the probes, their folds and their permutations
shortcuts.py          perturbed films: only a suspected shortcut is left, or it is removed
shortcut_evidence.py  which shortcut do the scores of perturbed films show?
fields.py             how well does each metadata field alone predict the label?
cohort.py             who the patients are, and whether a source has enough of them
unlabelled.py         films without labels: scores, outliers, drift
"""
