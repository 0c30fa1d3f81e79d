"""What holds for the project as a whole: whose `datasets` it is, what the README promises, what must not be there."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest

import datasets

ROOT = Path(__file__).parent.parent


def test_datasets_is_ours() -> None:
    assert Path(datasets.__file__ or "").parent == ROOT / "datasets"
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in requires("end-cxr") or []}
    assert "datasets" not in names and "torch" in names


def test_no_package_files_under_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_gate_runs_the_readme_s_own_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("python -m pytest") == 1
    assert "grep -m 1 'python -m pytest' README.md" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_readme_says_what_this_is_not_on_its_first_screen() -> None:
    first = (ROOT / "README.md").read_text(encoding="utf-8")[:2500]
    for promise in ("not a medical device", "training.train --dataset covid --paired", "docs/phantoms.png"):
        assert promise in first


def test_files_and_commands_that_the_readme_names_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
    for module in set(re.findall(r"python -m ((?:training|datasets)(?:\.\w+)+)", readme)):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


@pytest.mark.parametrize("folder", ["datasets", "models", "training"])
def test_nothing_is_loaded_by_unpickling_and_no_film_is_mirrored(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for found in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in found, file
        mirrors = "" if file.name == "shortcuts.py" else r"|HorizontalFlip|\.flip\(|hflip"  # there to see what it does
        assert not re.search(r"\bimport pickle|pickle\.load|joblib\.load" + mirrors, text), file


@pytest.mark.parametrize(
    "room", sorted(p.parent for p in ROOT.glob("*/**/__init__.py") if ".venv" not in p.parts), ids=str
)
def test_every_room_lists_its_files(room: Path) -> None:
    text = (room / "__init__.py").read_text(encoding="utf-8")
    files = {path.name for path in room.glob("*.py")} - {"__init__.py"}
    rooms = {f"{path.parent.name}/" for path in room.glob("*/__init__.py")}
    assert not [name for name in sorted(files | rooms) if name not in text]
