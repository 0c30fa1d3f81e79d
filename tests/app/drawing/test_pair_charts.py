"""Two checkpoints' scores against each other: what the chart draws."""

from typing import Any

import pandas as pd
import pytest

from app.drawing.pair_charts import PICKED, Axis, score_against_score

FILMS = pd.DataFrame(
    {
        "row": [3, 5, 8], "source": ["north", "west", "west"], "label": ["covid", "normal", None], "a": [0.1, 0.8, 0.5],
        "b": [0.2, 0.4, 0.9],
    }
)  # fmt: skip
LABELS = ("covid", "normal", "pneumonia")


def drawn(films: pd.DataFrame, thresholds: tuple[float | None, float | None]) -> dict[str, Any]:
    axes = [Axis(column, run, at) for column, run, at in zip("ab", ("erm", "end"), thresholds, strict=True)]
    spec: dict[str, Any] = score_against_score(films, axes, LABELS).to_dict()
    return spec


def values(spec: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spec["datasets"][layer["data"]["name"]]
    return found


def test_a_point_a_film_on_axes_of_the_whole_range_beside_the_diagonal() -> None:
    spec = drawn(FILMS, (0.5, 0.25))
    diagonal, points = spec["layer"][0], spec["layer"][-1]
    assert values(spec, diagonal) == [{"a": 0, "b": 0}, {"a": 1, "b": 1}]
    assert [(film["row"], film["a"], film["b"]) for film in values(spec, points)] == [
        (3, 0.1, 0.2), (5, 0.8, 0.4), (8, 0.5, 0.9),
    ]  # fmt: skip
    for channel, run in (("x", "erm"), ("y", "end")):
        axis = points["encoding"][channel]
        assert axis["title"] == f"score of {run}" and axis["scale"]["domain"] == [0, 1]
    assert spec["params"][0]["name"] == PICKED and spec["params"][0]["select"]["fields"] == ["row"]


@pytest.mark.parametrize("thresholds", [(0.5, 0.25), (None, 0.25), (None, None)], ids=str)
def test_a_dashed_line_for_each_threshold_on_its_own_axis(thresholds: tuple[float | None, float | None]) -> None:
    spec = drawn(FILMS, thresholds)
    lines = [layer for layer in spec["layer"] if layer["mark"]["type"] == "rule"]
    found = [(next(iter(line["encoding"])), values(spec, line)[0]["a"]) for line in lines]
    assert found == [(channel, at) for channel, at in zip("xy", thresholds, strict=True) if at is not None]
    assert all(line["mark"]["strokeDash"] for line in lines)


def test_labels_keep_their_colours_and_films_without_one_are_drawn() -> None:
    points = drawn(FILMS, (None, None))["layer"][-1]
    few = drawn(FILMS[:1], (None, None))["layer"][-1]
    assert points["encoding"]["color"]["scale"]["domain"] == [*LABELS, "no label"]
    assert few["encoding"]["color"]["scale"]["domain"] == list(LABELS)
    colours = [layer["encoding"]["color"]["scale"]["range"] for layer in (points, few)]
    assert colours[0][:3] == colours[1] and len(set(colours[0])) == 4
    assert points["encoding"]["shape"]["scale"]["domain"] == [*LABELS, "no label"]
