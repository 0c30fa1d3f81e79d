"""The terminal: flags, messages, Ctrl-C.

commandline.py   dataclass fields as flags, YAML files of them
messages.py      notices, mistakes as one sentence, a bar of progress
differences.py   methods side by side, in 80 columns
site_table.py    what site calibration changes
stages.py        how far a long command is
interruption.py  Ctrl-C and SIGTERM
"""
