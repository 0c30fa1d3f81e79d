"""Leave one source out: `python -m training.crossval`.

folds.py       every fold trained and scored
comparison.py  the table: methods on held-out sources
__main__.py    the command
"""
