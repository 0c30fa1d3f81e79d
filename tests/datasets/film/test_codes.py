import pytest

from datasets.film.codes import listed_meaning
from datasets.film.facts import film_facts


@pytest.mark.parametrize(
    ("group", "value", "meaning"),
    [
        ("cid4010", "399006002", "left posterior oblique"),
        ("cid4010", "R-10242", "cranio-caudal"),
        ("cid4031", "69536005", "Head"),
        ("cid4031", "T-D2500", "Hip"),
        ("cid4031", "1", ""),
        ("cid4010", "", ""),
    ],
)
def test_meanings_in_both_forms_of_a_code(group: str, value: str, meaning: str) -> None:
    found = listed_meaning(group, value)
    assert found.lower().startswith(meaning.lower()) and bool(found) is bool(meaning)


def coded(value: str, meaning: str = "", scheme: str = "SCT") -> list[dict[str, str]]:
    return [{"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}]


@pytest.mark.parametrize(
    ("item", "view", "text"),
    [
        (coded("272479007"), "PA", None),
        (coded("R-10214", scheme="SRT"), "PA", None),
        (coded("R-10206", "whatever stands here", "SNM3"), "AP", None),
        (coded("399067008", "lateral projection"), "LATERAL", None),
        (coded("399198007"), "LATERAL", None),
        (coded("399006002"), "OTHER", None),  # an oblique view
        (coded("4711", "Thorax p.a.", "99KLINIK"), "PA", None),
        (coded("4711", "vue latérale", "99KLINIK"), "LATERAL", None),
        (coded("4711", "W STD", "99KLINIK"), "UNKNOWN", "W STD"),
        (coded("AP", "", "99KLINIK"), "AP", None),
        (coded("4711", "", "99KLINIK"), "UNKNOWN", "4711"),
    ],
)
def test_a_coded_view(item: list[dict[str, str]], view: str, text: str | None) -> None:
    facts = film_facts({"ViewCodeSequence": item})
    assert (facts["view_position"], facts["view_text"]) == (view, text)


@pytest.mark.parametrize(
    ("item", "part", "text"),
    [
        (coded("51185008"), "CHEST", None),
        (coded("816094009"), "CHEST", None),
        (coded("T-D3000", scheme="SRT"), "CHEST", None),
        (coded("39607008", "Lung"), "CHEST", None),
        (coded("69536005", "Head"), "OTHER", None),
        (coded("T-D2500", "hip"), "OTHER", None),
        (coded("4711", "Brustkorb", "99KLINIK"), "CHEST", None),
        (coded("4711", "Rodilla", "99KLINIK"), "OTHER", None),
        (coded("4711", "XQ", "99KLINIK"), "UNKNOWN", "XQ"),
        ([], "UNKNOWN", None),
    ],
)
def test_a_coded_part(item: list[dict[str, str]], part: str, text: str | None) -> None:
    facts = film_facts({"AnatomicRegionSequence": item})
    assert (facts["body_part"], facts["body_part_text"]) == (part, text)
