import pytest

from datasets.film.facts import age_band, film_facts, hashed_identities
from datasets.film.identity import keyed_hash

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("age", "band"),
    [
        *[("000Y", None), ("018M", "0-9"), ("011D", "0-9"), ("040W", "0-9"), ("010Y", "10-19"), ("045Y", "40-49")],
        *[("089Y", "80-89"), ("090Y", "90+"), ("119Y", "90+"), ("", None), ("45", None), ("0450Y", None)],
        *[
            ("411Y", None),
            ("121Y", None),
            ("120Y", "90+"),
            ("999D", "0-9"),
            ("000D", None),
            ("000M", None),
            ("999M", "80-89"),
        ],
        *[("001W", "0-9"), ("O45Y", None), ("-45Y", None), ("045", None), ("045Y ", None), ("045J", None)],
    ],
)
def test_age_band(age: str, band: str | None) -> None:
    assert age_band(age) == band


@pytest.mark.parametrize(
    ("position", "coded", "view"),
    [
        *[
            ("PA", "", "PA"),
            (" ap ", "", "AP"),
            ("RL", "", "LATERAL"),
            ("LLD", "", "DECUBITUS"),
            ("Doe", "", "UNKNOWN"),
        ],
        *[
            ("", "399173006", "LATERAL"),
            ("", "R-10232", "LATERAL"),
            ("", "399348003", "AP"),
            ("", "R-10202", "FRONTAL"),
        ],
        *[("", "1", "UNKNOWN"), ("", "", "UNKNOWN"), ("PA", "399173006", "PA"), (["AP", "Doe"], "", "AP")],
    ],
)
def test_view(position: str | list[str], coded: str, view: str) -> None:
    tags = {"ViewPosition": position, "ViewCodeSequence": [{"CodeValue": coded}] if coded else []}
    assert film_facts(tags)["view_position"] == view


@pytest.mark.parametrize(
    ("part", "region", "found"),
    [
        *[("CHEST", "", "CHEST"), ("chest pa", "", "CHEST"), ("THORAX", "", "CHEST"), ("HAND", "", "OTHER")],
        *[("", "51185008", "CHEST"), ("", "T-D3000", "CHEST"), ("", "T-D8700", "OTHER"), ("", "", "UNKNOWN")],
        *[("Doe", "51185008", "CHEST"), ("Doe", "", "UNKNOWN"), ("HAND", "51185008", "CHEST")],
    ],
)
def test_body_part(part: str, region: str, found: str) -> None:
    tags = {"BodyPartExamined": part, "AnatomicRegionSequence": [{"CodeValue": region}] if region else []}
    assert film_facts(tags)["body_part"] == found


def test_nothing_stated_is_none() -> None:
    facts = film_facts({"PatientSex": "Doe", "Modality": "", "LossyImageCompression": "02", "Manufacturer": "  "})
    assert facts.pop("view_position") == facts.pop("body_part") == facts.pop("modality") == "UNKNOWN"
    assert set(facts.values()) == {None}


def test_free_text_is_one_short_line() -> None:
    facts = film_facts({"Manufacturer": "  A\n B ", "ManufacturerModelName": ["m" * 99, "Doe"]})
    assert (facts["manufacturer"], facts["model"]) == ("A B", "m" * 64)


def test_identities_are_hashed_stripped() -> None:
    hashes = hashed_identities({"PatientID": " 17 ", "StationName": ""}, KEY)
    assert hashes["patient"] == keyed_hash(KEY, "17")
    assert {name for name, value in hashes.items() if value is None} == set(hashes) - {"patient", "patient_alike"}


def test_spellings_of_an_institution_have_one_hash_and_those_of_a_patient_number_are_known() -> None:
    spellings = [
        hashed_identities({"InstitutionName": name, "PatientID": number}, KEY)
        for name, number in (("Klinikum Nord", "000100"), ("KLINIKUM  NORD ", "100"), ("klinikum\u00a0nord", "100"))
    ]
    assert len({hashes["institution"] for hashes in spellings}) == len({h["patient_alike"] for h in spellings}) == 1
    assert [hashes["patient"] for hashes in spellings] == [
        keyed_hash(KEY, number) for number in ("000100", "100", "100")
    ]
    assert hashed_identities({"InstitutionName": "Klinikum Süd"}, KEY)["institution"] != spellings[0]["institution"]
