"""A proxy in front of a DICOMweb service that does to requests what a test asks for: refuse, cut, stall, garble, die."""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

import requests

Fault = Literal["", "die", "503", "500", "slow", "stall", "cut", "half", "garble", "html", "401", "no answer"]
Choose = Callable[[str, str], Fault]  # of method and path


@dataclass
class Proxy:
    """What it was asked, and what it does next."""

    url: str
    choose: Choose = lambda method, path: ""
    asked: list[tuple[str, str, Fault]] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)  # bodies that were passed on with POST

    def paths(self, kind: str) -> list[str]:
        """Of the requests whose method and path match."""
        return [path for method, path, _ in self.asked if re.search(kind, f"{method} {path}")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy
    upstream: str

    def do_GET(self) -> None:
        self._pass_on("GET", None)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else b"".join(self._chunks())
        self._pass_on("POST", body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _pass_on(self, method: str, body: bytes | None) -> None:
        fault = self.proxy.choose(method, self.path)
        self.proxy.asked.append((method, self.path, fault))
        if fault == "die":
            self.close_connection = True
            return
        if fault in ("503", "500", "401"):
            self._send(int(fault), {"Content-Type": "text/plain", "Retry-After": "0"}, self.path.encode())
            return
        if fault == "html":
            self._send(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>")
            return
        if fault == "stall":
            time.sleep(30)
            self.close_connection = True
            return
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in ("host", "transfer-encoding")
        }
        answer = requests.request(method, self.upstream + self.path, headers=headers, data=body, timeout=60)
        if body is not None:
            self.proxy.stored.append(body)
        if fault == "no answer":  # it was done, and who asked can't know
            self.close_connection = True
            return
        kept = {"Content-Type": answer.headers.get("Content-Type", "")}
        content = answer.content
        if fault == "garble":
            content = content[: len(content) // 2]  # a whole answer by its length, and half a multipart body
        if fault == "slow":
            time.sleep(0.4)
        self._send(answer.status_code, kept, content, cut=fault == "cut")

    def _send(self, status: int, headers: dict[str, str], content: bytes, cut: bool = False) -> None:
        with contextlib.suppress(OSError):  # who asked has gone
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked has gone: a part of what is tested."""


@contextlib.contextmanager
def standing_before(upstream: str) -> Iterator[Proxy]:
    """A proxy for the service at a URL, on a free port of this machine."""
    parts = urlsplit(upstream)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}{parts.path}")
    server.RequestHandlerClass.proxy, server.RequestHandlerClass.upstream = (  # type: ignore[attr-defined]
        proxy,
        f"{parts.scheme}://{parts.netloc}",
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
