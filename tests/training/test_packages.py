"""Another package named like one of ours, in both orders of installing, and all commands under one name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from training.__main__ import COMMANDS, main

ROOT = Path(__file__).parent.parent.parent


def run(place: Path, *command: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run Python outside of the checkout, whatever is installed, with `path` first."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run([sys.executable, *command], cwd=place, env=environment, capture_output=True, text=True)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder with a package named datasets that can't be ours."""
    package = tmp_path / "theirs" / "datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('theirs was imported')\n", encoding="utf-8")
    return package.parent


@pytest.mark.process
def test_a_command_finds_our_packages_behind_others(theirs: Path, tmp_path: Path) -> None:
    for command in (["-m", "training.train", "--help"], ["-m", "training", "train", "--help"]):
        done = run(tmp_path, *command, path=[theirs, ROOT])
        assert done.returncode == 0 and "--dataset" in done.stdout, done.stderr


@pytest.mark.process
def test_a_program_of_others_is_told_and_keeps_its_path(theirs: Path, tmp_path: Path) -> None:
    script = "import sys\ntry:\n    import training\nexcept ImportError as error:\n    print(error)\nprint(sys.path[1])"
    done = run(tmp_path, "-c", script, path=[theirs, ROOT])
    assert "The package datasets in" in done.stdout and "Hugging Face" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == str(theirs), "nothing was put before it"
    assert run(tmp_path, "-c", "import training; print('ours')", path=[ROOT, theirs]).stdout == "ours\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "words"),
    [("# theirs", "Another package's files lie over EnD-CXR's"), (None, "is missing or incomplete")],
)
def test_files_of_two_packages_in_one_folder_are_found_out(text: str | None, words: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name in ("app", "datasets", "models", "training"):
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))
    if text is None:
        shutil.rmtree(site / "models")
    else:
        (site / "datasets" / "__init__.py").write_text(text, encoding="utf-8")
    script = "import sys; sys.path = [p for p in sys.path if p != sys.argv[1]]; sys.argv = ['-m']; import training"
    done = run(tmp_path, "-c", script, str(ROOT), path=[site])
    if text is not None:
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    else:  # an installed checkout may stand in for the folder: then it is the one in the way
        assert done.returncode == 2 and (words in done.stderr or "hides EnD-CXR's" in done.stderr)


@pytest.mark.process
def test_every_command_has_a_short_name_and_a_wrong_one_is_a_sentence(tmp_path: Path) -> None:
    listed = run(tmp_path, "-m", "training", path=[ROOT]).stdout
    assert all(f"\n  {name} " in listed for name in COMMANDS) and max(map(len, listed.splitlines())) <= 80
    wrong = run(tmp_path, "-m", "training", "trian", path=[ROOT])
    assert wrong.returncode == 1 and "did you mean train?" in wrong.stderr and "Traceback" not in wrong.stderr
    for name, (module, _) in COMMANDS.items():
        if name != "app":
            assert (ROOT / (module.replace(".", "/") + ".py")).exists() or (
                ROOT / module.replace(".", "/") / "__main__.py"
            ).exists()


@pytest.mark.parametrize("before", ["", "/theirs"], ids=["no path", "a path"])
def test_the_app_starts_by_its_place_with_the_visitor_s_flags(before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(
        "training.__main__.runpy.run_module", lambda module, **_: started.extend([module, *sys.argv[1:]])
    )
    monkeypatch.setenv("PYTHONPATH", before)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["end-cxr", "app", "--server.port", "8600"])
    main()
    assert started == ["streamlit", "run", str(ROOT / "app/main.py"), "--server.port", "8600"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(ROOT), *filter(None, [before])])
