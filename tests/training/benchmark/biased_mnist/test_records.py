"""The record: what was run is told from what was not, whatever happened in between."""

import json
from pathlib import Path

import pytest

from training.benchmark.biased_mnist.records import Job, key_of, pending, read_records
from training.recipe.candidate import Candidate
from training.run.record import append_line

RESULTS = Path(__file__).parents[4] / "docs" / "results"


def job(seed: int = 0, name: str = "end:form=signed", **chosen: float) -> Job:
    return Job("short", Candidate.parse(name), 0.94, seed, "run", chosen)


def test_a_line_tells_its_job() -> None:
    assert key_of(json.loads(json.dumps(job(3, alpha=0.1).line()))) == job(3, alpha=0.1).key
    assert len({job(0).key, job(1).key, job(0, alpha=1.0).key, job(0, "end").key}) == 4
    assert job().line()["form"] == "signed" and job(0, "end").line()["form"] == "absolute"
    assert job(0, "erm").line()["form"] is None


def test_pending_jobs_come_once() -> None:
    done = [job(0).line()]
    assert pending([job(0), job(1), job(1)], done) == [job(1)]


def test_a_line_cut_by_a_kill_is_told_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "record.jsonl"
    assert read_records(path) == []
    append_line(path, job(0).line())
    with path.open("a") as file:
        file.write('{"protocol": "sho')
    assert read_records(path) == [job(0).line()]
    assert "line 2: this line is cut short; its run is left out" in " ".join(capsys.readouterr().err.split())
    append_line(path, job(1).line())
    assert read_records(path) == [job(0).line(), job(1).line()]


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text('{"a": 1}\n' + json.dumps(job().line()) + "\n")
    with pytest.raises(ValueError, match="line 1: no record of the benchmark"):
        read_records(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"notes of a day, one line without an end", "line 1: no record"),
        (b'{"a": 1}', "line 1: no record"),
        (b'{"a": 1}\n', "line 1: no record"),
        (b"[]\n", "line 1: no record"),
        (b"null", "line 1: no record"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_a_foreign_file_of_one_line_is_not_taken_for_a_line_cut_short(
    content: bytes, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=expected):
        read_records(path)


@pytest.mark.parametrize("name", ["biased_mnist_short.jsonl", "biased_mnist_full.jsonl"])
def test_what_is_in_the_documentation_is_whole(name: str) -> None:
    records = read_records(RESULTS / name)
    assert len({key_of(record) for record in records}) == len(records) > 0
    for record in records:
        assert record["protocol"] in name and Candidate.parse(record["method"]).method == record["method"]
        if record["stage"] == "run":
            test = 0.1 * record["biased_accuracy"] + 0.9 * record["conflicting_accuracy"]
            assert record["unbiased_accuracy"] == pytest.approx(test, abs=2e-3)
            assert record["conflicting_digits"] > 0 and record["machine"] and record["seconds"] > 0
