"""What the scores of perturbed films show: which shortcut the model reads, in words, where the evidence is clear.

The evidence is not the AUROC for the label but that for the source's usual label among films of one label, which means the
same on test films where label and source go together as where they do not.
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from training.bias.numbers.auroc import auroc_difference, auroc_interval
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.bias.numbers.uncertainty import Interval

# Evidence is clear where the estimate reaches these and its interval leaves out no effect.
CLEAR_AUROC = 0.60
CLEAR_LOSS = 0.05
_USUAL = "for the label that is usual at the film's source"


class Cue(NamedTuple):
    """What the scores under one perturbation can show.

    Attributes:
        films: how a sentence calls the perturbed films.
        name: what the model reads where the evidence is clear.
        removed: whether the cue is taken away, so that a loss is the evidence; else what is left is.
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
    """How the scores of perturbed films follow the label and the source, beside those of intact films.

    Args:
        intact: predictions of the films as they are; those without a target are left out.
        perturbed: by name of the shortcut, the scores of the same films in the same order, in [0, 1].
        positive: name of the positive class.
        majority: of the training films, from `majority_targets`.
        resamples: of the bootstrap over patients.
        seed: of the resampling.

    Returns:
        Two rows for `intact` and for each shortcut. `against` says what the AUROC (`estimate`, `low`, `high`) is for:
        `label`; or `usual label`, whether the positive class is the usual one at the film's source, over pairs of films
        of one label, 0.5 for a score that tells nothing of the source. `change`, `change_low`, `change_high`: the AUROC
        less that of the intact films. `score_change`: mean absolute change of the score. `found`: whether the evidence that
        the model reads the cue is clear (see `findings`); None where that can't be concluded, and in all other rows.

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
    scores = {"intact": films["score"].to_numpy()} | {name: values[labelled] for name, values in perturbed.items()}
    usual = films["source"].map(majority)
    label = _aurocs(scores, films["target"] == positive, films["patient"], None, resamples, seed)
    known = usual.notna().to_numpy()
    of_known = {name: values[known] for name, values in scores.items()}
    usual_label = _aurocs(
        of_known, usual[known] == positive, films["patient"][known], films["target"][known], resamples, seed
    )
    rows = []
    for against, found in {"label": label, "usual label": usual_label}.items():
        for name, (auroc, change) in found.items():
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
                    "found": _found(CUES[name], found["intact"][0], auroc, change) if is_evidence else None,
                }
            )
    return pd.DataFrame(rows).astype({"found": object})


def findings(table: pd.DataFrame) -> list[str]:
    """What a `shortcut_table` shows: a sentence on the intact films, then one for each perturbation.

    A shortcut is named where the evidence is clear: the score of intact films follows the source (AUROC for the usual label
    of 0.60 or more, its interval above 0.5), and so does the score where the cue is left alone or, where the cue is taken
    away, that AUROC falls by 0.05 or more and the interval leaves out no loss. A model that does not follow the source can
    still rank films that are nothing like those it knows by their source; hence the first condition.
    """
    label, usual = (table[table["against"] == name].set_index("shortcut") for name in ("label", "usual label"))
    first = usual.loc["intact"].to_dict()
    if np.isnan(first["estimate"]):
        sentences = [
            f"Intact films: cannot conclude whether the score follows the source. That needs films of one label, of "
            f"{MINIMUM_PATIENTS} patients from sources where the positive label is usual and {MINIMUM_PATIENTS} from others."
        ]
    else:
        follows = "follows" if _is_clear(first) else "is not shown to follow"
        sentences = [f"Intact films: {_auroc(first)} {_USUAL}: the score {follows} the source."]
    for name in usual.index.drop("intact"):
        row, cue = usual.loc[name].to_dict(), CUES[name]
        if row["found"] is None:
            sentences.append(
                f"{cue.films}: {_auroc(label.loc[name].to_dict())} for the label; cannot conclude whether the model reads "
                f"{cue.name}."
            )
            continue
        before = f", {first['estimate']:.2f} on intact films" if cue.removed else ""
        verdict = "the model reads" if row["found"] else "not shown that the model reads"
        sentences.append(f"{cue.films}: {_auroc(row)} {_USUAL}{before}: {verdict} {cue.name}.")
    return sentences


def _aurocs(
    scores: dict[str, np.ndarray],
    is_positive: pd.Series,
    patient: pd.Series,
    stratum: pd.Series | None,
    resamples: int,
    seed: int,
) -> dict[str, tuple[Interval, Interval]]:
    """AUROC under each name, and that AUROC less the intact films', over pairs within a stratum."""
    positive, who, within = is_positive.to_numpy(), patient.to_numpy(), None if stratum is None else stratum.to_numpy()
    intact = scores["intact"]
    return {
        name: (
            auroc_interval(positive, values, who, resamples, seed, within),
            auroc_difference(positive, values, intact, who, resamples, seed, within)[0],
        )
        for name, values in scores.items()
    }


def _found(cue: Cue, intact: Interval, auroc: Interval, change: Interval) -> bool | None:
    if np.isnan(auroc.estimate):
        return None
    if not _is_clear(intact._asdict()):
        return False
    if cue.removed:
        return change.estimate <= -CLEAR_LOSS and change.high < 0
    return _is_clear(auroc._asdict())


def _is_clear(auroc: dict[Any, Any]) -> bool:
    return bool(auroc["estimate"] >= CLEAR_AUROC and auroc["low"] > 0.5)


def _auroc(row: dict[Any, Any]) -> str:
    if np.isnan(row["estimate"]):
        return "AUROC undefined"
    return f"AUROC {row['estimate']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
