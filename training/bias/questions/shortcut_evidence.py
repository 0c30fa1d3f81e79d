"""Which shortcut the model reads, from the scores of perturbed films.

The evidence is not the AUROC for the label. It is the AUROC for the source's usual label among films of one label: this
means the same whether or not label and source are correlated in the test films.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from training.bias.numbers.auroc import auroc_difference, auroc_interval
from training.bias.numbers.metrics import MINIMUM_PATIENTS, ranking_score
from training.bias.numbers.uncertainty import Interval

# Evidence is clear where the estimate reaches these and its interval excludes no effect.
CLEAR_AUROC = 0.60
CLEAR_LOSS = 0.05
_USUAL = "for the label that is usual at the film's source"


class Cue(NamedTuple):
    """What the model reads where the scores of the perturbed `films` give clear evidence.

    Attributes:
        removed: whether the perturbation removes the cue, so that a fall of the AUROC is the evidence. Otherwise only the
            cue is left, and a high AUROC is the evidence.
    """

    films: str
    name: str
    removed: bool = False


CUES: dict[str, Cue] = {
    "border_only": Cue("The outer border alone", "the outer border (collimation, cropping)"),
    "corners_only": Cue("The corners alone", "the corners (lead markers, text)"),
    "corners_blanked": Cue("With the corners blanked", "the corners (lead markers, text)", removed=True),
    "lungs_removed": Cue("With the lungs blacked out", "what lies outside the lungs"),
    "pixel_shuffled": Cue("Shuffled pixels", "the grey levels (exposure, contrast)"),
    "mirrored": Cue(
        "On mirrored films", "something that has a side (as a lead marker's place or letter)", removed=True
    ),
}


def shortcut_table(
    intact: pd.DataFrame,
    perturbed: dict[str, np.ndarray],
    positive: str,
    majority: dict[str, str],
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """AUROC of the scores of intact and perturbed films, for the label and for the source's usual label.

    Args:
        intact: predictions of the films as they are; those without a target are left out.
        perturbed: scores in [0, 1] of the same films in the same order, by name of the perturbation.
        majority: of the training films, from `majority_targets`.

    Returns:
        Two rows for `intact` and for each perturbation. `against` names what the AUROC (`estimate`, `low`, `high`) is for:
        `label`; or `usual label`, whether the positive class is the usual one at the film's source, over pairs of films
        of one label, 0.5 for a score that tells nothing about the source. `change`, `change_low`, `change_high`: the AUROC
        minus that of the intact films. `score_change`: mean absolute change of the score. `found`: whether the evidence
        that the model reads the cue is clear (see `findings`); None where nothing can be concluded, and in all other rows.

    Raises:
        ValueError: an unknown shortcut, or scores of another number of films.
    """
    for name, values in perturbed.items():
        if name not in CUES:
            raise ValueError(f"unknown shortcut {name!r}; known are {', '.join(CUES)}")
        if values.shape != (len(intact),):
            raise ValueError(f"{name} has scores of shape {values.shape}; the table has {len(intact)} films")
    labelled = intact["target"].notna().to_numpy()
    films = intact[labelled]
    scores = {"intact": ranking_score(films)} | {name: values[labelled] for name, values in perturbed.items()}
    target, patient = films["target"].to_numpy(), films["patient"].to_numpy()
    usual = films["source"].map(majority)
    known = usual.notna().to_numpy()
    of_known = {name: values[known] for name, values in scores.items()}
    label = _aurocs(scores, target == positive, patient, None, resamples, seed)
    is_usual = (usual[known] == positive).to_numpy()
    usual_label = _aurocs(of_known, is_usual, patient[known], target[known], resamples, seed)
    rows = []
    for against, aurocs in {"label": label, "usual label": usual_label}.items():
        for name, (auroc, change) in aurocs.items():
            is_evidence = name in CUES and against == "usual label"
            rows.append(
                {
                    "shortcut": name,
                    "against": against,
                    **auroc._asdict(),
                    "change": change.estimate,
                    "change_low": change.low,
                    "change_high": change.high,
                    "score_change": np.abs(scores[name] - scores["intact"]).mean() if len(films) else np.nan,
                    "found": _reads_cue(CUES[name], aurocs["intact"][0], auroc, change) if is_evidence else None,
                }
            )
    return pd.DataFrame(rows).astype({"found": object})


def findings(table: pd.DataFrame) -> list[str]:
    """A sentence on the intact films of a `shortcut_table`, then one for each perturbation.

    The evidence for a cue is clear where two conditions hold. First, the score of intact films follows the source: AUROC for
    the usual label of 0.60 or more, its interval above 0.5. Second, the same holds where only the cue is left or, where the
    cue is removed, that AUROC falls by 0.05 or more and the interval of the change excludes 0. The first condition is there
    because a model that ignores the source of intact films can still rank strange, perturbed films by their source.
    """
    label, usual = (
        {row["shortcut"]: row for row in table[table["against"] == name].to_dict("records")}
        for name in ("label", "usual label")
    )
    intact = Interval.of(usual.pop("intact"))
    if np.isnan(intact.estimate):
        sentences = [
            f"Intact films: cannot conclude whether the score follows the source. That needs films of one label, of "
            f"{MINIMUM_PATIENTS} patients from sources where the positive label is usual and {MINIMUM_PATIENTS} from others."
        ]
    else:
        follows = "follows" if _is_clear(intact) else "is not shown to follow"
        sentences = [f"Intact films: AUROC {intact:.2f} {_USUAL}: the score {follows} the source."]
    for name, row in usual.items():
        cue, reads = CUES[name], row["found"]
        if reads is None:
            for_label = Interval.of(label[name])
            auroc = "AUROC undefined" if np.isnan(for_label.estimate) else f"AUROC {for_label:.2f}"
            sentences.append(f"{cue.films}: {auroc} for the label; cannot conclude whether the model reads {cue.name}.")
            continue
        before = f", {intact.estimate:.2f} on intact films" if cue.removed else ""
        verdict = "the model reads" if reads else "not shown that the model reads"
        sentences.append(f"{cue.films}: AUROC {Interval.of(row):.2f} {_USUAL}{before}: {verdict} {cue.name}.")
    return sentences


def _aurocs(
    scores: dict[str, np.ndarray],
    is_positive: np.ndarray,
    patient: np.ndarray,
    stratum: np.ndarray | None,
    resamples: int,
    seed: int,
) -> dict[str, tuple[Interval, Interval]]:
    """AUROC under each name, and that AUROC minus the intact films', over pairs within a stratum."""
    return {
        name: (
            auroc_interval(is_positive, values, patient, resamples, seed, stratum),
            auroc_difference(is_positive, values, scores["intact"], patient, resamples, seed, stratum)[0],
        )
        for name, values in scores.items()
    }


def _reads_cue(cue: Cue, intact: Interval, auroc: Interval, change: Interval) -> bool | None:
    if np.isnan(auroc.estimate):
        return None
    if not _is_clear(intact):
        return False
    if cue.removed:
        return change.estimate <= -CLEAR_LOSS and change.high < 0
    return _is_clear(auroc)


def _is_clear(auroc: Interval) -> bool:
    return auroc.estimate >= CLEAR_AUROC and auroc.low > 0.5
