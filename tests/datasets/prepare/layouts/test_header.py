"""Of a DICOM film's header only the known words and the pseudonym are taken, and none that can't be read stops a data set."""

from pathlib import Path

import pytest

from datasets.film.dicom import HEADER_BYTES, read_header
from datasets.film.policy import DEFAULT
from datasets.film.radiograph import RadiographError
from datasets.prepare.layouts.header import NOTHING, header, header_problem
from tests.datasets.public_films import dicom


def test_what_a_header_tells(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", 0, patient="=p1", sex="O", view="LL")
    facts = header(tmp_path, "a.dcm", DEFAULT)
    assert (
        facts["patient"] == "'=p1"
        and facts["sex"] == ""
        and facts["age"] == "40-49"
        and facts["manufacturer"] == "Acme"
    )
    assert header_problem(facts, DEFAULT) == "lateral view" and header_problem(NOTHING, DEFAULT) == ""


def test_only_the_beginning_of_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    dicom(file, 0, patient="p1")
    with file.open("ab") as opened:
        opened.truncate(4 * HEADER_BYTES)  # a large film, as far as its header goes
    assert header(tmp_path, "a.dcm", DEFAULT)["patient"] == "p1"


@pytest.mark.parametrize(
    "content", [b"", b"no film", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM\2\0\0\0UL\xff\xff", None]
)
def test_what_is_no_header_tells_nothing(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.dcm"
    if content is not None:
        file.write_bytes(content)
    facts = header(tmp_path, "a.dcm", DEFAULT)
    assert facts["patient"] == facts["view"] == facts["sex"] == ""
    if content in (b"", b"no film", None):
        with pytest.raises(RadiographError, match=r"no DICOM|can't be opened"):
            read_header(file)
