"""What every exported model says of itself, whatever its format."""

import dataclasses
from typing import Any

from training.console.messages import RESEARCH_ONLY, SYNTHETIC
from training.run.checkpoint import Checkpoint


class ExportError(ValueError):
    """A run that can't be exported so, or a place that can't be written to; the message says why and what would do."""


def require_close(difference: float, tolerance: float, what: str) -> None:
    """Raise ExportError for an exported model whose outputs differ from the classifier's, or are NaN."""
    if not difference <= tolerance:  # true for NaN too
        raise ExportError(f"{what} differs by {difference:.2g} from the classifier: not kept")


def facts(checkpoint: Checkpoint, run: str) -> dict[str, Any]:
    """Plain values for a header: no path, no patient. `run` is the name of the run folder."""
    c, info = checkpoint, checkpoint.info
    return {
        "notice": notice(c),
        "run": run,
        "classes": list(info.targets),
        "positive_class": info.positive_name,
        "bias": info.bias_name,
        "bias_values": list(info.biases),
        "temperature": c.temperature,
        "threshold": c.threshold,
        "score": "softmax(logits / temperature)",
        "preprocessing": dataclasses.asdict(c.preprocessing),
        "model": dataclasses.asdict(c.model),
        "versions": c.versions,
    }


def notice(checkpoint: Checkpoint) -> str:
    """The notice that it is for research, and whether its images were synthetic."""
    return RESEARCH_ONLY + (SYNTHETIC.rstrip() if checkpoint.info.synthetic else "")


def reading(checkpoint: Checkpoint) -> str:
    """How the logits become a score and a prediction, in a sentence."""
    c, positive = checkpoint, checkpoint.info.positive_name
    text = f"Score = softmax(logits / {c.temperature:.6g})"
    if positive is None or c.threshold is None:
        return f"{text}; the prediction is the most probable class."
    return (
        f"{text}; an image is called {positive} from a score of {c.threshold:.6g} on, which was chosen on validation."
    )
