"""Tables of labels: which line a film goes with, what is refused, and what never leaves the file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datasets.cohort.films import CohortError
from datasets.cohort.label_table import Labels, LabelsError, read_labels
from datasets.film.identity import keyed_hash
from datasets.sample import DatasetInfo
from training.folder.merge import source_names

KEY = bytes(range(32))
COVID = DatasetInfo("covid", ("not covid", "covid"), ("a", "b"), "source", 1, False)
THREE = DatasetInfo("covid", ("normal", "pneumonia", "covid"), ("a", "b"), "source", 2, False)


def read(place: Path, text: str, *infos: DatasetInfo) -> Labels:
    file = place / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return read_labels(file, KEY, list(infos) or [COVID])


def films(*rows: tuple[str, str, str | None]) -> pd.DataFrame:
    """Hashes of films given as path, SOP instance UID and accession number."""
    table = pd.DataFrame(rows, columns=["file", "instance", "accession"])
    table["file_name"] = [name.rpartition("/")[2] for name in table["file"]]
    return table.map(lambda text: keyed_hash(KEY, text) if isinstance(text, str) else None)


FILMS = films(("n/1.dcm", "1.1", "A1"), ("n/2.dcm", "1.2", "A1"), ("s/1.dcm", "1.3", None), ("s/4.dcm", "1.4", "A2"))
TWICE = {keyed_hash(KEY, "1.dcm")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sop_instance_uid,label\n1.2,covid\n1.4,normal\n9.9,covid\n", [-1, 0, -1, 1]),
        ("SOP Instance UID,Label\n1.1,COVID\n", [0, -1, -1, -1]),
        ("SOPInstanceUID,label\n 1.3 ,covid\n", [-1, -1, 0, -1]),
        ("file,label\nn/2.dcm,covid\n./s/1.dcm,normal\ns\\4.dcm,normal\n", [-1, 0, 1, 2]),
        ("filename,label\n4.dcm,covid\n2.dcm,normal\n", [-1, 1, -1, 0]),
        ("path,label\n1.dcm,covid\n", [-1, -1, -1, -1]),  # two files bear that name
        ("file,label\nn/1.dcm,covid\n1.dcm,normal\n", [0, -1, -1, -1]),
        ("accession_number,label\nA1,covid\nA2,normal\n", [0, 0, -1, 1]),
        ("accession_number,label\nA1.0,covid\nA2,normal\n", [-1, -1, -1, 1]),
        ("AccessionNumber,label\nA1,\nA2,normal\n", [-1, -1, -1, 0]),  # a line without a label says nothing
    ],
)
def test_films_are_found_by_each_kind_of_key(text: str, expected: list[int], tmp_path: Path) -> None:
    assert read(tmp_path, text).rows_of(FILMS, TWICE).tolist() == expected


def test_the_narrowest_key_wins(tmp_path: Path) -> None:
    """SOP instance before path before name before accession number."""
    header = "accession_number,file,sop_instance_uid,label\n"
    labels = read(tmp_path, header + "A1,,,covid\n,2.dcm,,normal\n,n/2.dcm,,other\n,,1.2,pneumonia\n")
    assert labels.rows_of(FILMS, TWICE).tolist() == [0, 3, -1, -1]
    labels = read(tmp_path, header + "A1,,,covid\n,2.dcm,,normal\n,n/2.dcm,,other\n")
    assert labels.rows_of(FILMS, TWICE).tolist() == [0, 2, -1, -1]
    labels = read(tmp_path, header + "A1,,,covid\n,2.dcm,,normal\n")
    assert labels.rows_of(FILMS, TWICE).tolist() == [0, 1, -1, -1]


def test_a_line_that_agrees_with_another_is_matched_too(tmp_path: Path) -> None:
    text = "file,sop_instance_uid,label\nn/1.dcm,,covid\nn/1.dcm,,covid\n,1.1,covid\nx.dcm,,covid\n1.dcm,,covid\n"
    labels = read(tmp_path, text)
    assert labels.matched(FILMS, TWICE).tolist() == [True, True, True, False, False]
    assert labels.matched(FILMS.tail(2), TWICE).tolist() == [False] * 5


def test_lines_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="lines 2 and 5: two labels for one accession_number"):
        read(tmp_path, "accession_number,label\nA1,covid\n,\nA2,covid\nA1,normal\n")
    with pytest.raises(LabelsError, match="lines 2 and 3: two labels for one file"):
        read(tmp_path, "file,label\nn\\1.dcm,covid\n./n/1.dcm,normal\n")


def test_labels_become_the_classes_of_each_model(tmp_path: Path) -> None:
    labels = read(tmp_path, "file,label\na,Covid\nb,normal\nc,pneumonia\nd,other\n", COVID)
    assert labels.targets(COVID).tolist() == ["covid", "not covid", "not covid", "not covid"]
    assert labels.targets(THREE).tolist() == ["covid", "normal", "pneumonia", None]
    read(tmp_path, "file,label\na,covid\nb,other\n", THREE)


@pytest.mark.parametrize(
    ("text", "infos", "expected"),
    [
        (
            "file,label\na,covid\nb,covdi\n",
            [COVID],
            "none of covid, pneumonia, normal, other: a word .* on one line alone .line 3.",
        ),
        (
            "file,label\n,\na,tumour\n",
            [THREE],
            "none of normal, pneumonia, covid, other: a word .* alone .line 3.",
        ),
        ("file,finding\na,covid\n", [COVID], "one of them label and one sop_instance_uid, file or accession_number"),
        ("image,label\na,covid\n", [COVID], "one of them label"),
        ("", [COVID], "is empty"),
        ("file,label\na,\nb,\n", [COVID], "no line has a label"),
        (
            "file;label\na;covid\n",
            [COVID],
            "line 1: the columns are separated by semicolons; save the table with commas",
        ),
        ("sep=,\nfile,label\na,covid\na,normal\n", [COVID], "lines 3 and 4: two labels for one file"),
        ("sep=,\nfile,label\na,covid\nb,covdi\n", [COVID], "alone .line 4."),
        ("sep=,\nfile,finding\na,covid\n", [COVID], "line 2: the columns must be named"),
        ("file\tlabel\na\tcovid\n", [COVID], "line 1: the columns are separated by tabs"),
        ("file,label\n'a,b',covid\n", [COVID], "line 2: 3 cells under 2 column names"),
    ],
)
def test_mistakes_are_named(text: str, infos: list[DatasetInfo], expected: str, tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=expected) if text else pytest.raises(ValueError, match=expected):
        try:
            read(tmp_path, text, *infos)
        except ValueError as error:
            raise LabelsError(str(error)) from None


def test_a_table_without_headings_shows_nothing_of_a_patient(tmp_path: Path) -> None:
    for text in ("1.2.840.99,covid\n1.2.840.98,normal\n", "Doe^John,covid\n", "label,Doe^John\ncovid,x\n"):
        with pytest.raises(LabelsError) as caught:
            read(tmp_path, text)
        assert "1.2.840" not in str(caught.value) and "Doe" not in str(caught.value)
    with pytest.raises(LabelsError) as caught:
        read(tmp_path, "file,label\nDoe^John.dcm,covid\nDoe^Jane.dcm,Doe\n")
    assert "Doe" not in str(caught.value)


def test_no_column_that_identifies_can_be_taken_along(tmp_path: Path) -> None:
    header = (
        "SOP Instance UID,file,Accession_Number,patient_id,PatientName,Patient Birth Date,MRN,label,ward,line,score"
    )
    labels = read(tmp_path, f"{header}\n1.1,Doe.dcm,A1,77,Doe,19700101,77,covid,east,b,3\n")
    assert list(labels.table) == ["label", "ward", "line", "score"]
    assert not any(
        text in labels.table.to_csv() + labels.hashes.to_csv() for text in ("1.1", "Doe", "A1", "77", "1970")
    )
    assert "ward" in source_names(labels) and "line" in source_names(labels)
    assert not {"label", "score", "file", "patient"} & set(source_names(labels)), "columns of the predictions"


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    """Numbers with gaps are floats in pandas: an accession number 17 must not become 17.0."""
    table = pd.DataFrame({"accession_number": [17, None, 18.0], "file": [None, "s/1.dcm", None], "age": [4.5, None, 7]})
    table["label"], table["urgent"] = ["covid", "normal", "NORMAL "], [True, False, True]
    table.to_parquet(tmp_path / "labels.parquet")
    labels = read_labels(tmp_path / "labels.parquet", KEY, [COVID])
    assert labels.table.to_dict("list") == {
        "age": ["4.5", "", "7"],
        "label": ["covid", "normal", "normal"],
        "urgent": ["True", "False", "True"],
    }
    found = films(("n/1.dcm", "1", "17"), ("s/1.dcm", "2", "18"), ("s/2.dcm", "3", "18"))
    assert labels.rows_of(found, set()).tolist() == [0, 1, 2]
    text = table.assign(accession_number=np.array(["17", "", "18"]), age=["4.5", "", "7"])
    text.to_csv(tmp_path / "labels.csv", index=False)
    same = read_labels(tmp_path / "labels.csv", KEY, [COVID])
    assert same.table.equals(labels.table) and same.hashes.equals(labels.hashes)
    stored = {name: text[name].str.encode("utf-8") for name in ("accession_number", "label")}
    text.assign(file=text["file"].fillna(""), **stored).to_parquet(tmp_path / "bytes.parquet")
    same = read_labels(tmp_path / "bytes.parquet", KEY, [COVID])
    assert same.table.equals(labels.table) and same.hashes.equals(labels.hashes), "text stored as bytes"


def test_parquet_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"file,label\nDoe,covid\n")
    with pytest.raises(LabelsError, match="can't be read as Parquet") as caught:
        read_labels(tmp_path / "labels.parquet", KEY, [COVID])
    assert "Doe" not in str(caught.value)
    with pytest.raises(LabelsError, match=r"--labels .*none\.csv: no such file"):
        read_labels(tmp_path / "none.csv", KEY, [COVID])
    with pytest.raises(LabelsError, match=r"--labels .*: a folder, not a file"):
        read_labels(tmp_path, KEY, [COVID])


def test_a_path_at_the_top_is_exact_where_a_sub_folder_has_the_same_name(tmp_path: Path) -> None:
    labels = read(tmp_path, "file,label\n1.dcm,covid\n")
    found = labels.rows_of(films(("1.dcm", "1.1", None), ("s/1.dcm", "1.2", None)), TWICE)
    assert found.tolist() == [0, -1]


def test_headings_that_are_the_same_name_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="two columns have the same name"):
        read(tmp_path, "Label,label,file\ncovid,covid,a.dcm\n")
    with pytest.raises(CohortError, match="columns 1, 2 have the same name") as caught:
        read(tmp_path, "MARKER12345,MARKER12345,covid\n")
    assert "MARKER" not in str(caught.value)


@pytest.mark.parametrize(("numbers", "found"), [(("7.0", "", "12.0"), ["7", "12"]), (("7.0", "", "A1"), ["7.0", "A1"])])
def test_accession_numbers_that_pandas_wrote_with_a_point_are_whole(
    tmp_path: Path, numbers: tuple[str, ...], found: list[str]
) -> None:
    lines = "".join(f"{number},,covid\n" if number else ",x.dcm,normal\n" for number in numbers)
    labels = read(tmp_path, f"accession_number,file,label\n{lines}")
    assert [value for value in labels.hashes["accession"] if value] == [keyed_hash(KEY, text) for text in found]
