"""The tables, on lines whose truth is known."""

from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from training.benchmark.planted.table import candidates_in, judgements, rhos_in, rows_of, show_tables
from training.recipe.candidate import Candidate

PATIENTS = 80
END, BALANCED = Candidate("end"), Candidate.parse("end:sampler=balanced")


def line(candidate: Candidate, rho: float, seed: int, shortcut: float, **more: Any) -> dict[str, Any]:
    """A run whose logit follows the label by 1.2 and the source by `shortcut`; every patient at either site."""
    rng = np.random.default_rng([seed, int(100 * shortcut)])
    positive = np.repeat(np.random.default_rng(0).random(PATIENTS) < 0.5, 2).astype(int)
    site = np.tile([0, 1], PATIENTS)  # site-a is the positive label's own
    logit = 1.2 * (positive - 0.5) + shortcut * (0.5 - site) + 0.4 * rng.normal(size=2 * PATIENTS)
    films = {
        "patient": np.repeat(np.arange(PATIENTS), 2).tolist(),
        "sources": ["site-a", "site-b"],
        "source": site.tolist(),
        "positive": "".join(map(str, positive)),
        "follows": "".join(str(int(p != s)) for p, s in zip(positive, site, strict=True)),
        "right": "".join(str(int((value > 0) == p)) for value, p in zip(logit, positive, strict=True)),
        "logit": logit.round(3).tolist(),
    }
    study = {"design": "planted", "films": "x", "targets": ["normal", "pneumonia"]}
    study |= {"own": {"site-a": "pneumonia", "site-b": "normal"}, "rho": rho, "seed": seed}
    study |= {"method": candidate.method, "variant": candidate.variant, "leak": 0.9 + shortcut / 100}
    return study | {"test": films} | more


def lines_of(seeds: int) -> list[dict[str, Any]]:
    strengths = {Candidate("erm"): 3.0, END: 3.0, BALANCED: 1.5}
    lines = [line(Candidate("erm"), 0.5, seed, 0.0) for seed in range(seeds)]
    for candidate, strength in strengths.items():
        lines += [line(candidate, 0.95, seed, strength) for seed in range(seeds)]
    return lines


def test_a_row_says_how_far_a_method_is_from_erm_to_the_truth() -> None:
    lines = lines_of(4)
    rows = rows_of(lines, [END, BALANCED], 0.95)
    assert [(row.name, row.seeds) for row in rows] == [
        ("erm", 4), ("end", 4), ("end:sampler=balanced", 4), ("truth", 4),
    ]  # fmt: skip
    erm, same, better, truth = rows
    for row, shortcut, rho, method in ((erm, 3.0, 0.95, "erm"), (truth, 0.0, 0.5, "erm")):
        runs = [x for x in lines if (x["rho"], x["method"], x["variant"]) == (rho, method, "")]
        films = [x["test"] for x in runs]
        auroc = np.mean([roc_auc_score([int(p) for p in f["positive"]], f["logit"]) for f in films])
        assert row.auroc.estimate == pytest.approx(auroc, abs=1e-9)
        wrong = [int(r) for f in films for r, fo in zip(f["right"], f["follows"], strict=True) if fo == "0"]
        assert row.conflicting.estimate == pytest.approx(np.mean(wrong))
        assert row.leak == pytest.approx(0.9 + shortcut / 100)
    assert better.difference.interval.estimate == pytest.approx(better.auroc.estimate - erm.auroc.estimate)
    expected = (better.auroc.estimate - erm.auroc.estimate) / (truth.auroc.estimate - erm.auroc.estimate)
    assert better.gap.estimate == pytest.approx(expected) and better.gap.low > 0.1 and better.gap.high < 1
    assert abs(same.gap.estimate) < 0.1 and better.conflicting_difference.interval.low > 0
    assert better.leak_difference.interval.estimate == pytest.approx(-0.015)
    verdicts = [judgement.verdict for judgement in judgements([rows])[0]]
    assert verdicts == ["cannot conclude", "cannot conclude", "better", "cannot conclude"]


def test_p_is_corrected_over_the_rows_of_all_tables() -> None:
    rows = rows_of(lines_of(3), [END, BALANCED], 0.95)
    (alone,), both = judgements([rows]), judgements([rows, rows])
    assert both[0][2].p_holm == pytest.approx(2 * alone[2].p_holm) and both[0][2].detectable > alone[2].detectable


def test_only_seeds_that_erm_has_are_compared() -> None:
    lines = [x for x in lines_of(3) if not (x["seed"] == 1 and x["method"] == "end")]
    lines[3]["failed"] = "not finite"  # ERM's run of seed 0
    rows = {row.name: row.seeds for row in rows_of(lines, [END, BALANCED], 0.95)}
    assert rows == {"erm": 2, "end": 1, "end:sampler=balanced": 1, "truth": 3}
    assert {row.name for row in rows_of(lines, [END, Candidate("lff")], 0.95)} == {"erm", "end", "truth"}


def test_external_films_count_within_their_source() -> None:
    lines = lines_of(3)
    for x in lines:  # the source of half of the patients has another scale: pairs across sources would drown the rest
        source = np.repeat(np.arange(PATIENTS) % 2, 2)
        outside = x["test"] | {"source": source.tolist(), "follows": "2" * 2 * PATIENTS}
        x["external"] = outside | {"logit": (np.array(x["test"]["logit"]) + 50 * source).tolist()}
    inside, outside = (rows_of(lines, [BALANCED], 0.95, part) for part in ("test", "external"))
    for near, far in zip(inside, outside, strict=True):
        assert far.auroc.estimate == pytest.approx(near.auroc.estimate, abs=0.06)
        assert np.isnan(far.conflicting.estimate) and np.isnan(far.leak)
    assert outside[1].gap.low > 0


def test_the_tables_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(3)
    lines.append(line(Candidate("lff"), 0.95, 0, 1.0) | {"failed": "a term of lff is not finite"})
    for x in lines:
        x["external"] = x["test"]
    show_tables(lines, candidates_in(lines), rhos_in(lines), Console(width=80))
    shown = capsys.readouterr().out
    assert "pneumonia against normal; planted" in shown and "truth (rho 0.5)" in shown
    assert "sources never seen, rho 0.95" in shown and "failed: lff, rho 0.95, seed 0: a term of lff" in shown
    assert "160 films of 80 patients" in shown and "…" not in shown
    assert "\nend:sampler=balanced " in shown, "a name of the default methods is not cut"
    assert max(map(len, shown.splitlines())) <= 80
    assert candidates_in(lines) == [Candidate("erm"), END, BALANCED, Candidate("lff")] and rhos_in(lines) == [0.95]


def test_rows_of_fewer_seeds_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [x for x in lines_of(3) if (x["method"], x["variant"]) != ("end", "") or x["seed"] == 0]
    show_tables(lines, candidates_in(lines), rhos_in(lines), Console(width=80))
    assert "mean over 3 seeds (1 of end), with 95 %" in " ".join(capsys.readouterr().out.split())


def test_a_record_of_failures_is_said() -> None:
    with pytest.raises(ValueError, match="every run has failed: not finite"):
        show_tables([line(END, 0.95, 0, 1.0) | {"failed": "not finite"}], [END], [0.95], Console())


def test_differences_are_to_any_of_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(4)
    beside_erm = rows_of(lines, [END, BALANCED], 0.95)
    erm, end, balanced, truth = rows_of(lines, [END, BALANCED], 0.95, reference=BALANCED)
    assert np.isnan([row.difference.interval.estimate for row in (erm, balanced, truth)]).all()
    assert end.difference.interval.estimate == pytest.approx(
        beside_erm[1].difference.interval.estimate - beside_erm[2].difference.interval.estimate
    )
    assert balanced.gap == beside_erm[2].gap, "the gap stays that from ERM to the truth"
    show_tables(lines, [END, BALANCED], [0.95], Console(width=80), BALANCED)
    shown = capsys.readouterr().out
    assert "differences are to end:sampler=balanced" in " ".join(shown.split()) and "minus ERM" not in shown
    with pytest.raises(ValueError, match="--reference lff: no run of it is finished; there are erm, end"):
        show_tables(lines, [END], [0.95], Console(), Candidate("lff"))
