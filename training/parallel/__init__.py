"""Several processes: the ranks of one training, their reductions, devices, the pool that decodes films.

ranks.py        which process this is, and small exchanges between processes, without gradients
reductions.py   reductions with gradients, for loss terms of the whole batch
device.py       the device of a training or a scoring
memory.py       freed memory that is kept for the next batch
worker_pool.py  a pool in which a crash costs one task
"""
