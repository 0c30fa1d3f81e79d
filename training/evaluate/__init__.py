"""Audit checkpoints: `python -m training.evaluate`.

evaluation.py  films through checkpoints, the audit, its files
__main__.py    the command
"""
