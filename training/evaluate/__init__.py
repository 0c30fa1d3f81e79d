"""Audit checkpoints: `python -m training.evaluate`.

evaluation.py  films through checkpoints, the audit, its files
terminal.py    the verdict's table in the terminal
pdf.py         report.pdf, printed by Chromium
__main__.py    the command
"""
