"""Share a run on a model hub: `python -m training.hub`.

transfer.py    push and pull
shared_run.py  which files are shared, cleaned of local paths, and what is checked on arrival
__main__.py    the command
"""
