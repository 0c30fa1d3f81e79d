"""A connection to a DICOMweb service, and the films of its studies as a folder: what a small server of the test answers."""

import contextlib
import json
import pickle
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from datasets.film import dicomweb, dicomweb_folder
from datasets.film.dicomweb import Connection, DicomWebError, connection
from datasets.film.dicomweb_folder import DicomWebFolder, folder_of, parse_query
from datasets.film.folder import UNLISTED
from datasets.film.radiograph import RadiographError

UID = "1.2.826.0.1.77."
Answer = tuple[int, dict[str, str], bytes]
JSON, DICOM = "application/dicom+json", 'multipart/related; type="application/dicom"; boundary=b'


@dataclass
class Service:
    """A server of canned answers."""

    url: str
    answer: Callable[[str, dict[str, list[str]]], Answer]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextlib.contextmanager
def serving(
    answer: Callable[[str, dict[str, list[str]]], Answer], context: ssl.SSLContext | None = None
) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append((self.path, dict(self.headers)))
            parts = urlsplit(self.path)
            status, headers, content = service.answer(parts.path, parse_qs(parts.query))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    service = Service(f"{scheme}://127.0.0.1:{server.server_address[1]}/rs", answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


def listed(*items: dict[str, str]) -> Answer:
    """Objects in DICOM JSON."""
    content = [{tag: {"vr": "UI", "Value": [value]} for tag, value in item.items()} for item in items]
    return 200, {"Content-Type": JSON}, json.dumps(content).encode()


def study(number: int) -> dict[str, str]:
    return {dicomweb_folder.STUDY: f"{UID}1.{number}"}


def instance(number: int, modality: str = "DX") -> dict[str, str]:
    return {
        dicomweb_folder.SERIES: f"{UID}2",
        dicomweb_folder.INSTANCE: f"{UID}3.{number}",
        dicomweb_folder.MODALITY: modality,
    }


def films_of(url: str, **settings: Any) -> DicomWebFolder:
    return DicomWebFolder(Connection(url, **settings), ({"StudyDate": "20260101"},), ("CR", "DX", "UNKNOWN"))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "PAUSE", 0.01)
    monkeypatch.delenv(dicomweb.HEADER, raising=False)


def test_all_pages_are_listed_once_in_the_order_of_their_names() -> None:
    """The archive answers studies by threes and instances by sixties, and has a report in each study."""

    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        offset = int(query.get("offset", ["0"])[0])
        if path.endswith("/studies"):
            return listed(*map(study, [7, 3, 5, 1, 3, 2][offset : offset + 3]))
        films = [instance(number) for number in range(120 if path.endswith("1.5/instances") else 2)]
        return listed(*[instance(999, "SR"), *films, instance(500, "")][offset : offset + 60])

    with serving(answer) as service:
        folder = films_of(service.url)
        entries = list(folder.entries())
        asked = len(service.asked)
        assert list(folder.entries()) == entries and len(service.asked) == asked, "the list is made once"
    names = [entry.name for entry in entries]
    assert names == sorted(names) and len(set(names)) == len(names) == 121 + 4 * 3
    assert not any("3.999" in name for name in names) and not any(entry.problem for entry in entries)
    assert all("includefield=Modality" in path for path, _ in service.asked if "instances" in path)


def test_an_archive_that_ignores_where_a_page_begins_is_not_asked_for_ever() -> None:
    with serving(
        lambda path, query: listed(study(1)) if path.endswith("studies") else listed(*map(instance, range(70)))
    ) as s:
        assert len(list(films_of(s.url).entries())) == 70
        assert len(s.asked) == 4


def test_what_is_no_uid_is_listed_and_never_asked_for() -> None:
    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        if path.endswith("/studies"):
            return listed(study(1), {dicomweb_folder.STUDY: "../../admin"}, {dicomweb_folder.STUDY: "1.2\n3"})
        return listed(instance(1), instance(2) | {dicomweb_folder.INSTANCE: "x"})

    with serving(answer) as service:
        entries = list(films_of(service.url).entries())
    assert [entry.problem for entry in entries].count(UNLISTED) == 3 and len(entries) == 4
    assert not [path for path, _ in service.asked if "admin" in path or "x" in path.rpartition("/")[2]]


def test_studies_without_a_film_end_with_a_sentence() -> None:
    sentence = "finds 1 studies, and none holds a film of modality CR, DX, UNKNOWN"
    answers = {True: listed(study(1)), False: listed(instance(1, "CT"))}
    with serving(lambda path, _: answers[path.endswith("studies")]) as s, pytest.raises(DicomWebError, match=sentence):
        list(films_of(s.url).entries())


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (302, {"Location": "https://login.example/sso?a=1"}, b""),
            "moved to an address of https://login.example: give",
        ),
        ((401, {}, b""), "wants to know who asks"),
        ((403, {}, b""), "may not do this"),
        ((404, {}, b""), "the address is wrong"),
        ((400, {}, b""), "does not take this query"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "with text/html, so it is no DICOMweb service"),
        ((200, {"Content-Type": JSON}, b"{"), "no list of DICOM objects"),
        ((200, {"Content-Type": JSON}, b"[1, 2]"), "no list of DICOM objects"),
        ((503, {"Retry-After": "0"}, b""), r"is not available \(503\)"),
        ((200, {"Content-Type": JSON}, b"[]"), "has no study that matches"),
        ((204, {}, b""), "has no study that matches"),
    ],
)
def test_a_service_that_can_t_be_used_is_said(answer: Answer, sentence: str) -> None:
    with serving(lambda path, query: answer) as service, pytest.raises(DicomWebError, match=sentence) as raised:
        films_of(service.url, time_limit=1.0).check()
    assert raised.value.__context__ is None or raised.value.__suppress_context__
    assert len(service.asked) < 20 and "sso" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "reason", "times"),
    [
        ((404, {}, UID.encode()), "unreadable", 1),
        ((500, {}, UID.encode()), "unreadable", 3),
        ((200, {"Content-Type": DICOM}, b"--b\r\n\r\n" + UID.encode()), "unreadable", 3),  # cut
        ((200, {"Content-Type": DICOM}, b"--b\r\n\r\n" + UID.encode() + b"\r\n--b--"), "unreadable", 1),  # another film
        ((200, {"Content-Type": DICOM}, b"--b--"), "unreadable", 3),  # empty
        ((200, {"Content-Type": DICOM}, b"x" * 2000), "too large", 1),
    ],
)
def test_a_film_that_can_t_be_had_is_an_error_of_that_film(
    answer: Answer, reason: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "MAX_BYTES", 1000)
    with serving(lambda path, query: answer) as service:
        with pytest.raises(RadiographError) as raised:
            films_of(service.url).read(f"{UID}1/{UID}2/{UID}3")
        assert raised.value.reason == reason and UID not in str(raised.value)
        assert len(service.asked) == times
        assert service.asked[0][1]["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    linked: BaseException | None = raised.value
    while linked is not None:  # what a traceback or a debugger would show
        assert UID not in str(linked)
        linked = linked.__context__


def test_a_server_that_is_gone_or_silent_is_given_up_in_time() -> None:
    with serving(lambda path, query: (time.sleep(3), listed())[1]) as service:
        started = time.monotonic()
        with pytest.raises(DicomWebError, match="does not answer in time; --time-limit"):
            films_of(service.url, time_limit=1.5).read(f"{UID}1/{UID}2/{UID}3")
        assert time.monotonic() - started < 4
    with pytest.raises(DicomWebError, match="can't be reached"):
        films_of(service.url, time_limit=1.0).check()


def test_as_long_as_the_server_asks_for_is_waited() -> None:
    answers = [(503, {"Retry-After": "1"}, b""), listed(study(1))]
    with serving(lambda path, query: answers.pop(0)) as service:
        started = time.monotonic()
        films_of(service.url).check()
        assert time.monotonic() - started > 0.9


def test_the_header_is_sent_and_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dicomweb.HEADER, "Authorization: Bearer SECRET")
    with serving(lambda path, query: listed(study(1))) as service:
        folder = folder_of(service.url, ["StudyDate=20260101", "PatientID=SECRET"], None, None, ("DX",), 5.0)
        assert service.asked[-1][1]["Authorization"] == "Bearer SECRET"
        assert "SECRET" not in repr(folder)
        pickle.loads(pickle.dumps(folder)).check()  # noqa: S301
        assert service.asked[-1][1]["Authorization"] == "Bearer SECRET"
        file = tmp_path / "header"
        file.write_text("X-API-Key: one\n")
        folder = folder_of(service.url, ["StudyDate=20260101"], file, None, ("DX",), 5.0)
        file.write_text("X-API-Key: two\n")
        folder.check()
        assert [headers.get("X-Api-Key") or headers.get("X-API-Key") for _, headers in service.asked[-2:]] == [
            "one",
            "two",
        ]


def test_certificates_are_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"]
    subprocess.run(["openssl", *request, *map(str, files)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    with serving(lambda path, query: listed(study(1)), context) as service:
        with pytest.raises(
            DicomWebError, match="can't be verified, so nothing is asked: give its authority's with --ca-file"
        ):
            films_of(service.url).check()
        assert not service.asked
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(ssl.get_default_verify_paths().openssl_cafile)))
        films_of(service.url, ca_file=tmp_path / "ca.pem").check()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("archive/dicom-web", "an address such as https://"),
        ("ftp://archive/rs", "an address such as https://"),
        ("https://user:SECRET@archive/rs", "no password in the address"),
        ("https://archive/rs?token=SECRET", r"without \? and #"),
    ],
)
def test_addresses(url: str, sentence: str) -> None:
    with pytest.raises(DicomWebError, match=sentence) as raised:
        connection(url, None, None, 60.0)
    assert "SECRET" not in str(raised.value)


def test_files_and_headers_that_can_t_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("no", None), ("bad", "SECRET"), ("two", "A: SECRET\nB: 2"), ("empty", "")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DicomWebError, match=re.escape(str(tmp_path / name))) as raised:
            connection("https://archive/rs", tmp_path / name, None, 60.0)
        assert "SECRET" not in str(raised.value)
    with pytest.raises(DicomWebError, match=r"--ca-file .*: no such file"):
        connection("https://archive/rs", None, tmp_path / "no", 60.0)
    for name in ("bad", "empty"):
        with pytest.raises(DicomWebError, match=r"--ca-file .*: can't be read, or holds no certificate in PEM"):
            connection("https://archive/rs", None, tmp_path / name, 60.0)
    monkeypatch.setenv(dicomweb.HEADER, "SECRET")
    with pytest.raises(DicomWebError, match=rf"{dicomweb.HEADER}: one line is needed"):
        connection("https://archive/rs", None, None, 60.0)


def test_queries() -> None:
    text = "ModalitiesInStudy=DX, StudyDate=20260101-20260131"
    assert parse_query(text) == {"ModalitiesInStudy": "DX", "StudyDate": "20260101-20260131"}
    for text, sentence in {
        "Modality=DX": "did you mean ModalitiesInStudy",
        "SECRET DOE=1": "(not shown)",
        "StudyDate=2026-01-01": "a day such as 20260131",
        "StudyDate": "one value is needed",
        "StudyDate=20260101,StudyDate=20260102": "one value is needed",
        "": "no key",
    }.items():
        with pytest.raises(DicomWebError, match=re.escape(sentence)) as raised:
            parse_query(text)
        assert "SECRET" not in str(raised.value)
    with pytest.raises(DicomWebError, match="needs --query"):
        folder_of("https://archive/rs", [], None, None, ("DX",), 60.0)


def test_the_extra_is_asked_for_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "find_spec", lambda name: None)
    with pytest.raises(DicomWebError, match=re.escape("pip install 'end-cxr[pacs]'")):
        folder_of("https://archive/rs", ["StudyDate=20260101"], None, None, ("DX",), 60.0)


@pytest.mark.parametrize("bare", [False, True])
def test_a_film_arrives_byte_for_byte(bare: bool) -> None:
    """As one part of a body, or by itself, as some archives send it."""
    film = bytes(range(256)) + f"{UID}3".encode() + b"\r\n-b\r\n\r\n" + bytes(3_000_000)
    body = film if bare else b"--b\r\nContent-Type: application/dicom\r\n\r\n" + film + b"\r\n--b--\r\n"
    answer = (200, {"Content-Type": "application/dicom" if bare else DICOM}, body)
    with serving(lambda path, query: answer) as service:
        assert films_of(service.url).read(f"{UID}1/{UID}2/{UID}3") == film
