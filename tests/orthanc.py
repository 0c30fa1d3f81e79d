"""An Orthanc with its DICOMweb plugin on a free port of this machine, for as long as a test needs it; Debian's packages
`orthanc` and `orthanc-dicomweb`."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER = ("trial", "phantoms only")
HEADER = "Authorization: Basic " + base64.b64encode(":".join(USER).encode()).decode()


def missing() -> str:
    """Why no Orthanc can be started; empty where one can."""
    if shutil.which("Orthanc") is None:
        return "no Orthanc: apt-get install orthanc orthanc-dicomweb"
    return "" if PLUGIN.is_file() else f"no {PLUGIN}: apt-get install orthanc-dicomweb"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Orthanc:
    """A running server, by its own interface (REST) and as a DICOMweb service (`url`)."""

    root: str

    @property
    def url(self) -> str:
        return f"{self.root}/dicom-web"

    def rest(self, method: str, path: str, **settings: Any) -> Any:
        """The answer of Orthanc's own interface, parsed."""
        answer = requests.request(method, self.root + path, auth=USER, timeout=30, **settings)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def upload(self, folder: Path, most: int | None = None) -> int:
        """Store the films of a folder of phantoms, or the first of them; returns how many there are."""
        films = sorted(folder.glob("*/im*.dcm"))[:most]
        with requests.Session() as session:
            session.auth = USER
            for film in films:
                session.post(f"{self.root}/instances", data=film.read_bytes(), timeout=30).raise_for_status()
        return len(films)

    def find(self, level: str = "Instance", **query: str) -> list[Any]:
        """What the archive holds."""
        return list(self.rest("POST", "/tools/find", json={"Level": level, "Query": query, "Expand": True}))


@contextlib.contextmanager
def running(place: Path, others: dict[str, Any] | None = None) -> Iterator[Orthanc]:
    """Start one whose files lie in `place`; it asks for `HEADER`, and ends with the block. `others` are more settings."""
    port = free_port()
    own = {
        "Name": "trial",
        "StorageDirectory": str(place / "db"),
        "IndexDirectory": str(place / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER[0]: USER[1]},
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    lying = {name: own[name] for name in ("StorageDirectory", "IndexDirectory", "HttpPort")}
    settings = own | (others or {}) | lying
    (place / "orthanc.json").write_text(json.dumps(settings))
    with (place / "orthanc.log").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(place / "orthanc.json")], stdout=log, stderr=log)
        try:
            server = Orthanc(f"http://127.0.0.1:{port}")
            for _ in range(200):
                with contextlib.suppress(requests.ConnectionError):
                    server.rest("GET", "/system")
                    break
                assert process.poll() is None, (place / "orthanc.log").read_text()
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(30)
