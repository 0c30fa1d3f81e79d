"""The bar of a training: nothing is cut on a terminal of 80 columns."""

import io

import numpy as np
import pytest
from rich.console import Console

from training.loop import progress

TERMS = {"ce": 0.6925, "r_perp": 0.0871, "r_par": 0.4021}


@pytest.mark.parametrize("terminal", [True, False])
def test_terms_speed_and_pairs_are_shown_whole(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(progress, "ERRORS", Console(file=shown, width=80, force_terminal=terminal, color_system=None))
    note = "epoch 80/80 " + progress.describe(TERMS, np.array([481.0, 1034.0]), 1200)
    with progress.progress_bar("bias_contrastive", 12_000) as move:
        move(11_999, note)
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert any("bias_contrastive" in line and "11999/12000" in line for line in lines)
    assert f"  {note}" in lines and note.endswith("1200/s \u00b7 pairs 481 + 1034")
    assert "\u2026" not in shown.getvalue()
