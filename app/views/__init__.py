"""One file a page: what the visitor chooses, and what is drawn for it. Large pages have their second half beside them.

compare.py          several checkpoints on one film: which film
compare_uploads.py  which of several uploads
compare_answer.py   what they say of it: a sentence and a table
compare_picture.py  the film itself, to zoom into
compare_closer.py   evidence, missing parts, nearest films, what the reader did
disagreements.py    the films that checkpoints score most differently
disagreement_grid.py  these films as pictures, and why
batch.py            many films in the background: form and progress
batch_outcome.py    results and downloads of a batch
bias.py             the bias audit
feature_space.py    features of fixed films, epoch by epoch
picked_films.py     the films that are picked there
threshold.py        another operating point or prevalence
runs.py             what is in the folder and how it was trained
"""
