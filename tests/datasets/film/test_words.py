"""What hospitals write for a view and a part of the body, none of it from the lists that the words were made from."""

from pathlib import Path

import pytest

from datasets.film.policy import BODY_PARTS, VIEWS
from datasets.film.words import WordsError, body_part_of, may_be_shown, own_words, says_nothing, view_of, words_of_file


@pytest.mark.parametrize(
    "text",
    [
        *(
            "CHEST PA",
            "Chest 2 views",
            "chest_ap",
            "CHEST^PORTABLE",
            "PORT CHEST",
            "PED.CHEST",
            "CHESTXRAY",
            "THORAX AP/LAT",
        ),
        *(
            "Thorax in 2 Ebenen",
            "TX THORAX",
            "THX",
            "Lunge",
            "Brustkorb",
            "TÓRAX",
            "tÃ³rax",
            "TÃ“RAX",
            "T\ufffdRAX",
            "T??RAX",
        ),
        *(
            "RX TORACE",
            "Radiografia do tórax",
            "POUMONS",
            "Cage thoracique",
            "ТОРАКС ГРУДНАЯ",
            "ОГК",
            "Органы грудной клетки",
        ),
        *("胸部正面", "胸片", "흉부", "צילום חזה", "الصدر", "θώρακας", "GÖĞÜS", "KLATKA PIERSIOWA", "PŁUCA", "MELLKAS"),
        *("CHEST_ABDOMEN", "ABD+CHEST", "RIBS/CHEST", "Thorax und Abdomen", "HRUDNÍK", "BRÖSTKORG", "KEUHKOT", "TÜDŐ"),
    ],
)
def test_chests(text: str) -> None:
    assert body_part_of(text) == "CHEST"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "HAND LI",
            "Knie re.",
            "RODILLA",
            "GENOU D",
            "KOLANO",
            "Schädel",
            "CRÂNE",
            "cráneo",
            "HÜFTE",
            "ABDOMEN",
            "BUIK",
        ),
        *("PELVIS AP", "C-SPINE", "L SPINE", "HWS", "THORACIC SPINE", "Columna torácica", "T-SPINE", "LWS 2 Ebenen"),
        *("COLONNE LOMBAIRE", "FOOT_L", "Voet", "ЧЕРЕП", "WRIST 3V", "MAMMO", "TEETH", "SHOULDER Y", "RIBS", "FACE"),
    ],
)
def test_other_parts(text: str) -> None:
    assert body_part_of(text) == "OTHER"


@pytest.mark.parametrize(
    "text",
    ["W STD", "2 VIEWS", "EXAM", "PORTABLE", "BEDSIDE", "ZZ", "?", "???", "", "---", "RX", "GRID 12", "Doe", "XR"],
)
def test_a_text_that_names_no_part_names_none(text: str) -> None:
    assert body_part_of(text) is None


@pytest.mark.parametrize(
    ("text", "view"),
    [
        *[
            (text, "PA")
            for text in ("P.A.", "P A", "pa erect", "PA_STANDING", "Postero-anterior", "POSTERIOR-ANTERIOR")
        ],
        *[(text, "PA") for text in ("postéro-antérieur", "Posteroanteriore", "dorsoventral", "DV", "PA 1", "CHESTPA")],
        *[(text, "PA") for text in ("задне-передняя", "后前位", "後前")],
        *[
            (text, "AP")
            for text in ("A.P.", "AP PORTABLE", "ap supine", "AP LIEGEND", "antéro-postérieur", "Anteroposterior")
        ],
        *[(text, "AP") for text in ("ventrodorsal", "AP-ERECT", "前后位", "AP1", "передне-задняя")],
        *[(text, "FRONTAL") for text in ("PA or AP", "AP/PA", "frontal", "FRENTE", "FACE", "正面", "прямая проекция")],
        *[
            (text, "LATERAL")
            for text in ("LAT", "L LAT", "Left-Lateral", "RIGHT LATERAL", "latéral", "PROFIL", "perfil")
        ],
        *[
            (text, "LATERAL")
            for text in ("Seitlich", "DWARS", "boczne", "LL", "L", "CROSS TABLE LAT", "боковая", "側面", "侧位")
        ],
        *[(text, "DECUBITUS") for text in ("LLD", "R DECUB", "Left lateral decubitus", "DECUBITUS AP")],
        *[(text, "OTHER") for text in ("LAO", "oblique", "Lordotic AP", "OBLICUA", "SCHRÄG", "swimmers", "TANGENTIAL")],
        *[
            (text, None)
            for text in ("", "W STD", "PORTABLE", "1", "STEHEND", "EXP", "INSP", "GRID", "??", "PA LAT", "Doe")
        ],
    ],
)
def test_views(text: str, view: str | None) -> None:
    assert view_of(text) == view


def test_a_part_of_the_body_is_seldom_a_view() -> None:
    """In a text on the body, FACE is a face, LL a lower limb and L a side."""
    for text in ("FACE", "LL", "L", "RL", "FRENTE"):
        assert view_of(text, of_body=True) is None and view_of(text) is not None
    assert view_of("CHEST LAT", of_body=True) == view_of("THORAX SEITLICH", of_body=True) == "LATERAL"
    assert view_of("CHEST AP PORT", of_body=True) == "AP"


@pytest.mark.parametrize(
    "text", ["", " ", "--", "Unknown", "UNBEKANNT", "n/a", "N.A.", "none", "XXX", "inconnu", "Not Specified"]
)
def test_texts_that_say_nothing(text: str) -> None:
    assert says_nothing(text) and view_of(text) is None and body_part_of(text) is None


def test_own_words_win() -> None:
    words = own_words(["W STD=PA", " lat = frontal", "a=b=AP", "Größe*=OTHER"], "--view-is", VIEWS)
    assert words == (("W STD", "PA"), ("lat", "FRONTAL"), ("a=b", "AP"), ("Größe*", "OTHER"))
    assert (
        view_of("w std 2", words) == "PA" and view_of("LAT", words) == "FRONTAL" and view_of("groessen", words) is None
    )
    assert view_of("GROSSENWAHN", words) == "OTHER" and view_of("AP", words) == "AP"


@pytest.mark.parametrize("pair", ["W STD", "=PA", " =PA", "W STD=", "W STD=SIDEWAYS", "W STD:PA"])
def test_own_words_of_another_form_are_refused(pair: str) -> None:
    with pytest.raises(WordsError, match=r"--view-is .*: write TEXT=WORD, the word one of PA, AP"):
        own_words([pair], "--view-is", VIEWS)


def test_words_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text("views:\n  PA: [W STD, 7]\n  lateral: [[W SEIT], Z*]\nbody_parts:\n  CHEST: '*TRX*'\n", "utf-8")
    views, parts = words_of_file(file)
    assert views == (("W STD", "PA"), ("7", "PA"), ("W SEIT", "LATERAL"), ("Z*", "LATERAL"))
    assert parts == (("*TRX*", "CHEST"),) and body_part_of("3 ATRXB", parts) == "CHEST"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "a file has views:"),
        ("- PA", "a file has views:"),
        ("view:\n  PA: [x]", "a file has views:"),
        ("views: [PA]", "the words of views are PA, AP"),
        ("views:\n  SIDE: [x]", "the words of views are PA, AP"),
        ("body_parts:\n  PA: [x]", "the words of body_parts are CHEST"),
        ("views: {", "it is no YAML"),
        ("views: !!python/object:os.system {}", "it is no YAML"),
        ("[" * 10_000, "it is no YAML"),
        (None, "No such file"),
        ("x" * 1_100_000, "larger than"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "words.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WordsError, match=words) as caught:
        words_of_file(file)
    assert "--words" in str(caught.value) and "\n" not in str(caught.value)


def test_words_that_stand_in_both_tables_mean_one_thing() -> None:
    """Every word that is offered in a sentence can be given back."""
    for view in VIEWS:
        assert own_words([f"x={view}"], "--view-is", VIEWS) == (("x", view),)
    for part in BODY_PARTS:
        assert own_words([f"x={part}"], "--body-part-is", BODY_PARTS) == (("x", part),)


def test_names_of_one_letter_hide_nothing() -> None:
    assert may_be_shown("W STD", ["W^"]) and not may_be_shown("W STD", ["Std^"])


@pytest.mark.parametrize("table", ["views: {PA: }", "body_parts: {CHEST: {a: b}}", "views: [PA]"])
def test_a_word_without_a_list_of_texts_is_refused(table: str, tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(table)
    with pytest.raises(WordsError, match=r"words\.yaml"):
        words_of_file(file)
