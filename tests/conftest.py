"""What holds for every test: shapes are checked where tensors cross a function, and torch computes on one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; also for the programs that tests start

import torch
from jaxtyping import install_import_hook

install_import_hook(
    ("datasets.cohort.augmentation", "datasets.film.preprocessing", "models", "training.methods"), "beartype.beartype"
)
torch.set_num_threads(1)  # tensors are small here: threads would only wait for each other
