"""What holds for the project as a whole: whose `datasets` it is, what the README promises, what must not be there."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
import yaml

import datasets
from tests.mutation import FILES

ROOT = Path(__file__).parent.parent


def test_datasets_is_ours() -> None:
    assert Path(datasets.__file__ or "").parent == ROOT / "datasets"
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in requires("end-cxr") or []}
    assert "datasets" not in names and "torch" in names


def test_files_beside_the_code_are_in_the_wheel() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    packed = {
        file
        for package, kinds in data.items()
        for kind in kinds
        for file in (ROOT / package.replace(".", "/")).glob(kind)
    }
    there = {
        file
        for room in ("app", "datasets", "models", "training")
        for file in (ROOT / room).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert not there - packed and ROOT / "app/.streamlit/config.toml" in there


def test_no_package_files_under_tests() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_mutation_run_names_files_and_tests_that_are_there() -> None:
    for file, tests in FILES.items():
        assert (ROOT / file).is_file()
        assert all((ROOT / f"tests/training/{test}.py").resolve().is_file() for test in tests), file


def test_the_gate_runs_the_readme_s_own_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("python -m pytest") == 1
    assert "grep -m 1 'python -m pytest' README.md" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_readme_s_first_screen() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.splitlines()
    assert len(lines) <= 140
    screen = "\n".join(lines[:35])
    for promise in (
        "not a medical device",
        "docs/phantoms.png",
        "pip install -e .",
        "training.train --dataset covid --paired",
        "streamlit run app/main.py",
        "**real films**",
        "cannot conclude",
        "Choose your task",
        "#biased-mnist",
    ):
        assert promise in screen, promise


DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_commands_of_a_document_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
    for module in set(re.findall(r"python -m ((?:training|datasets)(?:\.\w+)+)", text)):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    for file in set(re.findall(r"`((?:app|datasets|models|tests|training)/[\w/]+(?:\.py|/))`", text)):
        assert (ROOT / file).exists(), file


def test_results_as_recorded_are_all_listed() -> None:
    folder = ROOT / "docs/results"
    listed = (folder / "README.md").read_text(encoding="utf-8").partition("## Files and commands")[2]
    assert not [file.name for file in folder.iterdir() if f"`{file.name}`" not in listed and file.name != "README.md"]


def test_the_version_stands_in_one_place_and_has_a_heading_in_the_changelog() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest and newest[1] == version
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert "version" not in citation and citation["cff-version"] == "1.2.0"
    assert citation["license"] == "MIT" and citation["authors"] and citation["references"]


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
