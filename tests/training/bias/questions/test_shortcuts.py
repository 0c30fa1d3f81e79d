"""Perturbations by geometry and invariance; findings by models whose shortcut is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from datasets.phantom import film as phantom
from training.bias.questions.shortcut_evidence import CUES, findings, shortcut_table
from training.bias.questions.shortcuts import (
    FILL,
    PARTS,
    PERTURBATIONS,
    SHORTCUTS,
    FilmBatch,
    Perturbation,
    border_only,
    corners_blanked,
    corners_only,
    lungs_removed,
    mirrored,
    pixel_shuffled,
    sample_by_patient,
)

MAJORITY = {"north": "covid", "south": "not covid"}


def noise(films: int = 3, size: int = 40, seed: int = 0) -> Tensor:
    """Films without a pixel of the colour that the perturbations fill with."""
    pixels = torch.from_numpy(np.random.default_rng(seed).random((films, 1, size, size), dtype=np.float32))
    return torch.where((pixels == FILL) | (pixels == 0), 0.25, pixels)


def batch(pixels: Tensor, lungs: Tensor | None = None) -> FilmBatch:
    return FilmBatch(pixels, range(len(pixels)), lungs)


def kept(perturb: Perturbation, pixels: Tensor) -> Tensor:
    return (perturb(batch(pixels)) == pixels)[0, 0]


def test_border_and_corners_have_their_size_and_do_not_overlap() -> None:
    pixels = noise(size=100)
    border, corners = kept(border_only, pixels), kept(corners_only, pixels)
    assert border.sum() == 2 * 10 * (100 - 40) + 2 * 10 * (100 - 60)
    assert corners.sum() == 4 * (20 - 5) * (30 - 5)
    assert not (border & corners).any()
    assert torch.equal(kept(corners_blanked, pixels), ~corners)
    for mask in (border, corners):
        assert torch.equal(mask, mask.flip(0)) and torch.equal(mask, mask.flip(1))


@pytest.mark.parametrize("perturb", [border_only, corners_only])
def test_the_fill_tells_nothing_of_the_film(perturb: Perturbation) -> None:
    pixels = noise()
    hidden = perturb(batch(pixels)) != pixels
    other = torch.where(hidden, pixels * 0.1, pixels)
    assert not torch.equal(pixels, other)
    assert torch.equal(perturb(batch(pixels)), perturb(batch(other)))


def test_lead_markers_of_the_phantom_lie_in_the_corners_and_not_in_the_border() -> None:
    pixels = noise(size=96)
    corners, border = kept(corners_only, pixels), kept(border_only, pixels)
    for hospital in phantom.HOSPITALS:
        if hospital.own is None:
            continue
        x = 0.80 if hospital.marker == "L" else -0.80
        column, row = round((x + 1) * 48), round((hospital.marker_y + 1) * 48)
        assert corners[row, column] and not border[row, column]


def test_the_ellipses_cover_what_disease_changes() -> None:
    pixels = noise(size=96)
    removed = ~kept(lungs_removed, pixels).numpy()
    for index in range(0, 30, 3):
        normal, covid = (phantom.film(0, index, label, "north", 96).pixels for label in ("normal", "covid"))
        changed = np.abs(covid - normal)
        assert changed[removed].sum() > 0.85 * changed.sum()
    assert 0.3 < removed.mean() < 0.6


def test_given_lungs_are_blacked_out_and_nothing_else() -> None:
    pixels = noise()
    lungs = torch.zeros_like(pixels, dtype=torch.bool)
    lungs[1, 0, 3:9, 4:20] = True
    result = SHORTCUTS["lungs_removed"](batch(pixels, lungs))
    assert (result[lungs] == 0).all()
    assert torch.equal(result[~lungs], pixels[~lungs])


def test_shuffling_keeps_grey_levels_and_depends_on_the_seed_of_the_film_alone() -> None:
    pixels = noise()
    shuffled = pixel_shuffled(FilmBatch(pixels, [4, 5, 6]))
    assert torch.equal(shuffled.flatten(1).sort().values, pixels.flatten(1).sort().values)
    assert torch.equal(pixel_shuffled(FilmBatch(pixels[1:2], [5])), shuffled[1:2])
    twins = pixel_shuffled(FilmBatch(pixels[:1].expand(2, -1, -1, -1), [1, 2]))
    assert (twins[0] == twins[1]).float().mean() < 0.1
    assert (shuffled == pixels).float().mean() < 0.1


def test_mirroring_twice_gives_the_film() -> None:
    pixels = noise()
    once = mirrored(batch(pixels))
    assert torch.equal(once[0, 0, :, 0], pixels[0, 0, :, -1])
    assert torch.equal(mirrored(batch(once)), pixels)


@pytest.mark.parametrize("perturb", list(PERTURBATIONS.values()))
def test_every_perturbation_changes_films_one_by_one_and_leaves_its_input_alone(perturb: Perturbation) -> None:
    pixels = noise()
    before = pixels.clone()
    result = perturb(FilmBatch(pixels, [7, 8, 9]))
    assert torch.equal(pixels, before)
    assert result.shape == pixels.shape and result.dtype == torch.float32
    assert result.min() >= 0 and result.max() <= 1
    assert not torch.equal(result, pixels)
    alone = [perturb(FilmBatch(film[None], [seed])) for film, seed in zip(pixels, (7, 8, 9), strict=True)]
    assert torch.equal(torch.cat(alone), result)


def test_parts_of_a_film() -> None:
    pixels, missing = noise(), {}
    for name in PARTS:
        missing[name] = PERTURBATIONS[name](batch(pixels)) != pixels
    assert torch.equal(missing["frame_blanked"], missing["border_blanked"] | missing["corners_blanked"])
    assert missing["left_blanked"][..., 20:].all() and not missing["left_blanked"][..., :20].any(), "the patient's left"
    assert torch.equal(missing["right_blanked"], ~missing["left_blanked"])


def test_every_shortcut_has_a_cue() -> None:
    assert list(SHORTCUTS) == list(CUES)


# Linear models that were taught one cue each.
SIZE = 40


def cohort(cue: str, rho: float, films: int, seed: int) -> tuple[Tensor, pd.DataFrame]:
    """Noise with a faint disease in the lungs, and a cue of source `north`, whose films are covid with probability rho."""
    rng = np.random.default_rng(seed)
    covid, own = rng.random(films) < 0.5, rng.random(films) < rho
    north = covid == own
    pixels = rng.normal(0.45, 0.05, (films, 1, SIZE, SIZE))
    pixels[covid, :, 14:24, 8:14] += 0.02
    if cue == "border":
        pixels[north, :, :2, 10:30] -= 0.1
    elif cue == "marker":
        pixels[north, :, 5:8, 33:36] += 0.2
    else:
        pixels[north] += 0.1
    table = pd.DataFrame(
        {
            "patient": np.arange(films) // 2,
            "source": np.where(north, "north", "south"),
            "target": np.where(covid, "covid", "not covid"),
        }
    )
    return torch.from_numpy(np.clip(pixels, 0, 1)).float(), table


def audit(cue: str, rho: float) -> tuple[pd.DataFrame, list[str]]:
    pixels, training = cohort(cue, rho, 500, seed=1)
    model = LogisticRegression(C=0.03, max_iter=500).fit(pixels.flatten(1), training["target"] == "covid")

    def scores(films: Tensor) -> np.ndarray:
        probability: np.ndarray = model.predict_proba(films.flatten(1))[:, 1]
        return probability

    pixels, films = cohort(cue, 0.5, 500, seed=2)
    perturbed = {name: scores(perturb(batch(pixels))) for name, perturb in SHORTCUTS.items()}
    table = shortcut_table(films.assign(score=scores(pixels)), perturbed, "covid", MAJORITY, resamples=200)
    return table, findings(table)


def named(table: pd.DataFrame) -> set[str]:
    return set(table.loc[table["found"].eq(True), "shortcut"])


@pytest.mark.trains
@pytest.mark.parametrize(
    ("cue", "expected"),
    [
        ("border", {"border_only", "lungs_removed"}),
        ("marker", {"corners_only", "corners_blanked", "lungs_removed", "mirrored"}),
        ("exposure", {"border_only", "corners_only", "lungs_removed", "pixel_shuffled"}),
    ],
)
def test_the_cue_that_a_model_was_taught_is_named_and_no_other(cue: str, expected: set[str]) -> None:
    table, sentences = audit(cue, rho=0.95)
    assert named(table) == expected
    assert len(sentences) == 1 + len(SHORTCUTS)
    assert "the score follows the source" in sentences[0]
    for name, sentence in zip(SHORTCUTS, sentences[1:], strict=True):
        assert sentence.startswith(CUES[name].films) and CUES[name].name in sentence
        assert ("not shown" in sentence) == (name not in expected)


@pytest.mark.trains
@pytest.mark.parametrize("cue", ["border", "marker", "exposure"])
def test_nothing_is_named_where_label_and_source_were_independent(cue: str) -> None:
    table, sentences = audit(cue, rho=0.5)
    assert named(table) == set()
    assert all("not shown" in sentence for sentence in sentences)


# The table, from scores alone.
def predictions(patients: int, seed: int = 0, rho: float = 0.5) -> pd.DataFrame:
    """One film a patient, `north` being covid with probability rho; scores are noise."""
    rng = np.random.default_rng(seed)
    covid = rng.random(patients) < 0.5
    north = covid == (rng.random(patients) < rho)
    return pd.DataFrame(
        {
            "patient": np.arange(patients),
            "source": np.where(north, "north", "south"),
            "target": np.where(covid, "covid", "not covid"),
            "score": rng.random(patients),
        }
    )


def row(table: pd.DataFrame, name: str, against: str) -> pd.Series:
    found = table[(table["shortcut"] == name) & (table["against"] == against)]
    assert len(found) == 1
    return found.iloc[0]


def test_columns_against_scikit_learn() -> None:
    films, scores = predictions(200), np.random.default_rng(5).random(200)
    table = shortcut_table(films, {"border_only": scores}, "covid", MAJORITY, resamples=200)
    covid, north = films["target"] == "covid", films["source"] == "north"
    label = row(table, "border_only", "label")
    assert label["estimate"] == pytest.approx(roc_auc_score(covid, scores))
    assert label["change"] == pytest.approx(roc_auc_score(covid, scores) - roc_auc_score(covid, films["score"]))
    assert label["score_change"] == pytest.approx(np.abs(scores - films["score"]).mean())
    assert label["change_low"] < label["change"] < label["change_high"]
    pairs = [(north & side).sum() * (~north & side).sum() for side in (covid, ~covid)]
    within = [roc_auc_score(north[side], scores[side]) for side in (covid, ~covid)]
    assert row(table, "border_only", "usual label")["estimate"] == pytest.approx(np.average(within, weights=pairs))
    intact = table[table["shortcut"] == "intact"]
    assert (intact[["change", "change_low", "change_high", "score_change"]] == 0).all(axis=None)
    assert intact["found"].isna().all()


def test_a_score_that_reads_the_label_alone_does_not_follow_the_source_where_the_two_go_together() -> None:
    films = predictions(600, rho=0.9)
    films["score"] = np.clip(
        0.5 + 0.2 * np.where(films["target"] == "covid", 1, -1) + 0.1 * (films["score"] - 0.5), 0, 1
    )
    table = shortcut_table(films, {"border_only": films["score"].to_numpy()}, "covid", MAJORITY, resamples=200)
    usual = row(table, "border_only", "usual label")
    assert roc_auc_score(films["source"] == "north", films["score"]) > 0.8  # what a comparison over all films would say
    assert usual["low"] < 0.5 < usual["high"]
    assert usual["found"] is False


def test_a_model_that_ignores_the_source_of_intact_films_reads_no_shortcut() -> None:
    films = predictions(300)
    by_source = np.where(films["source"] == "north", 0.6, 0.4)
    table = shortcut_table(films, {"corners_only": by_source}, "covid", MAJORITY, resamples=200)
    assert row(table, "corners_only", "usual label")["estimate"] == 1
    assert row(table, "corners_only", "usual label")["found"] is False
    films["score"] = np.clip(by_source + 0.1 * films["score"], 0, 1)
    table = shortcut_table(films, {"corners_only": by_source}, "covid", MAJORITY, resamples=200)
    assert row(table, "corners_only", "usual label")["found"] is True
    assert findings(table)[1] == (
        "The corners alone: AUROC 1.00 (0.99 to 1.00) for the label that is usual at the film's source: the model reads "
        "the corners (lead markers, text)."
    )


@pytest.mark.trains
@pytest.mark.parametrize(("patients", "shift", "why"), [(56, 0.1, "few films"), (2000, 0.08, "a small effect")])
def test_neither_a_wide_interval_nor_a_small_effect_is_clear(patients: int, shift: float, why: str) -> None:
    films, chance = predictions(patients), predictions(patients, seed=1)["score"]
    north = films["source"] == "north"
    films["score"] = np.where(north, 0.6, 0.4) + 0.1 * films["score"]
    scores = (0.5 * chance + shift * 0.5 * north).to_numpy()
    usual = row(shortcut_table(films, {"border_only": scores}, "covid", MAJORITY), "border_only", "usual label")
    if why == "few films":
        assert usual["estimate"] >= 0.6 and usual["low"] < 0.5
    else:
        assert usual["estimate"] < 0.6 and usual["low"] > 0.5
    assert usual["found"] is False


def test_a_loss_counts_only_where_the_cue_is_removed() -> None:
    films = predictions(300)
    films["score"] = np.where(films["source"] == "north", 0.6, 0.4) + 0.3 * films["score"]
    chance = predictions(300, seed=9)["score"].to_numpy()
    table = shortcut_table(films, {"corners_blanked": chance, "corners_only": chance}, "covid", MAJORITY, resamples=200)
    assert named(table) == {"corners_blanked"}
    same = films["score"].to_numpy()
    table = shortcut_table(films, {"corners_blanked": same, "corners_only": same}, "covid", MAJORITY, resamples=200)
    assert named(table) == {"corners_only"}


@pytest.mark.parametrize("conflicting", [9, 10])
def test_ten_patients_are_needed_on_either_side(conflicting: int) -> None:
    films = predictions(60, rho=1.0)
    covid = films.index[films["target"] == "covid"][:conflicting]
    films.loc[covid, "source"] = "south"
    scores = films["score"].to_numpy()
    table = shortcut_table(films, {"border_only": scores, "mirrored": scores}, "covid", MAJORITY, resamples=200)
    usual = row(table, "border_only", "usual label")
    sentences = findings(table)
    if conflicting == 10:
        assert np.isfinite(usual[["estimate", "low", "high"]].astype(float)).all()
        assert usual["found"] is False and not any("cannot conclude" in sentence for sentence in sentences)
        return
    assert usual[["estimate", "low", "high", "change"]].isna().all()
    assert usual["found"] is None
    assert np.isfinite(row(table, "border_only", "label")["estimate"])
    assert len(sentences) == 3 and all("cannot conclude" in sentence for sentence in sentences)
    assert "nan" not in " ".join(sentences)


@pytest.mark.parametrize("majority", [{}, {"north": "covid", "south": "covid"}, {"elsewhere": "covid"}])
def test_without_sources_to_tell_apart_nothing_can_be_concluded(majority: dict[str, str]) -> None:
    films = predictions(100)
    table = shortcut_table(films, {"border_only": films["score"].to_numpy()}, "covid", majority, resamples=50)
    assert row(table, "border_only", "usual label")["found"] is None
    assert "cannot conclude" in findings(table)[1]


def test_films_without_a_label_or_a_usual_label_are_left_out() -> None:
    films, scores = predictions(200), np.random.default_rng(5).random(200)
    expected = shortcut_table(films, {"border_only": scores}, "covid", MAJORITY, resamples=100)
    more = predictions(80, seed=3).assign(patient=range(1000, 1080))
    unlabelled = pd.concat([films, more.assign(target=None)], ignore_index=True)
    padded = np.concatenate([scores, np.zeros(80)])
    found = shortcut_table(unlabelled, {"border_only": padded}, "covid", MAJORITY, resamples=100)
    pd.testing.assert_frame_equal(found, expected)
    elsewhere = pd.concat([films, more.assign(source="unseen")], ignore_index=True)
    found = shortcut_table(elsewhere, {"border_only": padded}, "covid", MAJORITY, resamples=100)
    for column in ("estimate", "low", "high"):
        assert row(found, "border_only", "usual label")[column] == row(expected, "border_only", "usual label")[column]
    nothing = shortcut_table(films.assign(target=None), {"border_only": scores}, "covid", MAJORITY, resamples=50)
    assert nothing[["estimate", "low", "high", "score_change"]].isna().all(axis=None)
    assert "AUROC undefined" in findings(nothing)[1]


def test_scores_that_do_not_fit_are_refused() -> None:
    films = predictions(30)
    with pytest.raises(ValueError, match=r"border_only has scores of shape \(29,\); the table has 30 films"):
        shortcut_table(films, {"border_only": np.zeros(29)}, "covid", MAJORITY)
    with pytest.raises(ValueError, match="unknown shortcut 'frame'; known are border_only"):
        shortcut_table(films, {"frame": np.zeros(30)}, "covid", MAJORITY)


def test_a_sample_has_whole_patients_and_first_the_rare_cells() -> None:
    rng = np.random.default_rng(0)
    patient = np.arange(2000).repeat(rng.integers(1, 4, 2000))
    rare = np.arange(2000) < 25
    target, source = np.where(rare, "covid", "normal")[patient], np.where(np.arange(2000) % 4 == 0, "b", "a")[patient]
    at = sample_by_patient(target, source, patient, 500)
    assert 500 <= len(at) <= 502 and (np.diff(at) > 0).all()
    drawn = set(patient[at])
    assert np.isin(patient, list(drawn)).sum() == len(at), "all films of a patient or none"
    assert set(np.flatnonzero(rare)) <= drawn
    others = np.array(sorted(drawn - set(range(25))))
    assert (others % 4 == 0).mean() == pytest.approx(0.25, abs=0.06), "in proportion"
    order = rng.permutation(len(patient))
    again = sample_by_patient(target[order], source[order], patient[order], 500)
    assert set(patient[order][again]) == drawn, "the same patients in any order"
    assert set(patient[sample_by_patient(target, source, patient, 500, seed=1)]) != drawn
    for all_films in (None, len(patient)):
        assert (sample_by_patient(target, source, patient, all_films) == np.arange(len(patient))).all()
