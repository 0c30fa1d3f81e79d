"""Hyper-parameters of every method, and the space in which `training.sweep` looks for them.

Apart from the methods themselves, and free of torch, so that `--help` can list every method's flags at once. Defaults are
the papers', where a paper names them. Each file of `training/methods/` has the equations that these stand in.
"""

from dataclasses import dataclass

from training.commandline import option


@dataclass(frozen=True)
class ErmParameters:
    """Empirical risk minimisation has none."""


@dataclass(frozen=True)
class EndParameters:
    """EnD's two weights and the reading of its first term."""

    alpha: float = option(1.0, "weight of R_perp, which disentangles features that share the bias", search=(0.01, 50.0))
    beta: float = option(
        1.0, "weight of R_par, which entangles features of one target across biases", search=(0.01, 50.0)
    )
    form: str = option(
        "signed", "R_perp: |sum of cosines| per bias, or mean |cosine| (quadratic)", choices=("signed", "absolute")
    )
