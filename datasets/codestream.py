"""What compressed bytes say of their own size, read before a codec believes them.

The tags of a film are bounded before decoding, but a codec makes room for what the picture inside declares: 50 bytes
can ask for gigabytes. And gdcm doesn't raise on a header that is wrong, it ends the process.

References:
    [1] ITU-T T.81 (JPEG) B.2, T.87 (JPEG-LS) C.2, T.800 (JPEG 2000) A.5.1; RFC 1951 (deflate).
"""

import struct
import zlib
from typing import NamedTuple

_SIZ = b"\xff\x4f\xff\x51"
# The start-of-frame markers of JPEG (C4, C8 and CC in between are something else), and JPEG-LS's F7.
_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_HUFFMAN_TABLES, _START_OF_SCAN = 0xC4, 0xDA
# Besides those: quantisation tables, restart interval, application data, comment, JPEG-LS parameters.
_MAY_PRECEDE_SCAN = {0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE, 0xF8}


class CodedShape(NamedTuple):
    """Size of a compressed picture; bits are those of one sample."""

    rows: int
    columns: int
    components: int
    bits: int


def coded_shape(frame: bytes) -> CodedShape | None:
    """The size in a JPEG, JPEG-LS or JPEG 2000 header; None if there is none or the header is broken."""
    try:
        start = frame.find(_SIZ, 0, 1024)  # some writers leave the JP2 boxes before it
        if start >= 0:
            right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
            components, bits = struct.unpack_from(">HB", frame, start + 40)
            return CodedShape(bottom - top, right - left, components, (bits & 0x7F) + 1)
        return _jpeg_shape(frame)
    except struct.error:
        return None


def ends_complete(frame: bytes) -> bool:
    """Whether the end marker (FFD9 in all three families) is there, padding after it allowed."""
    return b"\xff\xd9" in frame[-16:]


def inflates_within(deflated: bytes, limit: int) -> bool:
    """Whether a raw deflate stream is sound and gives fewer bytes than the limit."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return len(stream.decompress(deflated, limit)) < limit
    except zlib.error:
        return False


def _jpeg_shape(frame: bytes) -> CodedShape | None:
    """From the start-of-frame segment; None if the header isn't a chain of known segments up to the start of scan."""
    if not frame.startswith(b"\xff\xd8"):
        return None
    shape, coding, has_tables, position = None, 0, False, 2
    while True:
        fill, marker, length = struct.unpack_from(">BBH", frame, position)
        if fill != 0xFF:
            return None
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _START_OF_FRAME and shape is None:
            bits, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
            shape, coding = CodedShape(rows, columns, components, bits), marker
        elif marker == _HUFFMAN_TABLES and _tables_are_sound(frame[position + 4 : position + 2 + length]):
            has_tables = True
        elif marker == _START_OF_SCAN:
            return shape if coding == 0xF7 or has_tables else None
        elif marker not in _MAY_PRECEDE_SCAN:
            return None
        position += 2 + length


def _tables_are_sound(segment: bytes) -> bool:
    """Whether Huffman tables fill their segment: class and number, 16 counts, as many symbols of a byte (B.2.4.2)."""
    position = 0
    while position < len(segment):
        counts = segment[position + 1 : position + 17]
        position += 17 + sum(counts)
    return position == len(segment) > 0
