"""Damaged films, pydicom's test files and real ones, each through the decoding processes of a batch evaluation."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.data.data_manager import DATA_ROOT

from datasets.film.folder import LocalFolder
from datasets.film.policy import DicomPolicy
from datasets.film.preprocessing import Preprocessing
from tests.damaged_films import BOMB, DAMAGES, EVERYTHING, KEY, DamagedFolder, Outcome
from tests.fuzz_dicom import Fuzz
from tests.small_films import SECRET, pydicom_files, sound_films
from training.folder.reading import Entry, Read, ReadFilm
from training.parallel.worker_pool import Lost, WorkerPool

REAL = {
    "README.md": "skipped: not DICOM",
    "gdcm_CR-MONO1-10-chest_explicitLE.dcm": "scored",
    "pydicom_emri_j2k_too_short.dcm": "failed: truncated",
    "pydicom_no_meta.dcm": "skipped: not DICOM",
    "pydicom_reportsi_SR_nopixels.dcm": "skipped: no pixel data",
    "pydicom_rtplan_truncated_nopixels.dcm": "skipped: no pixel data",
    "wg04_RG1_chestPA_J2K_lossy.dcm": "scored",
    **{
        f"wg04_RG3_extremity_{syntax}.dcm": "skipped: body part"
        for syntax in ("J2K_lossless", "JPEGLS_lossless", "JPEG_extended12", "JPEG_lossless", "RLE")
    },
    **{
        f"{name}.dcm": "skipped: modality"
        for name in (
            "fodicom_GH133_MG_12bit_VOILUTSequence_JPEGlossless",
            "pydicom_MR_small_RLE",
            "pydicom_MR_small_bigendian",
            "pydicom_MR_small_implicit",
            "pydicom_MR_truncated",
            "pydicom_SC_rgb_small_odd",
            "pydicom_badVR",
            "pydicom_liver_deflate_SEG",
            "pydicom_mlut_18_ModalityLUT_signed12",
            "pydicom_vlut_04_VOILUTSequence",
        )
    },
}
"""`status: reason` of public sample files, as the README beside them names them."""


@pytest.fixture(scope="module")
def fuzz() -> Fuzz:
    # A test machine may be busy, and its build of torch may take more before the first film.
    return Fuzz(200, seed=0, time_limit=60, memory=1200)


@pytest.mark.process
def test_promises_are_kept(fuzz: Fuzz) -> None:
    assert list(fuzz.broken()) == []
    assert len(fuzz.rows) == 200
    assert "\n".join(fuzz.summary())


@pytest.mark.process
def test_damage_reaches_every_stage(fuzz: Fuzz) -> None:
    """Else the promises would be cheap."""
    reasons = Counter(outcome.reason or outcome.status for _, _, outcome in fuzz.outcomes)
    for reason in ("scored", "undecodable", "truncated", "no pixel data", "not DICOM", "too large", "colour"):
        assert reasons[reason] > 1, reason
    messages = " ".join(outcome.message for _, _, outcome in fuzz.outcomes)
    for part in ("more tiles", "RLE segments", "cut short", "corrupt", "larger than the", "of the size and bits"):
        assert part in messages, part


@pytest.mark.process
def test_broken_promises_are_told(fuzz: Fuzz) -> None:
    """The check itself, on rows that were never made."""
    good = fuzz.rows[0]
    for result, words in (
        (Lost("timed out", "5 s"), "timed out"),
        (Lost("failed", "KeyError"), "failed"),
        (Lost("out of memory", ""), "out of memory"),
        (Outcome("lost", "x", "y", 0, 0), "no status"),
        (Outcome("failed", "", "", 0, 0), "reason and status"),
        (Outcome("scored", "x", "y", 0, 0), "reason and status"),
        (Outcome("failed", "x", f"the value {SECRET}", 0, 0), "a name"),
        (Outcome("scored", "", "", 0, 2000, "equal"), "2000 MB"),
        (Outcome("scored", "", "", 0, 0, "wrong"), "other pixels"),
        (Outcome("scored", "", "", 0, 0), "other pixels"),
        (Outcome("scored", "", "", 7, 0), "7.0 s"),
    ):
        fuzz.rows[0] = good._replace(result=result)
        assert words in "".join(fuzz.broken())
    fuzz.rows[0] = good


def test_damage_is_a_function_of_seed_and_number() -> None:
    films = sound_films()
    first, again, other = (DamagedFolder(seed, films, {"bomb": bytes(500)}) for seed in (0, 0, 1))
    contents = [first.damaged(number).content for number in range(100)]
    assert contents == [again.damaged(number).content for number in range(100)]
    assert sum(content == other.damaged(number).content for number, content in enumerate(contents)) < 10
    assert {first.damaged(number).damage for number in range(100)} == {*DAMAGES, BOMB}


def statuses(folder: LocalFolder, policy: DicomPolicy, names: list[str]) -> Iterator[tuple[str, str]]:
    """`status: reason` of each file."""
    read = ReadFilm(folder, KEY, policy, (Preprocessing(32),))
    with WorkerPool(read, 2, 30.0) as pool:
        for name, result in zip(names, pool.results(Entry(name, 0, "") for name in names), strict=True):
            assert isinstance(result, Read), (name, result)
            assert bool(result.pixels) == (result.facts["status"] == "scored")
            yield name, ": ".join([result.facts["status"], *filter(None, [result.facts.get("reason")])])


@pytest.mark.trains
def test_files_of_pydicom() -> None:
    root = Path(DATA_ROOT) / "test_files"
    names = [path.relative_to(root).as_posix() for path in pydicom_files()]
    found = dict(statuses(LocalFolder(root), DicomPolicy(), names))
    assert len(found) > 100
    assert "scored" not in found.values()  # no chest among them
    known = {
        "MR_small.dcm": "skipped: modality",
        "badVR.dcm": "skipped: modality",
        "MR_truncated.dcm": "skipped: modality",
        "no_meta.dcm": "skipped: not DICOM",  # a stray byte in front
        "dicomdirtests/DICOMDIR": "skipped: DICOMDIR",
        "dicomdirtests/DICOMDIR-implicit": "skipped: DICOMDIR",
        "rtplan.dcm": "skipped: no pixel data",
        "zipMR.gz": "skipped: not DICOM",
        "README.txt": "skipped: not DICOM",
    }
    assert {name: found.get(name) for name in known} == known


@pytest.mark.trains
def test_files_of_pydicom_when_everything_is_admitted() -> None:
    root = Path(DATA_ROOT) / "test_files"
    names = [path.relative_to(root).as_posix() for path in pydicom_files()]
    found = dict(statuses(LocalFolder(root), EVERYTHING, names))
    known = {
        **dict.fromkeys(("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_expb.dcm"), "scored"),
        **dict.fromkeys(("MR_small_implicit.dcm", "MR_small_jp2klossless.dcm", "MR_small_padded.dcm"), "scored"),
        **dict.fromkeys(("MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm", "693_J2KI.dcm", "CT_small.dcm"), "scored"),
        "MR_truncated.dcm": "failed: truncated",
        "JPEG-lossy.dcm": "scored",  # 12-bit JPEG Extended
        "SC_rgb_rle.dcm": "skipped: colour",
        "rtdose.dcm": "skipped: multi-frame",
        "rtdose_1frame.dcm": "failed: undecodable",  # 32 bits
    }
    assert {name: found.get(name) for name in known} == known


@pytest.mark.skipif("END_CXR_DICOM" not in os.environ, reason="END_CXR_DICOM names no folder of DICOM samples")
def test_real_samples() -> None:
    root = Path(os.environ["END_CXR_DICOM"])
    names = sorted(path.name for path in root.iterdir() if path.is_file())
    found = dict(statuses(LocalFolder(root), DicomPolicy(), names))
    assert found == {name: REAL.get(name, "not in the table") for name in names}
