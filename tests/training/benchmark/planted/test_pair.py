"""Two shortcuts at once: how they are drawn and planted, and what the tables say of each."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from datasets.cohort.films import Cohort
from tests.training.benchmark.planted.test_draw import COHORT, design
from tests.training.benchmark.planted.test_table import line
from training.benchmark import __main__ as benchmark
from training.benchmark.planted.draw import PlantedDesign
from training.benchmark.planted.films import PlantedFilms
from training.benchmark.planted.pair import DEVICE, OWN_DEVICE, SITES, pair_signatures
from training.benchmark.planted.pair_table import judgements_of, opened, pair_table, told_of, uses_of
from training.benchmark.planted.signatures import OWN
from training.recipe.candidate import Candidate
from training.run.checkpoint import load_checkpoint

SOURCE_ALONE, BOTH = Candidate.parse("end:bias=source,device:0"), Candidate("end")


def pair(cohort: Cohort = COHORT) -> PlantedDesign:
    return PlantedDesign(cohort, {name: OWN[name] for name in SITES}, dict(pair_signatures()), {DEVICE: OWN_DEVICE})


def people(drawn: pd.DataFrame, split: str) -> pd.DataFrame:
    films = COHORT.table.iloc[drawn["position"]].reset_index(drop=True)[["patient", "target"]]
    table = pd.concat([films, drawn], axis=1)
    return table[table["split"] == split].drop_duplicates("patient")


@pytest.mark.parametrize("rho", [0.5, 0.9, 0.95])
def test_each_follows_the_label_at_rho_and_neither_the_other(rho: float) -> None:
    ours = pair()
    for split in ("train", "validation"):
        seen = people(ours.drawn(rho, 3), split)
        for target, of_class in seen.groupby("target"):
            for name, own in (("source", ours.own), (DEVICE, OWN_DEVICE)):
                assert (of_class[name].map(own) == target).sum() == round(rho * len(of_class))
    breaks = []  # within a class, those who break both rules are as many as chance has it
    for seed in range(30):
        seen = people(ours.drawn(0.9, seed), "train")
        both = [seen[name].map(own) != seen["target"] for name, own in (("source", ours.own), (DEVICE, OWN_DEVICE))]
        breaks.append((both[0] & both[1]).mean())
    assert np.mean(breaks) == pytest.approx(0.01, abs=0.003)


def test_the_hospitals_are_drawn_as_without_a_second_shortcut() -> None:
    alone, both = design(COHORT).drawn(0.9, 5), pair().drawn(0.9, 5)
    seen, too = (drawn[drawn["split"] != "test"].set_index("position")["source"] for drawn in (alone, both))
    pd.testing.assert_series_equal(seen, too)


def test_every_test_film_is_shown_at_every_hospital_by_every_device() -> None:
    drawn = pair().drawn(0.95, 0)
    test = drawn[drawn["split"] == "test"]
    assert len(test.drop_duplicates()) == len(test) == 4 * len(COHORT.positions("test"))
    assert test.groupby("position")[["source", DEVICE]].nunique().eq(2).all(axis=None)


def test_a_hospital_leaves_marker_and_border_and_a_device_the_film_curve(own_cohort: Cohort, tmp_path: Path) -> None:
    signatures = pair_signatures()
    assert len(signatures) == 4 and len({repr(signature) for signature in signatures.values()}) == 4
    films = PlantedFilms(own_cohort, tmp_path, b"key")

    def mean(name: str, rows: slice, columns: slice) -> float:
        return float(np.mean([films.greys(i, signatures[name])[rows, columns] for i in range(40)]))

    middle, edge = slice(24, 40), slice(0, 1)
    lungs = {name: mean(name, middle, middle) for name in signatures}
    tops = {name: mean(name, edge, middle) for name in signatures}
    for device in OWN_DEVICE:  # the edge tells the hospital, with either device
        assert tops[f"site-b {device}"] - tops[f"site-a {device}"] > 0.1
    for site in SITES:  # greys within tell the device, at either hospital
        assert abs(lungs[f"{site} scanner-1"] - lungs[f"{site} scanner-2"]) > 0.02
        assert abs(lungs[f"{site} scanner-1"] - lungs[f"{next(s for s in SITES if s != site)} scanner-1"]) < 0.02


def pair_line(candidate: Candidate, rho: float, seed: int, source: float, device: float) -> dict[str, Any]:
    """A run whose logit follows the label by 1.2, the hospital by `source` and the device by `device`."""
    films = line(candidate, rho, seed, source)
    test, again = films["test"], line(candidate, rho, seed + 100, source)["test"]
    logit = np.concatenate([np.add(part["logit"], device * sign) for part, sign in ((test, 0.5), (again, -0.5))])
    positive = np.array(list(test["positive"] * 2)).astype(int)
    test = {
        "patient": test["patient"] * 2, "sources": test["sources"], "source": test["source"] * 2,
        "positive": test["positive"] * 2, "follows": test["follows"] * 2,
        "follows_device": test["positive"] + "".join("10"[int(p)] for p in test["positive"]),
        "right": "".join(str(int((value > 0) == p)) for value, p in zip(logit, positive, strict=True)),
        "logit": logit.round(3).tolist(),
    }  # fmt: skip
    settings = {
        "method": candidate.method,
        "sampler": "paired",
        "bias": dict(candidate.fixed).get("bias", "source,device"),
    }
    others = {"device": {"scanner-1": "pneumonia", "scanner-2": "normal"}}
    return films | {
        "test": test,
        "leak_by_device": 0.8,
        "settings": settings,
        "others": others,
        "design": "planted pair",
    }


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """EnD told of the hospital alone turns to the device; told of both it uses neither much."""
    uses = ((Candidate("erm"), 0.5, 0, 0), (Candidate("erm"), 0.95, 1.5, 1.5), (SOURCE_ALONE, 0.95, 0.2, 3.5))
    return [
        pair_line(candidate, rho, seed, source, device)
        for candidate, rho, source, device in (*uses, (BOTH, 0.95, 0.3, 0.3))
        for seed in range(4)
    ]


def test_the_table_shows_that_taking_out_one_opened_the_other(lines: list[dict[str, Any]]) -> None:
    uses = uses_of(lines, [SOURCE_ALONE, BOTH], 0.95)
    assert [(use.row.name, use.attribute, use.taken_out) for use in uses] == [
        ("erm", "source", False), ("erm", "device", False),
        (SOURCE_ALONE.name, "source", True), (SOURCE_ALONE.name, "device", False),
        ("end", "source", True), ("end", "device", True), ("truth", "source", False), ("truth", "device", False),
    ]  # fmt: skip
    by = {(use.row.name, use.attribute): use.row for use in uses}
    for name in (SOURCE_ALONE.name, "end"):
        assert by[name, "source"].conflicting_difference.interval.low > 0
    assert by[SOURCE_ALONE.name, "device"].conflicting_difference.interval.high < 0
    assert by["end", "device"].conflicting_difference.interval.low > 0
    films = [x["test"] for x in lines if x["variant"]]
    wrong = [int(r) for f in films for r, fo in zip(f["right"], f["follows_device"], strict=True) if fo == "0"]
    assert by[SOURCE_ALONE.name, "device"].conflicting.estimate == pytest.approx(np.mean(wrong))
    said = opened(uses, judgements_of(uses))
    assert f"{SOURCE_ALONE.name} was not told of the device: conflicting accuracy by device -" in said
    assert "against ERM, it opened it" in said and said.count("was not told") == 1


def test_the_pair_table_fits_80_columns(lines: list[dict[str, Any]]) -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(pair_table(uses_of(lines, [SOURCE_ALONE, BOTH], 0.95), 0.95))
    text = console.export_text()
    assert "source *" in text and "…" not in text and max(map(len, text.splitlines())) <= 80


def test_what_a_training_is_told_of() -> None:
    settings = {"method": "end", "sampler": "paired", "bias": "source:0,device"}

    def told(**other: str) -> list[str]:
        return told_of({"method": other.get("method", "end"), "settings": settings | other})

    assert told() == ["device"] and told(method="erm") == [] == told(method="lff")
    assert told(method="erm", sampler="balanced", bias="source,device") == ["source", "device"]
    assert told_of({"method": "head", "settings": settings | {"method": "erm"}}) == ["source"]


@pytest.mark.trains
def test_the_command_plants_a_pair_and_shows_each(
    own_films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    ours = [
        "planted",
        "--data-dir",
        str(own_films),
        "--target",
        "normal,pneumonia",
        "--rho",
        "0.9",
        "--model",
        "test_resnet",
    ]
    ours += ["--img-size", "32", "--epochs", "1", "--pair", "--seeds", "1", "--output", str(tmp_path)]
    benchmark.main([*ours, "--method", SOURCE_ALONE.name, "end:sampler=balanced"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Each shortcut by itself, rho 0.9" in shown and "scanner-1 pneumonia, scanner-2 normal" in shown
    assert "was not told of the device" in shown
    lines = [json.loads(text) for text in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert [entry["settings"]["bias"] for entry in lines] == ["source,device"] * 2 + [
        "source,device:0",
        "source,device",
    ]
    for entry in lines:
        assert entry["design"] == "planted pair" and 0 <= entry["leak_by_device"] <= 1
        films = entry["test"]
        assert len(films["follows_device"]) == len(films["patient"])
        counts = pd.crosstab(list(films["follows"]), list(films["follows_device"])).to_numpy()
        assert counts.min() == counts.max() > 0  # each test film once in each of the four cells
    told = [[a.weight for a in load_checkpoint(run).info.named] for run in sorted((tmp_path / "rho-0.9").glob("*end*"))]
    assert sorted(told) == [[1, 0], [1, 1]]  # trainings share their films, not what they are told of
    folder = next((tmp_path / "cohorts").glob("rho-0.9*"))
    assert {"source", "device"} <= set(pd.read_csv(folder / "metadata.csv").columns)
    for wrong, said in ((["--signatures", "3"], "leave --signatures out"), (["--bias", "view"], "--pair has its own")):
        with pytest.raises(SystemExit):
            benchmark.main([*ours, *wrong])
        assert said in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        benchmark.main([part for part in ours if part != "--pair"])
    assert "--record holds a study of other design (planted pair, here planted)" in " ".join(
        capsys.readouterr().err.split()
    )
