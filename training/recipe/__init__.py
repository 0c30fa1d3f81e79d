"""A run made from another: `python -m training.recipe`.

follow.py    what the command does
parent.py    the run that it starts from
jtt.py       just train twice
dfr.py       deep feature reweighting
__main__.py  the command
"""
