"""docs/python.md runs with a smaller network, docs/quickstart.ipynb on fewer films as well."""

import json
import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parent.parent / "docs/python.md"


@pytest.mark.trains
def test_the_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 4 and max(block.count("\n") for block in blocks) <= 15
    training = '"films": 300, "epochs": 1'
    assert blocks[0].count(training) == 1
    blocks[0] = blocks[0].replace(training, f'{training}, "model": "test_resnet", "img_size": 32')
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)
    printed = capsys.readouterr().out
    assert re.search(r"^runs/phantom-end\S* 0\.\d+$", printed, re.M)
    assert len(re.findall(r"\.dcm 0\.\d+$", printed, re.M)) == 3 and re.search(r"^works \w", printed, re.M)
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("auroc-by-source.html", "roc.html"))


@pytest.mark.trains
def test_the_notebook_runs_from_the_first_cell_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = DOCUMENT.with_name("quickstart.ipynb")
    assert notebook.stat().st_size < 100_000
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in cells), "a reader sees what comes out"
    source = "\n".join("".join(cell["source"]) for cell in cells)
    assert "/home" not in notebook.read_text(encoding="utf-8")
    for written, fewer in (
        ('"films": 800, "epochs": 4', '"films": 300, "epochs": 1, "model": "test_resnet", "img_size": 32'),
        ("resamples=500", "resamples=100, permutations=100"),
    ):
        assert source.count(written) == 1
        source = source.replace(written, fewer)
    names: dict[str, object] = {}
    exec(compile(source, str(notebook), "exec"), names)
    assert re.search(r"^phantom-end-test_resnet-s0: \w", capsys.readouterr().out, re.M)
    assert len(names["answers"]) == 18  # type: ignore[arg-type]
