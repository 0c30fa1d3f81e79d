"""What the audit asks of a checkpoint.

leakage.py            can the source be read from the features?
probing.py            the probes, their folds and their permutations
shortcuts.py          films with a suspected shortcut left alone, or taken away
shortcut_evidence.py  what their scores show
fields.py             how well does each metadata field give the label away?
unlabelled.py         what can be said without labels
"""
