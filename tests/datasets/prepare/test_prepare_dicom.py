"""From a folder of DICOM films and a table of labels to a cohort: every file one row or one reason, and nobody named."""

import json
import stat
from pathlib import Path

import pandas as pd
import pytest

from datasets.covid import load_covid
from datasets.film.identity import hash_key, keyed_hash
from datasets.film.preprocessing import Preprocessing
from tests.datasets.prepare.archive import HOSPITALS, NAME, archive, cells, film, prepare, with_key
from tests.datasets.public_films import SCANNER

Said = pytest.CaptureFixture[str]


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """Sixteen labelled films, and what an archive also holds."""
    src = tmp_path / "films"
    labels = archive(src)
    film(src / "unlabelled.dcm", 100)
    film(src / "lateral.dcm", 101, ViewPosition="LL", PatientOrientation=["A", "F"])
    film(src / "knee.dcm", 102, BodyPartExamined="KNEE")
    film(src / "cut.dcm", 103)
    (src / "cut.dcm").write_bytes((src / "cut.dcm").read_bytes()[:1500])
    (src / "copy.dcm").write_bytes((src / labels["file"][0]).read_bytes())
    (src / "readme.txt").write_text("no film")
    (src / "link.dcm").symlink_to(src / "unlabelled.dcm")
    others = pd.DataFrame({"file": ["knee.dcm", "cut.dcm", "gone.dcm"], "label": "covid"})
    pd.concat([labels, others]).to_csv(tmp_path / "labels.csv", index=False)
    return src


def refused(capsys: Said, *arguments: object) -> str:
    """The sentence that the command ends with."""
    with pytest.raises(SystemExit) as stopped:
        prepare(*arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_every_file_is_one_row_or_one_reason(src: Path, tmp_path: Path, capsys: Said) -> None:
    out = with_key(tmp_path / "out")
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--workers", 1)
    table, left_out = cells(out / "metadata.csv"), cells(out / "left_out.csv")
    files = [path for path in src.rglob("*") if path.is_file()]
    assert len(table) == 16 and len(table) + len(left_out) == len(files)
    assert left_out["reason"].value_counts().to_dict() == {
        "no label": 1, "lateral view": 1, "body part": 1, "duplicate": 1, "not DICOM": 1, "symbolic link": 1,
        "can't be read: truncated": 1,
    }  # fmt: skip
    assert set(table["label"]) == {"covid", "normal"} and table["source"].nunique() == 2
    assert table.groupby("source")["label"].nunique().tolist() == [2, 2]
    assert set(table["manufacturer"]) == {SCANNER.manufacturer} and set(table["model"]) == {SCANNER.model}
    assert set(table["view"]) == {"PA"} and set(table["sex"]) == {"F"} and set(table["age"]) == {"40-49"}
    said = capsys.readouterr().out
    assert "16 films (files: 17 hard-linked)" in said and "Next: python -m training.train --data-dir" in said
    for what in ("no file", "files that are no films"):
        assert f"1 of 19 lines of the labels go with {what}." in said
    cohort = load_covid(out, Preprocessing(32)).cached("memory")
    assert len(cohort.table) == 16 and cohort.excluded.empty and set(cohort.table["age_band"]) == {"40-49"}


def test_nothing_written_names_anyone(src: Path, tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "out"
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--pixels", "png16", "--workers", 1)
    written = [path for path in out.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".png" for path in written) == 16
    said = capsys.readouterr()
    texts = [said.out, said.err, *map(str, written)]
    texts += [path.read_bytes().decode("latin-1") for path in written]
    for secret in (NAME, "MRN", "ACC", *HOSPITALS, "19700101"):
        assert not [text for text in texts if secret in text], secret


def test_patients_are_those_of_a_folder_scored_under_the_same_key(src: Path, tmp_path: Path) -> None:
    """A film of a training patient in a folder is known by the hash of its PatientID, however often that is hashed."""
    out = tmp_path / "out"
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--no-copies")
    key, other = hash_key(out), bytes(32)
    assert stat.S_IMODE((out / ".hash-key").stat().st_mode) == 0o600
    patients = set(cells(out / "metadata.csv")["patient_id"])
    assert {keyed_hash(key, patient) for patient in patients} == {
        keyed_hash(key, f"MRN{n:04d}") for n in [*range(16), 103]
    }
    assert not {keyed_hash(other, patient) for patient in patients} & {keyed_hash(key, patient) for patient in patients}


def test_films_of_one_patient_stay_one_patient_and_none_is_lost_without_an_id(tmp_path: Path, capsys: Said) -> None:
    src = tmp_path / "films"
    for number in range(4):
        film(src / f"{number}.dcm", number, patient="same", hospital=HOSPITALS[number % 2])
    film(src / "4.dcm", 4, drop=["PatientID"], StudyInstanceUID="1.2.3")
    film(src / "5.dcm", 5, drop=["PatientID"], StudyInstanceUID="1.2.3")
    film(src / "6.dcm", 6, PatientID="", drop=["StudyInstanceUID"])
    rows = pd.DataFrame(
        {"file": [f"{n}.dcm" for n in range(7)], "label": ["covid", "normal", "covid", *["normal"] * 4]}
    )
    rows.to_csv(tmp_path / "labels.csv", index=False)
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", "--no-copies")
    table = cells(tmp_path / "out/metadata.csv")
    assert table["patient_id"].nunique() == 3
    said = capsys.readouterr().out
    assert "3 films name no patient: each study without one counts as a patient" in said
    assert "1 patient has films in two sources or more" in said


@pytest.mark.parametrize(
    ("tag", "sources"), [("station", 2), ("manufacturer", 1), ("model", 1), ("ward", 2), ("detector", 1)]
)
def test_the_source_is_a_tag_or_a_column_of_the_labels(src: Path, tmp_path: Path, tag: str, sources: int) -> None:
    out = tmp_path / "out"
    where = ("--labels", tmp_path / "labels.csv", "--out", out, "--no-copies")
    prepare("dicom", src, *where, "--source-tag", tag)
    names = set(cells(out / "metadata.csv")["source"])
    assert len(names) == sources
    assert not names & {"S0", "S1", *HOSPITALS}, "stations and institutions are hashes"
    assert tag != "ward" or names == {"east", "west"}
    assert tag != "model" or names == {SCANNER.model}


def test_films_without_the_tag_are_left_out_and_say_so(tmp_path: Path, capsys: Said) -> None:
    src, labels = tmp_path / "films", tmp_path / "labels.csv"
    for number in range(4):
        film(src / f"{number}.dcm", number, drop=["InstitutionName"] if number < 2 else [])
    pd.DataFrame({"file": [f"{n}.dcm" for n in range(4)], "label": ["covid", "normal"] * 2}).to_csv(labels, index=False)
    prepare("dicom", src, "--labels", labels, "--out", tmp_path / "out", "--no-copies")
    assert cells(tmp_path / "out/left_out.csv")["reason"].tolist() == ["institution not stated"] * 2
    assert "institution not stated" in capsys.readouterr().out
    for number in (2, 3):
        film(src / f"{number}.dcm", number, drop=["InstitutionName"])
    said = refused(capsys, "dicom", src, "--labels", labels, "--out", tmp_path / "none")
    assert "most often: institution not stated (4 of 4 rows)" in said and "or another --source-tag" in said
    assert not (tmp_path / "none").exists()


def test_labels_that_match_nothing_say_what_was_tried(src: Path, tmp_path: Path, capsys: Said) -> None:
    labels = tmp_path / "wrong.csv"
    labels.write_text("sop_instance_uid,accession_number,label\n1.2.3,X1,covid\n1.2.4,X2,normal\n")
    said = refused(capsys, "dicom", src, "--labels", labels, "--out", tmp_path / "out")
    assert "none of its 2 lines goes with a film of it; tried sop_instance_uid, accession_number" in said
    assert not (tmp_path / "out").exists()


def test_two_labels_for_one_film(src: Path, tmp_path: Path, capsys: Said) -> None:
    labels = pd.read_csv(tmp_path / "labels.csv", dtype=str)
    twice = pd.concat([labels, labels.head(1).assign(label="normal")])
    twice.to_csv(tmp_path / "twice.csv", index=False)
    said = refused(capsys, "dicom", src, "--labels", tmp_path / "twice.csv", "--out", tmp_path / "out")
    assert "lines 2 and 21: two labels for one file" in said
    other = labels.head(1).assign(file="", label="normal")  # by its accession number
    pd.concat([labels.assign(accession_number=""), other]).to_csv(tmp_path / "two.csv", index=False)
    prepare("dicom", src, "--labels", tmp_path / "two.csv", "--out", tmp_path / "out", "--no-copies")
    assert (
        "1 film has two labels, by different columns: the first of file, accession_number counts"
        in capsys.readouterr().out
    )
    assert (cells(tmp_path / "out/metadata.csv")["label"] == "covid").sum() == 9


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "dicom has no labels of its own: name them with --labels FILE"),
        (("--labels", "none.csv"), "--labels none.csv: no such file"),
        (
            ("--labels", "labels.csv", "--source-tag", "hospital"),
            "choose from institution, station, manufacturer",
        ),
        (("--labels", "labels.csv", "--source-tag", "file"), "choose from institution"),
        (("--labels", "labels.csv", "--source-tag", ""), "choose from institution"),
        (("--labels", "labels.csv", "--map", "covid"), "write WORD=LABEL"),
        (("--labels", "labels.csv", "--map", "covid=covdi"), "the label must be one of covid"),
        (("--labels", "labels.csv", "--hash-key", "none"), "the key file none can't be read"),
        (("--labels", "labels.csv", "--linkage", "films/link.csv"), "--linkage films/link.csv lies inside films"),
        (
            ("--labels", "labels.csv", "--linkage", "labels.csv"),
            "--linkage labels.csv is there already and is no linkage",
        ),
        (("--labels", "labels.csv", "--linkage", "."), "--linkage . is there already and is no linkage"),
        (("--labels", "labels.csv", "--out", "films/out"), "--out films/out lies inside films"),
        (("--labels", "labels.csv", "--out", "films"), "--out films lies inside films"),
        (("--labels", "labels.csv", "--out", "labels.csv"), "is a file: name a folder"),
        (("--labels", "labels.csv", "--out", "labels.csv/out"), "can't be written or read: Not a directory"),
    ],
)
def test_mistakes_are_a_sentence(
    src: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refused(
        capsys, "dicom", "films", *(() if "--out" in arguments else ("--out", "out")), *arguments
    )
    assert not (tmp_path / "out").exists()


def test_folders_without_films_are_a_sentence(tmp_path: Path, capsys: Said) -> None:
    src, labels = tmp_path / "films", tmp_path / "labels.csv"
    labels.write_text("file,label\na.dcm,covid\n")
    where = ("--labels", labels, "--out", tmp_path / "out")
    assert "films is no folder" in refused(capsys, "dicom", src, *where)
    src.mkdir()
    assert "the folder is empty" in refused(capsys, "dicom", src, *where)
    (src / "a.txt").write_text("x")
    assert "there is no film among its 1 files; most often: not DICOM (1 of 1)" in refused(capsys, "dicom", src, *where)


def test_flags_of_dicom_are_not_those_of_a_public_data_set(tmp_path: Path, capsys: Said) -> None:
    for arguments, expected in (
        (("nih", "--labels", "x.csv"), "--labels belongs to dicom"),
        (("nih", "--pixels", "png16"), "--pixels png16 is for DICOM films"),
    ):
        assert expected in refused(capsys, arguments[0], tmp_path, "--out", tmp_path / "out", *arguments[1:])
    (tmp_path / "src").mkdir()
    said = refused(capsys, "nih", tmp_path / "src", "--out", tmp_path / "out", "--source-tag", "model")
    assert "--source-tag model: nih has no such source; its films have no DICOM headers" in said
    said = refused(capsys, "siim", tmp_path / "src", "--out", tmp_path / "out", "--source-tag", "station")
    assert "choose from manufacturer, model, detector" in said


def test_the_same_command_again_replaces_its_rows(src: Path, tmp_path: Path, capsys: Said) -> None:
    where = ("dicom", src, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", "--no-copies")
    prepare(*where)
    first = cells(tmp_path / "out/metadata.csv")
    capsys.readouterr()
    prepare(*where)
    said = capsys.readouterr().out
    assert "17 rows of an earlier run on dicom are replaced" in said and "17 there already" in said
    pd.testing.assert_frame_equal(cells(tmp_path / "out/metadata.csv"), first)
    prepare(*where, "--copy")
    assert "17 copied" in capsys.readouterr().out
    pd.testing.assert_frame_equal(cells(tmp_path / "out/metadata.csv"), first)
    linked = {file.stat().st_ino for file in src.rglob("*.dcm")}
    assert not linked & {file.stat().st_ino for file in (tmp_path / "out").rglob("*.dcm")}


def test_a_hospital_s_own_words_become_labels(src: Path, tmp_path: Path, capsys: Said) -> None:
    labels = pd.read_csv(tmp_path / "labels.csv", dtype=str)
    words = labels.assign(label=labels["label"].map({"covid": "COVID-19 pneumonia", "normal": "No finding"}))
    words.loc[words.index[:2], "label"] = "see report"
    words.to_csv(tmp_path / "words.csv", index=False)
    where = ("dicom", src, "--labels", tmp_path / "words.csv", "--out", tmp_path / "out", "--no-copies")
    said = refused(capsys, *where)
    for part in ("'covid-19 pneumonia' (10 lines)", "'no finding' (7 lines)", "'see report' (2 lines)"):
        assert part in said
    (tmp_path / "map.yaml").write_text(json.dumps({"COVID-19 pneumonia": "covid", "No finding": "normal"}))
    prepare(*where, "--map-file", tmp_path / "map.yaml", "--map", "No findng=normal;covid=covid")
    said = capsys.readouterr().out
    assert "Labels that are mapped to nothing, their films left out: 'see report' (2 lines)" in said
    assert "Words of the map that no line has: 'no findng=normal;covid'." in said
    table = cells(tmp_path / "out/metadata.csv")
    assert len(table) == 15 and set(zip(table["label"], table["finding"], strict=True)) == {
        ("covid", "COVID-19 pneumonia"),
        ("normal", "No finding"),
    }


def test_the_linkage_leads_back_to_each_file(src: Path, tmp_path: Path) -> None:
    out, linkage = tmp_path / "out", tmp_path / "linkage.csv"
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--no-copies", "--linkage", linkage)
    assert stat.S_IMODE(linkage.stat().st_mode) == 0o600
    linked = cells(linkage).set_index("file")
    for path in cells(out / "metadata.csv")["path"]:
        assert (out / path).samefile(src / linked["path"][Path(path).stem])
    assert set(cells(out / "left_out.csv")["file"]) <= set(linked.index)
    assert linked["patient_id"].str.startswith("MRN").sum() == 17
    before = linkage.read_text()
    prepare("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--no-copies", "--linkage", linkage)
    assert linkage.read_text() == before, "an earlier linkage is replaced"


def test_copies_across_patients_are_reported(src: Path, tmp_path: Path, capsys: Said) -> None:
    film(src / f"{NAME}0/other.dcm", 0, patient="another", SOPInstanceUID="1.2.3.4.5", AccessionNumber="ACC0002")
    where = ("--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", "--workers", 1)
    prepare("dicom", src, *where)
    said = capsys.readouterr().out
    assert "1 pair, 0 across sources" in said and "--separate-copies" in said.splitlines()[-2]


def test_films_of_an_earlier_run_don_t_stay(src: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    where = ("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--workers", 1)
    prepare(*where)
    (out / "images/dicom/mine.txt").write_text("the user's own")
    prepare(*where, "--pixels", "png16")
    named = set(cells(out / "metadata.csv")["path"])
    placed = {file.relative_to(out).as_posix() for file in (out / "images").rglob("*") if file.is_file()}
    assert placed == named | {"images/dicom/mine.txt"} and all(path.endswith(".png") for path in named)
    assert sum(file.suffix == ".dcm" for file in src.rglob("*")) == 22, "the source is as it was"


def test_classes_of_one_s_own(src: Path, tmp_path: Path, capsys: Said) -> None:
    labels = cells(tmp_path / "labels.csv")
    labels.loc[labels["label"] == "covid", "label"] = "TB"
    labels.to_csv(tmp_path / "labels.csv", index=False)
    out = with_key(tmp_path / "out")
    where = ("dicom", src, "--labels", tmp_path / "labels.csv", "--out", out, "--no-copies")
    assert "labels that are none of covid" in refused(capsys, *where)
    assert "--classes tb: name two or more" in refused(capsys, *where, "--classes", "tb")
    prepare(*where, "--classes", "tb,effusion")
    assert "No film is effusion: add a data set with others" in capsys.readouterr().out
    prepare(*where, "--classes", "tb,normal")
    said = capsys.readouterr().out
    assert "Classes: Every label comes from two sources" in said and "--classes tb,normal" in said.splitlines()[-2]
    films = load_covid(out, Preprocessing(32), ("tb", "normal"))
    assert films.info.targets == ("tb", "normal") and len(films.table) == 17


def test_names_of_sources_are_shown_as_they_stand(src: Path, tmp_path: Path, capsys: Said) -> None:
    labels = cells(tmp_path / "labels.csv")
    labels["ward"] = ["a:x:b", "[red]c"] * (len(labels) // 2) + ["a:x:b"] * (len(labels) % 2)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    where = ("dicom", src, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", "--no-copies")
    prepare(*where, "--source-tag", "ward")
    said = capsys.readouterr().out
    assert "a:x:b" in said and "[red]c" in said


def test_a_left_out_csv_of_somebody_else_is_a_sentence(src: Path, tmp_path: Path, capsys: Said) -> None:
    where = ("dicom", src, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "out", "--no-copies")
    prepare(*where)
    (tmp_path / "out/left_out.csv").write_text("film,why\na.dcm,blurred\n")
    assert "left_out.csv was not written by this command" in refused(capsys, *where)


def test_films_of_another_folder_are_not_replaced(src: Path, tmp_path: Path, capsys: Said) -> None:
    out, other = tmp_path / "out", tmp_path / "elsewhere/films"
    where = ("--labels", tmp_path / "labels.csv", "--out", out, "--no-copies")
    prepare("dicom", src, *where)
    before = (out / "metadata.csv").read_bytes()
    src.rename(other.parent.mkdir() or other)
    assert f"{out} has the films of another folder than {other}" in refused(capsys, "dicom", other, *where)
    assert (out / "metadata.csv").read_bytes() == before and str(tmp_path) not in (out / ".archive").read_text()
    (out / ".archive").unlink()
    prepare("dicom", other, *where)
    assert (out / "metadata.csv").read_bytes() == before, "a folder that was moved"
