"""What `--bias` says, and whether a training reads it: columns that it must not use, each with its weight. Free of torch."""

import math
from collections.abc import Mapping
from typing import Any

from training.methods import METHODS, Entry


def parse_biases(text: str) -> dict[str, float]:
    """`source,view:0.5` as the weight of each column, 1 where none stands.

    Raises:
        ValueError: no name, a name twice, a weight below 0, or none above.
    """
    weights = dict[str, float]()
    for part in text.split(","):
        name, colon, weight = part.strip().rpartition(":")
        try:
            number = float(weight) if colon else 1.0
        except ValueError:  # a colon of the name's own
            number, colon = 1.0, ""
        name = (name if colon else part).strip()
        if not name:
            raise ValueError(f"--bias {text}: name columns of metadata.csv, separated by commas, as in source,view:0.5")
        if name in weights:
            raise ValueError(f"--bias {text}: {name} stands there twice")
        if not 0 <= number < math.inf:
            raise ValueError(f"--bias {text}: the weight of {name} must be 0 or more")
        weights[name] = number
    if not any(weights.values()):
        raise ValueError(f"--bias {text}: one weight at least must be above 0, or the training has no bias to work on")
    return weights


def reads_bias(settings: Mapping[str, Any]) -> bool:
    """Whether a training with these settings reads bias labels: in its method, for its batches, or to mix films."""
    entry = METHODS.get(settings.get("method", ""))
    in_method = entry is not None and entry.uses_bias
    return in_method or settings.get("sampler") == "balanced" or settings.get("mix_amplitude", 0) > 0


def require_biases(text: str, method: str, parameters: Any) -> None:
    """Raise ValueError where a method can't take what `--bias` says; the message names those that can."""
    weights, entry = parse_biases(text), METHODS[method]
    used = [weight for weight in weights.values() if weight]
    if len(used) > 1 and _takes_one(entry):
        several, none = (
            ", ".join(name for name, other in METHODS.items() if other.uses_bias == uses and not _takes_one(other))
            for uses in (True, False)
        )
        raise ValueError(
            f"--bias {text}: --method {method} takes one bias. Several are taken by {several}, and by methods that read "
            f"none ({none})"
        )
    if used != [1.0] and _takes_one(entry):
        raise ValueError(f"--bias {text}: --method {method} has no weight for a bias; leave it out")
    if len(used) > 1 and getattr(parameters, "cross_entropy", "plain") == "balanced":
        raise ValueError(f"--bias {text}: --cross-entropy balanced takes one bias; take plain")


def _takes_one(entry: Entry) -> bool:
    return entry.uses_bias and not entry.takes_several
