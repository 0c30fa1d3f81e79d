"""A table of films: read, split, cached, sampled, checked before training.

films.py            the cohort, and the way from its rows to batches
csv_table.py        metadata.csv as a table
parquet_table.py    the same for Parquet
label_table.py      labels of DICOM films, matched by keyed hash
label_words.py      what the words of a label mean
source_names.py     one spelling for each source
notes.py            what a user should read of the table before training
attributes.py       what training must not use, in place of the source alone
external.py         films set apart by a column's values
splits.py           parts and draws by patient
cache.py            films decoded once, in memory or on disk
capacity.py         whether they fit into memory or on the disk
augmentation.py     changes that leave a chest a chest
amplitude.py        contrast mixed between sources, by Fourier amplitudes
groups.py           what balanced batches draw equally often
samplers.py         the order of an epoch, with the pairs that EnD needs
confounding.py      whether the source gives the label away
pixel_checks.py     films of one grey, or with another's pixels
near_duplicates.py  copies of one film, by perceptual hash
copies.py           the same over a whole cohort
"""
