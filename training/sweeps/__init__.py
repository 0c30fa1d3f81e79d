"""Sweeps of Weights & Biases, for `wandb sweep FILE`; `training.sweep` needs none of them."""
