"""The benchmark commands: their peer computes the same thing, and a finished pair is not trained again."""

import json
from pathlib import Path

import pytest
import torch

from training.benchmark import __main__ as benchmark
from training.benchmark.cost import gram_terms
from training.methods.end import disentangling_loss, entangling_loss

pytestmark = pytest.mark.trains

FAST = ["--dataset", "phantom", "--model", "test_resnet", "--img-size", "32", "--epochs", "1", "--films", "64"]


def test_the_gram_matrix_peer_computes_the_same_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    target, bias = (torch.randint(n, (40,), generator=generator) for n in (3, 4))
    ours = disentangling_loss(features, bias, 4, "signed") + entangling_loss(features, target, bias, 3, 4)
    torch.testing.assert_close(gram_terms(features, target, bias), ours)


def test_seeds_in_pairs_end_in_a_record_and_are_not_trained_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    record = tmp_path / "record.json"
    command = ["paired", "--seeds", "0", "1", "--record", str(record), *FAST, "--output", str(tmp_path / "runs")]
    benchmark.main(command)
    first = json.loads(record.read_text())
    assert first["seeds"] == [0, 1] and len(first["runs"]) == 4
    rows = {(row["part"], row["metric"]): row for row in first["rows"]}
    assert {"erm", "end", "difference", "p", "p_holm", "detectable", "verdict"} <= rows["test", "leak"].keys()
    found = [run["metrics"]["test"]["leak"] for run in first["runs"]]
    by_seed = rows["test", "leak"]
    assert by_seed["over"] == "seeds" and by_seed["by_seed"] == {"erm": found[::2], "end": found[1::2]}
    everywhere = rows["test, all sources", "auroc"]
    found = [run["metrics"]["test"]["auroc"] for run in first["runs"]]
    gap = ((found[1] - found[0]) + (found[3] - found[2])) / 2
    assert everywhere["over"] == "patients and seeds"
    assert everywhere["difference"]["estimate"] == pytest.approx(gap, abs=1e-9)
    assert everywhere["difference"]["low"] <= gap <= everywhere["difference"]["high"] and everywhere["detectable"] > 0
    assert everywhere["p_holm"] >= everywhere["p"]
    drawn = [run["folder"] for run in first["runs"]]
    assert drawn[0] == "phantom-erm-test_resnet-s0-redraw0.8" and first["redraw"] == 0.8
    assert str(tmp_path) not in json.dumps(first["settings"])

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("training.loop.obtain.train", refuse)
    benchmark.main(command)
    assert json.loads(record.read_text())["rows"] == first["rows"]
    shown = capsys.readouterr().out
    assert "p is corrected for" in shown and max(map(len, shown.splitlines())) <= 80


def test_several_methods_share_erm_and_are_corrected_for_all_their_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    record = tmp_path / "record.json"
    command = ["paired", "--seeds", "0", "1", "--resplit", "--method", "end", "erm:sampler=balanced", "reweight", *FAST]
    benchmark.main([*command, "--record", str(record), "--output", str(tmp_path / "runs")])
    found = json.loads(record.read_text())
    assert len(found["runs"]) == 2 * 4 and found["runs"][0]["folder"].startswith("phantom-erm")
    names = ["end", "erm:sampler=balanced", "reweight"]
    leaks = [row for row in found["rows"] if row["metric"] == "leak"]
    assert [row["method"] for row in leaks] == names == list(found["settings"])
    assert [found["settings"][name]["sampler"] for name in names] == ["balanced", "balanced", "paired"]
    measured = [run["metrics"]["test"]["leak"] for run in found["runs"]]
    assert [row["by_seed"] for row in leaks] == [
        {"erm": measured[::4], name: measured[i::4]} for i, name in enumerate(names, 1)
    ]
    ordered = sorted((row for row in found["rows"] if row["p"] is not None), key=lambda row: row["p"])
    assert ordered[0]["p_holm"] == pytest.approx(min(1, len(ordered) * ordered[0]["p"]))
    shown = capsys.readouterr().out
    assert f"p is corrected for {len(ordered)} comparisons" in shown and max(map(len, shown.splitlines())) <= 80


def test_an_audits_time_is_divided_into_stages(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["audit", "--films", "40", "--resamples", "20"])
    shown = capsys.readouterr().out
    for stage in ("decode", "score", "perturbed scoring", "groups", "leak", "differences", "report"):
        assert f" {stage} " in shown
    assert "40 phantom films" in shown and "times the CPU time of the bare models' scoring" in shown
    benchmark.main(["audit", "--films", "150", "--from-scores", "--resamples", "20"])
    shown = capsys.readouterr().out
    assert "150 simulated films" in shown and " decode " not in shown


def test_erm_may_train_on_the_methods_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    record = tmp_path / "record.json"
    command = ["paired", "--seeds", "1", "--resplit", "--same-batches", "--record", str(record), *FAST]
    benchmark.main([*command, "--output", str(tmp_path)])
    found = json.loads(record.read_text())
    assert found["same_batches"]
    settings = [(tmp_path / run["folder"] / "config.yaml").read_text() for run in found["runs"]]
    assert ["method: erm" in settings[0], "method: end" in settings[1]] == [True, True]
    assert all("sampler: balanced" in text for text in settings)


def test_each_seed_may_draw_its_own_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("END_CXR_DATA", raising=False)
    record = tmp_path / "new" / "record.json"
    command = ["paired", "--seeds", "1", "2", "--resplit", "--record", str(record), *FAST, "--output", str(tmp_path)]
    benchmark.main(command)
    found = json.loads(record.read_text())
    assert {row["over"] for row in found["rows"]} == {"seeds"} and found["redraw"] == 1
    assert all(row["p_holm"] is None or row["p_holm"] >= row["p"] for row in found["rows"])
    seeds = [(tmp_path / f"phantom-end-test_resnet-s{seed}/config.yaml").read_text() for seed in (1, 2)]
    assert "split_seed: 1" in seeds[0] and "split_seed: 2" in seeds[1]


def test_another_file_is_no_place_for_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "settings.json").write_text('{"lr": 0.1}')
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["paired", *FAST, "--record", str(tmp_path / "settings.json")])
    assert stopped.value.code == 2 and "is there already and is no record" in capsys.readouterr().err
    assert (tmp_path / "settings.json").read_text() == '{"lr": 0.1}'


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["cost", "--epochs", "1"], "unknown argument --epochs"),
        (["paired", *FAST, "--method", "end", "erm"], "beside ERM"),
        (["paired", *FAST, "--method", "end", "reweight", "--same-batches"], "in different ways (balanced, paired)"),
        (["paired", *FAST, "--method", "ebd"], "there is no method ebd"),
        (["paired", *FAST, "--method", "end:alpha=-1"], "alpha"),
    ],
)
def test_mistakes_get_a_sentence(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(arguments)
    assert expected in capsys.readouterr().err + str(stopped.value)
