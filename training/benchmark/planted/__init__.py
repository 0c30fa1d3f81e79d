"""How much of a shortcut of known strength does a method take out of a model of these very films?

Signatures of invented hospitals are planted into the user's films, correlated with the label in training and validation;
every test patient is scored under every signature, and the same films without the correlation (rho 0.5) are the truth. With
real sources nothing is planted: the films are drawn so that each source has its usual label at rho.

signatures.py    the invented hospitals
pair.py          two shortcuts at once, a hospital and a device
films.py         each film under each signature, as files that are made once
draw.py          which patient trains, and under which signature
real_sources.py  the same with the sources that there are
study.py         what is studied: films of two labels, and their design
cohort.py        a draw as a folder with metadata.csv, for training as it is
runs.py          the runs of a study, and the line that each has in the record
execution.py     the trainings, one after another
table.py         methods beside ERM and the truth
pair_table.py    of two shortcuts: does taking out one open the other?
sheet.py         a picture of planted films
command.py       options and the whole
"""
