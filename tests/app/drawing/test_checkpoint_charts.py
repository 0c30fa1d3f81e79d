"""The drawings as they are drawn: picked films stand out, every kind has its shape, the kept epoch its ring."""

import re

import pandas as pd

from app.drawing.checkpoint_charts import COLOURS, cosine_lines, linked_map, training_curve
from app.drawing.threshold_charts import EVERY, benefit_lines, operating_curves
from training.bias.report.figures import as_svg


def marks(svg: str) -> list[tuple[str, str, str]]:
    """Shape, colour and opacity of each point."""
    found = re.findall(r'<path [^>]*aria-roledescription="point"[^>]*>', svg)
    attributes = [dict(re.findall(r'([\w-]+)="([^"]*)"', path)) for path in found]
    return [(mark["d"], mark.get("fill", "none"), mark.get("opacity", "1")) for mark in attributes]


def test_picked_films_are_large_and_the_others_faint() -> None:
    films = pd.DataFrame({"film": range(4), "x": [0.0, 1, 2, 3], "y": 0.5, "kind": list("abab")})
    films = films.assign(row=films["film"], source="s", target="t", score=0.5, prediction="p")
    weights = ["rest", "picked", "rest", "rest"]
    drawn = marks(as_svg(linked_map(films.assign(weight=weights), ["a", "b"], ((-1, 4), (0, 1)), "PCA")))
    assert [opacity for *_, opacity in drawn] == ["0.18", "0.18", "0.18", "1"], (
        "the picked one is drawn last, so on top"
    )
    assert drawn[-1][1] == COLOURS[1] and drawn[-1][0] != drawn[2][0], "it is larger than another of its kind"
    whole = marks(as_svg(linked_map(films.assign(weight="all"), ["a", "b"], ((-1, 4), (0, 1)), "PCA")))
    assert {opacity for *_, opacity in whole} == {"0.75"} and len({shape for shape, *_ in whole}) == 2


def test_lines_and_curves_draw() -> None:
    cosines = pd.DataFrame({"run": list("aabb"), "pairs": list("xyxy"), "epoch": [0, 0, 1, 1], "cosine": 0.5})
    assert "stroke-dasharray" in as_svg(cosine_lines(cosines, 1))
    curve = pd.DataFrame({"false_positive_rate": [0.0, 1], "sensitivity": [0.0, 1]})
    curves = pd.concat([curve.assign(run=run) for run in "ab"])
    points = pd.DataFrame({"run": list("ab"), "false_positive_rate": 0.2, "sensitivity": [0.8, 0.7], "threshold": 0.5})
    drawn = marks(as_svg(operating_curves(curves, points, ["a", "b"])))
    assert [colour for _, colour, _ in drawn] == COLOURS[:2] and drawn[0][0] != drawn[1][0]
    lines = pd.DataFrame({"what": ["a", "a", EVERY, EVERY], "prevalence": [0, 50] * 2, "estimate": [0.0, 9, -9, 8]})
    text = as_svg(benefit_lines(lines.assign(low=lines["estimate"] - 1, high=lines["estimate"] + 1), ["a"], 5.0))
    assert "stroke-dasharray" in text and COLOURS[0] in text and "50 %" in text


def test_the_kept_epoch_has_a_ring() -> None:
    values = pd.DataFrame({"run": "a", "epoch": [1, 2, 3], "value": [3.0, 2, 1], "kept": [False, True, False]})
    ringed, plain = (marks(as_svg(training_curve(v, ["a"]))) for v in (values, values.assign(kept=False)))
    assert len(plain) == 3 and len(ringed) == 4
