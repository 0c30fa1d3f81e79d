"""The benchmark of an archive prints retrieval, scoring and both, from a real Orthanc."""

import re
from pathlib import Path

import pytest

from datasets.film import dicomweb
from datasets.phantom.folder import write_folder
from tests import orthanc
from training.benchmark import __main__ as benchmark

pytestmark = [pytest.mark.process, pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())]


def test_it_prints_all_three_rates_in_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dicomweb.HEADER, orthanc.HEADER)
    write_folder(tmp_path / "films", 12, 0.5, 0, 64)
    with orthanc.running(tmp_path) as server:
        server.upload(tmp_path / "films")
        query = ["--query", "ModalitiesInStudy=DX", "--query", "ModalitiesInStudy=CR"]
        benchmark.main(["dicomweb", server.url, *query, "--films", "10", "--repeats", "1", "--workers", "1"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80 and "10 films" in shown
    row = next(line for line in shown.splitlines() if line.count("%") == 2)
    listing, retrieval, scoring, both, of_slower, of_allowed = (float(text) for text in re.findall(r"[\d.]+", row))
    assert min(listing, retrieval, scoring, both) > 0
    assert of_slower == pytest.approx(100 * both / min(retrieval, scoring), abs=1)
    assert of_allowed == pytest.approx(100 * both * (1 / retrieval + 1 / scoring), abs=1)
