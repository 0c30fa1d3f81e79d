"""Training itself.

twin.py        what training.train does: a run, or a method beside its ERM twin, and the summary
fit.py         the loop: epochs of steps, each measured, the best one kept
obtain.py      a finished run: found, resumed or trained
archive.py     the cohort of an archive, made first
prepare.py     the films, loaded, checked and decoded
rehearsal.py   a step on blank films before any is decoded
assembly.py    networks, batches, optimiser and scheduler from a run's settings
joint.py       classifier and method in one forward pass, the gradient of a batch
divergence.py  loss terms that are not finite
measure.py     validation, and the metrics of every split at the end
selection.py   which epoch is kept
probe_set.py   features of fixed films at several epochs
saver.py       when a state is saved, and how a training ends early
mistakes.py    the sentences of a training that ends early
resume.py      the saved state (resume-*.pt): written, restored
progress.py    the progress bar
tables.py      what is printed before and after
trackers.py    TensorBoard and Weights & Biases
"""
