"""The command from its flags to its table, on drawn digits and with one run of each kind."""

from pathlib import Path

import pytest

from training.benchmark import __main__ as benchmark
from training.benchmark.biased_mnist.records import read_records

pytestmark = pytest.mark.trains


def test_trains_tells_and_does_not_train_again(
    drawn_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "films=200,epochs=1,img_size=8,batch_size=64"
    command = [
        "biased-mnist",
        "--rho",
        "0.9",
        "--method",
        f"erm:{small}",
        f"end:{small}",
        "--seeds",
        "1",
        "--trials",
        "2",
    ]
    command += [
        "--data-dir",
        str(drawn_digits),
        "--record",
        str(tmp_path / "runs.jsonl"),
        "--device",
        "cpu",
        "--jobs",
        "2",
    ]
    benchmark.main(command)
    table = capsys.readouterr().out
    records = read_records(tmp_path / "runs.jsonl")
    assert sorted((r["method"], r["stage"]) for r in records) == [
        ("end", "run"), ("end", "trial"), ("end", "trial"), ("erm", "run"),
    ]  # fmt: skip
    for record in records:
        assert record["conflicting_digits"] == pytest.approx(20, abs=5) and record["seconds"] > 0
        if record["stage"] == "run":
            assert 0 <= record["leak"] <= 1 and 0 <= record["unbiased_accuracy_last_epoch"] <= 1
        else:
            assert "unbiased_accuracy" not in record  # a trial never sees test digits
    assert "protocol short, rho 0.9" in table and " conflicting digits" in table

    before = (tmp_path / "runs.jsonl").read_bytes()
    benchmark.main(command)
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    assert capsys.readouterr().out == table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "ned"], "no method ned"),
        (["--method", "end:alpha=-1"], "alpha"),
        (["--rho", "2"], "a probability"),
        (["--jobs", "0"], "--jobs 0: must be 1 or more"),
        (["--trials", "0"], "--trials 0: must be 1 or more"),
    ],
)
def test_mistakes_show_before_anything_is_trained(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "runs.jsonl"
    with pytest.raises(SystemExit):
        benchmark.main(["biased-mnist", *arguments, "--record", str(record)])
    assert expected in capsys.readouterr().err and not record.exists()


def test_a_mistake_is_no_record(drawn_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the user can mend is trained when it is mended; only a training that diverged is an answer."""
    small = "films=200,epochs=1,img_size=8,batch_size=64"
    command = ["biased-mnist", "--rho", "0.9", "--method", f"erm:{small}", f"erm:{small},lr=1e30", "--seeds", "1"]
    command += ["--data-dir", str(drawn_digits), "--record", str(tmp_path / "runs.jsonl")]
    with pytest.raises(SystemExit):
        benchmark.main([*command, "--device", "gpu"])
    assert "there is no such device here" in capsys.readouterr().err
    assert read_records(tmp_path / "runs.jsonl") == []

    benchmark.main([*command, "--device", "cpu", "--jobs", "2"])
    good, lost = sorted(read_records(tmp_path / "runs.jsonl"), key=lambda record: "failed" in record)
    assert "failed" not in good and "is not finite" in lost["failed"]
    assert "is not finite" in capsys.readouterr().out
