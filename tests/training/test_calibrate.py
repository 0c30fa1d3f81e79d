"""`python -m training.calibrate`, from films to an audit that reads them by site."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.datasets.prepare.archive import archive
from training.bias.numbers.calibration import at_its_bound
from training.calibrate.__main__ import main as calibrate
from training.evaluate.__main__ import main as evaluate
from training.run.checkpoint_header import head_digest
from training.run.site_calibration import NAME, SiteCalibrationError, read_site_calibration
from training.train import main as train

pytestmark = pytest.mark.trains
NEGATIVE = '"temperature": {"estimate": -1}, "threshold": {"estimate": 1}'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    flags = ["--dataset", "phantom", "--films", "500", "--rho", "0.6", "--epochs", "1", "--method", "erm"]
    train([*flags, "--model", "test_resnet", "--img-size", "32", "--output", str(out)])
    (folder,) = out.glob("phantom-*")
    return folder


@pytest.fixture(autouse=True)
def not_calibrated_yet(run: Path) -> None:
    (run / NAME).unlink(missing_ok=True)


def test_sites_are_fitted_written_and_read_by_the_audit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "model.safetensors").read_bytes()
    calibrate([str(run), "--split", "validation", "--resamples", "100"])
    shown = capsys.readouterr().out
    assert "was trained on" not in shown
    assert "SYNTHETIC" in shown and f"training.evaluate {run} --site-calibration" in shown
    assert (run / "model.safetensors").read_bytes() == before, "the checkpoint stays as it is"
    written = json.loads((run / NAME).read_text())
    assert written["checkpoint"] == head_digest(run) and written["operating_point"] == "youden"
    assert set(written["sites"]) == {"east", "north", "west"} and any(s["own"] for s in written["sites"].values())
    assert not any(word in (run / NAME).read_text() for word in ("/", "PHANTOM"))
    for name, site in written["sites"].items():
        told = f"{name}: the temperature ended at the bound of its range" in " ".join(shown.split())
        assert told == (site["own"] and at_its_bound(site["temperature"]["estimate"]))
    sites = read_site_calibration(run)

    few = ["--split", "test", "--no-shortcuts", "--resamples", "100", "--permutations", "100"]
    evaluate([str(run), "--output", str(tmp_path / "plain"), *few])
    capsys.readouterr()
    evaluate([str(run), "--output", str(tmp_path / "by-site"), "--site-calibration", *few])
    assert "read by site, on films that it was not fitted on" in " ".join(capsys.readouterr().out.split())
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("plain", "by-site")]
    asked = ("works", "within", "follows")
    found = [{a["question"]: a["estimate"] for a in r["verdict"]["answers"] if a["question"] in asked} for r in reports]
    assert found[0] == found[1], "temperatures of sites were fitted to their labels: they order no films of two sites"
    plain, by_site = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("plain", "by-site"))
    assert plain["logit"].tolist() == by_site["logit"].tolist()
    assert plain["score"].tolist() == by_site["own_score"].tolist() != by_site["score"].tolist()
    for name, rows in by_site.groupby("source"):
        if name in sites.sites:
            called = rows["score"] >= sites.sites[name][1]
            assert ((rows["prediction"] == "covid") == called).all()
        else:
            assert rows["score"].tolist() == plain.loc[rows.index, "score"].tolist()
    report = json.loads((tmp_path / "by-site/report.json").read_text())
    assert report["site_calibration"][run.name][0]["site"] == "all sites"
    assert any("calibrated by site" in note for note in report["runs"][0]["cautions"] + [json.dumps(report)])


def test_films_that_it_was_fitted_on_are_not_audited(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate([str(run), "--split", "test", "--resamples", "100"])
    with pytest.raises(SystemExit) as stopped:
        evaluate([str(run), "--split", "test", "--site-calibration", "--no-shortcuts"])
    assert stopped.value.code == 2
    assert "no film is left; the first reason: the site calibration of" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_can_not_be_written_to_is_refused_before_a_film_is_scored(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(dir: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(dir))

    monkeypatch.setattr("datasets.files.tempfile.TemporaryFile", read_only)
    monkeypatch.setattr("training.calibrate.fitting.score", None)
    with pytest.raises(SystemExit) as stopped:
        calibrate([str(run), "--split", "validation"])
    assert stopped.value.code == 2
    assert f"error: RUN {run} can't be written to: Read-only file system" in capsys.readouterr().err


def cohort(folder: Path, sites: tuple[str, ...], films: int) -> Path:
    """Films of patients that no run has seen, each site in turn, both labels at each."""
    folder.mkdir()
    rows = []
    for number in range(films):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        label = ("covid", "normal")[number // len(sites) % 2]
        rows.append((f"{number}.png", label, sites[number % len(sites)], f"{folder.name}{number}"))
    table = pd.DataFrame(rows, columns=["path", "label", "source", "patient_id"])
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


def test_names_of_sites_are_shown_as_they_stand(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = ("[red]x", "[/y]", "a:x:b", "east, west")
    films = cohort(tmp_path / "odd", odd, 80)
    shutil.copy(films / "0.png", films / "9.png")
    calibrate([str(run), "--data-dir", str(films), "--resamples", "100"])
    shown = capsys.readouterr().out
    assert "1 of 80 films have exactly the pixels of another patient's film (line 11 of" in " ".join(shown.split())
    assert all(shown.count(site) >= 2 for site in odd)
    assert set(json.loads((run / NAME).read_text())["sites"]) == set(odd)
    few = ["--site-calibration", "--no-shortcuts", "--resamples", "100", "--permutations", "100"]
    others = str(cohort(tmp_path / "others", ("north",), 24))
    evaluate([str(run), "--data-dir", others, "--output", str(tmp_path / "audit"), *few])
    said = " ".join(capsys.readouterr().out.split())
    assert "No film is of a site that has a calibration of its own ([/y], [red]x, a:x:b, east, west)" in said


def test_a_folder_of_films_is_made_into_a_cohort_of_its_own(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive(tmp_path / "week").to_csv(tmp_path / "labels.csv", index=False)
    where = ["--dicom-dir", str(tmp_path / "week"), "--labels", str(tmp_path / "labels.csv"), "--resamples", "100"]
    with pytest.raises(SystemExit):  # eight patients a site
        calibrate([str(run), *where])
    shown = capsys.readouterr().out
    assert "16 films" in shown and "institution" in shown and "training.train" not in shown
    assert [folder.name for folder in (run.parent / "cohorts").iterdir()] == ["week-calibration"]


def test_films_of_the_training_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate([str(run), "--split", "train,validation", "--resamples", "100"])
    assert f"{run.name} was trained on films of split train" in " ".join(capsys.readouterr().out.split())


def test_where_no_site_has_enough_patients_an_earlier_calibration_stays(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate([str(run), "--data-dir", str(cohort(tmp_path / "enough", ("a",), 40)), "--resamples", "100"])
    before = (run / NAME).read_bytes()
    with pytest.raises(SystemExit) as stopped:
        calibrate([str(run), "--data-dir", str(cohort(tmp_path / "few", ("a", "b"), 12)), "--resamples", "100"])
    assert stopped.value.code == 2 and "nothing was written: no site has ten patients" in capsys.readouterr().err
    assert (run / NAME).read_bytes() == before


def test_films_that_lack_a_calibrated_site_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate([str(run), "--data-dir", str(cohort(tmp_path / "first", ("a", "b"), 80)), "--resamples", "100"])
    before = (run / NAME).read_bytes()
    with pytest.raises(SystemExit):
        calibrate([str(run), "--data-dir", str(cohort(tmp_path / "next", ("b", "c"), 80)), "--resamples", "100"])
    assert "has sites that these films lack (a) and would lose them" in capsys.readouterr().err
    assert (run / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "has no site_calibration.json: fit it anew"),
        ("{", "is no site calibration"),
        ("[" * 100_000, "is no site calibration"),
        ('{"schema_version": 9}', "schema version 9"),
        (f'{{"schema_version": 1, "sites": {{"a": {{"own": true, {NEGATIVE}}}}}}}', "no number above 0"),
        ('{"schema_version": 1, "sites": {}, "patients": [], "key": "", "checkpoint": "another"}', "another checkpoint"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_or_of_another_checkpoint(content: str | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / NAME).write_text(content)
    with pytest.raises(SiteCalibrationError, match=expected):
        read_site_calibration(tmp_path)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--labels", "l.csv"], "--labels belongs to --dicom-dir"),
        (["--dicom-dir", "films"], "--dicom-dir needs --labels"),
        (["--resamples", "9"], "must be from 100 to 100,000"),
        (["--operating-point", "sensitivity:2"], "operating point 'sensitivity:2'"),
        (["--operating-point", ""], "operating point ''"),
        (["--split", "moon"], "--split moon: choose from"),
    ],
)
def test_mistakes_are_sentences(run: Path, flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        calibrate([str(run), *flags])
    assert stopped.value.code == 2 and expected in " ".join(capsys.readouterr().err.split())
