"""What compressed bytes say of their own size, read before a codec believes them.

The tags of a film are bounded before decoding, but a codec makes room for what the picture inside declares: 50 bytes
can ask for gigabytes.

References:
    [1] ITU-T T.81 (JPEG) B.2.2, T.87 (JPEG-LS) C.2.2, T.800 (JPEG 2000) A.5.1; RFC 1951 (deflate).
"""

import struct
import zlib

_SIZ = b"\xff\x4f\xff\x51"
# The start-of-frame markers of JPEG (C4, C8 and CC in between are something else), and JPEG-LS's F7.
_START_OF_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}


def coded_shape(frame: bytes) -> tuple[int, int, int] | None:
    """Rows, columns and components in the header of a JPEG, JPEG-LS or JPEG 2000 picture; None if there is none."""
    try:
        start = frame.find(_SIZ, 0, 1024)  # some writers leave the JP2 boxes before it
        if start >= 0:
            right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
            (components,) = struct.unpack_from(">H", frame, start + 40)
            return bottom - top, right - left, components
        return _jpeg_shape(frame)
    except struct.error:
        return None


def ends_complete(frame: bytes) -> bool:
    """Whether the end marker (FFD9 in all three families) is there, padding after it allowed."""
    return b"\xff\xd9" in frame[-16:]


def inflates_within(deflated: bytes, limit: int) -> bool:
    """Whether a raw deflate stream is sound and gives no more bytes than the limit."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        return len(stream.decompress(deflated, limit)) < limit
    except zlib.error:
        return False


def _jpeg_shape(frame: bytes) -> tuple[int, int, int] | None:
    """From the first start-of-frame segment."""
    if not frame.startswith(b"\xff\xd8"):
        return None
    position = 2
    while True:
        fill, marker = struct.unpack_from(">BB", frame, position)
        if fill != 0xFF:
            return None
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        (length,) = struct.unpack_from(">H", frame, position + 2)
        if marker in _START_OF_FRAME:
            _, rows, columns, components = struct.unpack_from(">BHHB", frame, position + 4)
            return rows, columns, components
        position += 2 + length
