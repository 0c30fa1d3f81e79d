"""A model hub on this machine: of Hugging Face's HTTP API what a push, a look and a pull of a small repository need."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # said of a file in place of its own

    @property
    def sha(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class Hub:
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    refuses: int | None = None  # answers this to everything
    requests: list[str] = field(default_factory=list)


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub at `url` until the block is left."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: object = b"", headers: dict[str, str] | None = None) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.requests.append(f"{self.command} {path}")
            if hub.refuses:
                return self.answer(hub.refuses, {"error": "no"})
            if path == "/api/validate-yaml":
                return self.answer(200, {"warnings": [], "errors": []})
            if path == "/api/repos/create":
                given = json.loads(body)
                name = f"{given['organization']}/{given['name']}"
                if name in hub.repositories:
                    return self.answer(409, {"error": "exists", "url": f"{hub.url}/{name}"})
                private = given.get("visibility") == "private" or bool(given.get("private"))
                hub.repositories[name] = Repository(private)
                return self.answer(200, {"url": f"{hub.url}/{name}", "name": name})
            parts = path.removeprefix("/api/models").strip("/").split("/", 2)
            name, rest = "/".join(parts[:2]), "".join(parts[2:])
            repository = hub.repositories.get(name)
            if repository is None:
                return self.answer(404, {"error": "none"}, {"X-Error-Code": "RepoNotFound"})
            if not path.startswith("/api/"):
                return self.file(repository, rest.split("/", 2)[2])
            return self.about(name, repository, rest, body)

        do_POST = do_HEAD = do_GET  # noqa: N815

        def file(self, repository: Repository, name: str) -> None:
            if name not in repository.files:
                return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            data = repository.files[name]
            headers = {"X-Repo-Commit": repository.sha, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            return self.answer(200, data, headers)

        def about(self, name: str, repository: Repository, rest: str, body: bytes) -> None:
            sizes = {file: repository.sizes.get(file, len(data)) for file, data in repository.files.items()}
            if rest.startswith("revision") and rest.partition("/")[2] not in ("main", repository.sha):
                return self.answer(404, {"error": "none"}, {"X-Error-Code": "RevisionNotFound"})
            if rest.startswith("preupload"):
                asked = [one["path"] for one in json.loads(body)["files"]]
                modes = [{"path": one, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for one in asked]
                return self.answer(200, {"files": modes})
            if rest.startswith("tree"):
                tree = [{"type": "file", "path": file, "size": size, "oid": "0" * 40} for file, size in sizes.items()]
                return self.answer(200, tree)
            if rest.startswith("commit"):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        repository.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                    elif line["key"] == "deletedFile":
                        del repository.files[line["value"]["path"]]
                address = f"{hub.url}/{name}/commit/{repository.sha}"
                return self.answer(200, {"commitUrl": address, "commitOid": repository.sha, "pullRequestUrl": None})
            siblings = [{"rfilename": file, "size": size, "blobId": "0" * 40} for file, size in sizes.items()]
            facts = {"id": name, "sha": repository.sha, "private": repository.private, "siblings": siblings, "tags": []}
            return self.answer(200, facts)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
