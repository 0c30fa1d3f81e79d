"""Films of several runs side by side: when they pair, when they must not, and what the filters leave."""

import numpy as np
import pandas as pd
import pytest

from app.numbers.pairs import ALL, APART, EVERY, SOME, RunFilms, keep, never_trained_on, pair


def predictions(scores: list[float], **other: object) -> pd.DataFrame:
    """Films 0, 1, 2 ... of which every other is positive, called so from 0.5."""
    count = len(scores)
    table = pd.DataFrame(
        {"row": range(count), "split": "test", "source": "north", "file": [f"k{i}" for i in range(count)]}
    )
    target = ["covid" if i % 2 else "not covid" for i in range(count)]
    called = ["covid" if score >= 0.5 else "not covid" for score in scores]
    return table.assign(target=target, score=scores, prediction=called).assign(**other)


def scored(name: str, scores: list[float], positive: str = "covid", **other: object) -> RunFilms:
    return RunFilms(name, positive, predictions(scores, **other))


def test_largest_difference_first_over_all_runs() -> None:
    found = pair([scored("a", [0.1, 0.2, 0.3]), scored("b", [0.1, 0.9, 0.2]), scored("c", [0.6, 0.2, 0.3])])
    assert found.names == ("a", "b", "c") and not found.problems
    assert found.films["row"].tolist() == [1, 0, 2]
    assert found.films["spread"].tolist() == pytest.approx([0.7, 0.5, 0.1])
    assert found.films["wrong"].tolist() == [2, 1, 0] and found.films["apart"].tolist() == [True, True, False]
    assert found.films[["score_0", "score_1", "score_2"]].iloc[0].tolist() == [0.2, 0.9, 0.2]


def test_the_same_key_pairs_by_file_in_any_order() -> None:
    other = predictions([0.9, 0.8, 0.7]).iloc[::-1].assign(row=[7, 8, 9])
    found = pair([scored("a", [0.1, 0.2, 0.3]), RunFilms("b", "covid", other)])
    assert found.films.sort_values("row")["score_1"].tolist() == [0.9, 0.8, 0.7]


def test_another_key_pairs_by_place_where_all_films_agree() -> None:
    found = pair([scored("a", [0.1, 0.2]), scored("b", [0.3, 0.4], file=["x", "y"])])
    assert found.names == ("a", "b") and found.films.sort_values("row")["score_1"].tolist() == [0.3, 0.4]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (scored("b", [0.1, 0.2, 0.3], file=["x", "y", "z"]), "no film of it"),
        (scored("b", [0.1, 0.2], source="south"), "another source"),
        (scored("b", [0.1, 0.2], target=["covid", None]), "another label"),
        (scored("b", [0.1, 0.2], positive="pneumonia"), "score is for pneumonia"),
        (scored("b", [0.1, 0.2], file="x", row=0), "no film of it"),
        (RunFilms("b", "covid", None), "kept no predictions"),
    ],
)
def test_runs_that_do_not_pair_are_left_out_in_words(other: RunFilms, sentence: str) -> None:
    found = pair([scored("a", [0.1, 0.2]), other, scored("c", [0.5, 0.6])])
    assert found.names == ("a", "c"), "the others still pair"
    assert len(found.problems) == 1 and sentence in found.problems[0] and "b is left out" in found.problems[0]
    assert found.films.sort_values("row")["score_1"].tolist() == [0.5, 0.6]


def test_films_of_both_runs_alone_and_never_those_trained_on() -> None:
    splits = ["train", "external", "test", "test"]
    found = pair([scored("a", [0.1, 0.2, 0.3, 0.4]), scored("b", [0.5, 0.6, 0.7, 0.8], split=splits)])
    assert sorted(found.films["row"]) == [1, 2, 3] and "3 films" in found.problems[0]
    assert pair([RunFilms("a", "covid", None)]).names == ()


def test_no_common_film_is_an_empty_table() -> None:
    found = pair([scored("a", [0.1, 0.2], split="train"), scored("b", [0.1, 0.2], split="train")])
    assert found.films.empty and "spread" in found.films


def test_filters() -> None:
    films = pair(
        [
            scored("a", [0.9, 0.9, 0.1, 0.1], source=["n", "n", "n", "s"]),
            scored("b", [0.9, 0.1, 0.2, 0.1], source=["n", "n", "n", "s"]),
        ]
    ).films
    rows = {error: sorted(keep(films, ["n", "s"], ["test"], error)["row"]) for error in (ALL, APART, SOME, EVERY)}
    assert rows == {ALL: [0, 1, 2, 3], APART: [1], SOME: [0, 1, 3], EVERY: [0, 3]}
    assert keep(films, ["s"], ["test"], ALL)["row"].tolist() == [3]
    assert keep(films, [], ["test"], ALL).empty and keep(films, ["n"], ["external"], ALL).empty


def test_a_film_without_a_label_is_never_wrong() -> None:
    runs = [scored(name, [0.9, 0.9], target=[None, "covid"]) for name in "ab"]
    films = pair(runs).films
    assert np.isnan(films.set_index("row")["wrong"][0]) and keep(films, ["north"], ["test"], SOME).empty


def cohort(splits: str, key: str | None, **other: object) -> RunFilms:
    """A film of a patient of its own for each letter: t(rain), v(alidation), or j(udged in the test set)."""
    names = {"t": "train", "v": "validation", "j": "test"}
    count = len(splits)
    table = predictions(
        [0.5] * count, split=[names[letter] for letter in splits], patient=[f"p{i}" for i in range(count)]
    )
    table = table.assign(**other)
    table.attrs["hash_key"] = key
    return RunFilms("a" if key == "1" else "b", "covid", table)


@pytest.mark.parametrize(
    ("other", "left"),
    [
        (cohort("tvjj", "1"), [2, 3]),  # the same split
        (cohort("jjtj", "1"), [3]),  # another split of the same data
        (cohort("jjvj", "1"), [3]),  # it was calibrated on the film
        (cohort("tjjj", "1", patient=["p9", "p8", "p7", "p6"]), [2, 3]),  # other patients
        (cohort("tjjj", "1", patient=["p3", "p8", "p7", "p6"], row=[7, 8, 9, 10]), [2]),  # another film of the patient
        (cohort("jjtj", "2"), [3]),  # another key, the same data
    ],
)
def test_only_films_that_no_run_was_trained_on_are_offered(other: RunFilms, left: list[int]) -> None:
    found = never_trained_on([cohort("tvjj", "1"), other])
    assert found.films is not None and found.films["row"].tolist() == left
    assert not found.problems and f"{len(left)} of 2 films" in found.rule


@pytest.mark.parametrize("other", [cohort("tjjj", "2", source="south"), RunFilms("b", "covid", None)])
def test_a_run_whose_training_films_are_not_known_is_named(other: RunFilms) -> None:
    found = never_trained_on([cohort("tvjj", "1"), other])
    assert found.films is not None and len(found.films) == 2
    assert len(found.problems) == 1 and "Whether b was trained on these films can't be told" in found.problems[0]
