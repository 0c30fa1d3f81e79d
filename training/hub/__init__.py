"""Share a run on a model hub: `python -m training.hub`.

shared_run.py  which files travel, cleaned, and what is checked on arrival
__main__.py    the command
"""
