"""The terminal: flags, messages, Ctrl-C.

commandline.py   dataclass fields as flags, YAML files of them
messages.py      notices, and mistakes as one sentence
interruption.py  Ctrl-C and SIGTERM
"""
