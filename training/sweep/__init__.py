"""Search hyper-parameters: `python -m training.sweep`.

study.py     trials proposed, trained, pruned
space.py     what is searched, and where
measures.py  what is kept of each run
summary.py   the best settings and how sure they are
figures.py   charts of a sweep
__main__.py  the command
"""
