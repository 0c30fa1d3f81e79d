"""Constant films and copies are named by line; made-up and undecoded films are left alone."""

import dataclasses

import torch

from datasets.cohort import pixel_checks
from datasets.cohort.films import Cohort
from datasets.cohort.pixel_checks import PixelCheck, alike_films
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom

WHOLE = load_phantom(Preprocessing(8), films=64)


def cohort(images: torch.Tensor) -> Cohort:
    part = WHOLE.part(list(range(len(images))))
    return dataclasses.replace(part, info=dataclasses.replace(part.info, synthetic=False), images=images, places=None)


def noise(films: int) -> torch.Tensor:
    return torch.randint(0, 256, (films, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_constant_and_identical_films_are_named_by_their_lines() -> None:
    images = noise(20)
    images[3], images[7:14], images[19] = 9, images[0], 0
    constant, copies = alike_films(cohort(images))
    assert constant.startswith("2 of 20 films are of one grey (lines 5, 21 of metadata.csv): ")
    assert copies.startswith(
        "7 of 20 films have exactly the pixels of an earlier film (lines 9, 10, 11, 12, 13 and 2 more of"
    )


def test_copies_across_patients_are_told_and_those_of_one_patient_are_not() -> None:
    images, check = noise(20), PixelCheck()
    images[3], images[7], images[9] = 0, images[1], images[2]
    for position in reversed(range(20)):  # films are scored in any order
        check.look(position, images[position].numpy())
    assert check.copies() == {7: 1, 9: 2} and check.constant() == [3]
    whole = cohort(images)
    patient = [f"p{i}" for i in range(20)]
    patient[9] = patient[2]
    said = check.across_patients(dataclasses.replace(whole, table=whole.table.assign(patient=patient)))
    assert said.startswith("1 of 20 films have exactly the pixels of another patient's film (line 9 of metadata.csv): ")
    patient[7] = patient[1]
    assert not check.across_patients(dataclasses.replace(whole, table=whole.table.assign(patient=patient)))


def test_films_that_differ_are_not_mentioned() -> None:
    assert alike_films(cohort(noise(20))) == []
    assert alike_films(dataclasses.replace(cohort(noise(20)), images=None)) == []
    assert alike_films(dataclasses.replace(cohort(torch.zeros(20, 1, 8, 8)), info=WHOLE.info)) == []


def test_a_long_table_is_sampled(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(pixel_checks, "LOOKED_AT", 10)
    (said,) = alike_films(cohort(torch.zeros(20, 1, 8, 8)))
    assert said.startswith("10 of 10 films looked at are of one grey")
