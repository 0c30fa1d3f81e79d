"""One file a page: what the visitor chooses, and what is drawn for it.

compare.py        several checkpoints on one film
disagreements.py  the films that checkpoints score most differently
batch.py          many films in the background
bias.py           the bias audit
feature_space.py  features of fixed films, epoch by epoch
threshold.py      another operating point or prevalence
runs.py           what is in the folder and how it was trained
"""
