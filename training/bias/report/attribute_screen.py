"""The table of several attributes that a model must not use: the questions on the source, asked of each."""

from collections.abc import Mapping, Sequence

from training.bias.report.answers import BY_KEY, Answer, Difference, Verdict
from training.bias.report.first_screen import FirstScreen, first_screen

ASKED = ("follows", "contradicting", "readable")
"""Keys of the questions that an attribute can take the place of the source in."""
HEADING = "By attribute: taking out one shortcut can open another."


def attribute_screen(
    runs: Sequence[Mapping[str, tuple[Answer, ...]]], pairs: Sequence[Mapping[str, tuple[Difference, ...]]]
) -> FirstScreen | None:
    """The table of all attributes: their questions down, runs across; None where the source alone was asked of.

    Args:
        runs: the answers of each run by attribute, from `by_attribute.ask_each`.
        pairs: the differences of each pair by attribute, from `by_attribute.compare_each`.
    """
    screens = []
    for name in runs[0] if runs else ():
        questions = tuple(
            BY_KEY[key]._replace(text=of_it(BY_KEY[key].text, name), measure=of_it(BY_KEY[key].measure, name))
            for key in ASKED
        )
        answers = tuple(answer for run in runs for answer in run[name])
        gaps = tuple(gap for pair in pairs for gap in pair.get(name, ()))
        screens.append(first_screen(Verdict("", questions, answers, gaps, ())))
    if not screens:
        return None
    lines = tuple(line for screen in screens for line in screen.lines)
    notes = tuple(dict.fromkeys(note for screen in screens for note in screen.notes))
    return screens[0]._replace(headline=HEADING, lines=lines, notes=notes)


def of_it(sentence: str, attribute: str) -> str:
    """A sentence on the source, of the attribute."""
    return sentence if attribute == "source" else sentence.replace("source", attribute.replace("_", " "))
