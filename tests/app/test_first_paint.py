"""The first page is there before torch is: no page but Threshold loads torch or scikit-learn before it is asked something."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.app

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from streamlit.testing.v1 import AppTest
from app.services import audits, batches, films, models, runs
app = AppTest.from_file("app/main.py", default_timeout=120)
for page in ("compare", "disagreements", "batch", "bias", "feature_space", "runs"):
    app.switch_page(f"views/{page}.py").run()
    loaded = {"torch", "sklearn"} & set(sys.modules)
    assert app.title and not app.exception and not loaded, (page, loaded)
"""


def test_no_page_waits_for_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
