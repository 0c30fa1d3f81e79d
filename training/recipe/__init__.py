"""A run made from another: `python -m training.recipe`.

parent.py    the run that it starts from
jtt.py       just train twice
dfr.py       deep feature reweighting
__main__.py  the command
"""
