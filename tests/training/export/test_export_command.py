import importlib
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_checkpoint import small_run
from training.export.__main__ import main, read_arguments
from training.hub.__main__ import read_arguments as hub_arguments


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("runs") / "a-run")


@pytest.mark.trains
@pytest.mark.parametrize("form", ["monai", "timm", "onnx"])
def test_export(run: Path, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / {"monai": "bundle", "timm": "x.safetensors", "onnx": "x.onnx"}[form]
    main([form, str(run), "--output", str(place)])
    said = capsys.readouterr().out
    assert place.exists()
    assert f"wrote {place}" in said and "Not a medical device" in said and "called covid from a score of 0.4375" in said
    assert ("timm.create_model('test_resnet', num_classes=2, in_chans=1" in said) == (form == "timm")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "COMMAND"),
        (["tflite", "RUN"], "tflite"),
        (["onnx", "RUN"], "--output"),
        (["onnx", "RUN", "--output", "x.pt"], "must end in .onnx"),
        (["timm", "RUN", "--output", "x.pt"], "must end in .safetensors"),
        (["onnx", "RUN", "--output", "x.onnx", "--backbone"], "--backbone belongs to timm"),
        (["onnx", "RUN", "--output", "none/x.onnx"], "its folder does not exist"),
        (["monai", "RUN", "--output", "."], "exists already"),
        (["timm", "RUN", "--output", "x.safetensors", "--back"], "did you mean --backbone"),
    ],
)
def test_bad_command_line(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        read_arguments(given)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_mistakes_are_sentences(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = small_run(tmp_path / "unit", unit_norm=True)
    for given, said in ((tmp_path / "none", "does not exist"), (unit, "features of unit length")):
        with pytest.raises(SystemExit) as left:
            main(["timm", str(given), "--output", str(tmp_path / "x.safetensors")])
        assert left.value.code == 2
        assert said in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.process
def test_the_line_loads_from_where_the_command_was_given(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    main(["timm", str(run), "--output", "sub/x.safetensors"])
    (line,) = re.findall("timm.create_model.*", capsys.readouterr().out)
    assert line.endswith("checkpoint_path='sub/x.safetensors')")
    # In a process that sees timm and torch alone.
    blocked = "import sys; sys.modules |= dict.fromkeys(('datasets', 'models', 'training')); import timm; "
    done = subprocess.run([sys.executable, "-c", f"{blocked}print({line}.num_classes)"], capture_output=True, text=True)
    assert done.stdout == "2\n", done.stderr


def test_a_backbone_has_no_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unit = small_run(tmp_path / "unit", unit_norm=True)
    main(["timm", str(unit), "--output", str(tmp_path / "x.safetensors"), "--backbone"])
    said = capsys.readouterr().out
    assert "softmax" not in said and "features only" in said and "Not a medical device" in said


def test_a_place_that_can_not_be_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/x/.aside")

    monkeypatch.setattr("datasets.files.tempfile.mkstemp", refuse)
    with pytest.raises(SystemExit) as left:
        main(["timm", str(run), "--output", str(tmp_path / "x.safetensors")])
    assert left.value.code == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"--output {tmp_path / 'x.safetensors'} can't be written: Permission denied" in said and ".aside" not in said


@pytest.mark.trains
@pytest.mark.parametrize("form", ["monai", "timm", "onnx"])
def test_a_full_disk_is_told_and_nothing_is_left(
    run: Path, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / {"monai": "bundle", "timm": "x.safetensors", "onnx": "x.onnx"}[form]
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, usual[1]))  # the settings of a bundle fit, no weights do
    try:
        with pytest.raises(SystemExit) as left:
            main([form, str(run), "--output", str(place)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert left.value.code == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert f"error: --output {place} can't be written" in said and said.count(str(place)) == 1, said
    assert "is the disk full?" in said or "File too large" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])  # the last is imported by torch's exporter
def test_without_the_extra(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    monkeypatch.delitem(sys.modules, "training.export.onnx_model", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: importlib.import_module(package))
    with pytest.raises(SystemExit):
        main(["onnx", str(run), "--output", str(tmp_path / "x.onnx")])
    assert f"{package} is not installed: pip install 'end-cxr[export]'" in capsys.readouterr().err.replace("\n", " ")


def test_help_is_quick() -> None:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "training.export", "monai", "--help"], capture_output=True, text=True
    )
    assert "not a medical device" in done.stdout
    assert "torch" not in done.stderr and time.monotonic() - begun < 5


def test_commands_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
    (tmp_path / "RUN").mkdir()
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^python -m training\.(export|hub) ([^#\n]+)", text, re.MULTILINE)
    assert len(commands) == 5
    for module, given in commands:
        (read_arguments if module == "export" else hub_arguments)(given.split())
