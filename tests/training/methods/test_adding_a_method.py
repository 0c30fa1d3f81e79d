"""The worked example of docs/adding-a-method.md, put where the document says and trained by the command it gives."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRAIN = """
import pathlib, runpy, sys
import training.methods as methods

folder = pathlib.Path(sys.argv[1])
methods.__path__.append(str(folder))
exec((folder / "entry.txt").read_text(), vars(methods))
sys.argv[:2] = ["train"]
runpy.run_module("training.train", run_name="__main__")
"""


@pytest.mark.process
@pytest.mark.trains
def test_the_worked_example_trains(tmp_path: Path) -> None:
    document = (ROOT / "docs/adding-a-method.md").read_text(encoding="utf-8")
    file, entry = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (tmp_path / "focal.py").write_text(file)
    (tmp_path / "entry.txt").write_text(entry)
    (command,) = re.findall(r"`python -m training\.train (.*?)`", document)
    small = "--dataset phantom --films 60 --img-size 32 --model test_resnet --epochs 1 --device cpu --output"
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path), *command.split(), *small.split(), str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    (report,) = tmp_path.glob("*/report.json")
    (run,) = json.loads(report.read_text())["runs"]
    assert run["method"] == "focal"
    settings = (report.parent / "config.yaml").read_text()
    assert "method: focal" in settings and "gamma: 1" in settings
