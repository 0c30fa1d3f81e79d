"""Runs through a hub that a small HTTP server on this machine stands for."""

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from huggingface_hub import HfApi

from tests.hub_server import Hub, Repository, hub_server
from tests.small_checkpoint import small_checkpoint, small_run
from training.hub.__main__ import main, read_arguments
from training.hub.shared_run import EXPECTED, ShareError, refusal
from training.hub.transfer import hub_errors, pull, push
from training.run.checkpoint import load_checkpoint
from training.run.config import LOCAL_SETTINGS

RUN = {"README.md", "config.yaml", "metrics.jsonl", "model.safetensors", "report.json"}
CARD = "---\nlibrary_name: end-cxr\n---\n\n# Card\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run among what must not travel."""
    folder = small_run(tmp_path / "a-run")
    secret = tmp_path / "secret-films"
    settings = {"method": "erm", "seed": 3, **{name: str(secret / name) for name in LOCAL_SETTINGS}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    metrics = small_checkpoint().metrics
    twin = {"folder": str(tmp_path / "twin"), "metrics": metrics}
    own = {"folder": str(folder), "metrics": metrics}
    excluded = [{"row": 7, "reason": "its file does not exist"}]
    notes = [f"films were read from {secret / 'data_dir'}"]
    report = {"runs": [twin, own], "excluded": excluded, "stood_in_for": excluded, "notes": notes}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "metrics.jsonl").write_text('{"epoch": 1}\n')
    (folder / "MODEL_CARD.md").write_text(CARD)
    pd.DataFrame({"patient": ["0123456789abcdef"], "score": [0.5]}).to_parquet(folder / "predictions.parquet")
    for name in (".hash-key", "resume.pt", "resume-12.pt", "notes.txt"):
        (folder / name).write_text("secret")
    (folder / "audit").mkdir()
    (folder / "audit" / "report.html").write_text("secret")
    return folder


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as server:
        yield server


@pytest.fixture
def api(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    return HfApi(endpoint=hub.url, token="hf_test")


def test_there_and_back(run: Path, hub: Hub, api: HfApi, tmp_path: Path) -> None:
    assert set(push(run, "me/a-run", api)) == RUN
    repository = hub.repositories["me/a-run"]
    assert repository.private
    assert set(repository.files) == RUN
    names, left = pull("me/a-run", tmp_path / "pulled", api)
    assert left == {}
    assert (
        set(names) == {path.name for path in (tmp_path / "pulled").iterdir()} == RUN - {"README.md"} | {"MODEL_CARD.md"}
    )
    first, again = load_checkpoint(run), load_checkpoint(tmp_path / "pulled")
    assert first.threshold == again.threshold
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert (tmp_path / "pulled" / "MODEL_CARD.md").read_text() == CARD
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".pulled")]


def test_nothing_of_this_machine_goes_along(run: Path, hub: Hub, api: HfApi, tmp_path: Path) -> None:
    push(run, "me/a-run", api, films=True)
    files = hub.repositories["me/a-run"].files
    for name, content in files.items():
        assert str(tmp_path).encode() not in content, name
        assert b"secret-films" not in content, name
    assert yaml.safe_load(files["config.yaml"]) == {"method": "erm", "seed": 3}
    report = json.loads(files["report.json"])
    assert [told["folder"] for told in report["runs"]] == ["twin", "a-run"]
    assert report["excluded"] == report["stood_in_for"] == [{"reason": "its file does not exist"}]
    assert report["notes"] == ["films were read from data_dir"]


@pytest.mark.parametrize("name", ["José's films", "a long name of many words " * 4 + "end", "C:\\films"])
def test_a_path_however_a_file_spells_it(
    run: Path, hub: Hub, api: HfApi, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """JSON escapes accents and backslashes, YAML breaks lines at blanks."""
    home = Path("/homes") / name
    monkeypatch.setattr(Path, "home", lambda: home)
    report = json.loads((run / "report.json").read_text())
    settings = yaml.safe_load((run / "config.yaml").read_text())
    for places in ({"notes": [f"see {home}/x"]}, {"classes": f"{home}/x"}, {"epoch": {f"{home}/x": 1}}):
        (run / "report.json").write_text(json.dumps({**report, "notes": places.get("notes", [])}))
        (run / "config.yaml").write_text(yaml.safe_dump({**settings, "classes": places.get("classes")}))
        (run / "metrics.jsonl").write_text(json.dumps(places.get("epoch", {})) + "\n")
        with pytest.raises(ShareError, match=r"(report\.json|config\.yaml|metrics\.jsonl) names a place"):
            push(run, "me/a-run", api)
    settings["data_dir"] = str(home)
    (run / "report.json").write_text(json.dumps({**report, "notes": [f"see {home}"]}))
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    (run / "metrics.jsonl").write_text("{}\n")
    push(run, "me/a-run", api)
    assert json.loads(hub.repositories["me/a-run"].files["report.json"])["notes"] == [f"see {home.name}"]


def test_a_run_at_the_root_of_a_disk(run: Path, hub: Hub, api: HfApi) -> None:
    """A container's, say: the root is part of every path and address, and names nothing."""
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**settings, "output": "/"}))
    (run / "MODEL_CARD.md").write_text(f"{CARD}https://arxiv.org/abs/2103.02023")
    push(run, "me/a-run", api)
    assert hub.repositories["me/a-run"].files["README.md"].endswith(b"https://arxiv.org/abs/2103.02023")


def test_rows_of_films_go_on_request_and_are_taken_back(run: Path, hub: Hub, api: HfApi) -> None:
    files = hub.repositories.setdefault("me/a-run", Repository(private=True)).files
    push(run, "me/a-run", api, films=True)
    assert set(files) == RUN | {"predictions.parquet"}
    push(run, "me/a-run", api)
    assert set(files) == RUN


def test_public_only_when_asked(run: Path, hub: Hub, api: HfApi) -> None:
    hub.repositories["me/seen"] = Repository(private=False)
    with pytest.raises(ShareError, match="me/seen exists and anyone can see it: give --public"):
        push(run, "me/seen", api)
    assert not hub.repositories["me/seen"].files
    push(run, "me/seen", api, public=True)
    push(run, "me/new", api, public=True)
    assert set(hub.repositories["me/seen"].files) == RUN and not hub.repositories["me/new"].private


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "report.json"])
def test_what_is_not_finished_stays(run: Path, hub: Hub, api: HfApi, name: str) -> None:
    (run / name).unlink()
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        push(run, "me/a-run", api)
    assert not hub.requests


@pytest.mark.parametrize(
    ("name", "text"), [("report.json", '{"runs": []}'), ("report.json", '{"runs": [1]}'), ("metrics.jsonl", "{")]
)
def test_what_no_run_writes_stays(run: Path, hub: Hub, api: HfApi, name: str, text: str) -> None:
    (run / "MODEL_CARD.md").unlink()
    (run / name).write_text(text)
    with pytest.raises(ShareError, match=r"report\.json is not what a run writes|metrics\.jsonl can't be read"):
        push(run, "me/a-run", api)
    assert not hub.requests


def test_a_card_with_a_place_on_this_machine_stays(run: Path, hub: Hub, api: HfApi) -> None:
    (run / "MODEL_CARD.md").write_text(f"see {Path.home()}/films")
    with pytest.raises(ShareError, match=r"MODEL_CARD\.md names a place on this machine|README"):
        push(run, "me/a-run", api)
    assert not hub.requests


def test_what_else_lies_there_is_left_and_named(run: Path, hub: Hub, api: HfApi, tmp_path: Path) -> None:
    push(run, "me/a-run", api)
    odd = ("resume.pt", "../escaped.json", "/etc/passwd", "audit/x.html", "config.yaml/x", "evil.py", ".gitattributes")
    hub.repositories["me/a-run"].files |= dict.fromkeys(odd, b"x")
    hub.requests.clear()
    _, left = pull("me/a-run", tmp_path / "pulled", api)
    assert set(left) == set(odd) - {".gitattributes"}
    assert "could run code" in left["resume.pt"] and "leaves the folder" in left["../escaped.json"]
    assert not [asked for asked in hub.requests if any(name in asked for name in odd)]
    assert not (tmp_path / "escaped.json").exists()


def broken(files: dict[str, bytes], name: str) -> None:
    settings = yaml.safe_load(files["config.yaml"])
    report = json.loads(files["report.json"])
    if name == "weights cut short":
        files["model.safetensors"] = files["model.safetensors"][:-100]
    elif name == "weights that are a pickle":
        torch.save({"a": torch.zeros(2)}, "x.pt")
        files["model.safetensors"] = Path("x.pt").read_bytes()
    elif name == "no weights":
        del files["model.safetensors"]
    elif name == "settings with a place":
        files["config.yaml"] = yaml.safe_dump({**settings, "output": "/etc"}).encode()
    elif name == "settings that make objects":
        files["config.yaml"] = b"a: !!python/object/apply:os.system ['true']"
    elif name == "settings that are a list":
        files["config.yaml"] = b"[1]"
    elif name == "another report":
        files["report.json"] = json.dumps({**report, "runs": [{"metrics": {}}]}).encode()
    elif name == "a report of nothing":
        files["report.json"] = b"{}"
    elif name == "no JSON":
        files["report.json"] = b"[" * 100_000
    elif name == "no table":
        files["predictions.parquet"] = b"PAR1"
    elif name == "no reference":
        files["reference.safetensors"] = b"x" * 100
    elif name == "no lines":
        files["metrics.jsonl"] = b"{"
    elif name == "no text":
        files["README.md"] = b"\xff\xfe"
    elif name == "nothing in it":
        files["README.md"] = b""


@pytest.mark.trains
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("weights cut short", "model.safetensors: .* is not a safetensors file"),
        ("weights that are a pickle", "model.safetensors: .* is not a safetensors file"),
        ("no weights", "model.safetensors is missing"),
        ("settings with a place", "config.yaml sets output"),
        ("settings that make objects", "config.yaml is not what a run writes"),
        ("settings that are a list", "config.yaml is not what a run writes"),
        ("another report", "report.json is of another run"),
        ("a report of nothing", "report.json is no report of a run"),
        ("no JSON", "report.json is not what a run writes"),
        ("no table", "predictions.parquet can't be read"),
        ("no reference", "reference.safetensors: .* is not a safetensors file"),
        ("no lines", "metrics.jsonl can't be read"),
        ("no text", "README.md can't be read"),
        ("nothing in it", "README.md is of 0 bytes"),
    ],
)
def test_what_is_no_sound_run_is_not_put_in_place(
    run: Path, hub: Hub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    push(run, "me/a-run", api)
    broken(hub.repositories["me/a-run"].files, name)
    with pytest.raises(ShareError, match=said) as caught:
        pull("me/a-run", tmp_path / "pulled", api)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*pulled*"))


def test_sizes_are_sane_before_anything_is_fetched(run: Path, hub: Hub, api: HfApi, tmp_path: Path) -> None:
    push(run, "me/a-run", api)
    hub.repositories["me/a-run"].sizes["config.yaml"] = EXPECTED["config.yaml"] + 1
    hub.requests.clear()
    with pytest.raises(ShareError, match=r"config\.yaml is of 1,048,577 bytes: 1 to 1,048,576 are allowed"):
        pull("me/a-run", tmp_path / "pulled", api)
    assert not [asked for asked in hub.requests if "resolve" in asked]


@pytest.mark.parametrize(
    ("status", "said"), [(401, "answered 401: sign in"), (403, "403: sign in"), (500, "answered 500")]
)
def test_no_from_the_hub(run: Path, hub: Hub, api: HfApi, tmp_path: Path, status: int, said: str) -> None:
    hub.refuses = status
    for act in (lambda: push(run, "me/a-run", api), lambda: pull("me/a-run", tmp_path / "pulled", api)):
        with pytest.raises(ShareError) as caught:
            act()
        assert said in str(caught.value) or "no such repository" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_can_not_be_made(api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/x/.aside")

    monkeypatch.setattr("training.hub.transfer.tempfile.TemporaryDirectory", refuse)
    with pytest.raises(ShareError, match=r"pulled can't be made: Permission denied$"):
        pull("me/a-run", tmp_path / "pulled", api)


def test_no_such_repository_or_hub(run: Path, hub: Hub, api: HfApi, tmp_path: Path) -> None:
    with pytest.raises(ShareError, match="me/none: there is no such repository, or it is private"):
        pull("me/none", tmp_path / "pulled", api)
    push(run, "me/a-run", api)
    with pytest.raises(ShareError, match="me/a-run has no such branch, tag or commit"):
        pull("me/a-run", tmp_path / "pulled", api, "nope")
    with pytest.raises(ShareError, match="no name of a repository"):
        pull("a/b/c", tmp_path / "pulled", api)
    with pytest.raises(ShareError, match="me/a-run: the hub can't be reached"):
        pull("me/a-run", tmp_path / "pulled", HfApi(endpoint="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resume.pt", "could run code"), ("x.PKL", "could run code"), ("a/../../x", "leaves the folder"),
        ("..\\x", "leaves the folder"), ("/x", "leaves the folder"), (".hash-key", "no file of a run"),
        ("sub/model.safetensors", "no file of a run"),
    ],
)  # fmt: skip
def test_refusal(name: str, said: str) -> None:
    assert said in str(refusal(name))
    assert all(refusal(one) is None for one in EXPECTED)


def test_command(
    run: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.hub.transfer.HfApi", partial(HfApi, endpoint=hub.url, token="hf_test"))
    main(["push", str(run), "me/a-run"])
    said = capsys.readouterr().out
    assert "pushed to me/a-run (private): README.md" in said and "--films" in said and "Not a medical device" in said
    hub.repositories["me/a-run"].files["odd.bin"] = b"x"
    main(["pull", "me/a-run", "--output", str(tmp_path / "pulled")])
    said = capsys.readouterr().out
    assert "MODEL_CARD.md" in said and "not fetched: 'odd.bin': it could run code" in said
    assert (tmp_path / "pulled" / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_hub_that_the_environment_names(run: Path, hub: Hub, tmp_path: Path) -> None:
    places = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HOME": str(tmp_path / "hf")}
    for given in (["push", str(run), "me/a-run"], ["pull", "me/a-run", "--output", str(tmp_path / "pulled")]):
        program = [sys.executable, "-m", "training.hub", *given]
        done = subprocess.run(program, env={**os.environ, **places}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "pulled" / "model.safetensors").is_file()


def test_help_is_quick() -> None:
    program = [sys.executable, "-X", "importtime", "-m", "training.hub", "push", "--help"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert "not a medical device" in done.stdout
    assert "torch" not in done.stderr and "huggingface_hub" not in done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "COMMAND"),
        (["push", "none", "me/x"], "none is no folder"),
        (["push", ".", "x"], "'x' is no name of a repository: give user/name"),
        (["pull", "a/b/c", "--output", "new"], "'a/b/c' is no name of a repository"),
        (["pull", "me/x"], "--output"),
        (["pull", "me/x", "--output", "."], "exists already"),
        (["pull", "me/x", "--output", "no/such"], "its folder does not exist"),
        (["pull", "me/x", "--output", "new", "--public"], "--public belongs to push"),
        (["push", ".", "me/x", "--output", "new"], "--output belongs to pull"),
    ],
)
def test_bad_command_line(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        read_arguments(given)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


def test_mistakes_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["push", str(tmp_path), "me/x"])
    assert left.value.code == 2
    assert "does not exist; give a run folder" in capsys.readouterr().err.replace("\n", " ")


def test_a_full_disk_is_not_the_hub_s_fault() -> None:
    for number, expected in ((errno.ENOSPC, "no room is left here"), (errno.ECONNREFUSED, "the hub can't be reached")):
        with pytest.raises(ShareError, match=f"user/name: {expected}"), hub_errors("user/name"):
            raise OSError(number, os.strerror(number))


def test_a_full_disk_here_names_the_copy_and_not_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, usual[1]))  # the texts fit, the weights don't
    try:
        with pytest.raises(SystemExit) as left:
            main(["push", str(run), "me/x"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "model.safetensors can't be written or read: File too large" in said and str(run) not in said, said
