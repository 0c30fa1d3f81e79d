"""What a run is: its settings and the files of its folder.

config.py             settings, command line and YAML
presets.py            where the settings of each dataset start
rules.py              which settings go together
biases.py             what --bias says, and which methods take it
archive.py            the flags of a training on an archive
films.py              the cohort that the settings name
checkpoint.py         model.safetensors, written and loaded
checkpoint_header.py  its header, read without torch
header_fields.py      what a header must hold
report.py             metrics by split, report.json
record.py             a benchmark's JSON line a finished run
site_calibration.py   temperatures and thresholds of sites, beside the checkpoint
recipe.py             what a run that comes from another remembers
reference.py          features of training films, to detect outliers
probe_file.py         features of fixed films at moments of the training
existing.py           a run with the same settings, found again
under_way.py          how far a training is that has not finished
index.py              the runs below a folder
"""
