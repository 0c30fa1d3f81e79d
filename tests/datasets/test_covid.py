import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasets import covid
from datasets.cohort.films import Cohort, CohortError
from datasets.covid import load_covid, places, resolved
from datasets.film.preprocessing import Preprocessing
from datasets.sample import Split

PREPROCESSING = Preprocessing(8)
Record = dict[str, str]


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(value, value + 36, dtype=np.uint8).reshape(6, 6)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()


def good(count: int = 40) -> list[Record]:
    """Enough patients of two sources and two classes for every split."""
    return [
        {
            "path": f"films/{i}.png",
            "label": ("covid", "normal")[i % 2],
            "source": ("north", "south")[i // 2 % 2],
            "patient_id": f"p{i}",
        }
        for i in range(count)
    ]


def write(root: Path, records: Iterable[Record], drop: tuple[str, ...] = ()) -> Path:
    """A cohort folder with metadata.csv and, for each path in it, a film."""
    records = list(records)
    header = [name for name in dict.fromkeys(key for record in records for key in record) if name not in drop]
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, header, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(records)
    for record in records:
        path = root / record["path"]
        if record["path"] and path.resolve().is_relative_to(root.resolve()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNG)
    return root


def load(root: Path, **options: Any) -> Cohort:
    return load_covid(root, PREPROCESSING, **options)


def edited(line: int, **cells: str) -> list[Record]:
    """Good records, the one on a line of the spreadsheet (the header is line 1) with other cells."""
    records = good()
    records[line - 2] |= cells
    return records


def complaint(root: Path, **options: Any) -> str:
    """The error of loading, which must be one paragraph of text without Python's own words."""
    with pytest.raises(CohortError) as caught:
        load(root, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message and "Errno" not in message
    return message


def reasons(cohort: Cohort) -> dict[int, str]:
    return dict(zip(cohort.excluded["row"].tolist(), cohort.excluded["reason"].tolist(), strict=True))


def test_good_table(tmp_path: Path) -> None:
    cohort = load(write(tmp_path, good()))
    assert cohort.info.targets == ("not covid", "covid")
    assert cohort.info.positive == 1
    assert cohort.info.biases == ("north", "south")
    assert not cohort.info.synthetic
    assert cohort.table["row"].tolist() == list(range(40))
    assert (cohort.table["target"] == (cohort.table["label"] == "covid")).all()
    assert [cohort.info.biases[b] for b in cohort.table["bias"]] == cohort.table["source"].tolist()
    assert set(cohort.table["split"]) == {"train", "validation", "test"}
    assert cohort.excluded.empty and cohort.notes == ()


def test_the_film_of_a_position_is_the_file_of_its_row(tmp_path: Path) -> None:
    root = write(tmp_path, edited(2, label=""))
    (root / "films/7.png").write_bytes(png(220))
    cohort = load(root)
    assert cohort.films is not None
    bright = [row for at, row in enumerate(cohort.table["row"]) if cohort.films.read(at).pixels.max() == 1]
    assert bright == [7]


@pytest.mark.parametrize("column", ["path", "label", "source"])
def test_missing_column(tmp_path: Path, column: str) -> None:
    message = complaint(write(tmp_path, good(), drop=(column,)))
    assert "metadata.csv" in message
    assert f"lacks the column {column}" in message


def test_no_table(tmp_path: Path) -> None:
    message = complaint(tmp_path / "nowhere")
    assert "metadata.csv does not exist" in message
    assert "--data-dir" in message


BROKEN_TABLES = {
    "empty": (b"", ["is empty"]),
    "only a header": (b"path,label,source\n", ["no usable row"]),
    "latin-1": ("path,label,source\na.png,covid,x\nb.png,covid,Zürich\n".encode("latin-1"), ["line 3", "UTF-8"]),
    "utf-16": ("path,label,source\na.png,covid,x\n".encode("utf-16"), ["line 1", "UTF-8"]),
    "semicolons": (b"path;label;source\na.png;covid;x\n", ["separated by semicolons", "commas"]),
    "open quote": (b'path,label,source\na.png,covid,x\n"b.png,covid,x\n', ["line 3", "quotes"]),
    "comma in a cell": (
        b"path,label,source\na.png,covid,x\nb.png,covid,Milan, Italy\n",
        ["line 3", "4 cells", "quote"],
    ),
    "column twice": (b"path,label,source,label\na.png,covid,x,normal\n", ["line 1", "columns 2, 4 have the same name"]),
    "column twice but for blanks": (
        b"path,label,source, label\na.png,covid,x,normal\n",
        ["columns 2, 4 have the same name"],
    ),
    "no film": (b"path,label,source\na.png,covid,x\n", ["no usable row", "line 2", "does not exist"]),
}


@pytest.mark.parametrize("name", BROKEN_TABLES)
def test_broken_table(tmp_path: Path, name: str) -> None:
    content, expected = BROKEN_TABLES[name]
    (tmp_path / "metadata.csv").write_bytes(content)
    message = complaint(tmp_path)
    for text in ["metadata.csv", *expected]:
        assert text in message


@pytest.mark.parametrize("column", ["row", "patient", "target", "target_name", "bias"])
def test_columns_of_our_own_are_refused_not_overwritten(tmp_path: Path, column: str) -> None:
    message = complaint(write(tmp_path, edited(2, **{column: "x"})))
    assert f"has a column {column}," in message
    assert ("patient_id" in message) == (column == "patient")


def test_byte_order_mark_crlf_and_blanks_around_cells(tmp_path: Path) -> None:
    root = write(tmp_path, good())
    plain = load(root).table
    lines = (root / "metadata.csv").read_text(encoding="utf-8").splitlines()
    text = "\r\n".join(" , ".join(line.split(",")) for line in lines) + "\r\n"
    (root / "metadata.csv").write_bytes(text.replace("covid", "COVID").encode("utf-8-sig"))
    assert load(root).table.equals(plain)


def test_excels_separator_line_shifts_no_film_and_every_line(tmp_path: Path) -> None:
    root = write(tmp_path, [*edited(5, path="nowhere.png"), good()[0]])
    (root / "nowhere.png").unlink()
    file = root / "metadata.csv"
    plain = load(root)
    file.write_text("sep=,\n" + file.read_text(encoding="utf-8"), encoding="utf-8-sig")
    with_line = load(root)
    assert with_line.table.drop(columns="row").equals(plain.table.drop(columns="row"))
    assert (with_line.table["row"] == plain.table["row"] + 1).all()
    assert (with_line.excluded["row"] == plain.excluded["row"] + 1).all()
    assert reasons(plain) == {3: "its file does not exist", 40: "its file is already on line 2"}
    assert reasons(with_line) == {4: "its file does not exist", 41: "its file is already on line 3"}


def test_trailing_commas_do_not_shift_columns(tmp_path: Path) -> None:
    root = write(tmp_path, good())
    plain = load(root).table
    header, *lines = (root / "metadata.csv").read_text(encoding="utf-8").splitlines()
    (root / "metadata.csv").write_text("\n".join([header, *(f"{line},," for line in lines)]), encoding="utf-8")
    assert load(root).table.equals(plain)


def test_numeric_patients_stay_text(tmp_path: Path) -> None:
    records = good()
    for i, record in enumerate(records):
        record["patient_id"] = str(i)
    records[0]["patient_id"], records[1]["patient_id"], records[2]["patient_id"] = "007", "7.0", "NA12"
    table = load(write(tmp_path, records)).table
    assert table["patient"].tolist()[:4] == ["007", "7.0", "NA12", "3"]
    assert table["patient"].nunique() == 40


def test_from_python_a_folder_may_be_a_text_and_one_text_is_no_list_of_names(tmp_path: Path) -> None:
    write(tmp_path, good())
    assert len(load_covid(str(tmp_path), PREPROCESSING).table) == 40
    with pytest.raises(CohortError, match="classes is the text 'covid,normal': give a tuple of names"):
        load_covid(tmp_path, PREPROCESSING, classes="covid,normal")  # type: ignore[arg-type]
    with pytest.raises(CohortError, match="external_sources is the text 'north'"):
        load_covid(tmp_path, PREPROCESSING, external_sources="north")  # type: ignore[arg-type]


@pytest.mark.parametrize("drop", [(), ("patient_id",)])
def test_films_without_a_patient_are_their_own(tmp_path: Path, drop: tuple[str, ...]) -> None:
    cohort = load(write(tmp_path, [record | {"patient_id": ""} for record in good()], drop))
    assert cohort.table["patient"].nunique() == 40
    said = "metadata.csv has no patient_id" if drop else f"{len(good())} films have no patient_id"
    assert any(said in note for note in cohort.notes)


def test_quoted_line_breaks_and_blank_lines_count_as_a_spreadsheet_counts(tmp_path: Path) -> None:
    records = [record | {"notes": 'two\nlines, and a "quote"'} for record in good()]
    records[9]["label"] = "covdi"  # line 11
    assert "'covdi' (line 11)" in complaint(write(tmp_path, records))

    records = good()
    root = write(tmp_path, records)
    lines = (root / "metadata.csv").read_text(encoding="utf-8").splitlines()
    lines[3:3] = ["", ",,,"]  # lines 4 and 5
    lines[11] = lines[11].replace("normal", "norml").replace("covid", "covdi")  # line 12
    (root / "metadata.csv").write_text("\n".join(lines) + "\n\n,,,\n\n", encoding="utf-8")
    assert "(line 12)" in complaint(root)
    lines[11] = lines[11].replace("norml", "normal").replace("covdi", "covid")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n\n,,,\n\n", encoding="utf-8")
    assert reasons(load(root)) == {2: "the line is empty", 3: "the line is empty"}


def test_unknown_label_says_what_is_known(tmp_path: Path) -> None:
    message = complaint(write(tmp_path, edited(8, label="tuberculosis")))
    assert "'tuberculosis' (line 8)" in message
    assert "covid, pneumonia, normal, other" in message
    assert "--classes" in message


@pytest.mark.parametrize("path", ["../outside.png", "films/../../outside.png", "{outside}", "link.png", "linked/x.png"])
def test_path_that_leaves_the_folder(tmp_path: Path, path: str) -> None:
    root, outside = tmp_path / "cohort", tmp_path / "outside.png"
    root.mkdir()
    outside.write_bytes(PNG)
    (tmp_path / "x.png").write_bytes(PNG)
    write(root, good())
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path, target_is_directory=True)
    message = complaint(write(root, edited(5, path=path.format(outside=outside))))
    assert "metadata.csv, line 5: the path" in message
    assert "leaves the folder" in message


def test_paths_inside_the_folder_however_written(tmp_path: Path) -> None:
    records = good()
    records[0]["path"] = str(tmp_path / "films/0.png")
    records[1]["path"] = "./films/sub/../1.png"
    (tmp_path / "films/sub").mkdir(parents=True)
    assert len(load(write(tmp_path, records)).table) == 40


LEFT_OUT = {
    "no path": ({"path": ""}, "its path is empty"),
    "no label": ({"label": " "}, "its label is empty"),
    "no source": ({"source": ""}, "its source is empty"),
    "twice": ({"path": "films/0.png"}, "its file is already on line 2"),
    "twice by another name": ({"path": "films/../films/0.png"}, "its file is already on line 2"),
    "twice by a link": ({"path": "again.png"}, "its file is already on line 2"),
    "a folder": ({"path": "films"}, "its file does not exist"),
    "missing": ({"path": "gone.png"}, "its file does not exist"),
    "NUL": ({"path": "a\0b.png"}, "its path is no name of a file"),
    "too long": ({"path": "a" * 5000 + ".png"}, "its path is no name of a file"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_row_left_out_with_its_reason(tmp_path: Path, name: str) -> None:
    cells, reason = LEFT_OUT[name]
    root = write(tmp_path, good())
    (root / "again.png").symlink_to(root / "films/0.png")
    records = edited(6, **cells)
    with (root / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(records[0]))
        table.writeheader()
        table.writerows(records)
    cohort = load(root)
    assert reasons(cohort) == {4: reason}
    assert cohort.table["row"].tolist() == [row for row in range(40) if row != 4]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(tmp_path_factory.mktemp("hospital"), good(60))
    (root / "films/x.png").write_bytes(PNG)
    return root


BAD_ROWS: list[Record] = [
    {},
    {"path": "films/1.png", "label": "covid", "source": "north", "patient_id": "p1"},
    {"path": "gone.png", "label": "covid", "source": "north", "patient_id": "p90"},
    {"path": "", "label": "covid", "source": "north", "patient_id": "p91"},
    {"path": "films/2.png", "label": "", "source": "north", "patient_id": "p92"},
    {"path": "films/3.png", "label": "asthma", "source": "", "patient_id": "p93"},
    {"path": "films/x.png", "label": "other", "source": "south", "patient_id": "p2"},
]


@settings(deadline=None, max_examples=20)
@given(
    bad=st.lists(st.tuples(st.integers(0, 39), st.sampled_from(BAD_ROWS)), max_size=12),
    classes=st.sampled_from([(), ("covid", "normal")]),
    external=st.sampled_from([(), ("south",)]),
    shared=st.booleans(),
)
def test_every_row_is_in_the_table_or_left_out_with_a_reason(
    hospital: Path, bad: list[tuple[int, Record]], classes: tuple[str, ...], external: tuple[str, ...], shared: bool
) -> None:
    records = good(60)
    if shared:
        records[0]["patient_id"] = records[2]["patient_id"] = "in two sources"
    for place, record in sorted(bad, key=lambda pair: -pair[0]):
        records.insert(place, record)
    with (hospital / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(good()[0]), restval="")
        table.writeheader()
        table.writerows(records)
    cohort = load(hospital, classes=classes, external_sources=external)
    kept, left_out = cohort.table["row"].tolist(), cohort.excluded["row"].tolist()
    assert sorted(kept + left_out) == list(range(len(records)))
    assert left_out == sorted(left_out)
    assert cohort.excluded["row"].dtype == np.int64
    assert all(isinstance(reason, str) and reason for reason in cohort.excluded["reason"])
    assert (cohort.table.groupby("patient")["split"].nunique() == 1).all()


def test_split_column_wins(tmp_path: Path) -> None:
    names = ["train", "Val", "valid", "validation", "test", "EXTERNAL", "train", "train"]
    records = [record | {"split": names[i % 8]} for i, record in enumerate(good(64))]
    for i in (1, 9):
        records[i]["label"] = "covid"
    records[6]["split"] = ""
    cohort = load(write(tmp_path, records), external_sources=("north",))
    found = dict(zip(cohort.table["row"], cohort.table["split"], strict=True))
    assert [found[row] for row in range(6)] == ["train", "validation", "validation", "validation", "test", "external"]
    assert reasons(cohort) == {6: "its split is empty"}
    assert any("--external-sources is not used" in note for note in cohort.notes)


def test_blank_split_column_is_none(tmp_path: Path) -> None:
    cohort = load(write(tmp_path, [record | {"split": ""} for record in good()]))
    assert len(cohort.table) == 40 and cohort.excluded.empty


def test_unknown_split(tmp_path: Path) -> None:
    records = [record | {"split": "train"} for record in good()]
    records[3]["split"] = "holdout"
    message = complaint(write(tmp_path, records))
    assert "metadata.csv, line 5: split 'holdout'" in message
    assert "train, validation, test or external" in message


def test_patient_in_two_splits(tmp_path: Path) -> None:
    records = [record | {"split": ("train", "validation")[i // 20]} for i, record in enumerate(good())]
    records[0]["patient_id"] = records[30]["patient_id"] = "torn"
    message = complaint(write(tmp_path, records))
    assert "two splits" in message and "lines 2, 32" in message
    assert "same split" in message


def test_patient_in_two_splits_by_a_row_that_is_left_out_anyway(tmp_path: Path) -> None:
    records = [record | {"split": ("train", "validation")[i // 20]} for i, record in enumerate(good())]
    records[30] |= {"patient_id": "p0", "label": ""}
    assert list(reasons(load(write(tmp_path, records)))) == [30]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_class_lacking_in_a_split(tmp_path: Path, split: str) -> None:
    records = [record | {"split": ("train", "validation")[i // 20]} for i, record in enumerate(good())]
    for record in records:
        if record["split"] == split:
            record["label"] = "normal"
    message = complaint(write(tmp_path, records))
    assert f"split {split}" in message and "class covid" in message


def test_external_sources(tmp_path: Path) -> None:
    cohort = load(write(tmp_path, good()), external_sources=("south",))
    assert ((cohort.table["split"] == "external") == (cohort.table["source"] == "south")).all()
    assert cohort.info.biases == ("north", "south")


@pytest.mark.process
def test_letters_that_the_locale_lacks_are_told(tmp_path: Path) -> None:
    write(tmp_path, [record | {"path": f"R\u00f6ntgen/{i}.png"} for i, record in enumerate(good())])
    script = "import pathlib, sys, datasets.covid; datasets.covid.read_metadata(pathlib.Path(sys.argv[1]))"
    plain = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=plain, check=False)
    assert "its path has letters that this system's locale lacks: set PYTHONUTF8=1" in done.stderr


def test_a_table_that_is_a_folder_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").mkdir()
    assert "metadata.csv is no file; --data-dir must be a folder with metadata.csv" in complaint(tmp_path)


def test_unknown_external_source(tmp_path: Path) -> None:
    message = complaint(write(tmp_path, good()), external_sources=("east",))
    assert "'east'" in message and "north, south" in message and "--external-sources" in message
    message = complaint(tmp_path, external_sources=("n\u043erth",))
    assert "'north' looks the same, but their letter 2 is CYRILLIC SMALL LETTER O and LATIN SMALL LETTER O" in message


def test_spellings_of_one_source_are_one(tmp_path: Path) -> None:
    records = good()
    for number, spelling in enumerate(("North", "NORTH ", "nor\u200bth")):
        records[4 * number]["source"] = spelling
    cohort = load(write(tmp_path, records))
    assert cohort.info.biases == ("north", "south")
    assert any(note.startswith("Source 'north' is also spelled") for note in cohort.notes)
    assert set(load(tmp_path, external_sources=("SOUTH",)).table.query("split == 'external'")["source"]) == {"south"}


def test_spellings_of_one_view_are_one(tmp_path: Path) -> None:
    records = good()
    for number, record in enumerate(records):
        record |= {"view": ("PA", "pa ", "PA", "AP")[number % 4], "sex": "Ff"[number % 2]}
    cohort = load(write(tmp_path, records))
    assert set(cohort.table["view"]) == {"PA", "AP"} and cohort.table["sex"].nunique() == 1
    assert "View 'PA' is also spelled 'pa': taken for one." in cohort.notes


def test_all_sources_external_leaves_nothing_to_train_on(tmp_path: Path) -> None:
    text = complaint(write(tmp_path, good()), external_sources=("north", "south"))
    assert "--external-sources names all 2 sources (north, south): leave one or more to train on" in text


def test_paths_of_windows_are_taken(tmp_path: Path) -> None:
    write(tmp_path, good())
    table = (tmp_path / "metadata.csv").read_text().replace("films/", "films\\")
    (tmp_path / "metadata.csv").write_text(table)
    cohort = load(tmp_path)
    assert len(cohort.table) == 40 and cohort.table["path"].str.startswith("films/").all()


def test_a_folder_that_may_not_be_read_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, good())
    places_of = covid.places

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    def without_the_first(root: Path, paths: Iterable[str]) -> Iterable[Path | None]:
        found = list(places_of(root, paths))
        monkeypatch.setattr(Path, "stat", refuse)
        yield None
        monkeypatch.undo()
        yield from found[1:]

    monkeypatch.setattr(covid, "places", without_the_first)
    assert reasons(load(tmp_path)) == {0: "its file or folder may not be read (no permission)"}


def test_films_of_external_patients_elsewhere_are_left_out(tmp_path: Path) -> None:
    records = good(60)
    records[0]["patient_id"] = "p2"
    cohort = load(write(tmp_path, records), external_sources=("south",))
    assert reasons(cohort) == {0: "its patient also has external films"}
    assert cohort.table.loc[cohort.table["patient"] == "p2", "split"].tolist() == ["external"]


def test_films_of_a_view_are_external_and_those_of_unknown_view_are_left_out(tmp_path: Path) -> None:
    records = [record | {"view": ("PA", "AP", "pa ")[i % 3]} for i, record in enumerate(good(60))]
    records[5]["view"], records[6]["view"] = "", "Unknown"
    records[0]["patient_id"] = "p1"
    cohort = load(write(tmp_path, records), external_sources=("ap",), external_column="view")
    table = cohort.table
    assert ((table["split"] == "external") == (table["view"] == "AP")).all() and (table["split"] == "external").any()
    assert set(table["source"][table["split"] == "external"]) == {"north", "south"}
    unknown = "its view is unknown: neither inside nor outside"
    assert reasons(cohort) == {0: "its patient also has external films", 5: unknown, 6: unknown}
    assert set(load(tmp_path).table["row"]) >= {0, 5, 6}, "they are left out only where a view is external"


@pytest.mark.parametrize(
    ("column", "names", "expected"),
    [
        ("view", ("lateral",), "--external-sources: no film has view 'lateral'; there are AP, PA"),
        ("view", ("AP", "PA"), "names all 2 values of view (AP, PA): leave one or more to train on"),
        ("scanner", ("x",), "column scanner: there is no such column; choose from source, view"),
        ("label", ("covid",), "column label: its values are no groups of films; choose from"),
    ],
)
def test_a_column_that_can_not_be_set_apart(tmp_path: Path, column: str, names: tuple[str, ...], expected: str) -> None:
    records = [record | {"view": ("PA", "AP")[i % 2]} for i, record in enumerate(good())]
    assert expected in complaint(write(tmp_path, records), external_sources=names, external_column=column)


def three(count: int = 60) -> list[Record]:
    return [record | {"label": ("covid", "pneumonia", "Scar")[i % 3]} for i, record in enumerate(good(count))]


@pytest.mark.parametrize(
    ("classes", "targets", "positive"),
    [
        (("pneumonia", "covid"), ("pneumonia", "covid"), 1),
        (("covid", "pneumonia", "scar"), ("covid", "pneumonia", "scar"), 0),
        (("pneumonia", "SCAR"), ("pneumonia", "scar"), 1),
        (("covid", "covid", "pneumonia"), ("covid", "pneumonia"), 0),
    ],
)
def test_classes(tmp_path: Path, classes: tuple[str, ...], targets: tuple[str, ...], positive: int) -> None:
    cohort = load(write(tmp_path, three()), classes=classes)
    assert cohort.info.targets == targets
    assert cohort.info.positive == positive
    assert [targets[t] for t in cohort.table["target"]] == cohort.table["label"].tolist()
    absent = [i for i, record in enumerate(three()) if record["label"].lower() not in targets]
    assert cohort.excluded["row"].tolist() == absent
    assert all("is not among --classes" in reason for reason in cohort.excluded["reason"])


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        (("covid",), "name two or more"),
        (("covid", "covid"), "two or more"),
        (("covid", "flu"), "no row has label 'flu'"),
    ],
)
def test_impossible_classes(tmp_path: Path, classes: tuple[str, ...], text: str) -> None:
    assert text in complaint(write(tmp_path, three()), classes=classes)


def test_split_depends_on_its_seed_alone(tmp_path: Path) -> None:
    root = write(tmp_path, good())
    first, again, other = (load(root, split_seed=seed).table["split"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.skipif("END_CXR_DATA" not in os.environ, reason="END_CXR_DATA names no folder of real films")
def test_real_films() -> None:
    root = Path(os.environ["END_CXR_DATA"])
    cohort = load(root, external_sources=("eurorad",))
    table = cohort.table
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = sum(1 for _ in csv.DictReader(file))
    assert len(table) + len(cohort.excluded) == rows
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert ((table["split"] == "external") == (table["source"] == "eurorad")).all()
    inside = table[table["split"] != "external"]
    shares = inside["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.03)
    assert shares["validation"] == pytest.approx(0.15, abs=0.03)
    for split in Split:
        assert table.loc[table["split"] == str(split), "target"].nunique() == 2
    assert cohort.films is not None
    for position in range(0, len(table), 100):
        pixels = cohort.preprocessing(cohort.films.read(position))
        assert pixels.shape == (1, 8, 8)
        assert pixels.isfinite().all() and pixels.std() > 0


@pytest.mark.parametrize(
    "name",
    [
        "a/1.png", "./a/../a/1.png", "a//1.png", "a", "a/", "a/.", "a/..", "", ".", "..", "none/1.png", "a/none.png",
        "link.png", "folder/1.png", "folder/../1.png", "out/secret.png", "../secret.png", "/etc/passwd", "loop", "loop/1.png",
        "a/1.png/2", "a\0b", "a\0/1.png", "a/\0", "x" * 5000, "x" * 300 + "/1.png", "a/" + "x" * 300,
    ],
)  # fmt: skip
def test_a_path_is_followed_alike_alone_and_among_many(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    for file in (root / "a/1.png", tmp_path / "secret.png"):
        file.write_bytes(b"")
    (root / "link.png").symlink_to("a/1.png")
    (root / "folder").symlink_to("a")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    assert list(places(root.resolve(), [name, name])) == [resolved(root.resolve(), name)] * 2
