"""EnD-CXR, from files to samples: films, cohorts, splits, samplers, and the confounding check before training.

sample.py        the record that training sees, and what is known of a dataset
files.py         files written whole or not at all
seed.py          the seeds that commands take
help_text.py     how the commands write --help and mistakes
listed.py        lists in text: names on a command line, the first few of a list
spelling.py      what spellings of one name share
film/            one file to one film
cohort/          a table of films: split, cached, sampled, checked
phantom/         synthetic films, with no patient (a command)
covid.py         a folder with metadata.csv as a cohort
biased_mnist.py  digits on coloured grounds, the benchmark of the literature
catalogue.py     the dataset that a name on the command line means
prepare/         public data sets on disk to a cohort (a command)
manifest.py      which public films a cohort holds (a command)
"""
