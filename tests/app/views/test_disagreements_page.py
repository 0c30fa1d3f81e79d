"""The page Disagreements: films by how far scores differ, filters that survive, films that open on the other page."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.numbers.pairs import APART, EVERY
from tests.app_pages import NAMES, fine, open_page, texts

pytestmark = pytest.mark.app


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch):
    """Opens the page on a folder of runs."""

    return lambda root: open_page("disagreements", root, monkeypatch)


def as_table(app: AppTest) -> pd.DataFrame:
    """All films that the filters leave, as the page's table."""
    fine(app.segmented_control(key="disagreement_view").set_value("Table").run())
    return app.dataframe[1].value


def scores(runs: Path) -> pd.DataFrame:
    """Both runs' own predictions of the films that neither was trained on."""
    tables = [pd.read_parquet(runs / name / "predictions.parquet").set_index("row") for name in NAMES]
    first, second = (table[table["split"].isin(["test", "external"])] for table in tables)
    return first.assign(other=second["score"], other_called=second["prediction"])


def test_the_largest_differences_come_first(runs: Path, start) -> None:
    app, known = start(runs), scores(runs)
    counts = app.dataframe[0].value.set_index("source")
    table = as_table(app)
    assert len(table) == len(known)
    expected = (known["score"] - known["other"]).abs()
    assert np.allclose(table["spread"], expected.sort_values(ascending=False))
    assert np.allclose(table["score_1"], known["other"].loc[table["row"]])
    apart = int((known["prediction"] != known["other_called"]).sum())
    assert f"{apart:,} of them are called differently" in texts(app)
    differently = known["prediction"] != known["other_called"]
    assert counts["called differently"].to_dict() == differently.groupby(known["source"]).sum().to_dict()
    assert counts["wrong: end · s0"].sum() == (known["other_called"] != known["target"]).sum()
    assert not {"file", "patient"} & set(table.columns)


def test_filters_and_that_they_survive_another_page(runs: Path, start) -> None:
    app, known = start(runs), scores(runs)
    app = fine(app.button_group(key="disagreement_sources").set_value(["north"]).run())
    app = fine(app.selectbox(key="disagreement_error").set_value(EVERY).run())
    app = fine(app.button_group(key="disagreement_sets").set_value(["test"]).run())
    app = fine(app.button_group(key="disagreement_sets").set_value(["test", "external"]).run())
    wrong = known[(known["prediction"] != known["target"]) & (known["other_called"] != known["target"])]
    expected = set(wrong.index[wrong["source"] == "north"])
    table = as_table(app) if app.dataframe else pd.DataFrame({"row": []})
    assert set(table["row"]) == expected
    app = fine(app.switch_page("views/runs.py").run())
    app = fine(app.switch_page("views/disagreements.py").run())
    assert (
        app.button_group(key="disagreement_sources").value == ["north"]
        and app.selectbox(key="disagreement_error").value == EVERY
    )
    app = fine(app.selectbox(key="disagreement_error").set_value(APART).run())
    app = fine(app.button_group(key="disagreement_sources").set_value([]).run())
    assert "No film passes these filters" in texts(app)


@pytest.mark.parametrize("how", ["table", "list", "picture"])
def test_a_film_opens_on_the_other_page(how: str, runs: Path, start) -> None:
    app = start(runs)
    film = as_table(app).iloc[2]
    if how == "table":
        app.session_state["disagreement_table"] = {"selection": {"rows": [2], "columns": [], "cells": []}}
        app = fine(app.run())
    elif how == "list":
        app = fine(app.selectbox(key="disagreement_film").set_value(2).run())
    else:
        app = fine(app.segmented_control(key="disagreement_view").set_value("Films").run())
        app = fine(app.button(key=f"open_{film['split']}_{film['row']}").click().run())
    assert app.title[0].value == "Compare on a film"
    assert app.session_state["film_from"] == "A film of the test set" and "open_film" not in app.session_state
    chosen = app.selectbox(key="own_film")
    assert chosen.format_func(chosen.value) == f"{film['source']} · {film['label']} · film {film['row']}"
    shown = [float(score.strip("*")) for score in app.table[0].value.loc["Score"]]
    assert np.allclose(shown, film[["score_0", "score_1"]].astype(float), atol=6e-4)
    assert "Disagreement 3 of" in texts(app)


def test_films_as_pictures_some_at_a_time(runs: Path, start) -> None:
    app = start(runs)
    known = scores(runs)
    order = (known["score"] - known["other"]).abs().sort_values(ascending=False, kind="stable").index
    opens = [button for button in app.button if str(button.key).startswith("open_")]
    assert len(opens) == 8 and app.button(key="grid_before").disabled
    assert opens[0].label == f"Open film {order[0]}"
    captions = [image.proto.imgs[0].caption for image in app.get("image")]
    first = known.loc[order[0]]
    assert captions[0] == f"{first['source']} · {first['target']} · {first['view']} · {first['age_band']}"
    app = fine(app.button(key="grid_after").click().run())
    assert "9 to 16 of" in texts(app) and not app.button(key="grid_before").disabled
    app = fine(app.switch_page("views/runs.py").run())
    app = fine(app.switch_page("views/disagreements.py").run())
    assert "9 to 16 of" in texts(app), "the page of films survives another page"


def test_why_two_scores_differ(runs: Path, start) -> None:
    """The part that is named is the one that Compare's table has."""
    app = start(runs)
    app = fine(app.toggle(key="disagreement_why").set_value(True).run())
    said = [text.value.replace("\\", "") for text in app.markdown]
    assert any("scores part most over" in text or "a missing part" in text for text in said)
    reasons = [text for text in said if text.startswith("without ") or "no part moves" in text]
    assert len(reasons) == 8
    app = fine(next(button for button in app.button if str(button.key).startswith("open_")).click().run())
    part, _, moves = reasons[0].removeprefix("without ").partition(": ")
    if moves:
        row = app.table[0].value.loc[f"Without {part}"]
        assert moves == ", ".join(f"{run} {row[run].strip('*')}" for run in row.index)


def test_one_run_is_too_few(runs: Path, start) -> None:
    app = start(runs)
    app = fine(app.sidebar.multiselect[0].set_value([NAMES[0]]).run())
    assert "Choose 2 checkpoints" in texts(app) and not app.dataframe


def test_runs_of_other_films_are_not_paired(runs: Path, start, tmp_path: Path) -> None:
    root = Path(shutil.copytree(runs, tmp_path / "runs"))
    file = root / NAMES[1] / "predictions.parquet"
    table = pd.read_parquet(file)
    table.assign(file=[f"{i:016x}" for i in table.index], row=table["row"] + 5).to_parquet(file, index=False)
    app = start(root)
    assert "is left out: no film of it" in texts(app) and "No two of the chosen runs" in texts(app)
    file.unlink()
    (root / NAMES[1] / "model.safetensors").touch()
    assert "kept no predictions" in texts(start(root))
