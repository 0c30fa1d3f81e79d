"""Shards: how a folder is cut, what names them, and the rows that come out."""

import dataclasses
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from datasets.film.folder import LINK, SPECIAL, UNLISTED, Entry, LocalFolder, RemoteFolder
from datasets.film.identity import keyed_hash
from datasets.film.policy import DicomPolicy
from training.folder.reading import ReadFilm
from training.folder.shard import FILE_SCHEMA, FolderJob, ShardScorer, model_columns, shards_of
from training.scoring.predict import Predictor, read_logits

pytestmark = pytest.mark.process

KEY = bytes(range(32))


def job_of(root: Path, runs: tuple[Path, ...], **changes: object) -> FolderJob:
    return dataclasses.replace(FolderJob(LocalFolder(root), runs, KEY, workers=1), **changes)  # type: ignore[arg-type]


def table_of(job: FolderJob, scorer: ShardScorer | None = None) -> pd.DataFrame:
    with scorer or ShardScorer(job) as scorer:
        tables = [table for _, table in scorer.tables(shards_of(job, job.folder.entries()))]
    return pa.concat_tables(tables).to_pandas()


@pytest.fixture(scope="module")
def whole(film_folder: Path, folder_runs: tuple[Path, Path]) -> pd.DataFrame:
    """Rows of all files, by both runs, in one shard."""
    return table_of(job_of(film_folder, folder_runs, perturbations=("mirrored",)))


def test_shards_of_a_version_with_other_columns_are_scored_anew(
    folder_runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def name() -> str:
        return next(shards_of(job_of(Path("a"), folder_runs[:1]), [Entry("a", 1, "1")])).name

    now, columns = name(), FILE_SCHEMA.names
    monkeypatch.setattr("training.folder.shard.FILE_SCHEMA", FILE_SCHEMA.remove(columns.index("patient_alike")))
    assert name() != now
    monkeypatch.setattr("training.folder.shard.FILE_SCHEMA", FILE_SCHEMA)
    assert name() == now
    monkeypatch.setattr("training.folder.shard.LAYOUT", 0)
    assert name() != now


@pytest.mark.parametrize(("files", "entries"), [(1, 7), (3, 50), (8, 400), (512, 20_000)])
def test_every_file_is_in_one_shard_and_order_is_kept(files: int, entries: int, folder_runs: tuple[Path, Path]) -> None:
    job = job_of(Path(), folder_runs[:1], files=files)
    listed = [Entry(f"im{i:05d}.dcm", i, "1") for i in range(entries)]
    shards = list(shards_of(job, iter(listed)))
    assert [entry for shard in shards for entry in shard.entries] == listed
    assert max(len(shard.entries) for shard in shards) <= files
    assert len(shards) <= max(3, 4.5 * entries / files)
    assert len({shard.name for shard in shards}) == len(shards)
    assert not list(shards_of(job, []))


def test_a_file_that_comes_goes_or_changes_costs_its_own_shard_alone(folder_runs: tuple[Path, Path]) -> None:
    """Cuts that counted files would all move when one is added in front."""
    job = job_of(Path(), folder_runs[:1], files=64)
    before = [Entry(f"study{i // 2:04d}/im{i % 2}", 9, "1") for i in range(4000)]
    names = {shard.name for shard in shards_of(job, before)}
    assert len(names) > 100
    for place in (0, 777, 3999):
        for after in (
            before[:place] + before[place + 1 :],
            [*before[:place], before[place]._replace(changed="2"), *before[place + 1 :]],
            [*before[:place], before[place]._replace(size=8), *before[place + 1 :]],
            sorted([*before, before[place]._replace(name=before[place].name + "b")]),
        ):
            anew = {shard.name for shard in shards_of(job, after)} - names
            assert 1 <= len(anew) <= 6, (place, len(anew))


def test_all_that_decides_a_score_is_in_the_name(folder_runs: tuple[Path, Path]) -> None:
    entries = [Entry("a", 1, "1")]
    first = job_of(Path("a"), folder_runs[:1])
    others = [
        job_of(Path("a"), folder_runs[1:]),
        job_of(Path("a"), folder_runs),
        job_of(Path("a"), folder_runs[::-1]),
        job_of(Path("a"), folder_runs[:1], key=KEY[::-1]),
        job_of(Path("a"), folder_runs[:1], policy=DicomPolicy(views=("PA",))),
        job_of(Path("a"), folder_runs[:1], perturbations=("mirrored",)),
    ]
    names = [next(shards_of(job, entries)).name for job in (first, *others)]
    assert len(set(names)) == len(names)
    moved = [job_of(Path("b"), folder_runs[:1], workers=3, time_limit=1.0)]
    moved.append(job_of(Path("a"), (folder_runs[0] / "model.safetensors",)))
    assert {next(shards_of(job, entries)).name for job in moved} == {names[0]}, "no score depends on these"


def test_each_file_has_its_row_and_reason(whole: pd.DataFrame, film_folder: Path) -> None:
    entries = list(LocalFolder(film_folder).entries())
    assert whole["file"].tolist() == [keyed_hash(KEY, entry.name) for entry in entries]
    reason = dict(
        zip((entry.name for entry in entries), zip(whole["status"], whole["reason"], strict=True), strict=True)
    )
    odd = {name: found for name, found in reason.items() if found[0] != "scored"}
    assert odd == {
        "DICOMDIR": ("skipped", "DICOMDIR"),
        "labels.csv": ("skipped", "not DICOM"),
        "odd/colour.dcm": ("skipped", "colour"),
        "odd/for_processing.dcm": ("skipped", "for processing"),
        "odd/lateral.dcm": ("skipped", "lateral view"),
        "odd/notes.txt": ("skipped", "not DICOM"),
        "odd/truncated.dcm": ("failed", "truncated"),
        "odd/two_frames.dcm": ("skipped", "multi-frame"),
    }
    assert whole["message"].notna().tolist() == [found[0] != "scored" for found in reason.values()]
    numbers = [*model_columns(0), *model_columns(1)]
    assert (whole[numbers].notna().all(axis=1) == (whole["status"] == "scored")).all()
    assert list(whole) == [*FILE_SCHEMA.names, *numbers]


def test_scores_are_the_predictor_s_own(whole: pd.DataFrame, film_folder: Path, folder_runs: tuple[Path, Path]) -> None:
    entries = list(LocalFolder(film_folder).entries())
    for number, run in enumerate(folder_runs):
        predictor = Predictor.load(run)
        c = predictor.checkpoint
        _, logits, perturbed = model_columns(number)
        for position in np.flatnonzero(whole["status"] == "scored"):
            row = whole.iloc[position]
            score = read_logits(row[logits][None], c.info.positive, c.calibration).score[0]
            assert score == pytest.approx(predictor.score(film_folder / entries[position].name), abs=1e-5)
            assert row[perturbed].shape == (2,) and not np.array_equal(row[perturbed], row[logits])


def test_rows_do_not_depend_on_the_shards_nor_on_the_storage(
    whole: pd.DataFrame, film_folder: Path, folder_runs: tuple[Path, Path]
) -> None:
    job = job_of(film_folder, folder_runs, perturbations=("mirrored",), files=8, workers=2)
    for folder in (LocalFolder(film_folder), RemoteFolder(f"local://{film_folder}")):
        found = table_of(dataclasses.replace(job, folder=folder))
        pd.testing.assert_frame_equal(found[FILE_SCHEMA.names], whole[FILE_SCHEMA.names])
        for name in (*model_columns(0), *model_columns(1)):
            for ours, theirs in zip(found[name], whole[name], strict=True):
                assert (ours is None and theirs is None) or np.allclose(ours, theirs, atol=1e-5)


@dataclass(frozen=True)
class CountedFolder:
    """Notes each read in a file, for it happens in another process."""

    folder: LocalFolder
    log: Path

    def read(self, name: str) -> bytes:
        with self.log.open("a") as log:
            log.write(name + "\n")
        return self.folder.read(name)


def test_two_checkpoints_read_each_file_once(film_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path) -> None:
    plain = job_of(film_folder, folder_runs, files=16)
    scorer = ShardScorer(plain)
    scorer.pool.close()
    assert len(scorer.geometries) == 1
    counted = ReadFilm(CountedFolder(plain.folder, tmp_path / "log"), KEY, plain.policy, scorer.geometries)
    entries = list(plain.folder.entries())
    decoded = Counter[str]()
    import training.folder.reading as module

    original = module.read_dicom

    def read_dicom(content: bytes, *arguments: object, **options: object) -> object:
        decoded[keyed_hash(KEY, content.hex())] += 1
        return original(content, *arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "read_dicom", read_dicom)
        rows = [counted(entry) for entry in entries]
    assert Counter((tmp_path / "log").read_text().splitlines()) == Counter(entry.name for entry in entries)
    assert sum(decoded.values()) == len(entries) and sum(len(row.pixels) for row in rows) == 41  # and the copy


def test_what_is_not_opened_has_a_row_too(film_folder: Path, folder_runs: tuple[Path, Path], tmp_path: Path) -> None:
    film = next(film_folder.glob("*/*.dcm"))
    shutil.copy(film, tmp_path / "film")
    (tmp_path / "link").symlink_to(film)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    gone = Entry("gone", 5, "1")
    job = job_of(tmp_path, folder_runs[:1])
    entries = [*job.folder.entries(), gone, Entry("locked", 0, "", UNLISTED)]
    with ShardScorer(job) as scorer:
        (_, table), *rest = scorer.tables(shards_of(job, entries))
    assert not rest
    rows = [tuple(row.values()) for row in table.select(["status", "reason", "message"]).to_pylist()]
    assert rows == [
        ("failed", "truncated", "the file is empty"),
        ("scored", None, None),
        ("skipped", LINK, "symbolic link: not opened"),
        ("skipped", SPECIAL, "no regular file: not opened"),
        ("failed", "unreadable", "the file can't be opened: No such file or directory"),
        ("failed", UNLISTED, "unreadable: not opened"),
    ]


def test_an_interrupted_call_leaves_the_scorer_usable(film_folder: Path, folder_runs: tuple[Path, Path]) -> None:
    job = job_of(film_folder, folder_runs[:1], files=8)
    scorer = ShardScorer(job)
    tables = scorer.tables(shards_of(job, job.folder.entries()))
    first = next(tables)[1]
    tables.close()
    again = table_of(job, scorer)
    assert len(again) == len(list(job.folder.entries()))
    pd.testing.assert_frame_equal(again.head(len(first)), first.to_pandas())
