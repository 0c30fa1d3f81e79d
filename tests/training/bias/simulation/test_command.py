"""The command line, and the table that is timed."""

import pytest

from training.bias.simulation.__main__ import FUNCTIONS, main, read_arguments
from training.bias.simulation.speed import simulated_predictions, speed


def test_speed_measures_a_table_of_the_rows_asked_for() -> None:
    table = simulated_predictions(3000)
    assert len(table) == 3000 and table["source"].nunique() == 6
    assert table.groupby("patient")["target"].nunique().max() == table.groupby("patient")["source"].nunique().max() == 1
    seconds, peak = speed(3000, resamples=20)
    assert 0 < seconds < 60 and 0.01 < peak < 64


def test_the_command_line() -> None:
    assert read_arguments(["coverage", "--simulations", "7"]).simulations == 7
    assert read_arguments(["speed", "--rows", "9"]).rows == 9
    assert read_arguments(["leak", "--strength", "0.5"]).strength == 0.5
    with pytest.raises(SystemExit):
        read_arguments(["speed", "--simulations", "7"])


@pytest.mark.parametrize("command", [name for name in FUNCTIONS if name != "speed"])
@pytest.mark.trains
def test_every_command_prints_its_table(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.bias.simulation.seeds.PATIENTS", (40,))
    few = {"seeds": ["--simulations", "1"], "small": ["--simulations", "2"], "verdict": ["--simulations", "1"]}
    arguments = [command, *few.get(command, ["--simulations", "2", "--patients", "60"])]
    if command != "seeds":
        arguments += ["--permutations", "9"] if command == "leak" else ["--resamples", "20"]
    main(read_arguments(arguments))
    assert "seed 0; " in capsys.readouterr().out
