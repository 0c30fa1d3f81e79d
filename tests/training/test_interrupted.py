"""Ctrl-C while a command still imports what it needs ends it with a sentence, not with a traceback."""

import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

COMMANDS = [
    ("training.evaluate", "training.evaluate.evaluation", ["."]),
    ("training.calibrate", "training.calibrate.fitting", ["."]),
    ("training.crossval", "training.crossval.folds", ["--dataset", "phantom"]),
    ("training.sweep", "training.sweep.study", ["--dataset", "phantom", "--method", "end"]),
    ("training.recipe", "training.recipe.follow", ["jtt", "."]),
    ("training.export", "training.export.formats", ["timm", ".", "--output", "x.safetensors"]),
    ("training.hub", "training.hub.transfer", ["push", ".", "user/name"]),
    ("datasets.manifest", "datasets.covid", ["--data-dir", ".", "--output", "m.csv"]),
    ("datasets.phantom", "datasets.phantom.film", ["--sheet", "sheet.png"]),
]


class Pressed(MetaPathFinder):
    """Ctrl-C arrives while one module is imported."""

    def __init__(self, module: str) -> None:
        self.module = module

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.module:
            raise KeyboardInterrupt
        return None


@pytest.mark.parametrize(("command", "module", "arguments"), COMMANDS, ids=[name for name, *_ in COMMANDS])
def test_ctrl_c_during_the_imports_is_a_sentence(
    command: str,
    module: str,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Pressed(module), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(command, run_name="__main__", alter_sys=True)
    assert stopped.value.code == 130 and capsys.readouterr().err.startswith("interrupted")
