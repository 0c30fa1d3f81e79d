"""The films of an archive that a query finds, as a folder: QIDO-RS lists them, WADO-RS reads them.

Studies are found by the query, and each is asked for its instances, because not every archive can be asked for instances by
what is known of their study. An entry's name is study/series/instance, and its content the file as the archive has it,
in the transfer syntax in which it was stored.
"""

import argparse
import difflib
import re
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from datasets.film.dicomweb import Connection, DicomWebError, RefusedError, connection, require_client
from datasets.film.folder import UNLISTED, Entry
from datasets.film.policy import MODALITIES
from datasets.film.radiograph import RadiographError, source_bytes

# By which PS3.18, table 10.6.1-5, has archives find studies, and three that most know. An archive may leave out of account
# what it doesn't know, and answer with all its studies.
KEYS = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "ReferringPhysicianName", "PatientName"),
    *("PatientID", "StudyInstanceUID", "StudyID", "StudyDescription", "InstitutionName", "PatientSex"),
)
STUDY, SERIES, INSTANCE, MODALITY = "0020000D", "0020000E", "00080018", "00080060"
UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)*")
FEWEST_OF_A_PAGE = 50  # archives that answer in parts do so in larger ones
Query = Mapping[str, str]


@dataclass(frozen=True)
class DicomWebFolder:
    """The films of the studies that any of the queries finds; a `datasets.film.folder.Folder`.

    The list is made once and kept in a file without a name: it holds UIDs, and a million films take 200 MB. A study's UID,
    64 characters, is held in memory.

    Attributes:
        modalities: of `MODALITIES`; instances that state another one, reports for example, are no films and not listed.
    """

    connection: Connection
    queries: tuple[Query, ...] = field(repr=False)  # one may hold a patient's number
    modalities: tuple[str, ...]

    def check(self) -> None:
        """Raise DicomWebError unless the service answers and finds a study."""
        for query in self.queries:
            if self._search("studies", 2.0, search_filters=dict(query), limit=1):
                return
        raise DicomWebError(f"--query: {self.connection.url} answers, and has no study that matches it")

    def entries(self) -> Iterator[Entry]:
        """All films, in the order of their names; raises DicomWebError where there is none."""
        listing, place = self._listing, 0
        while True:
            listing.seek(place)  # each time, for several may be reading
            line = listing.readline()
            if not line:
                return
            place += len(line)
            name = line.decode().rstrip("\n")
            known = name.split("/")
            # By what is no UID nothing can be asked for, and another address could.
            yield Entry(name, 0, "", "" if len(known) == 3 and all(map(UID.fullmatch, known)) else UNLISTED)

    def read(self, name: str) -> bytes:
        """The content of an entry; raises RadiographError, and DicomWebError where the service is lost."""
        try:
            return source_bytes(self.connection.file(*name.split("/")))
        except DicomWebError as lost:
            raise DicomWebError(f"{lost}; what is finished is kept, and the same command goes on from there") from None

    @cached_property
    def _listing(self) -> IO[bytes]:
        """A line an entry: its name."""
        file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, file.close)
        studies = sorted({study for query in self.queries for study in self._studies(query)})
        for study in studies:
            films = self._films(study) if UID.fullmatch(study) else {study}
            file.writelines(f"{name}\n".encode() for name in sorted(films))
        if not file.tell():
            listed = ", ".join(self.modalities)
            raise DicomWebError(f"--query finds {len(studies):,} studies, and none holds a film of modality {listed}")
        return file

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def _studies(self, query: Query) -> set[str]:
        """UIDs of the studies that a query finds."""
        found = set[str]()
        while True:  # even an answer that looks whole may be a part of it
            page = self._search("studies", search_filters=dict(query), offset=len(found) or None)
            new = {value_of(study, STUDY) for study in page} - found
            if not new:
                return found
            found |= new

    def _films(self, study: str) -> set[str]:
        """Names of the films of a study."""
        films, listed = set[str](), set[str]()
        while True:
            page = self._search("instances", study_instance_uid=study, fields=["Modality"], offset=len(listed) or None)
            names = {f"{study}/{value_of(item, SERIES)}/{value_of(item, INSTANCE)}": item for item in page}
            films |= {name for name, item in names.items() if self._is_film(item)}
            if len(page) < FEWEST_OF_A_PAGE or names.keys() <= listed:
                return films
            listed |= names.keys()

    def _is_film(self, instance: Mapping[str, Any]) -> bool:
        modality = value_of(instance, MODALITY)
        return (modality if modality in MODALITIES else "OTHER" if modality else "UNKNOWN") in self.modalities

    def _search(self, level: str, patience: float | None = None, **asked: Any) -> list[dict[str, Any]]:
        """An answer of QIDO-RS; raises DicomWebError where there is none, for without it no film is known."""
        url = self.connection.url
        try:
            answer = self.connection.ask(lambda client: getattr(client, f"search_for_{level}")(**asked), patience)
        except RefusedError as refused:
            why = "the address is wrong, or no DICOMweb" if refused.status == 404 else "it does not take this query"
            raise DicomWebError(f"{url} answers {refused.status} to a search (QIDO-RS): {why}") from None
        except RadiographError:
            answer = None
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise DicomWebError(f"{url} answers a search with what is no list of DICOM objects (QIDO-RS)")
        return answer


def value_of(item: Mapping[str, Any], tag: str) -> str:
    """The value of an attribute in DICOM JSON (PS3.18 F), its characters those of a UID or of a code."""
    try:
        value = str((item[tag].get("Value") or [""])[0])
    except (KeyError, AttributeError, TypeError, IndexError):
        value = ""
    return re.sub(r"[^\w.]", "_", value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say how an archive is asked; `--dicomweb` itself belongs to a command's choice of films."""
    add = parser.add_argument_group("DICOMweb archive, see docs/pacs.md").add_argument
    help = "which studies: ModalitiesInStudy=DX,StudyDate=20260101-20260131; repeated, those of either query"
    add("--query", action="append", default=[], metavar="KEY=VALUE,...", help=help)
    help = "holds `Authorization: Bearer TOKEN` or another header, read for each request (default: END_CXR_DICOMWEB_HEADER)"
    add("--header-file", type=Path, metavar="FILE", help=help)
    help = "certificates in PEM that the server's is verified with (default: the usual authorities)"
    add("--ca-file", type=Path, metavar="FILE", help=help)


def folder_of(
    url: str,
    queries: Sequence[str],
    header_file: Path | None,
    ca_file: Path | None,
    modalities: tuple[str, ...],
    time_limit: float,
) -> DicomWebFolder:
    """The films that the flags name, once the archive has answered; raises DicomWebError with a sentence for the user."""
    require_client()
    if not queries:
        raise DicomWebError(
            "--dicomweb needs --query, for example --query ModalitiesInStudy=DX,StudyDate=20260101-20260131"
        )
    asked = tuple(parse_query(text) for text in queries)
    folder = DicomWebFolder(connection(url, header_file, ca_file, time_limit), asked, modalities)
    folder.check()
    return folder


def parse_query(text: str) -> Query:
    """`KEY=VALUE,KEY=VALUE` as a mapping; raises DicomWebError, which quotes no value, for it may name a patient."""
    query: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.5)
            meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(KEYS)}"
            raise DicomWebError(f"--query: no key {key if key.isidentifier() else '(not shown)'} of a study{meant}")
        if not equals or not value or key in query:
            raise DicomWebError(f"--query {key}: one value is needed, written {key}=VALUE")
        if key == "StudyDate" and not re.fullmatch(r"\d{8}(-(\d{8})?)?|-\d{8}", value):
            raise DicomWebError("--query StudyDate: a day such as 20260131, or days such as 20260101-20260131")
        query[key] = value
    return query
