"""docs/python.md runs as it is written."""

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
    for block in blocks:
        exec(compile(block, str(DOCUMENT), "exec"), names)
    printed = capsys.readouterr().out
    assert re.search(r"^runs/phantom-end\S* 0\.\d+$", printed, re.M)
    assert len(re.findall(r"\.dcm 0\.\d+$", printed, re.M)) == 3 and re.search(r"^works \w", printed, re.M)
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("auroc-by-source.html", "roc.html"))
