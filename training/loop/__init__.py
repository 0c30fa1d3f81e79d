"""Training itself.

fit.py         the loop
assembly.py    networks, batches, optimiser and scheduler from a run's settings
joint.py       classifier and method in one forward pass, the gradient of a batch
divergence.py  loss terms that are not finite
measure.py     validation, and the metrics of every split at the end
selection.py   which epoch is kept
probe_set.py   features of fixed films at several epochs
keeper.py      when a state is saved, and what is said when a training ends early
resume.py      the state that an interrupted training goes on from
progress.py    the progress bar
tables.py      what is printed before and after
trackers.py    TensorBoard and Weights & Biases
"""
