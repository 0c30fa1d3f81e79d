import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.codestream import CodedShape, coded_shape, ends_complete, inflates_within

FRAME = struct.pack(">BHHB", 12, 40, 30, 1) + b"\1\x11\0"
TABLE = b"\x00" + bytes([1] + [0] * 15) + b"\x05"  # one Huffman code, for the symbol 5


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(*, marker: int = 0xC3, tables: bytes = TABLE) -> bytes:
    """The header of a lossless JPEG of 40 rows x 30 columns x 12 bits, and an end."""
    scan = segment(0xDA, b"\1\1\0\1\0\0")
    return b"\xff\xd8" + segment(marker, FRAME) + segment(0xC4, tables) + scan + b"\0\xff\xd9"


def test_headers_of_the_three_families() -> None:
    assert coded_shape(jpeg()) == CodedShape(40, 30, 1, 12)
    assert coded_shape(jpeg().replace(b"\xff\xc4", b"\xff\xff\xc4")) == CodedShape(40, 30, 1, 12)  # a fill byte
    jpeg_ls = b"\xff\xd8" + segment(0xF7, FRAME) + segment(0xDA, b"\1\1\0\0\0\0")  # has no tables
    assert coded_shape(jpeg_ls) == CodedShape(40, 30, 1, 12)
    sizes = struct.pack(">8I", 35, 47, 5, 7, 35, 47, 0, 0)
    jpeg_2000 = b"\xff\x4f\xff\x51\0\x29\0\0" + sizes + struct.pack(">HB", 1, 0x80 | 11)  # signed, 12 bits
    assert coded_shape(jpeg_2000) == CodedShape(40, 30, 1, 12)
    assert coded_shape(bytes(80) + jpeg_2000) == CodedShape(40, 30, 1, 12)  # in its boxes
    for mode, components in (("L", 1), ("RGB", 3)):
        buffer = io.BytesIO()
        Image.new(mode, (30, 40)).save(buffer, "JPEG")
        assert coded_shape(buffer.getvalue()) == CodedShape(40, 30, components, 8)
        assert ends_complete(buffer.getvalue() + b"\0")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        jpeg()[:20],
        jpeg()[:-12],
        jpeg(marker=0xC8),
        jpeg(tables=TABLE[:-1]),
        jpeg(tables=TABLE + b"\0"),
        jpeg(tables=b""),
        jpeg().replace(b"\xff\xc4", b"\x13\xc4"),  # gdcm aborts on these two
        jpeg().replace(b"\xff\xc4", b"\xff\xd7"),
        jpeg().replace(b"\xff\xc4", b"\xff\xc3"),
        b"\xff\x4f\xff\x51\0\x29",
    ],
)
def test_broken_header_has_no_shape(frame: bytes) -> None:
    assert coded_shape(frame) is None


def test_cut_frame_is_told() -> None:
    assert ends_complete(jpeg() + bytes(3))
    assert not ends_complete(jpeg()[:-2] + bytes(30))


def test_inflation_is_bounded() -> None:
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(np.zeros(10_000, np.uint8).tobytes()) + packer.flush()
    assert inflates_within(deflated, 10_001)
    assert not inflates_within(deflated, 10_000)
    assert not inflates_within(b"\xff\xff\xff", 10)
