"""The evaluation of an archive end to end: a real Orthanc, and the same one behind a proxy that fails."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest

from datasets.film import dicomweb
from datasets.phantom.folder import write_folder
from tests import orthanc
from tests.faulty_proxy import Fault, standing_before
from training.evaluate.__main__ import main

pytestmark = [pytest.mark.process, pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())]

FILMS, FEW = 48, 20  # no two institutions with as many films: their letters follow their sizes
QUICK = ["--resamples", "100", "--permutations", "100", "--workers", "2", "--no-shortcuts"]
QUERY = ["--query", "ModalitiesInStudy=DX", "--query", "ModalitiesInStudy=CR"]
WADO = r"GET .*/instances/[0-9.]+$"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("films") / "films"
    write_folder(place, FILMS, 0.9, 1, 64)
    shutil.rmtree(place / "odd")
    return place


@pytest.fixture(scope="module")
def archive(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as server:
        assert server.upload(films) == FILMS
        yield server


@pytest.fixture(autouse=True)
def header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dicomweb.HEADER, orthanc.HEADER)
    monkeypatch.setattr(dicomweb, "PAUSE", 0.02)


@pytest.fixture(scope="module")
def by_folder(
    films: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the same films give as a folder."""
    output = tmp_path_factory.mktemp("by_folder")
    labels = ["--labels", films / "labels.csv", "--hash-key", folder_key]
    code, printed = evaluate(folder_runs[0], "--dicom-dir", films, "--output", output, *labels)
    assert code == 0, printed
    return output


def evaluate(*arguments: object) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        try:
            main([*map(str, arguments), *QUICK])
        except SystemExit as stopped:
            return int(stopped.code or 0), out.getvalue()
    return 0, out.getvalue()


def words(printed: str) -> str:
    """What was printed without its line breaks."""
    return " ".join(printed.split())


def predictions(output: Path) -> pd.DataFrame:
    """What doesn't depend on the door through which a film came, in an order of its own."""
    files = pd.read_parquet(output / "files.parquet").set_index("file")
    table = pd.read_parquet(output / "predictions.parquet")
    table["instance"] = files["instance"][table["file"]].to_numpy()
    return table.drop(columns=["row", "file"]).sort_values(["run", "instance"], ignore_index=True)


def assert_names_nobody(printed: str, films: Path) -> None:
    assert not re.search(r"1\.2\.826|phantom-\d|PHANTOM|PH\d-", printed), printed
    assert "Traceback" not in printed and orthanc.HEADER.split()[-1] not in printed


def test_the_films_of_an_archive_score_as_those_of_a_folder(
    archive: orthanc.Orthanc,
    films: Path,
    by_folder: Path,
    folder_runs: tuple[Path, Path],
    folder_key: Path,
    tmp_path: Path,
) -> None:
    labels = ["--labels", films / "labels.csv", "--hash-key", folder_key]
    command = [folder_runs[0], "--dicomweb", archive.url, *QUERY, "--output", tmp_path / "out", *labels]
    code, printed = evaluate(*command)
    assert code == 0, printed
    assert f"{FILMS} files: {FILMS} scored" in printed
    assert_names_nobody(printed, films)
    pd.testing.assert_frame_equal(predictions(tmp_path / "out"), predictions(by_folder))
    with standing_before(archive.url) as proxy:
        code, printed = evaluate(*[proxy.url if part == archive.url else part for part in command])
    assert code == 0 and not proxy.paths(WADO), "the shards are finished: no film is asked for again"


@pytest.fixture
def command(
    films: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path: Path
) -> Callable[..., list[object]]:
    """The evaluation of the archive at a URL."""

    def arguments(url: str, *more: object) -> list[object]:
        labels = ["--labels", films / "labels.csv", "--hash-key", folder_key]
        return [folder_runs[0], "--dicomweb", url, *QUERY, "--output", tmp_path / "out", *labels, *more]

    return arguments


Command = Callable[..., list[object]]


@pytest.mark.gate
def test_faults_that_pass_cost_no_film(
    archive: orthanc.Orthanc, films: Path, by_folder: Path, command: Command, tmp_path: Path
) -> None:
    """Every film's first request fails, each in one of several ways; one search in ten does."""
    faults: list[Fault] = ["503", "die", "cut", "garble", "500", "slow", "no answer"]
    seen, lock = set[str](), threading.Lock()

    def choose(method: str, path: str) -> Fault:
        with lock:
            again = path in seen
            seen.add(path)
            number = len(seen)
        if again:
            return ""
        return (
            faults[number % 7]
            if re.search(WADO, f"{method} {path}")
            else faults[number % 3]
            if number % 10 == 0
            else ""
        )

    with standing_before(archive.url) as proxy:
        proxy.choose = choose
        code, printed = evaluate(*command(proxy.url))
    assert code == 0, printed
    assert {fault for _, _, fault in proxy.asked} == {"", *faults}
    assert f"{FILMS} files: {FILMS} scored" in printed
    assert_names_nobody(printed, films)
    pd.testing.assert_frame_equal(predictions(tmp_path / "out"), predictions(by_folder))


@pytest.mark.gate
def test_an_archive_that_is_lost_ends_the_run_and_the_same_command_goes_on(
    archive: orthanc.Orthanc, films: Path, by_folder: Path, command: Command, tmp_path: Path
) -> None:
    with standing_before(archive.url) as proxy:
        proxy.choose = lambda method, path: "die" if len(proxy.paths(WADO)) > 30 else ""
        options = ["--shard-files", "5", "--time-limit", "8"]
        code, printed = evaluate(*command(proxy.url, *options))
        assert code == 2 and f"error: {proxy.url} can't be reached, or breaks off" in printed
        assert "the same command goes on" in printed
        assert_names_nobody(printed, films)
        assert not (tmp_path / "out/predictions.parquet").exists()
        finished = len(list((tmp_path / "out/shards").iterdir()))
        assert finished > 3

        proxy.choose, before = lambda method, path: "", len(proxy.paths(WADO))
        code, printed = evaluate(*command(proxy.url, *options))
        assert code == 0 and f"{FILMS} files: {FILMS} scored" in printed, printed
        assert len(proxy.paths(WADO)) - before <= FILMS - finished, "finished shards are not asked for again"
    pd.testing.assert_frame_equal(predictions(tmp_path / "out"), predictions(by_folder))


@pytest.mark.gate
def test_a_film_that_never_comes_whole_is_a_row_and_can_be_asked_for_again(
    archive: orthanc.Orthanc, films: Path, command: Command, tmp_path: Path
) -> None:
    with standing_before(archive.url) as proxy:
        first: list[str] = []

        def choose(method: str, path: str) -> Fault:
            if not re.search(WADO, f"{method} {path}"):
                return ""
            first.append(path)
            return "garble" if path == first[0] else "stall" if path == first[1] and first.count(path) == 1 else ""

        proxy.choose = choose
        code, printed = evaluate(*command(proxy.url, "--time-limit", "12"))
        assert code == 0 and f"{FILMS} files: {FILMS - 1} scored, 0 skipped, 1 failed" in printed, printed
        assert re.search(r"1 +failed +unreadable", printed)
        files = pd.read_parquet(tmp_path / "out/files.parquet").query("status == 'failed'")
        assert files["message"].tolist() == ["what the archive sends of it is not whole"]
        assert first.count(first[0]) == 3
        assert_names_nobody(printed, films)

        proxy.choose = lambda method, path: ""
        code, printed = evaluate(*command(proxy.url, "--time-limit", "12", "--retry"))
        assert code == 0 and f"{FILMS} files: {FILMS} scored" in printed, printed


@pytest.mark.gate
def test_a_token_that_expires_is_said_and_a_renewed_one_goes_on(
    archive: orthanc.Orthanc, films: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(dicomweb.HEADER)
    token = tmp_path / "token"
    token.write_text(orthanc.HEADER + "\n")
    with standing_before(archive.url) as proxy:
        proxy.choose = lambda method, path: "401" if len(proxy.paths(WADO)) > 25 else ""
        code, printed = evaluate(*command(proxy.url, "--header-file", token, "--shard-files", "5"))
        assert code == 2 and "answers 401: the header that is sent is not accepted" in printed, printed
        assert_names_nobody(printed, films)
    token.write_text("Authorization: Bearer old\n")
    code, printed = evaluate(*command(archive.url, "--header-file", token))
    assert code == 2 and "perhaps because a token has expired" in printed and "old" not in printed
    token.write_text(orthanc.HEADER)
    code, printed = evaluate(*command(archive.url, "--header-file", token, "--shard-files", "5"))
    assert code == 0 and f"{FILMS} files: {FILMS} scored" in printed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": "http://127.0.0.1:9/dicom-web"}, "http://127.0.0.1:9/dicom-web can't be reached, or breaks off"),
        ({"url": "{root}/wrong"}, "answers 404 to a search (QIDO-RS): the address is wrong, or no DICOMweb"),
        ({"url": "{root}/app/explorer.html"}, "the address is wrong, or no DICOMweb"),
        ({"header": ""}, f"answers 401: it wants to know who asks: set {dicomweb.HEADER} or give --header-file"),
        ({"query": "StudyDate=19000101"}, "answers, and has no study that matches it"),
    ],
)
def test_mistakes_are_sentences_before_anything_is_loaded(
    archive: orthanc.Orthanc, folder_runs: tuple[Path, Path], tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    url = change.get("url", "{root}/dicom-web").format(root=archive.root)
    query = change.get("query", "ModalitiesInStudy=DX")
    arguments = [str(folder_runs[0]), "--dicomweb", url, "--query", query, "--output", str(tmp_path / "out")]
    script = (
        "import sys\nfrom training.evaluate.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stopped:\n"
        "    assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n    raise\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(dicomweb.HEADER, change.get("header", orthanc.HEADER))
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and sentence in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.gate
def test_reports_and_images_go_back_once(
    films: Path, folder_runs: tuple[Path, Path], folder_key: Path, tmp_path: Path, command: Command
) -> None:
    """Requests to store fail in several ways, one of them after it was done; then the same command is given twice again."""
    place = tmp_path / "orthanc"
    place.mkdir()
    faults: dict[int, Fault] = {3: "503", 7: "die", 11: "no answer", 15: "500"}
    posts: list[int] = []

    def choose(method: str, path: str) -> Fault:
        if method == "POST":
            posts.append(len(posts))
            return "die" if len(posts) > FEW - 3 else faults.get(len(posts), "")
        return ""

    with orthanc.running(place) as server, standing_before(server.url) as proxy:
        assert server.upload(films, FEW) == FEW
        options = ["--sr", tmp_path / "sr", "--saliency", tmp_path / "images", "--store", "--time-limit", "8"]
        proxy.choose = choose
        code, printed = evaluate(*command(proxy.url, *options))
        assert code == 2 and "can't be reached, or breaks off; what is sent stays" in printed
        assert_names_nobody(printed, films)
        before = (tmp_path / "out/files.parquet").read_bytes()
        stored = len(server.find()) - FEW
        assert 10 < stored <= len(proxy.stored) < FEW

        proxy.choose = lambda method, path: ""
        code, printed = evaluate(*command(proxy.url, *options))
        assert code == 0, printed
        assert f"{FEW - stored} structured reports sent, {stored} were there before" in words(printed), printed
        assert f"{FEW} saliency images sent, 0 were there before" in words(printed)
        assert_names_nobody(printed, films)
        objects = {item["MainDicomTags"]["SOPInstanceUID"]: item for item in server.find()}
        assert len(objects) == 3 * FEW and (tmp_path / "out/files.parquet").read_bytes() == before
        written = [pydicom.dcmread(path) for folder in ("sr", "images") for path in (tmp_path / folder).iterdir()]
        assert {dataset.SOPInstanceUID for dataset in written} < objects.keys()
        assert len(proxy.stored) == len(written) == 2 * FEW, "each was sent once"

        shutil.rmtree(tmp_path / "sr")  # written anew with the same UIDs
        code, printed = evaluate(*command(proxy.url, *options))
        assert code == 0 and f" 0 structured reports sent, {FEW} were there before" in words(printed)
        assert len(proxy.stored) == 2 * FEW and len(server.find()) == 3 * FEW
        assert (tmp_path / "out/files.parquet").read_bytes() == before, "what was sent is no film of the next run"

        # Each beside its film, and undone as docs/pacs.md says.
        assert len(server.find("Study")) == len({pydicom.dcmread(film, stop_before_pixels=True).StudyInstanceUID
                                                for film in sorted(films.glob("*/im*.dcm"))[:FEW]})  # fmt: skip
        made = server.find("Series", SeriesDescription="EnD-CXR*")
        assert {series["MainDicomTags"]["Modality"] for series in made} == {"SR", "OT"}
        for series in made:
            server.rest("DELETE", f"/series/{series['ID']}")
        assert len(server.find()) == FEW
