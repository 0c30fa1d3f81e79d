"""From the folders of public data sets to one cohort that training reads, with nothing lost on the way."""

import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from datasets.covid import load_covid
from datasets.film.preprocessing import Preprocessing
from datasets.prepare.__main__ import main
from datasets.prepare.cohort import MARKS, alone
from datasets.prepare.layouts import LAYOUTS
from tests.datasets.public_films import png, table

COHEN = ("patientid", "finding", "view", "filename", "url", "license", "sex", "age")


@pytest.fixture
def cohen(tmp_path: Path) -> Path:
    """Sixteen patients of two publishers and both classes, and rows that are no films."""
    src, rows = tmp_path / "cohen", []
    for number in range(16):
        png(src / f"images/{number}.png", number)
        finding = ("Pneumonia/Viral/COVID-19", "Pneumonia/Bacterial")[number % 2]
        url = ("https://radiopaedia.org/1", "https://www.eurorad.org/2")[number // 2 % 2]
        rows.append((number, finding, "PA", f"{number}.png", url, "CC BY", "F", 50))
    (src / "images/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    png(tmp_path / "secret.png", 77)
    rows += [
        (16, "todo", "PA", "16.png", "", "", "", ""),
        (17, "COVID-19", "L", "17.png", "", "", "", ""),
        (18, "COVID-19", "PA", "missing.png", "", "", "", ""),
        (19, "COVID-19", "PA", "../../secret.png", "", "", "", ""),
        (20, "COVID-19", "PA", "0.png", "", "", "", ""),
        (21, "COVID-19", "PA", "broken.png", "", "", "", ""),
    ]
    table(src / "metadata.csv", COHEN, rows)
    return src


@pytest.fixture
def hannover(tmp_path: Path, cohen: Path) -> Path:
    """Four films, the first a copy of one that is in the other collection too."""
    src = tmp_path / "hannover"
    for number in range(4):
        png(src / f"png/f{number}.png", 100 + number)
    Image.open(cohen / "images/1.png").resize((64, 64), Image.Resampling.NEAREST).save(src / "png/f0.png")
    rows = [(f"p{number}", f"f{number}", "ap", "CR", "m") for number in range(4)]
    table(src / "data.csv", ("patient_id", "image_id", "projection", "modality", "sex"), rows)
    return src


def run(*arguments: object) -> None:
    main([str(argument) for argument in arguments])


def read(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_one_data_set(cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    run("cohen", cohen, "--out", out)
    films, left_out = read(out / "metadata.csv"), read(out / "left_out.csv")
    assert len(films) == 16 and len(films) + len(left_out) == 22  # every row of the table once
    assert dict(zip(left_out["file"], left_out["reason"], strict=True)) == {
        "images/16.png": "finding not filled in",
        "images/17.png": "lateral view",
        "images/missing.png": "its file does not exist",
        "images/../../secret.png": "its path leaves the data set's folder",
        "images/0.png": "a second row for one file",
        "images/cohen/images/broken.png": "can't be read: truncated",
    }
    assert left_out["origin"].tolist()[-1] == "metadata.csv line 23"
    assert tuple(films.columns[-2:]) == MARKS and set(films["patient_id"]) == {f"cohen_{n}" for n in range(16)}
    assert not list(out.rglob("secret.png"))
    said = capsys.readouterr().out
    assert "16 films (files: 17 hard-linked)" in said and "not a medical device" in said.lower()
    assert "its path leaves the data set" in said and "no film is usable" not in said
    cohort = load_covid(out, Preprocessing(32))
    assert len(cohort.table) == 16 and cohort.excluded.empty and set(cohort.info.biases) == {"radiopaedia", "eurorad"}


def test_a_second_data_set_is_added_and_copies_are_found(
    cohen: Path, hannover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run("cohen", cohen, "--out", out)
    first = read(out / "metadata.csv")
    run("hannover", hannover, "--out", out)
    both = read(out / "metadata.csv")
    pd.testing.assert_frame_equal(both[: len(first)][first.columns.tolist()], first)
    assert both["dataset"].tolist() == ["cohen"] * 16 + ["hannover"] * 4
    pairs = read(out / "near_copies.csv")
    assert pairs[["line_1", "line_2", "source_1", "source_2"]].to_numpy().tolist() == [
        ["3", "18", "radiopaedia", "hannover"]
    ]
    assert pairs[["label_1", "label_2"]].to_numpy().tolist() == [["pneumonia", "covid"]]
    said = capsys.readouterr().out
    assert "1 pair, 1 across sources: " in said and "--separate-copies" in said.splitlines()[-2]
    assert "sources with one class alone (hannover)" in said
    cohort = load_covid(out, Preprocessing(32), separate_copies=True)
    together = cohort.table.loc[cohort.table["patient_id"].isin(["cohen_1", "hannover_p0"]), "split"]
    assert together.nunique() == 1


def test_the_same_data_set_again_replaces_its_rows(cohen: Path, hannover: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("cohen", cohen, "--out", out, "--no-copies")
    run("hannover", hannover, "--out", out)
    assert (out / "near_copies.csv").exists()  # goes with the next command, for its lines would be wrong
    (cohen / "images/missing.png").write_bytes((cohen / "images/3.png").read_bytes())
    run("cohen", cohen, "--out", out, "--no-copies")
    films = read(out / "metadata.csv")
    assert films["dataset"].value_counts().to_dict() == {"cohen": 18, "hannover": 4} and films["path"].is_unique
    assert (read(out / "left_out.csv")["dataset"] == "cohen").all() and len(read(out / "left_out.csv")) == 4
    assert not (out / "near_copies.csv").exists()


def test_a_cohort_below_which_the_data_set_lies_has_no_second_copy(cohen: Path, tmp_path: Path) -> None:
    run("cohen", cohen, "--out", tmp_path, "--no-copies")
    assert read(tmp_path / "metadata.csv")["path"][0] == "cohen/images/0.png" and not (tmp_path / "images").exists()
    assert len(load_covid(tmp_path, Preprocessing(32)).table) == 17  # broken.png was not decoded


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if not layout.labelled])
def test_a_wrong_folder_says_what_was_expected(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "src").mkdir()
    for src in (tmp_path / "src", tmp_path / "none"):
        with pytest.raises(SystemExit) as stopped:
            run(name, src, "--out", tmp_path / "out")
        assert stopped.value.code == 2
        assert LAYOUTS[name].expects in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_no_usable_film_is_an_error_that_counts_reasons(
    cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (cohen / "images").iterdir():
        file.unlink()
    with pytest.raises(SystemExit):
        run("cohen", cohen, "--out", tmp_path / "out")
    assert "most often: its file does not exist (19 of 22 rows)" in capsys.readouterr().err.replace("\n", " ")


def test_a_foreign_metadata_csv_is_not_overwritten(
    cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (cohen / "metadata.csv").read_bytes()
    with pytest.raises(SystemExit):
        run("cohen", cohen, "--out", cohen)
    assert "was not written by this command" in capsys.readouterr().err.replace("\n", " ")
    assert (cohen / "metadata.csv").read_bytes() == before
    with pytest.raises(SystemExit):
        run("cohen", cohen, "--out", cohen / "cohort")
    assert "lies inside" in capsys.readouterr().err and not (cohen / "cohort").exists()


def test_a_table_that_cannot_be_read_is_named_with_its_line(
    cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cohen / "metadata.csv").write_bytes(b"patientid,finding,view,filename\n1,COVID-19,PA,\xff.png\n")
    with pytest.raises(SystemExit):
        run("cohen", cohen, "--out", tmp_path / "out")
    assert "line 2: not in UTF-8" in capsys.readouterr().err


def test_films_of_one_class_are_said_to_need_others(
    hannover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("hannover", hannover, "--out", tmp_path / "out")
    assert "All films are covid: add a data set with others" in capsys.readouterr().out


def test_names_with_markup_are_text(cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(
        cohen / "metadata.csv",
        COHEN,
        [(1, "COVID-19", "PA", "1.png", "", "", "", ""), (2, "COVID-19", "[bold]X[/]", "2.png", "", "", "", "")],
    )
    run("cohen", cohen, "--out", tmp_path / "out", "--no-copies")
    assert "view [bold]X[/]" in capsys.readouterr().out


def test_a_file_is_no_folder_for_a_cohort(cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        run("cohen", cohen, "--out", tmp_path / "file")
    assert stopped.value.code == 2 and "is a file: name a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_two_commands_do_not_write_one_cohort_at_a_time(
    cohen: Path, hannover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with alone(out):
        with pytest.raises(SystemExit):
            run("cohen", cohen, "--out", out)
        assert "another run of this command is at work in" in capsys.readouterr().err
    assert not out.exists()
    run("cohen", cohen, "--out", out, "--no-copies")


def test_where_no_film_can_be_decoded_none_is_usable(
    cohen: Path, hannover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for file in (hannover / "png").iterdir():
        file.write_bytes(b"\x89PNG\r\n\x1a\n no more")
    with pytest.raises(SystemExit) as stopped:
        run("hannover", hannover, "--out", out)
    assert stopped.value.code == 2
    assert (
        "no film of the cohort can be decoded; most often: can't be read: truncated (4 of 4)" in capsys.readouterr().err
    )
    run("cohen", cohen, "--out", out)  # what is left is no obstacle
    assert len(read(out / "metadata.csv")) == 16


def test_names_of_files_are_no_formulas(cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(1, "COVID-19", "PA", "1.png", "images"), (2, "COVID-19", "PA", "2.png", "=cmd|' /C calc'!A0")]
    table(cohen / "metadata.csv", ("patientid", "finding", "view", "filename", "folder"), rows)
    run("cohen", cohen, "--out", tmp_path / "out", "--no-copies")
    assert read(tmp_path / "out/left_out.csv")["file"].tolist() == ["'=cmd|' /C calc'!A0/2.png"]
    assert "1 row was left out" in capsys.readouterr().out


def test_what_training_would_refuse_is_not_named_as_the_next_command(
    cohen: Path, hannover: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("hannover", hannover, "--out", tmp_path / "out", "--no-copies")
    said = capsys.readouterr().out
    assert "Next: add a data set: python -m datasets.prepare NAME SRC --out" in said and "training.train" not in said
    run("cohen", cohen, "--out", tmp_path / "out", "--no-copies")
    assert "Next: python -m training.train" in capsys.readouterr().out


def test_sentences_are_wrapped_between_words_on_a_terminal_and_whole_elsewhere(
    cohen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / ("a folder with quite a long name " * 4).strip()
    run("cohen", cohen, "--out", out, "--no-copies")
    assert max(map(len, capsys.readouterr().out.splitlines())) > 120
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(Console, "is_terminal", True)
    run("cohen", cohen, "--out", out, "--no-copies")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    (command,) = (line for line in lines if line.startswith("Next: "))
    assert str(out) in command  # to be copied
    assert all(len(line) <= 80 for line in lines if line != command)


@pytest.mark.parametrize(
    "place", ["datasets.prepare.cohort.prepare", "datasets.prepare.cohort.hashed", "datasets.prepare.__main__._run"]
)
def test_ctrl_c_is_answered_in_a_sentence_whenever_it_comes(
    place: str, cohen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    with pytest.raises(SystemExit) as stopped:
        run("cohen", cohen, "--out", tmp_path / "out")
    assert stopped.value.code == 130 and capsys.readouterr().err == "stopped; the same command goes on\n"


def test_films_without_covid_are_said_to_need_some(
    cohen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(cohen / "metadata.csv", COHEN[:4], [(n, "SARS", "PA", f"{n}.png") for n in range(4)])
    run("cohen", cohen, "--out", tmp_path / "out", "--no-copies")
    assert "No film is covid: add a data set with others" in capsys.readouterr().out
