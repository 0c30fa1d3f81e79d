"""`--help` of every command: at once, in 80 columns, and with the notice."""

import os
import re
import runpy
import subprocess
import sys

import pytest

from datasets.help_text import HelpFormatter
from training.__main__ import COMMANDS

MODULES = [module for module, _ in COMMANDS.values() if module != "streamlit"]
SUBCOMMANDS = [
    *(["training.benchmark", name] for name in ("planted", "paired", "biased-mnist", "train", "dicom")),
    *(["training.recipe", name] for name in ("head", "dfr", "jtt")),
    *(["training.export", name] for name in ("onnx", "timm", "monai")),
    ["training.hub", "push"],
]
HEAVY = ("torch", "timm", "monai", "pandas", "scipy", "pydicom", "streamlit")


@pytest.mark.parametrize(
    "command", [[module] for module in [*MODULES, "training.bias.simulation"]] + SUBCOMMANDS, ids=" ".join
)
def test_help_fits_80_columns_and_says_what_this_is_not(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.argv", [*command, "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    shown = capsys.readouterr().out
    assert not stopped.value.code and shown.startswith(f"usage: python -m {command[0]}")
    assert not [line for line in shown.splitlines() if len(line) > 80]
    assert re.search(r"medical\s+device|patient", shown)
    if command == ["training.train"]:
        assert "\n  erm: cross-entropy alone, the baseline\n  end: " in shown


@pytest.mark.process
@pytest.mark.parametrize("module", MODULES)
def test_help_imports_nothing_heavy(module: str) -> None:
    program = [sys.executable, "-X", "importtime", "-m", module, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ | {"COLUMNS": "80"}, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)


def test_a_paragraph_is_filled_and_a_list_is_not() -> None:
    formatter = HelpFormatter("command", width=40)
    text = "One sentence that is\nlonger than a line is wide.\n\n  cohen    a list\n  nih      of two\n\npython -m command\n"
    assert formatter._fill_text(text, 38, "").splitlines() == [
        "One sentence that is longer than a", "line is wide.", "", "  cohen    a list", "  nih      of two", "",
        "python -m command",
    ]  # fmt: skip


def test_marks_of_colour_take_no_room() -> None:
    """As argparse of Python 3.14 writes them on a terminal."""
    formatter = HelpFormatter("command", width=60)
    words = [f"[\x1b[36m--flag-{number} \x1b[33mVALUE\x1b[0m]" for number in range(4)]
    usage = "\x1b[1;34musage: \x1b[0m\x1b[1;35mcommand\x1b[0m"
    whole = " ".join([usage, *words])
    lines = formatter._format_usage(whole, [], [], "").splitlines()
    plain = [re.sub("\x1b.*?m", "", line) for line in lines if line]
    assert [len(line) for line in plain] == [58, 30] and " ".join(plain).split() == re.sub(
        "\x1b.*?m", "", whole
    ).split()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["datasets.prepare"], "required: dataset, SRC, --out; --help says what they are"),
        (["datasets.phantom", "--dicom", "a", "--sheet", "b"], "not allowed with argument"),
        (["training.evaluate"], "required: RUN; --help says what they are"),
        (["training.train", "--epochz", "3"], "did you mean --epochs?"),
        (["training.evaluate", ""], "argument RUN: it is empty: name a file or folder (. is this folder)"),
        (["datasets.phantom", "--dicom", ""], "argument --dicom: it is empty"),
        (["training.benchmark", "dicom", "--workers", "-3"], "argument --workers: -3: must be from 1 to 256"),
        (["training.benchmark", "train", "--films", "-1"], "argument --films: -1: must be from 2 to 1,000,000"),
        (["training.benchmark", "cost", "--repeats", "1e24"], "argument --repeats: 1e24: must be from 1 to 1,000"),
        (["training.crossval", "--seeds", "0", "1", "0"], "--seeds: 0 stands there twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    command: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    shown = capsys.readouterr().err
    last = shown.splitlines()[-1]
    assert (
        stopped.value.code == 2
        and expected in last
        and re.match(rf"python -m {re.escape(command[0])}( \w+)?: error: ", last)
    )
    assert "usage:" not in shown
