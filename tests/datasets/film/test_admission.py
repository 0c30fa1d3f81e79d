"""One policy and one set of flags, whatever reads the films."""

import argparse
import io
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from datasets.film.admission import FLAGS, add_arguments, as_flags, policy_of
from datasets.film.dicom import read_dicom
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.radiograph import RadiographError
from datasets.film.words import WordsError
from tests.datasets.film.test_geometry import GREYS, film


def test_no_flag_is_the_default() -> None:
    assert policy_of({}) == DEFAULT and as_flags({}) == ""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert policy_of(vars(parser.parse_args([]))) == DEFAULT
    assert set(vars(parser.parse_args([]))) == set(FLAGS)


def test_flags_come_back_as_they_were_given(tmp_path: Path) -> None:
    words = tmp_path / "our words.yaml"
    words.write_text("views:\n  AP: [W STD]\n")
    line = [
        *("--views", "PA,LATERAL", "--modalities", "cr, dx", "--body-part", "any", "--presentation", "any"),
        *(
            "--view-is",
            "TW=PA,W SEIT=LATERAL",
            "--body-part-is",
            "VOET=OTHER",
            "--words",
            str(words),
            "--accept-damaged",
        ),
    ]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    settings = vars(parser.parse_args(line))
    policy = policy_of(settings)
    assert policy == DicomPolicy(
        modalities=("CR", "DX"),
        views=("PA", "LATERAL"),
        body_parts=("CHEST", "OTHER", "UNKNOWN"),
        for_processing=True,
        accept_damaged=True,
        view_words=(("TW", "PA"), ("W SEIT", "LATERAL"), ("W STD", "AP")),
        body_part_words=(("VOET", "OTHER"),),
    )
    assert f"--words '{words}'" in as_flags(settings) and as_flags(settings).endswith("--accept-damaged")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"views": "PA,SIDE"}, "--views SIDE: choose from PA, AP"),
        ({"views": ","}, "--views ,: choose from"),
        ({"modalities": "XRAY"}, "--modalities XRAY: choose from CR, CT"),
        ({"view_is": "W STD"}, "--view-is W STD: write TEXT=WORD"),
        ({"body_part_is": "X=PA"}, "--body-part-is X=PA: write TEXT=WORD, the word one of CHEST"),
        ({"words": "/nowhere.yaml"}, "--words /nowhere.yaml can't be read"),
    ],
)
def test_mistakes_are_told_with_their_flag(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WordsError, match=sentence):
        policy_of(settings)


def outcome(tags: dict[str, Any], policy: DicomPolicy = DEFAULT) -> str:
    """`read`, or why not."""
    dataset, buffer = film(GREYS), io.BytesIO()
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(buffer, enforce_file_format="SOPClassUID" in dataset)
    try:
        read_dicom(buffer.getvalue(), policy)
    except RadiographError as error:
        return error.reason
    return "read"


def code(value: str, meaning: str = "") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return [item]


CR, SC, CT = uid.ComputedRadiographyImageStorage, uid.SecondaryCaptureImageStorage, uid.CTImageStorage
RAW = uid.DigitalXRayImageStorageForProcessing


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        # What isn't understood is no reason.
        ({"BodyPartExamined": "ROI 7"}, "read"),
        ({"ViewPosition": "STEHEND"}, "read"),
        ({"ViewPosition": "W STD", "BodyPartExamined": "???"}, "read"),
        ({"BodyPartExamined": "GRUDNAJA KLETKA"}, "read"),
        # What is, is one.
        ({"BodyPartExamined": "SCHULTER LI"}, "body part"),
        ({"ViewPosition": "profil G"}, "lateral view"),
        ({"ViewPosition": "OBLIQUE"}, "view"),
        ({"BodyPartExamined": "", "AnatomicRegionSequence": code("69536005", "Head")}, "body part"),
        # Either tag may know the chest: machines preset the other.
        ({"BodyPartExamined": "HAND", "AnatomicRegionSequence": code("51185008")}, "read"),
        ({"BodyPartExamined": "CHEST", "AnatomicRegionSequence": code("69536005")}, "read"),
        # Every tag that tells the view.
        ({"BodyPartExamined": "THORAX SEITL LAT"}, "lateral view"),
        ({"ViewCodeSequence": code("399173006", "left lateral")}, "lateral view"),
        ({"PatientOrientation": ["P", "F"]}, "lateral view"),
        ({"PatientOrientation": ["AL", "F"]}, "lateral view"),  # the first letter weighs most
        ({"PatientOrientation": ["LA", "FP"]}, "read"),
        ({"PatientOrientation": ["L", "F"]}, "read"),
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, "read"),  # contradictory, and marked so
        # Modality unstated: the class or the pixels say radiograph.
        ({"Modality": None}, "read"),
        ({"Modality": "UNKNOWN"}, "read"),
        ({"Modality": None, "SOPClassUID": CR}, "read"),
        ({"Modality": "", "SOPClassUID": SC}, "read"),
        ({"Modality": None, "SOPClassUID": CT}, "modality"),
        ({"Modality": None, "SOPClassUID": SC, "SliceThickness": 5}, "modality"),
        ({"Modality": None, "SOPClassUID": SC, "RescaleIntercept": -1024}, "modality"),
        ({"Modality": "CT"}, "modality"),
        # The class says what the empty tag doesn't.
        ({"SOPClassUID": RAW, "PresentationIntentType": None}, "for processing"),
        ({"SOPClassUID": RAW, "PresentationIntentType": ""}, "for processing"),
        ({"SOPClassUID": RAW, "PresentationIntentType": "FOR PRESENTATION"}, "for processing"),
        ({"PresentationIntentType": "for_processing"}, "for processing"),
        ({"PresentationIntentType": "UNKNOWN"}, "read"),
        ({"SOPClassUID": uid.DigitalMammographyXRayImageStorageForProcessing, "Modality": "DX"}, "for processing"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_admission(tags: dict[str, Any], expected: str) -> None:
    assert outcome(tags) == expected


def test_a_word_of_one_s_own_admits_and_refuses() -> None:
    settings = {"view_is": "W SEIT=LATERAL,STEHEND=PA", "body_part_is": "VOETJE=OTHER,PADDELN=CHEST"}
    policy = policy_of(settings)
    assert (
        outcome({"ViewPosition": "w seit"}) == "read" and outcome({"ViewPosition": "w seit"}, policy) == "lateral view"
    )
    assert outcome({"BodyPartExamined": "VOETJE 2"}, policy) == "body part"
    strict = policy_of({**settings, "views": "PA,AP"})  # films of an unstated view left out
    assert outcome({}, strict) == "view" and outcome({"ViewPosition": "STEHEND"}, strict) == "read"


@pytest.mark.parametrize(
    ("tags", "contradictory"),
    [
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, "view"),
        ({"ViewPosition": "PA", "BodyPartExamined": "CHEST LAT"}, "view"),
        ({"ViewPosition": "PA", "ViewCodeSequence": code("399348003")}, "view"),  # AP
        ({"ViewPosition": "PA LAT"}, "view"),
        ({"BodyPartExamined": "ABDOMEN", "AnatomicRegionSequence": code("51185008")}, "body part"),
        ({"ViewPosition": "PA", "ViewCodeSequence": code("272479007"), "PatientOrientation": ["L", "F"]}, None),
        ({"ViewPosition": "", "BodyPartExamined": "CHEST"}, None),
    ],
)
def test_contradictions_are_marked(tags: dict[str, Any], contradictory: str | None) -> None:
    dataset, buffer = film(GREYS), io.BytesIO()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(buffer, enforce_file_format=True)
    assert read_dicom(buffer.getvalue()).facts["contradictory"] == contradictory


def test_a_de_identified_header_of_a_few_tags_is_enough() -> None:
    kept = (
        "PhotometricInterpretation",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "PixelData",
    )
    whole, bare, buffer = film(GREYS), Dataset(), io.BytesIO()
    for keyword in kept:
        bare[keyword] = whole[keyword]
    for implicit in (True, False):
        buffer = io.BytesIO()
        bare.save_as(buffer, implicit_vr=implicit, little_endian=True)
        facts = read_dicom(buffer.getvalue()).facts
        assert {facts["modality"], facts["view_position"], facts["body_part"]} == {"UNKNOWN"}
    bare.PixelRepresentation = 1  # as CT has
    buffer = io.BytesIO()
    bare.save_as(buffer, implicit_vr=True, little_endian=True)
    with pytest.raises(RadiographError, match="those of CT or MR"):
        read_dicom(buffer.getvalue())
