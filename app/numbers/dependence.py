"""Is one run less dependent on the source than another? The paired differences that tell, and the answer in a sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from app.numbers.audit import Audit, Compared
from training.bias.numbers.interval import Interval
from training.bias.report.answers import BY_KEY, NO_DIFFERENCE, TOO_FEW, Difference, Verdict
from training.bias.report.answers import NOT_TESTED as UNTESTED

YES, NO, MIXED, NOT_SHOWN = "Yes", "No, it is more dependent", "Mixed", "Not shown"
CANNOT_CONCLUDE, NOT_COMPARED = "Cannot conclude", "They can't be compared"
LESS, MORE, OPEN, NOT_TESTED = "less dependent", "more dependent", "not shown", "not tested"
BETWEEN = "between"  # the gap between sources, which is no question of the verdict
LEVEL = 0.05


class Measure(NamedTuple):
    """A question of the verdict as a row of the chart, and in words where its difference is shown."""

    name: str
    less: str
    more: str


MEASURES = {
    "within": Measure(
        "AUROC within one source", "it ranks films of one source better", "it ranks films of one source worse"
    ),
    "follows": Measure(
        "score follows the source", "its score follows the source less", "its score follows the source more"
    ),
    "contradicting": Measure(
        "accuracy lost on conflicting films",
        "it loses less accuracy on films that contradict their source",
        "it loses more accuracy on films that contradict their source",
    ),
    "readable": Measure(
        "leak from the features", "its features leak the source less", "its features leak the source more"
    ),
    BETWEEN: Measure(
        "gap between sources", "its errors differ less between sources", "its errors differ more between sources"
    ),
}
# What less dependence may cost, by question.
COSTS = {"works": "films of known sources", "unseen": "films of sources never seen"}


class Dependence(NamedTuple):
    """How a run compares with a reference.

    Attributes:
        answer: one of the answers above.
        sentence: what it rests on.
        rows: columns run, measure, estimate, low, high and verdict. A positive number is always less dependence of `other`;
            NaN where nothing can be concluded.
    """

    other: str
    reference: str
    answer: str
    sentence: str
    rows: pd.DataFrame


def dependence(audit: Audit) -> list[Dependence]:
    """One for each pair of runs of the audit; none where it has no verdict."""
    return [_of_pair(pair, audit.verdict) for pair in audit.comparisons] if audit.verdict else []


def _of_pair(pair: Compared, verdict: Verdict) -> Dependence:
    names = pair.other, pair.reference
    gaps = {gap.question: gap for gap in verdict.differences if (gap.other, gap.reference) == names}
    if gaps and not math.isnan(pair.source_gap.estimate):
        gaps[BETWEEN] = _between_sources(pair)
    rows = _rows(gaps, pair.other)
    if pair.problem or not gaps:
        return Dependence(*names, NOT_COMPARED, f"{_capital(pair.problem or 'nothing was compared')}.", rows)
    answer, sentence = _answer([gaps[key] for key in MEASURES if key in gaps])
    costs = [
        f"At a cost: it ranks {films} worse, {_size(gaps[key])}."
        for key, films in COSTS.items()
        if key in gaps and gaps[key].verdict == "worse"
    ]
    return Dependence(*names, answer, " ".join([sentence, *costs]), rows)


def _answer(gaps: Sequence[Difference]) -> tuple[str, str]:
    less = [f"{MEASURES[gap.question].less}, {_size(gap)}" for gap in gaps if gap.verdict == "better"]
    more = [f"{MEASURES[gap.question].more}, {_size(gap)}" for gap in gaps if gap.verdict == "worse"]
    if less or more:
        answer = MIXED if less and more else YES if less else NO
        return answer, _capital("; but ".join("; ".join(part) for part in (less, more) if part)) + "."
    tested = [gap for gap in gaps if not math.isnan(gap.estimate)]
    if not tested:
        few = any(gap.verdict == TOO_FEW for gap in gaps)
        return CANNOT_CONCLUDE, "Too few patients." if few else "No measure applies to these films."
    hidden = sorted({f"{gap.detectable:.2f}" for gap in tested if not math.isnan(gap.detectable)})
    sentence = "No measure differs demonstrably."
    if hidden:
        span = hidden[0] if len(hidden) == 1 else f"{hidden[0]} to {hidden[-1]}, by measure,"
        sentence += f" With so few patients a difference of {span} could go unseen."
    clear = min(
        (gap for gap in tested if (gap.low > 0 or gap.high < 0) and not math.isnan(gap.p_holm)),
        key=lambda gap: gap.p_holm,
        default=None,
    )
    if clear is not None:
        name = MEASURES[clear.question].name
        sentence += (
            f" Nearest to it is {name}: {_size(clear)}, p = {clear.p_holm:.2f} after correction for several measures."
        )
    return NOT_SHOWN, sentence


def _between_sources(pair: Compared) -> Difference:
    """The gap between sources, as the differences of the questions are."""
    gap, p = pair.source_gap, pair.source_gap_p
    clear = p < LEVEL and (gap.low > 0 or gap.high < 0)
    verdict = UNTESTED if math.isnan(p) else NO_DIFFERENCE if not clear else "better" if gap.estimate < 0 else "worse"
    return Difference(BETWEEN, pair.reference, pair.other, *gap, math.nan, p, math.nan, verdict)


def _rows(gaps: Mapping[str, Difference], run: str) -> pd.DataFrame:
    rows = []
    for key, measure in MEASURES.items():
        gap = gaps.get(key)
        if gap is None or math.isnan(gap.estimate):
            rows.append((measure.name, math.nan, math.nan, math.nan, "cannot conclude"))
        else:
            lower_is_better = key == BETWEEN or BY_KEY[key].lower_is_better
            values = _turned(Interval(gap.estimate, gap.low, gap.high)) if lower_is_better else gap
            verdict = {"better": LESS, "worse": MORE, UNTESTED: NOT_TESTED}.get(gap.verdict, OPEN)
            rows.append((measure.name, values.estimate, values.low, values.high, verdict))
    return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "verdict"]).assign(run=run)


def _turned(gap: Interval) -> Interval:
    return Interval(-gap.estimate, -gap.high, -gap.low)


def _size(gap: Difference) -> str:
    """`by 0.20 (0.10 to 0.30)`: the words before it say in which direction."""
    size = Interval(gap.estimate, gap.low, gap.high)
    return f"by {_turned(size) if gap.estimate < 0 else size:.2f}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
