"""A run made from another, or from frozen features: `python -m training.recipe`.

follow.py    what the command does
parent.py    the run that it starts from
jtt.py       just train twice
dfr.py       deep feature reweighting
head.py      a head on frozen layers, in seconds
strength.py  how strong the head's penalty is, by training films alone
last_layer.py  a regression as the last layer of a classifier
candidate.py  what benchmarks compare: a method, or the head, with some settings fixed
__main__.py  the command
"""
