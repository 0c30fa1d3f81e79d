"""The page of batches: a folder of the server or uploads, its progress, its results, and what another visitor sees."""

import os
import time
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from datasets.phantom.folder import write_folder
from training.scoring.predict import Predictor

pytestmark = pytest.mark.app

MAIN = Path(__file__).parents[3] / "app" / "main.py"
RUN = "phantom-erm-test_resnet-s0"
MARKER = "MARKER"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(MARKER) / "films"
    write_folder(place, 8, 0.9, 1, 64)
    return place


@pytest.fixture
def visit(runs: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("END_CXR_RUNS", str(runs))
    monkeypatch.delenv("END_CXR_FILMS", raising=False)
    monkeypatch.setattr("sys.argv", ["app/main.py"])
    st.cache_resource.clear()
    return visitor()


def visitor() -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=120)
    return app.run().switch_page("views/batch.py").run()


def shown(app: AppTest) -> str:
    """Everything on the page, as text, but for the browser's own list of uploads."""
    kinds = ("title", "header", "markdown", "caption", "info", "warning", "error", "metric")
    texts = [str(element.value) for kind in kinds for element in app.get(kind)]
    return "\n".join([*texts, *(frame.value.to_string() for frame in app.dataframe)])


def click(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def finished(app: AppTest) -> AppTest:
    """Polled as a browser does, until there are results."""
    end = time.monotonic() + 300
    while not any(button.label == "Score other films" for button in app.button):
        assert time.monotonic() < end and not app.exception and not app.error
        time.sleep(0.1)
        app.run()
    return app


def table_with(app: AppTest, column: str) -> pd.DataFrame:
    return next(frame.value for frame in app.dataframe if {"film", column} <= set(frame.value))


def test_uploads(visit: AppTest, films: Path) -> None:
    assert "END_CXR_FILMS" in shown(visit) and not any(group.key == "batch_from" for group in visit.button_group)
    good = sorted(films.glob("*/im*.dcm"))[:3]
    uploader = visit.file_uploader(key="batch_uploads")
    for path in good:
        uploader.upload(f"../../{MARKER}<b>{path.name}</b>.dcm", path.read_bytes())
    uploader.upload(f"{MARKER}.svg", b"<svg><script>alert(1)</script></svg>").upload(f"{MARKER}.exe", b"")
    click(visit, "Score")
    assert not visit.exception and "gives the job up" in shown(visit)
    stranger = visitor()
    assert any(button.label == "Score" for button in stranger.button), "another visitor has a form, not this job"
    finished(visit)
    assert [metric.value for metric in visit.metric] == ["5", "3", "1", "1"]
    scores = table_with(visit, RUN)
    assert scores["film"].tolist() == ["film 1", "film 2", "film 3"]
    predictor = Predictor.load(Path(os.environ["END_CXR_RUNS"]) / RUN)
    shown_scores = scores[RUN].str.split().str[0].astype(float).tolist()
    assert shown_scores == pytest.approx([predictor.score(path.read_bytes()) for path in good], abs=6e-4)
    others = table_with(visit, "message")
    assert others["film"].tolist() == ["film 4", "film 5"] and set(others["reason"]) == {"not DICOM", "truncated"}
    assert MARKER not in shown(visit) and "alert" not in shown(visit) and "key of this job alone" in shown(visit)
    assert [button.label for button in visit.get("download_button")] == [
        "predictions.csv", "files.csv", "batch-parquet.zip",
    ]  # fmt: skip
    visit.switch_page("views/compare.py").run()
    visit.switch_page("views/batch.py").run()
    assert visit.metric[1].value == "3", "other pages don't cost the results"
    stranger.run()
    assert not stranger.metric, "another visitor never sees them"
    click(visit, "Score other films")
    assert not visit.metric and visit.file_uploader, "dropped on request"


def test_a_folder_that_is_not_there_is_told_without_its_path(
    visit: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is set, but the folder" not in shown(visit) and "An administrator opens one" in shown(visit)
    (tmp_path / "film.dcm").touch()
    for wrong in ("secret", "film.dcm"):
        monkeypatch.setenv("END_CXR_FILMS", str(tmp_path / wrong))
        app = visitor()
        assert not app.exception and shown(app).count("END_CXR_FILMS is set, but the folder") == 1
        assert "An administrator opens one" not in shown(app) and str(tmp_path) not in shown(app)
    assert app.file_uploader, "uploads go on"


def test_a_folder_of_the_server(visit: AppTest, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("END_CXR_FILMS", str(films))
    app = visitor()
    app.button_group(key="batch_from").set_value("A folder of this server").run()
    assert "odd" in app.selectbox(key="batch_folder").options
    for typed in ("..", "/etc", "no/such"):
        box = app.selectbox(key="batch_folder")
        box.options.append(typed)  # AppTest types nothing that is no option
        box.set_value(typed)
        click(app, "Score")
        assert [error.value for error in app.error] == [
            "There is no such folder below the films' folder of this server."
        ]
    app.selectbox(key="batch_folder").set_value("odd")
    app.button_group(key="batch_views").set_value([])
    click(app, "Score")
    assert "choose a view" in app.error[0].value
    app.button_group(key="batch_views").set_value(["PA", "AP", "FRONTAL", "UNKNOWN", "LATERAL"])
    app.checkbox(key="batch_raw").check()
    click(app, "Score")
    finished(app)
    files = len(list((films / "odd").iterdir()))
    scored = app.metric[1].value
    assert app.metric[0].value == str(files) and scored == "3", (
        "the duplicate is alone here; lateral and raw are admitted"
    )
    assert table_with(app, RUN)["film"].str.fullmatch(r"row \d+ · [0-9a-f]{16}").all()
    assert str(films) not in shown(app) and MARKER not in shown(app) and "by name" in shown(app)


def test_names_and_the_visitors_threshold(visit: AppTest, films: Path) -> None:
    visit.session_state["visit_thresholds"] = {RUN: 1.0}
    path = next(films.glob("north/im*.dcm"))
    assert "erm · s0 at 1.000, your threshold; end · s0 at" in shown(visit.run())
    visit.checkbox(key="batch_names").check()
    visit.file_uploader(key="batch_uploads").upload(f"folder/{path.name}", path.read_bytes())
    click(visit, "Score")
    finished(visit)
    scores = table_with(visit, RUN)
    assert scores["film"].tolist() == [path.name] and scores[RUN].str.endswith(" not covid").all()
    assert list(scores).index("warning") < list(scores).index(RUN), "what warns of a score stands before it"
    assert "“film” is your file's name" in shown(visit) and "That of erm · s0 is yours" in shown(visit)


def test_nothing_chosen_is_said(visit: AppTest) -> None:
    click(visit, "Score")
    assert [error.value for error in visit.error] == ["Choose some films first."] and not visit.exception
