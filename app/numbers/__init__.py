"""Tables and numbers of the pages, without streamlit.

run_labels.py       short names of runs, and which differ in their seed alone
run_records.py      runs, training curves, settings, model cards
pairs.py            the films that several checkpoints scored
film_answer.py      how far the scores of a film move without a part of it
operating_point.py  sensitivity and specificity at a threshold and a prevalence
feature_maps.py     features of fixed films, flat, epoch by epoch
audit.py            a finished audit, read from its report.json
dependence.py       whether a run depends less on the source than another
problems.py         what an audit found, did not find, or can't conclude
"""
