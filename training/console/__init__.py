"""The terminal: flags, messages, Ctrl-C.

commandline.py   dataclass fields as flags, YAML files of them
messages.py      notices, mistakes as one sentence, a bar of progress
interruption.py  Ctrl-C and SIGTERM
"""
