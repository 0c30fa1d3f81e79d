"""The register names every layout, and what all of them promise."""

from pathlib import Path

import pytest

from datasets.prepare.layouts import LAYOUTS, reader
from datasets.prepare.layouts.film import LayoutError, age, text

NO_LAYOUTS = {"__init__", "film", "header", "sidecar"}
FOLDER = Path(__file__).parents[4] / "datasets" / "prepare" / "layouts"


def test_every_layout_is_registered() -> None:
    assert {file.stem for file in FOLDER.glob("*.py")} - NO_LAYOUTS == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_is_none_of_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"missing|there is no"):
        list(reader(name)(tmp_path))


def test_texts_stay_in_one_cell_and_are_no_formula() -> None:
    assert text(" a\n b\t") == "a b" and text("-1") == "'-1" and len(text("x" * 1000)) == 200


@pytest.mark.parametrize(
    ("given", "years"), [("045Y", "45"), ("61.0", "61"), ("414", ""), ("", ""), ("5M", ""), ("²", "")]
)
def test_ages(given: str, years: str) -> None:
    assert age(given) == years
