"""Stages of a long command: lines where nobody watches a bar, with how far it is and the time left."""

import pytest

from training.console import stages
from training.console.stages import Stages, last_stage


def test_lines_say_how_far_it_is_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 100.0, 101.0, 110.0, 120.0])  # begin, first line, too soon for a line, a line, the last line
    monkeypatch.setattr(stages.time, "monotonic", lambda: next(now))
    with Stages() as shown:
        advance = shown.begin("scoring films", 1600)
        advance(100)
        advance(300)
        advance(1200, "END")
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "progress: scoring films 0 of 1,600",
        "progress: scoring films 400 of 1,600, about 30 s left",
        "progress: scoring films: END 1,600 of 1,600",
    ]
    assert last_stage(f"warning\n{said}more") == "scoring films: END 1,600 of 1,600"
    assert last_stage("nothing") == ""


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(stages.ERRORS, "_force_terminal", True)
    with Stages() as shown:
        advance = shown.begin("measuring", 2)
        advance(1, "leak")
        advance(1)
    said = capsys.readouterr().err
    assert "progress:" not in said and "2/2" in said
