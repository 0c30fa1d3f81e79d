"""A temperature and a threshold for each site, beside the checkpoint: `python -m training.calibrate`.

fitting.py   films through the checkpoint, what is fitted to them, and what that changes
__main__.py  the command
"""
