"""A connection to a DICOMweb service: who asks, for how long, and what an answer means.

`dicomweb-client` makes the requests; what it logs and raises quotes UIDs, so that nothing of it gets past this module. A
question is asked again, with growing pauses, while its trouble may pass. Two errors are left: DicomWebError, where the
service as a whole can't be used (the caller stops, and the same command continues later), and RadiographError, where it
answers but this one object can't be had.

References:
    [1] DICOM PS3.18: 8.6.1.2 multipart payloads, 10.4 retrieve (WADO-RS), 10.5 store (STOW-RS), 10.6 search (QIDO-RS).
    [2] RFC 9110: 10.2.3 Retry-After, 15 status codes; RFC 2046, 5.1.1: a multipart body ends with its boundary and `--`.
"""

import io
import itertools
import logging
import os
import random
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from datasets.files import read_short_text
from datasets.film.folder import FolderError
from datasets.film.radiograph import MAX_BYTES, RadiographError, silenced

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

Answer = TypeVar("Answer")

HEADER = "END_CXR_DICOMWEB_HEADER"
PASSING = {408: "is too slow", 429: "is too busy", 502: "is cut off", 503: "is not available", 504: "is too slow"}
MEDIA_TYPES = ("application/dicom+json", "application/json", "application/dicom+xml", "application/xml", "text/xml")
FILM_TYPES = ("multipart/related", "application/dicom")
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
FAULTY_ANSWERS = 3  # to one question, until it counts as the object's fault and not the moment's
PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds; each pause is twice the last one


class DicomWebError(FolderError):
    """A service that can't be used; the message says why and what to change. It holds no UID."""


class RefusedError(RadiographError):
    """The service answers, and has no such object or does not take it.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the archive refuses it ({status})", reason="unreadable")
        self.status = status


class _PassingError(Exception):
    """Trouble that may pass; `pause` are the seconds that the server asks for."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


class _FaultyAnswerError(Exception):
    """An answer that is cut short or can't be parsed."""


@dataclass(frozen=True)
class Connection:
    """Where a service is and how it is asked; picklable, each process connects anew.

    Attributes:
        url: of the service, below which `studies` lies.
        header: a line `Name: value` that is sent with each request; empty for none.
        header_file: holds that line, and is read for each request, so that another program can renew a token.
        ca_file: certificates that the server's own is checked with, in place of the usual authorities.
        time_limit: seconds in which a question has its answer, or the service counts as lost.
    """

    url: str
    header: str = field(default="", repr=False)
    header_file: Path | None = None
    ca_file: Path | None = None
    time_limit: float = 60.0

    def ask(self, question: Callable[["DICOMwebClient"], Answer], patience: float | None = None) -> Answer:
        """The answer to a question; `question` may be called several times.

        Args:
            patience: seconds in which it may be asked again; half the time limit by default.

        Raises:
            DicomWebError: the service can't be reached, refuses who asks, is no DICOMweb, or is in trouble for too long.
            RadiographError: it has no such object, does not take it (`RefusedError`), or sends none that is whole.
        """
        deadline, faulty = time.monotonic() + (self.time_limit / 2 if patience is None else patience), 0
        for attempt in itertools.count():
            try:
                with silenced():
                    return question(self._client)
            except (FolderError, RadiographError):
                raise
            except Exception as error:
                trouble = _trouble(error)
            if isinstance(trouble, FolderError):
                raise trouble
            pause = min(PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(
                0.75, 1.25
            )  # else all processes ask at once
            if isinstance(trouble, _FaultyAnswerError):
                faulty += 1
                if faulty == FAULTY_ANSWERS:
                    raise RadiographError("what the archive sends of it is not whole", reason="unreadable")
            else:
                pause = max(pause, trouble.pause)
                if time.monotonic() + pause > deadline:
                    raise DicomWebError(f"{self.url} {trouble}")
            time.sleep(pause)
        raise AssertionError

    def file(self, study: str, series: str, instance: str) -> bytes:
        """An instance as a DICOM file, byte for byte as the archive sends it; raises as `ask`."""

        def parts(client: "DICOMwebClient") -> bytes:
            # The client's own retrieve_instance parses the file, and writing it again takes as long as fetching it.
            (content,) = client.retrieve_bulkdata(f"{self.url}/studies/{study}/series/{series}/instances/{instance}")
            return bytes(content)

        content = self.ask(parts)
        if instance.encode() not in content[:4096]:  # the file meta information names it
            raise RadiographError("the archive sends another film than was asked for", reason="unreadable")
        return content

    @cached_property
    def _client(self) -> "DICOMwebClient":
        require_client()
        import requests
        from dicomweb_client import DICOMwebClient

        for name in ("dicomweb_client", "retrying", "urllib3"):  # they log UIDs and addresses that hold them
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        session = requests.Session()
        # Films do not compress, and zlib is slower than a network; reports are asked for in one of two formats.
        session.headers.update({"Accept-Encoding": "identity", "Accept": MEDIA_TYPES[0]})
        if self.ca_file is not None:
            # Said with each request, or REQUESTS_CA_BUNDLE would come before it.
            session.request = partial(session.request, verify=str(self.ca_file))
        session.auth = self._complete
        client = DICOMwebClient(
            self.url.rstrip("/"), session, callback=self._judge, timeout=(10, max(self.time_limit / 3, 1))
        )
        client.set_http_retry_params(retry=False)
        return client

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _complete(self, request: Any) -> Any:
        """Add the header to a request, and what kind of film is wanted."""
        if request.headers.get("Accept", "").startswith(FILM_TYPES[0]):
            request.headers["Accept"] = AS_STORED
        line = read_header(self.header_file) if self.header_file is not None else self.header
        if line:
            name, _, value = line.partition(":")
            request.headers[name.strip()] = value.strip()
        return request

    def _judge(self, response: Any, *_: object, **__: object) -> None:
        """Read an answer, within bounds, and raise where it is none; called for each response before anyone reads it."""
        status, where = int(response.status_code), f"{self.url} answers"
        if status >= 300:
            response.close()  # what an error says in full is for nobody's eyes
        if response.is_redirect:
            there = urlsplit(response.headers["Location"])
            host = f" of {there.scheme}://{there.netloc}" if there.netloc else ""
            raise DicomWebError(f"{where} that it has moved to an address{host}: give the service's final address")
        if status == 401:
            shown = "the header that is sent is not accepted, perhaps because a token has expired"
            none = f"it wants to know who asks: set {HEADER} or give --header-file"
            raise DicomWebError(f"{where} 401: {shown if self.header or self.header_file else none}")
        if status == 403:
            raise DicomWebError(f"{where} 403: who asks there is known but may not do this; ask its administrator")
        if status in PASSING:
            wanted = response.headers.get("Retry-After", "")
            raise _PassingError(f"{PASSING[status]} ({status})", float(wanted) if wanted.isdecimal() else 0.0)
        if status >= 500:
            raise _FaultyAnswerError
        if status >= 400:
            raise RefusedError(status)
        body = self._body(response)
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if body and media_type not in (*MEDIA_TYPES, *FILM_TYPES):
            what = media_type if re.fullmatch(r"[\w/+.-]{1,40}", media_type) else "no media type"
            raise DicomWebError(
                f"{where} with {what}, so it is no DICOMweb service: the address ends in /dicom-web or /rs"
            )
        if media_type == FILM_TYPES[0]:
            boundary = re.search(r'boundary="?([^";]+)', response.headers["Content-Type"], re.IGNORECASE)
            if boundary is None or f"--{boundary[1].strip()}--".encode() not in body[-512:]:
                raise _FaultyAnswerError
        elif media_type == FILM_TYPES[1]:  # the bare file, as some archives send it; the client takes it by this name
            response.headers["Content-Type"] = FILM_TYPES[0]
        response.raw = io.BytesIO(body)  # from where the client reads it

    @staticmethod
    def _body(response: Any) -> bytes:
        body = bytearray()
        for chunk in response.raw.stream(1 << 20, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES:
                response.close()
                raise RadiographError(f"it has more than the {MAX_BYTES} bytes allowed", reason="too large")
        return bytes(body)


def _trouble(error: Exception) -> _PassingError | _FaultyAnswerError | DicomWebError:
    """What an exception means, without its text."""
    import requests
    import urllib3

    if isinstance(error, _PassingError | _FaultyAnswerError):
        return error
    if isinstance(error, requests.exceptions.SSLError):
        return DicomWebError(
            "the server's certificate can't be verified, so nothing is asked: give its authority's with --ca-file"
        )
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidHeader | UnicodeError):
        return DicomWebError("the address or the header that is sent can't be used: check both for stray characters")
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.ReadTimeout):
        return _PassingError("does not answer in time; --time-limit sets how long is waited")
    if isinstance(error, requests.exceptions.ConnectionError):
        return _PassingError("can't be reached, or breaks off")
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return _PassingError("stops in the middle of an answer; --time-limit sets how long is waited")
    if isinstance(error, ImportError | NameError):  # a bug of ours, which no answer can cause
        raise error
    return _FaultyAnswerError()


def require_client() -> None:
    """Check for dicomweb-client, an extra of this package; raises DicomWebError without it."""
    if find_spec("dicomweb_client") is None:
        raise DicomWebError("--dicomweb needs dicomweb-client: pip install 'end-cxr[pacs]'")


def connection(url: str, header_file: Path | None, ca_file: Path | None, time_limit: float) -> Connection:
    """A connection as flags describe it, with the header of the environment; raises DicomWebError, see the messages."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DicomWebError("--dicomweb: an address such as https://archive.hospital.org/dicom-web is needed")
    if parts.username or parts.password:
        raise DicomWebError(
            f"--dicomweb: no password in the address, for others see it; set {HEADER}, see docs/pacs.md"
        )
    if parts.query or parts.fragment:
        raise DicomWebError("--dicomweb: the address of the service alone, without ? and #; --query says what is asked")
    if ca_file is not None and not ca_file.is_file():
        raise DicomWebError(f"--ca-file {ca_file}: no such file")
    if ca_file is not None:
        try:
            ssl.create_default_context(cafile=ca_file)
        except OSError:  # ssl's own errors are OSErrors
            raise DicomWebError(f"--ca-file {ca_file}: can't be read, or holds no certificate in PEM") from None
    header = os.environ.get(HEADER, "").strip()
    if header and header_file is None:
        _check_header(header, HEADER)
    if header_file is not None:
        read_header(header_file)
    return Connection(url.rstrip("/"), header if header_file is None else "", header_file, ca_file, time_limit)


def read_header(file: Path) -> str:
    """The one line of a header file; raises DicomWebError, which does not quote it."""
    try:
        line = read_short_text(file).strip()
    except (OSError, UnicodeDecodeError):
        raise DicomWebError(f"--header-file {file} can't be read") from None
    _check_header(line, f"--header-file {file}")
    return line


def _check_header(line: str, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z][\w-]*: ?[\x21-\x7e][\x20-\x7e]*", line):
        raise DicomWebError(
            f"{where}: one line is needed, such as `Authorization: Bearer TOKEN` (the text is not shown)"
        )
