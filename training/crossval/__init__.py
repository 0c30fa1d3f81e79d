"""Leave one source out, or one value of any column: `python -m training.crossval`.

folds.py       every fold trained and scored
lines.py       the trainings, and a record's line of each
comparison.py  the table: methods on held-out films
__main__.py    the command
"""
