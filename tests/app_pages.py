"""Pages of the app without a browser: opened on a folder of runs, and read as text."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.services.runs import list_runs

MAIN = Path(__file__).parents[1] / "app" / "main.py"
ERM, END = NAMES = ("phantom-erm-test_resnet-s0", "phantom-end-test_resnet-s0")
KINDS = ("title", "header", "markdown", "caption", "info", "warning", "error", "success", "code")


def open_page(view: str, root: Path, monkeypatch: pytest.MonkeyPatch, *chosen: str) -> AppTest:
    """The page of `app/views/VIEW.py` with these runs below `root` chosen; with the app's own choice where none is named."""
    monkeypatch.setenv("END_CXR_RUNS", str(root))
    monkeypatch.setattr("sys.argv", ["app/main.py"])
    list_runs.clear()  # kept for seconds, for a folder of any content
    app = AppTest.from_file(MAIN, default_timeout=120)
    if chosen:
        app.session_state["chosen_runs"] = list(chosen)
    return fine(app.switch_page(f"views/{view}.py").run())


def fine(app: AppTest) -> AppTest:
    assert not app.exception, [error.message for error in app.exception]
    return app


def texts(app: AppTest) -> str:
    """Everything on the page that is text, without Markdown's escapes."""
    words = [str(element.value) for kind in KINDS for element in app.get(kind)]
    frames = [frame.value.to_string() for frame in [*app.dataframe, *app.table]]
    return "\n".join([*words, *frames, *(status.label for status in app.status)]).replace("\\", "")
