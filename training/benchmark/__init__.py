"""The measurements behind README and documentation: `python -m training.benchmark`.

cost.py        EnD's terms alone, and in a training step
paired.py      a method beside ERM over seeds
compared.py    what paired compares of the two
epoch.py       an epoch of Biased MNIST against the released code's way
training.py    training against timm's own recipe
dicom.py       films a second of a DICOM folder
dicomweb.py    films a second of an archive
audit.py       where the time of an audit goes
timing.py      medians of several timings
biased_mnist/  every method on Biased MNIST
planted/       every method on your own films, with a planted shortcut
__main__.py    the command
"""
