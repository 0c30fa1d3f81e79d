"""A terminal that can't show every letter."""

import io
import sys

import pytest

from training.console.commandline import Parser


def test_a_letter_that_the_terminal_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    Parser().parse_strictly([])
    sys.stdout.write("834/s · leak")
    sys.stdout.flush()
    assert shown.getvalue() == b"834/s ? leak"
