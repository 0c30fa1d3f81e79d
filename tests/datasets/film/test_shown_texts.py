"""A text of a tag that no word fits is shown, unless it may name someone."""

import pytest
from pydicom.dataset import Dataset

from datasets.film import dicom
from datasets.film.dicom import NOT_SHOWN, read_dicom
from tests.datasets.film.test_dicom_privacy import film, written

NAMED = {"PatientName": "Özdemir-Schmidt^Anne Marie", "PatientID": "K71-3", "ReferringPhysicianName": "Li^Wu"}


@pytest.mark.parametrize("keyword", ["ViewPosition", "BodyPartExamined", "view meaning", "part meaning"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *[("W STD", True), ("BEDSIDE", True), ("TRX 2", True), ("UPR (GRID)", True), ("XYZ/Q", True)],
        *[("SCHMIDT", False), ("schmidt", False), ("ANNEMARIE", False), ("W STD ANNE", False), ("SCHMI", False)],
        *[("OZDEMIR", False), ("OEZDEMIR", False), ("?ZDEMIR", False), ("S C H M I D T", False), ("A.SCHMIDT", False)],
        *[("MSCHMIDT2", False), ("WU", False), ("LI-WU", False), ("K71-3", False), ("K 71", False)],
        *[("DOE, JANE", False), ("DOE^JANE", False), ("DR JONES", False), ("FRAU JANSEN", False)],
        *[("12-03-61", False), ("1961", False), ("A 12 34", False), ("jane@example.org", False), ("X" * 40, False)],
    ],
)
def test_a_text_that_names_someone_is_not_shown(keyword: str, text: str, shown: bool) -> None:
    dataset = film(**NAMED)
    if keyword in ("ViewPosition", "BodyPartExamined"):
        setattr(dataset, keyword, text)
    else:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "99-1", "99LOCAL", text
        setattr(dataset, "ViewCodeSequence" if keyword.startswith("view") else "AnatomicRegionSequence", [item])
    fact = "view_text" if "view" in keyword.lower() else "body_part_text"
    assert read_dicom(written(dataset)).facts[fact] == (text if shown else NOT_SHOWN)


@pytest.mark.parametrize(
    ("charset", "name", "text"),
    [
        ("ISO_IR 144", "Иванова^Ольга", "Иванова"),  # Cyrillic bytes in a tag that has no character set
        ("ISO_IR 192", "Müller^Jörg", "Müller"),
        ("ISO_IR 192", "山田^太郎", "山田"),
        ("ISO_IR 192", "王小明", "王小明 W"),
        ("ISO_IR 138", "כהן^שרה", "כהן"),
        ("ISO_IR 100", "Löwe^Åse", "LOWE W"),
        ("ISO_IR 192", "Łukasz^Øye", "LUKASZ"),
    ],
)
def test_a_name_in_another_script_is_not_shown(charset: str, name: str, text: str) -> None:
    codec = {"ISO_IR 144": "iso8859-5", "ISO_IR 192": "utf-8", "ISO_IR 138": "iso8859-8"}.get(charset, "latin-1")
    dataset = film(SpecificCharacterSet=charset, PatientName=name, ViewPosition="Q" * 16)
    content = text.encode(codec, "replace")
    data = written(dataset).replace(b"Q" * 16, content.ljust(16))
    assert content in data
    assert read_dicom(data).facts["view_text"] == NOT_SHOWN


@pytest.mark.parametrize(
    "keyword",
    [
        *("PatientBirthName", "PatientMotherBirthName", "OtherPatientNames", "OperatorsName", "ResponsiblePerson"),
        *("NameOfPhysiciansReadingStudy", "ScheduledPerformingPhysicianName", "PatientAddress", "InstitutionName"),
        *("StationName", "PatientComments", "AccessionNumber"),
    ],
)
def test_whoever_is_named_elsewhere_is_not_shown_either(keyword: str) -> None:
    assert read_dicom(written(film(BodyPartExamined="GODOT"))).facts["body_part_text"] == "GODOT"
    named = film(BodyPartExamined="GODOT", **{keyword: "Godot"})
    assert read_dicom(written(named)).facts["body_part_text"] == NOT_SHOWN
    item = Dataset()
    setattr(item, keyword, "Godot")
    nested = film(BodyPartExamined="GODOT", RequestAttributesSequence=[item])
    assert read_dicom(written(nested)).facts["body_part_text"] == NOT_SHOWN


def test_nothing_is_shown_where_the_names_can_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(dataset: Dataset) -> list[str]:
        raise ValueError("no name")

    monkeypatch.setattr(dicom, "_names", damaged)
    facts = read_dicom(written(film(BodyPartExamined="GODOT", ViewPosition="PA"))).facts
    assert (facts["body_part_text"], facts["view_text"], facts["view_position"]) == (NOT_SHOWN, None, "PA")
