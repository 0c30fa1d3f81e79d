"""The evaluation of a DICOM folder end to end: scores, tables, options, changes between runs, mistakes in words."""

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.evaluate.__main__ import main
from training.scoring.predict import Predictor

pytestmark = pytest.mark.process

QUICK = ["--resamples", "100", "--permutations", "100", "--workers", "2", "--no-shortcuts"]
REASONS = {
    ("scored", None): 40,
    ("skipped", "DICOMDIR"): 1,
    ("skipped", "not DICOM"): 2,
    ("skipped", "colour"): 1,
    ("skipped", "duplicate"): 1,
    ("skipped", "for processing"): 1,
    ("skipped", "lateral view"): 1,
    ("skipped", "multi-frame"): 1,
    ("failed", "truncated"): 1,
}


def evaluate(*arguments: object) -> int:
    try:
        main([*map(str, arguments), *QUICK])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def counts(output: Path) -> dict[tuple[str, str | None], int]:
    """Files by status and reason."""
    files = pd.read_parquet(output / "files.parquet")
    return {
        (status, None if pd.isna(reason) else reason): count
        for (status, reason), count in files.value_counts(["status", "reason"], dropna=False).items()
    }


def shard_files(output: Path) -> dict[str, int]:
    """When each shard was written."""
    return {file.name: file.stat().st_mtime_ns for file in (output / "shards").iterdir()}


@dataclass(frozen=True)
class Evaluated:
    """An output folder, what was printed, and the path of each file by its hash."""

    output: Path
    printed: str
    linkage: pd.DataFrame


@pytest.fixture(scope="module")
def both(
    film_folder: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """Both runs on the whole folder, with labels."""
    place = tmp_path_factory.mktemp("both")
    options = [
        "--labels",
        film_folder / "labels.csv",
        "--aggregate",
        "max",
        "--linkage",
        place / "private" / "link.csv",
    ]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = evaluate(
            *folder_runs, "--dicom-dir", film_folder, "--output", place / "out", "--hash-key", folder_key, *options
        )
    assert code == 0, printed.getvalue()
    linkage = pd.read_csv(place / "private" / "link.csv", dtype=str, keep_default_na=False)
    return Evaluated(place / "out", printed.getvalue(), linkage)


def test_a_sample_of_films_is_perturbed_and_kept(
    film_folder: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path: Path
) -> None:
    labels = ["--labels", film_folder / "labels.csv", "--hash-key", folder_key, "--output", tmp_path / "out"]
    few = ["--resamples", "100", "--permutations", "100", "--workers", "2", "--shortcut-films", "12"]
    command = [*map(str, (*folder_runs, "--dicom-dir", film_folder, *labels)), *few]
    main(command)
    report = json.loads((tmp_path / "out/report.json").read_text())
    for run in report["runs"]:
        assert {row["shortcut"] for row in run["shortcuts"]} >= {"intact", "border_only", "mirrored"}
        assert all(row["score_change"] > 0 for row in run["shortcuts"] if row["shortcut"] == "border_only")
        assert any("are a sample: 1" in note for note in run["notes"])
    before = shard_files(tmp_path / "out")
    main(command)
    assert shard_files(tmp_path / "out") == before, "nothing is scored or perturbed again"


def test_every_file_has_one_row_and_the_counts_add_up(both: Evaluated, film_folder: Path) -> None:
    files = pd.read_parquet(both.output / "files.parquet")
    there = [path.relative_to(film_folder).as_posix() for path in film_folder.rglob("*") if path.is_file()]
    assert len(files) == len(there) == sum(REASONS.values()) and files["file"].is_unique
    assert files["row"].tolist() == list(range(len(files)))
    assert counts(both.output) == REASONS
    assert "49 files: 40 scored, 8 skipped, 1 failed" in both.printed
    path = both.linkage.set_index("file")["path"]
    assert path[files["file"]].tolist() == sorted(there, key=lambda name: name.split("/"))
    duplicate = files[files["reason"] == "duplicate"].iloc[0]
    first = files[files["instance"] == duplicate["instance"]].iloc[0]
    assert first["status"] == "scored" and path[duplicate["file"]] == "odd/duplicate.dcm"
    report = json.loads((both.output / "report.json").read_text())
    assert sum(row["files"] for row in report["files"]["counts"]) == 49
    assert report["synthetic"] and {run["name"] for run in report["runs"]} == {*both_runs(both)}


def both_runs(both: Evaluated) -> list[str]:
    return list(dict.fromkeys(pd.read_parquet(both.output / "predictions.parquet")["run"]))


def test_a_score_is_that_of_the_predictor_on_the_same_bytes(
    both: Evaluated, film_folder: Path, folder_runs: tuple[Path, Path]
) -> None:
    table = pd.read_parquet(both.output / "predictions.parquet")
    assert [*table["run"].value_counts(sort=False).items()] == [(run.name, 40) for run in folder_runs]
    path = both.linkage.set_index("file")["path"]
    labels = pd.read_csv(film_folder / "labels.csv").set_index("file")["label"]
    for run, films in table.groupby("run"):
        predictor = Predictor.load(next(folder for folder in folder_runs if folder.name == run))
        names = path[films["file"]]
        expected = [predictor.score(film_folder / name) for name in names]
        assert np.allclose(films["score"], expected, atol=1e-5)
        limit = predictor.checkpoint.threshold
        assert limit is not None
        assert ((films["score"] >= limit) == (films["prediction"] == "covid")).all()
        assert ((films["target"] == "covid") == (labels[names] == "covid").to_numpy()).all()
    text = pd.read_csv(both.output / "predictions.csv")
    assert list(text) == list(table) and np.allclose(text["score"], table["score"])
    assert text["file"].tolist() == table["file"].tolist()


def test_institutions_are_named_by_letters_and_studies_and_patients_have_scores(both: Evaluated) -> None:
    table = pd.read_parquet(both.output / "predictions.parquet")
    sizes = table.groupby("source").size()
    assert [f"institution {letter}" for letter in "ABCDEF"] == list(sizes.index)
    assert (sizes.diff().dropna() <= 0).all()
    for unit, name in (("study", "studies"), ("patient", "patients")):
        units = pd.read_parquet(both.output / f"{name}.parquet")
        expected = table.groupby(["run", unit], sort=False)["score"].max()
        found = units.set_index(["run", unit])["score"]
        pd.testing.assert_series_equal(found, expected)
        assert units["films"].sum() == len(table)
        positive = table[table["target"] == "covid"].groupby(["run", unit]).size()
        assert (units.set_index(["run", unit])["target"] == "covid").sum() == len(positive)


def test_linkage_identifies_and_is_its_owner_s_alone(both: Evaluated, film_folder: Path) -> None:
    file = both.output.parent / "private" / "link.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    labels = pd.read_csv(film_folder / "labels.csv").set_index("file")
    known = both.linkage[both.linkage["path"].isin(labels.index)].set_index("path")
    assert len(known) == 40
    for column in ("sop_instance_uid", "accession_number"):
        assert (known[column] == labels[column][known.index]).all()
    assert "identifies patients" in both.printed
    with file.open(newline="") as opened:
        assert len(list(csv.reader(opened))) == 50


def test_what_is_finished_is_not_done_again(
    both: Evaluated,
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = shard_files(both.output)
    files = (both.output / "files.parquet").read_bytes()
    monkeypatch.setattr("training.folder.engines.ShardScorer", lambda *_: pytest.fail("scored again"))
    options = ["--labels", film_folder / "labels.csv", "--hash-key", folder_key]
    assert evaluate(*folder_runs, "--dicom-dir", film_folder, "--output", both.output, *options) == 0
    assert shard_files(both.output) == before and (both.output / "files.parquet").read_bytes() == files


def test_only_what_changed_is_scored_anew(
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    films, out = tmp_path / "films", tmp_path / "out"
    shutil.copytree(film_folder, films, copy_function=shutil.copy2)
    arguments = [folder_runs[0], "--dicom-dir", films, "--hash-key", folder_key, "--shard-files", "4", "--output"]
    assert evaluate(*arguments, out) == 0
    before = shard_files(out)
    assert len(before) > 20

    names = sorted(films.glob("*/im*.dcm"))
    names[0].unlink()  # the first: all others move up
    shutil.copy2(names[1], names[7])  # now another film, under the name of an old one
    shutil.copy2(film_folder / "odd" / "notes.txt", films / "east" / "added.txt")
    assert evaluate(*arguments, out) == 0
    after = shard_files(out)
    kept = {name for name, when in after.items() if before.get(name) == when}
    assert len(kept) >= len(before) - 9 and len(after) - len(kept) >= 2
    assert evaluate(*arguments, tmp_path / "fresh") == 0
    for table in ("files", "predictions"):
        pd.testing.assert_frame_equal(
            pd.read_parquet(out / f"{table}.parquet"), pd.read_parquet(tmp_path / "fresh" / f"{table}.parquet")
        )
    assert counts(out)["skipped", "duplicate"] == 1, "that of the film that is gone is now the only one"
    assert "49 files: 39 scored, 9 skipped, 1 failed" in capsys.readouterr().out


def test_labels_from_parquet_with_columns_to_group_by(
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = pd.read_csv(film_folder / "labels.csv").drop(columns=["file", "accession_number"]).iloc[:-2]
    labels["ward"] = np.where(labels.index % 2 == 0, "=east", np.where(labels.index % 4 == 1, "west", " WEST"))
    labels["floor"] = labels.index % 3
    stray = pd.DataFrame({"sop_instance_uid": ["1.2.3"], "label": ["covid"], "ward": ["west"], "floor": [0]})
    pd.concat([labels, stray]).to_parquet(tmp_path / "labels.parquet")
    out = tmp_path / "out"
    options = ["--labels", tmp_path / "labels.parquet", "--source-tag", "ward", "--by", "floor", "--by", "manufacturer"]
    code = evaluate(folder_runs[0], "--dicom-dir", film_folder, "--output", out, "--hash-key", folder_key, *options)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert "Source 'west' is also spelled 'WEST': taken for one." in shown.out
    assert "1 lines of the labels go with no file" in shown.out and "2 scored films have no label" in shown.out
    table = pd.read_parquet(out / "predictions.parquet")
    assert set(table["source"].dropna()) == {"=east", "west"} and set(table["floor"].dropna()) == {"0", "1", "2"}
    assert table["target"].notna().sum() == table["source"].notna().sum() == 38
    assert "'=east" in (out / "predictions.csv").read_text() and ",=east" not in (out / "predictions.csv").read_text()
    report = json.loads((out / "report.json").read_text())
    assert {"floor", "manufacturer"} <= set(report["runs"][0]["groups"])


def test_views_and_intents_are_admitted_on_request(
    film_folder: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path: Path
) -> None:
    odd = film_folder / "odd"
    options = ["--hash-key", folder_key, "--views", "lateral,pa,ap", "--presentation", "any", "--modalities", "DX"]
    assert evaluate(folder_runs[0], "--dicom-dir", odd, "--output", tmp_path / "out", *options) == 0
    found = counts(tmp_path / "out")
    assert ("skipped", "lateral view") not in found and ("skipped", "for processing") not in found
    assert evaluate(folder_runs[0], "--dicom-dir", odd, "--output", tmp_path / "out", *options[:2]) in (0, 2)
    assert counts(tmp_path / "out")["skipped", "lateral view"] == 1, "another policy, other shards"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up(
    both: Evaluated,
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tiny_disk: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [*folder_runs, "--dicom-dir", film_folder, "--output", tiny_disk / "out", "--hash-key", folder_key]
    arguments += ["--shard-files", "8"]
    assert evaluate(*arguments) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and "Traceback" not in error
    finished = shard_files(tiny_disk / "out")
    assert finished and not [name for name in finished if name.startswith(".")], "nothing half written"
    for name in finished:
        pd.read_parquet(tiny_disk / "out" / "shards" / name)
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    assert evaluate(*arguments) == 0
    assert finished.items() <= shard_files(tiny_disk / "out").items(), "what was finished is kept"
    assert_same_tables(tiny_disk / "out", both.output)


def test_a_disk_that_is_full_from_a_moment_on(
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same where nothing can be mounted, at the first, at a later and at the last of all files."""
    arguments = [folder_runs[0], "--dicom-dir", film_folder, "--hash-key", folder_key, "--shard-files", "16"]
    fsync = os.fsync
    left = 0

    def full(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr("datasets.files.os.fsync", full)
    for room in (0, 2, 9):
        left = room
        assert evaluate(*arguments, "--output", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert f"error: {tmp_path / 'out'}/" in said and "can't be written or read: No space left on device" in said
        assert ".aside" not in said
        assert not [file for file in (tmp_path / "out").rglob(".*") if file.is_file()]
    monkeypatch.undo()
    assert evaluate(*arguments, "--output", tmp_path / "out") == 0
    assert counts(tmp_path / "out") == REASONS
    assert (tmp_path / "out" / "report.json").is_file()
    left = 0
    monkeypatch.setattr("training.evaluate.evaluation.write_page", lambda report, file: full(-1))
    assert evaluate(folder_runs[1], *arguments[1:], "--output", tmp_path / "out") == 2
    assert set(pd.read_parquet(tmp_path / "out" / "predictions.parquet")["run"]) == {folder_runs[1].name}
    assert not list((tmp_path / "out").glob("report.*")), "an earlier report is none of these predictions"


def assert_same_tables(ours: Path, theirs: Path) -> None:
    """To rounding: films scored in other company."""
    for name in ("files", "predictions"):
        left, right = pd.read_parquet(ours / f"{name}.parquet"), pd.read_parquet(theirs / f"{name}.parquet")
        columns = [column for column in left if column in right and column != "target"]
        pd.testing.assert_frame_equal(left[columns], right[columns], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dicom-dir", "{films}/none"], "none does not exist"),
        (["--dicom-dir", "{films}/DICOMDIR"], "DICOMDIR is no folder"),
        (["--dicom-dir", "memory://nowhere"], "memory://nowhere can't be read"),
        (["--dicom-dir", "{empty}"], "no file of the folder could be scored"),
        (["--dicom-dir", "{films}", "--output", "{films}/out"], "lies in the folder that is read"),
        (["--dicom-dir", "{films}", "--shards", "{films}/s"], "lies in the folder that is read"),
        (["--dicom-dir", "{films}", "--linkage", "{films}/l.csv"], "lies in the folder that is read"),
        (["--dicom-dir", "{films}", "--shards", "{other}"], "--shards {other} is there already and is no folder"),
        (["--dicom-dir", "{films}", "--sr", "{other}/sr"], "--sr {other}/sr can't be made: {other} is no folder"),
        (["--dicom-dir", "{films}", "--linkage", "{empty}"], "--linkage {empty} is a folder: name a file"),
        (
            ["--dicom-dir", "{films}", "--source-tag", "PatientID"],
            "--source-tag PatientID: nothing of that name is kept",
        ),
        (["--dicom-dir", "{films}", "--by", "ward"], "--by ward: nothing of that name is kept of a film; choose from"),
        (["--dicom-dir", "{films}", "--labels", "{films}/none.csv"], "none.csv: no such file"),
        (["--dicom-dir", "{films}", "--labels", "{films}/odd/notes.txt"], "one of them label"),
        (
            ["--dicom-dir", "{films}", "--labels", "{films}/labels.csv", "--by", "accession_number"],
            "--by accession_number",
        ),
        (["--dicom-dir", "{films}", "--by", "station"], "give --labels"),
        (["--dicom-dir", "{films}", "--fail-on", "auroc<0.5"], "--fail-on needs --labels"),
        (["--dicom-dir", "{films}", "--labels", "{other}", "--fail-on", "auroc<0.5"], "no scored film has a label"),
        (
            ["--dicom-dir", "{films}", "--labels", "{films}/labels.csv", "--fail-on", "worst:auroc:ward<0.7"],
            "--fail-on worst:auroc:ward<0.7: can't be measured: the films have no column ward; they are grouped by split,",
        ),
        (
            ["--dicom-dir", "{films}", "--labels", "{films}/labels.csv", "--fail-on", "leak:station>0.7"],
            "give --by station too",
        ),
        (["--dicom-dir", "{films}", "--views", "PA,SIDE"], "--views SIDE: choose from PA, AP"),
        (["--dicom-dir", "{films}", "--views", ","], "--views ,: choose from"),
        (["--dicom-dir", "{films}", "--modalities", "XR"], "--modalities XR: choose from CR, CT"),
        (["--dicom-dir", "{films}", "--workers", "0"], "--workers 0: must be 1 or more"),
        (["--dicom-dir", "{films}", "--time-limit", "nan"], "--time-limit nan: must be 1 or more"),
        (["--dicom-dir", "{films}", "--shard-files", "-3"], "--shard-files -3: must be 1 or more"),
        (["--dicom-dir", "{films}", "--data-dir", "{films}"], "not allowed with argument"),
        (["--dicom-dir", "{films}", "--hash-key", "{films}/none"], "can't be read"),
        (["--labels", "{films}/labels.csv"], "--labels belongs to --dicom-dir"),
        (["--aggregate", "max"], "--aggregate belongs to --dicom-dir"),
        (["--linkage", "x"], "--linkage belongs to --dicom-dir"),
    ],
)
def test_mistakes_get_a_sentence(
    arguments: list[str],
    expected: str,
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.csv").write_text("file,label\nno film of this folder.dcm,covid\n")
    places = {"films": film_folder, "empty": tmp_path / "empty", "other": tmp_path / "other.csv"}
    filled = [text.format(**places) for text in arguments]
    output = [] if "--output" in arguments else ["--output", tmp_path / "out"]
    before = sorted(film_folder.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main([str(folder_runs[0]), *QUICK, *map(str, output), *filled])
    shown = capsys.readouterr()
    assert stopped.value.code == 2 and "Traceback" not in shown.err
    assert (expected.format(**places) if "{other}" in expected or "{empty}" in expected else expected) in shown.err
    assert sorted(film_folder.rglob("*")) == before


def test_patients_of_training_that_can_not_be_told_are_refused_with_labels(
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder_runs[0], run, ignore=shutil.ignore_patterns("predictions.parquet"))
    labels = ["--labels", film_folder / "labels.csv", "--no-shortcuts"]
    arguments = ["--dicom-dir", film_folder, "--output", tmp_path / "out", *labels]
    assert evaluate(run, *arguments) == 2
    assert "run holds no predictions.parquet, so that films it was trained on" in capsys.readouterr().err
    assert evaluate(folder_runs[0], *arguments, "--hash-key", run / "config.yaml") == 2
    other = tmp_path / "key"
    other.write_text("cd" * 32)
    assert evaluate(folder_runs[0], *arguments, "--hash-key", other) == 2
    assert (
        f"hashes by another key than {folder_runs[0].name}, whose key is --hash-key {folder_key}"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    assert evaluate(run, *arguments, "--allow-training-films") == 0
    (audited,) = json.loads((tmp_path / "out" / "report.json").read_text())["runs"]
    warning = "Some of these films may be films that the run was trained on: run holds no predictions.parquet"
    assert audited["headline"].startswith(warning) and audited["notes"][0].startswith(warning)
    assert warning in (tmp_path / "out" / "report.html").read_text()


def test_an_output_must_be_named(film_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("run", "--dicom-dir", film_folder) == 2
    assert "--dicom-dir needs --output" in capsys.readouterr().err


def test_what_fails_leaves_an_earlier_audit_and_prints_no_names(
    film_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, labels = tmp_path / "out", pd.read_csv(film_folder / "labels.csv")
    command = [folder_runs[0], "--dicom-dir", film_folder, "--output", out, "--hash-key", folder_key]
    assert evaluate(*command, "--labels", film_folder / "labels.csv") == 0
    (out / "report.pdf").write_bytes(b"signed")
    before = {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()}
    wrong = labels.assign(file="elsewhere.dcm", accession_number="", sop_instance_uid="1.2")
    wrong.to_csv(tmp_path / "wrong.csv", index=False)
    assert evaluate(*command, "--labels", tmp_path / "wrong.csv") == 2
    named = labels.assign(surname=[f"{'MEIER' if row % 2 else 'Meier'} {row // 2}" for row in range(len(labels))])
    named.to_csv(tmp_path / "named.csv", index=False)
    assert evaluate(*command, "--labels", tmp_path / "named.csv", "--by", "surname") == 2
    shown = capsys.readouterr()
    assert "eier" not in shown.out.casefold() + shown.err.casefold()
    assert {file.name: file.read_bytes() for file in out.iterdir() if file.is_file()} == before


def test_nothing_that_can_be_scored(
    film_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(film_folder / "odd", tmp_path / "odd")
    (tmp_path / "odd" / "duplicate.dcm").unlink()
    assert evaluate(folder_runs[0], "--dicom-dir", tmp_path / "odd", "--output", tmp_path / "out") == 2
    shown = capsys.readouterr()
    assert (
        "no file of the folder could be scored" in shown.err and "6 files: 0 scored, 5 skipped, 1 failed" in shown.out
    )
    assert len(pd.read_parquet(tmp_path / "out" / "files.parquet")) == 6


def test_a_model_of_digits_scores_no_radiograph(
    film_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import dataclasses

    from datasets.sample import DatasetInfo
    from training.run.checkpoint import load_checkpoint, save_checkpoint

    digits = DatasetInfo("biased-mnist", tuple("01"), ("a", "b"), "colour", None, False)
    run = tmp_path / "digits"
    run.mkdir()
    checkpoint = load_checkpoint(folder_runs[0])
    save_checkpoint(dataclasses.replace(checkpoint, info=digits), run / "model.safetensors")
    assert evaluate(run, "--dicom-dir", film_folder, "--output", tmp_path / "out") == 2
    assert "digits is a model of digits: it can't score chest radiographs" in capsys.readouterr().err
