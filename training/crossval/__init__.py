"""Leave one source out, or one value of any column: `python -m training.crossval`.

folds.py       every fold trained and scored
comparison.py  the table: methods on held-out films
__main__.py    the command
"""
