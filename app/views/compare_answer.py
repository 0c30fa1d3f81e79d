"""What checkpoints say of one film, answer first: a sentence, a table, the film, then the part that is asked for."""

from collections.abc import Hashable, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.drawing.markdown import escaped
from app.numbers import film_answer
from app.numbers.film_answer import Near, RunAnswer
from app.reading.upload import Film
from app.services import answers, models
from app.services.runs import label
from app.views.compare_closer import closer
from app.views.compare_picture import picture
from training.run.index import RunEntry

HOW = (
    "The score is taken again with one part of the film missing: border and corners filled with mid-grey, the lungs (two "
    "ellipses, the same for all films) with black, or one half of the patient with mid-grey. A film with a part missing is "
    "unlike any training film: trust large changes, not small ones. A score near 0 or 1 can hide a change."
)
ROWS = (
    "*Training films*: whether the film's features lie as near to the run's training films as those of 95 % of validation "
    "films; a score of a film that is unlike them means little. *Score*: calibrated model score of the positive class. "
    "*Without ...*: how far the score moves, the largest move of each run bold. *Nearest ...*: source of the nearest "
    "training film of that label, and its distance (0 the same, 2 the opposite)."
)
ANSWER_WIDTH = 456  # px


def show(entries: list[RunEntry], film: Film, content: bytes | None, known: str | None) -> None:
    """The page below the choice of a film, which has the `content` of an upload or is `known` as a run's own film."""
    for oddity in answers.oddities(film):
        st.warning(f"The film {oddity}. Scores of such films mean nothing.", icon=":material/warning:")
    headline, reasons = st.empty(), st.empty()
    answer_place, film_place = place_side_by_side()
    with answer_place:
        if known is not None:
            st.markdown(known)
        table = st.empty()
    table.table(film_answer.table(answers_of(entries, film, parts=False)))  # scores are there before the parts are
    with film_place:
        window = picture(film)
    found = answers_of(entries, film, parts=True)
    headline.markdown(f"## {escaped(film_answer.sentence(found))}", help=HOW)
    if len(found) > 1:
        reasons.markdown(escaped(film_answer.why(found)))
    table.table(film_answer.table(found))
    with answer_place:
        positives = " or ".join(dict.fromkeys(models.positive(entry) for entry in entries))
        st.caption(f"Scores are of **{escaped(positives)}**. Left and right are the patient's.", help=ROWS)
    closer(entries, film, content, window)


def place_side_by_side() -> tuple[DeltaGenerator, DeltaGenerator]:
    """A place for the answer and one for the film, of half the page or more; one above the other on a narrow page."""
    row = st.container(horizontal=True, gap="small")
    return row.container(width=ANSWER_WIDTH), row.container(width="stretch")


def answers_of(entries: Sequence[RunEntry], film: Film, parts: bool) -> list[RunAnswer]:
    """What each run says of the film; with `parts` also its score of the film without each."""
    found = []
    for entry in entries:
        score = answers.score(entry, film)
        likeness, nearest = answers.likeness(entry, score), answers.nearest_by_label(entry, score)
        found.append(
            RunAnswer(
                label(entry),
                score.score,
                answers.called(entry, score),
                answers.threshold_in_words(entry),
                None if likeness is None else likeness.unlike,
                "" if likeness is None else f"({likeness.distance:.2f}, limit {likeness.limit:.2f})",
                () if nearest is None else tuple(near(row) for row in nearest.to_dict("records")),
                answers.moves(entry, film) if parts else None,
            )
        )
    return found


def near(row: dict[Hashable, Any]) -> Near:
    """A training film of `nearest_by_label`."""
    return Near(str(row["target"]), str(row["source"]), float(row["distance"]))
