from pathlib import Path

import pytest

from datasets.cohort.csv_table import read_csv
from datasets.cohort.films import CohortError

TEXT = "path,label\na.png,covid\n\nb.png,normal\n"


@pytest.mark.parametrize(
    ("above", "lines"),
    [
        ("", 0),
        ("sep=,\n", 1),
        ("SEP=,\r\n", 1),
        ('"sep=,"\n', 1),
        ("sep=;,\n", 1),
        ("\n\n", 2),
        ("sep=,\n,\n", 2),
        ("\ufeff\ufeff", 0),
        ("\ufeffsep=,\n\ufeff", 1),
    ],
)
def test_what_stands_above_the_header_moves_the_lines_and_no_cell(tmp_path: Path, above: str, lines: int) -> None:
    file = tmp_path / "table.csv"
    file.write_text(above + TEXT, encoding="utf-8")
    table = read_csv(file)
    assert list(table.columns) == ["path", "label"]
    assert table.to_numpy().tolist() == [["a.png", "covid"], ["", ""], ["b.png", "normal"]]
    assert (table.index + 2).tolist() == [lines + 2, lines + 3, lines + 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sep=;\npath;label\na;b\n", "line 2: the columns are separated by semicolons"),
        ("sep=\t\npath\tlabel\na\tb\n", "line 2: the columns are separated by tabs"),
        ("sep=,\npath,path\na,b\n", "line 2: columns 1, 2 have the same name"),
        ("path,\u200bpath\na,b\n", "line 1: columns 1, 2 have the same name"),
        ("sep=,\npath,label\na,b\nb,c,d\n", "line 4: 3 cells under 2 column names"),
        ("\npath,label\na,b,c\n", "line 3: 3 cells under 2 column names"),
        ('sep=,\npath,label\na,"b\n', "line 3: can't be read as CSV"),
        ("sep=,\npath,label\na,\x00\n", "line 3: NUL characters"),
        ("sep=,\n", "is empty; it needs a header"),
        ("\ufeff\ufeff", "is empty"),
    ],
)
def test_mistakes_below_it_have_the_lines_of_the_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "table.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CohortError, match=expected):
        read_csv(file)


def test_a_column_without_a_name_stays_out_and_no_other_line_is_taken_for_the_separator(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("label,,path\nsep=,,x\ncovid,,sep=;\n", encoding="utf-8")
    assert read_csv(file).to_numpy().tolist() == [["sep=", "x"], ["covid", "sep=;"]]
