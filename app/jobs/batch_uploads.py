"""Uploads as a folder that the batch evaluation can read: in memory, under neutral names, written nowhere."""

from collections.abc import Iterator, Sequence

from datasets.film.folder import Entry
from datasets.film.radiograph import source_bytes


class UploadName(str):
    """A neutral name that carries the content, so that a decoding process is sent only the file that it reads."""

    __slots__ = ("content",)
    content: bytes

    def __new__(cls, text: str, content: bytes) -> "UploadName":
        """Name `text` for `content`."""
        name = super().__new__(cls, text)
        name.content = content
        return name

    def __reduce__(self) -> tuple[type["UploadName"], tuple[str, bytes]]:
        return UploadName, (str(self), self.content)


class Uploads:
    """As `datasets.film.folder.LocalFolder`, of contents in the order of upload; their own names are never asked for."""

    def __init__(self, contents: Sequence[bytes] = ()) -> None:
        self._contents = contents

    def __reduce__(self) -> tuple[type["Uploads"], tuple[()]]:
        return Uploads, ()  # each content travels with its name

    def entries(self) -> Iterator[Entry]:
        """One entry an upload: 00001, 00002, ..."""
        for number, content in enumerate(self._contents, start=1):
            yield Entry(UploadName(f"{number:05d}", content), len(content), "")

    def read(self, name: str) -> bytes:
        """The content of an entry; raises RadiographError, see `datasets.film.radiograph.source_bytes`."""
        assert isinstance(name, UploadName)
        return source_bytes(name.content)
