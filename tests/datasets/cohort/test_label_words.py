"""A hospital's own words for a label, in training, evaluation and tables of labels."""

import shlex
from pathlib import Path

import pandas as pd
import pytest

from datasets.cohort.films import CohortError
from datasets.cohort.label_table import LabelsError, read_labels
from datasets.cohort.label_words import (
    LABELS,
    LabelWordsError,
    in_our_words,
    label_map,
    refusal,
    require_known,
    words_with_lines,
)
from datasets.covid import load_covid, load_unseen
from datasets.film.preprocessing import Preprocessing
from tests.datasets.public_films import with_own_words

KEY = bytes(32)
TEXT = 'COVID-19 pneumonia=covid, No  finding = normal ,"fracture, rib=other",unclear='


def test_the_flag_and_the_file_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(
        "COVID-19 pneumonia: covid\nno finding: Normal\n'fracture, rib': other\nunclear:\n1: pneumonia\n"
        "No: covid\n2020-01-01: other\n"
    )
    expected = {"covid-19 pneumonia": "covid", "no finding": "normal", "fracture, rib": "other"}
    assert label_map(TEXT, None) == expected
    assert (
        label_map(None, file)
        == expected | {"1": "pneumonia", "no": "covid", "2020-01-01": "other"}
        == label_map(TEXT, file)
    )
    assert label_map(None, None) is None and label_map("unclear=", None) == {}
    labels = in_our_words(pd.Series(["NO FINDING", "Covid", "unclear"]), label_map(TEXT, None))
    assert labels.tolist() == ["normal", "covid", "unclear"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COVID-19", "write WORD=LABEL"),
        ("=covid", "write WORD=LABEL"),
        ("", "write WORD=LABEL"),
        ("a=covid,A=normal", "gives 'A' two meanings, covid and normal"),
    ],
)
def test_a_flag_of_another_form_is_a_sentence(text: str, expected: str) -> None:
    with pytest.raises(LabelWordsError, match=expected):
        label_map(text, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a, b]", "a line each"),
        ("a: [covid]", "no word and label"),
        ("a: covid\nb: {c: covid}", "line 2: no word and label"),
        ("'': covid", "no word and label"),
        ("a: covid\na: normal", "gives 'a' two meanings, covid and normal"),
        ("a: 'b", "it is no YAML"),
        ("", "a line each"),
    ],
)
def test_a_file_of_another_form_is_a_sentence(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(LabelWordsError, match=expected):
        label_map(None, tmp_path / "map.yaml")
    with pytest.raises(LabelWordsError, match="can't be read: No such file"):
        label_map(None, tmp_path / "none.yaml")


def test_a_label_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(LabelWordsError, match="--map a=covdi: the label must be one of covid, pneumonia"):
        require_known(label_map("a=covdi", None), LABELS)


def test_words_are_listed_with_their_lines() -> None:
    words = pd.Series(["tb", "doe john", "tb", "x"])
    assert words_with_lines(words, [2, 5, 6, 9]) == "'tb' (2 lines), 'doe john' (line 5), 'x' (line 9)"
    private = "'tb' (2 lines), 2 words that stand on one line alone (lines 5, 9)"
    assert words_with_lines(words, [2, 5, 6, 9], private=True) == private
    many = words_with_lines(pd.Series([f"w{i}" for i in range(30)]), range(30))
    assert many.endswith(" and 10 more") and many.count("(line") == 20


@pytest.mark.parametrize(
    ("words", "known", "proposed"),
    [
        (["negative"] * 3 + ["positive"] * 2, LABELS, {"negative": "other", "positive": "covid"}),
        (["fracture, rib"] * 2 + ['a "b" $c'] * 2, LABELS, {"fracture, rib": "label", 'a "b" $c': "label"}),
        (["positive"] * 2, ("tb", *LABELS), {"positive": "label"}),  # of which disease?
        (["doe john"], LABELS, {"word": "label"}),
    ],
)
def test_a_refusal_proposes_a_map_that_a_shell_and_the_flag_take(
    words: list[str], known: tuple[str, ...], proposed: dict[str, str]
) -> None:
    told = refusal(pd.Series(words), range(len(words)), known, private=True)
    flag = told.split("say what they mean: ")[1].split("; with a map")[0]
    name, text = shlex.split(flag)
    assert name == "--map" and label_map(text, None) == proposed


def test_training_lists_all_words_at_once_and_takes_a_map(tmp_path: Path) -> None:
    root = with_own_words(tmp_path)
    with pytest.raises(CohortError) as refused:
        load_covid(root, Preprocessing(32))
    for part in ("'covid-19 pneumonia' (8 lines)", "'no finding' (8 lines)", "'unclear' (2", "'see report' (line 20)"):
        assert part in str(refused.value)
    proposed = '--map "covid-19 pneumonia=covid,no finding=normal,unclear=LABEL,see report=LABEL"'
    assert proposed in str(refused.value)
    words = label_map("COVID-19 pneumonia=covid,No finding=normal", None)
    films = load_covid(root, Preprocessing(32), words=words)
    assert len(films.table) == 16 and films.table["target_name"].value_counts().to_dict() == {
        "covid": 8,
        "not covid": 8,
    }
    assert films.excluded.set_index("row")["reason"].to_dict() == dict.fromkeys(
        (16, 17, 18), "its label is mapped to nothing"
    )
    (note,) = (note for note in films.notes if "mapped to nothing" in note)
    assert "'unclear' (2 lines), 'see report' (line 20)" in note
    unseen = load_unseen(root, Preprocessing(32), films.info, words=words)
    assert unseen.table["target_name"].tolist() == films.table.sort_values("row")["target_name"].tolist()
    with pytest.raises(LabelWordsError, match="must be one of tb, normal"):
        words = label_map("no finding=normal,unclear=tb,x=y", None)
        load_covid(root, Preprocessing(32), classes=("tb", "normal"), words=words)


def test_a_map_that_fits_no_word_is_no_map(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="none of covid"):
        load_covid(with_own_words(tmp_path), Preprocessing(32), words=label_map("nothing=covid", None))


def test_a_table_of_labels_takes_the_same_map(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("file,label\na,No finding\nb,No finding\nc,unclear\nd,unclear\ne,Doe John\nf,U07.1\n")
    with pytest.raises(LabelsError) as refused:
        read_labels(file, KEY)
    for part in ("'no finding' (2 lines)", "'unclear' (2", "2 words that stand on one line alone (lines 6, 7)"):
        assert part in str(refused.value)
    assert "doe" not in str(refused.value).lower()
    labels = read_labels(file, KEY, words=label_map("no finding=normal,u07.1=covid", None))
    assert labels.table["label"].tolist() == ["normal", "normal", "covid"] and labels.lines.tolist() == [2, 3, 7]
    assert labels.words.tolist() == ["No finding", "No finding", "U07.1"]
    assert labels.mapped_to_nothing == "'unclear' (2 lines), a word that stands on one line alone (line 6)"
