"""The Dockerfile and compose.yaml: what they promise, and the Dockerfile's own commands in a clean folder of this machine."""

import base64
import contextlib
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from pathlib import Path

import pytest
import yaml

from datasets.phantom.folder import write_folder
from tests import orthanc

ROOT = Path(__file__).parent.parent


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and argument of each instruction of a Dockerfile."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


STEPS = instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))
COPIES = [argument.split() for name, argument in STEPS if name == "COPY"]
SETTINGS = dict(pair.split("=", 1) for name, argument in STEPS if name == "ENV" for pair in argument.split())
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


def of(name: str) -> list[str]:
    return [argument for instruction, argument in STEPS if instruction == name]


def test_it_is_slim_and_runs_without_rights() -> None:
    assert STEPS[0][0] == "FROM" and STEPS[0][1].endswith("-slim")
    names = [name for name, _ in STEPS]
    assert of("USER") == ["10001:10001"] and "RUN" not in names[names.index("USER") :]
    assert all("--no-cache-dir" in argument for argument in of("RUN")) and not of("ADD") and not of("VOLUME")
    assert not re.search(r"(?i)password|token|secret", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def test_only_sources_can_be_copied() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert ignored[0] == "*"
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    sources = [source for *sources, _ in COPIES for source in sources]
    assert set(sources) == allowed, "no more is let into an image than it takes"
    assert all((ROOT / source).exists() for source in sources)
    private = ("runs", "data", "films", "results", ".hash-key", ".git", ".env")
    assert not [name for name in private if any(fnmatch.fnmatch(name, pattern) for pattern in allowed)]


def test_ports_are_this_machine_s_alone_and_folders_are_mounted() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"app", "evaluate", "orthanc"}
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    for name in ("app", "evaluate"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"]
        assert "./films:/films:ro" in services[name]["volumes"]
        assert {volume.split(":")[1] for volume in services[name]["volumes"]} <= {"/runs", "/films", "/results"}
    inside = services["app"]["ports"][0].rpartition(":")[2]
    assert [inside] == of("EXPOSE") and SETTINGS["STREAMLIT_SERVER_PORT"] == inside
    assert COMPOSE["networks"]["archive"]["internal"] and services["evaluate"]["networks"] == ["archive"]
    assert services["orthanc"]["profiles"] == ["trial"] and "build" in services["app"]


@pytest.mark.process
@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
def test_the_trial_s_orthanc_starts_and_takes_the_evaluator_s_header(tmp_path: Path) -> None:
    settings = json.loads((ROOT / "docs/orthanc.json").read_text(encoding="utf-8"))
    inline = COMPOSE["services"]["orthanc"]["build"]["dockerfile_inline"]
    assert "orthanc orthanc-dicomweb" in inline and "COPY orthanc.json /etc/orthanc/orthanc.json" in inline
    assert COMPOSE["services"]["orthanc"]["ports"] == [f"127.0.0.1:{settings['HttpPort']}:{settings['HttpPort']}"]
    name, _, value = COMPOSE["services"]["evaluate"]["environment"]["END_CXR_DICOMWEB_HEADER"].partition(": ")
    user, _, password = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")
    assert settings["RegisteredUsers"] == {user: password}
    with orthanc.running(tmp_path, settings | {"RemoteAccessAllowed": False}) as server:
        request = urllib.request.Request(f"{server.url}/studies", headers={name: value})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer) == []


@pytest.mark.gate
def test_its_commands_build_and_start_the_app_in_a_clean_folder(tmp_path: Path) -> None:
    """As in the image but for torch and the other dependencies, which this machine's environment has."""
    place = tmp_path / "opt"
    place.mkdir()
    for *sources, target in COPIES:
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place / target)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    inherited = (
        tmp_path / "venv/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages/inherited.pth"
    )
    inherited.write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files, ours among them, are not followed
    install = shlex.split(of("RUN")[-1])
    assert install[:2] == ["pip", "install"] and install[-1] == ".[pacs]"
    done = subprocess.run(
        [python, "-m", *install[:2], "--no-deps", *install[2:]],
        cwd=place, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    port = str(orthanc.free_port())
    (tmp_path / "runs").mkdir()
    given = SETTINGS | {"HOME": str(tmp_path), "END_CXR_RUNS": str(tmp_path / "runs"), "STREAMLIT_SERVER_PORT": port}
    environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "STREAMLIT_SERVER_HEADLESS": "true"} | given
    command = [*json.loads(of("ENTRYPOINT")[0]), *json.loads(of("CMD")[0])]
    helped = subprocess.run(
        [python.parent / command[0], "evaluate", "--help"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert helped.returncode == 0 and "--dicomweb" in helped.stdout, helped.stderr
    app = subprocess.Popen(
        [python.parent / command[0], *command[1:]],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        for _ in range(300):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health") as answer,
            ):
                assert answer.read() == b"ok"
                break
            assert app.poll() is None, app.stdout.read() if app.stdout else ""
            time.sleep(0.2)
        else:
            pytest.fail("the app does not answer")
    finally:
        app.terminate()
        app.wait(20)


@pytest.mark.process
@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
def test_the_script_of_docs_pacs_writes_what_orthanc_receives_to_a_folder(tmp_path: Path) -> None:
    script = re.search(r"```lua\n(.*?)```", (ROOT / "docs/pacs.md").read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    for folder in ("srv/incoming", "srv/films"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "films.lua").write_text(script[1].replace("/srv/", f"{tmp_path}/srv/"))
    write_folder(tmp_path / "phantoms", 12, 0.5, 0, 64)
    with orthanc.running(tmp_path, {"LuaScripts": [str(tmp_path / "films.lua")]}) as server:
        assert server.upload(tmp_path / "phantoms") == 12
        sent = sorted(path.read_bytes() for path in (tmp_path / "phantoms").glob("*/im*.dcm"))
        received, deadline = list[bytes](), time.monotonic() + 20
        while received != sent and time.monotonic() < deadline:  # the script may run after Orthanc has answered
            received = sorted(path.read_bytes() for path in (tmp_path / "srv/films").glob("*.dcm"))
            time.sleep(0.05)
    assert received == sent
    assert not list((tmp_path / "srv/incoming").iterdir())
