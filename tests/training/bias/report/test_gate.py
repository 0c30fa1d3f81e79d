"""Which conditions of --fail-on are refused before any film is scored."""

import dataclasses
import re
from contextlib import nullcontext

import pytest

from datasets.sample import Attribute, DatasetInfo
from training.bias.report.gate import parse_conditions, require_measurable

FILMS = ("split", "source", "target", "sex", "ward")
BINARY, THREE = (DatasetInfo("covid", ("a", "b", "c")[:n], (), "source", p, False) for n, p in ((2, 1), (3, None)))
NAMED = dataclasses.replace(BINARY, named=(Attribute("ward", ("x", "y")),))


@pytest.mark.parametrize(
    ("condition", "infos", "expected"),
    [
        ("gap:sensitivity:ward>0.1", [BINARY], "the films are grouped by .*; give --by ward too"),
        ("gap:sensitivity:source x target>0.1", [BINARY], ""),
        ("gap:sensitivity:sex x ward>0.1", [BINARY], "give --by sex,ward too"),
        ("worst:auroc:moon<0.7", [BINARY], "no column moon; they are grouped by split, source, target, source x target, sex"),
        ("equalised_odds:source x moon>0.1", [BINARY], "no column moon"),
        ("equalised_odds:alignment>0.1", [BINARY], ""),
        ("gap:accuracy:ward>0.1", [BINARY, NAMED], ""),
        ("leak:ward>0.6", [NAMED], ""),
        ("leak:ward>0.6", [BINARY], "the films are probed for source, sex; give --by ward too"),
        ("leak:view>0.6", [BINARY], "no column view; they are probed for source, sex"),
        ("leak:sex>0.6", [THREE], ""),
        ("auroc:external<0.7", [BINARY], "no film of split external is audited; films are of test"),
        ("auroc<0.7", [BINARY, THREE], "it needs a positive class"),
        ("gap:sensitivity:sex>0.1", [THREE], "it needs a positive class"),
        ("gap:accuracy:sex>0.1", [THREE], ""),
        ("shortcut:mirrored>0.6", [BINARY], "no film is scored under a perturbation"),
    ],
)  # fmt: skip
def test_conditions_that_no_result_could_answer(condition: str, infos: list[DatasetInfo], expected: str) -> None:
    said = pytest.raises(ValueError, match=f"--fail-on {re.escape(condition)}: can't be measured: .*{expected}")
    with said if expected else nullcontext():
        require_measurable(parse_conditions(condition), infos, FILMS, (), ("test",), perturbed=False)


def test_a_grouping_that_is_asked_for_is_measured() -> None:
    conditions = parse_conditions("gap:auroc:sex x ward>0.1, leak:source>0.6, shortcut:mirrored>0.6")
    require_measurable(conditions, [BINARY], FILMS, ["sex,ward"], ("test",), perturbed=True)
    with pytest.raises(ValueError, match="give --by ward too"):
        require_measurable(parse_conditions("leak:ward>0.6"), [BINARY], FILMS, ["sex,ward"], ("test",), perturbed=True)
