"""What compressed bytes say of their own size, read before a codec believes them.

The tags of a film are bounded before decoding, but a codec makes room for what the picture inside declares: 50 bytes
can ask for gigabytes. And gdcm doesn't raise on a header that is wrong, it ends the process.

ITU-T T.81 (JPEG) B.2, T.87 (JPEG-LS) C.2, T.800 (JPEG 2000) A.4 to A.6, B.6; DICOM PS3.5 G.5 (RLE); RFC 1950 (zlib), RFC 1951
(deflate); W3C PNG.
"""

import math
import struct
import zlib
from typing import NamedTuple

_SIZ = b"\xff\x4f\xff\x51"
_COD, _COC, _SOT, _SOD, _EOC = 0x52, 0x53, 0x90, 0x93, 0xD9
# Parts of a JPEG 2000 picture, each of which costs a decoder memory before it has seen a pixel. A film of 30 million
# pixels in precincts of 64 x 64 has 10,000, in blocks of 16 x 16 it has 160,000, and 20 layers of 64 x 64 are 200,000.
_PRECINCTS, _BLOCKS, _PACKETS = 1 << 14, 1 << 18, 1 << 19
_LEVELS = 32  # the standard's own limit
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # in a pixel of each colour type of PNG
# First column and row, and distances of columns and rows, of each pass of an interlaced PNG.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_SCANS = 100  # a progressive grey JPEG has 6 to 10; each goes over the whole picture again
_RUN = 64  # pixels in a byte of RLE at best: 128 in two
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


def scan_ends(frame: bytes) -> bool:
    """Whether an end marker follows the start of a JPEG or JPEG-LS scan, wherever: nothing in a scan looks like one.

    CharLS, which never decodes a scan without it, takes seconds to say so, however small the picture.
    """
    return frame.rfind(b"\xff\xd9") > frame.find(bytes([0xFF, _START_OF_SCAN])) >= 0


def has_bounded_parts(frame: bytes) -> bool:
    """Whether a picture that has a `coded_shape` is cut into no more parts than any real one.

    Parts are JPEG's scans, and JPEG 2000's tiles, precincts, code-blocks and layers: their number is free of the size of
    the picture, and a header of a few bytes can ask for millions of them.
    """
    start = frame.find(_SIZ, 0, 1024)
    if start < 0:
        return frame.count(b"\xff\xda") <= _SCANS
    try:
        return _jpeg2000_parts_are_bounded(frame, start)
    except (struct.error, ZeroDivisionError, IndexError, ValueError):
        return False


def rle_is_sound(frame: bytes, segments: int, pixels: int) -> bool:
    """Whether an RLE frame has as many segments as needed, in order, inside of it and long enough for so many pixels."""
    if len(frame) < 64:
        return False
    count, *starts = struct.unpack_from("<16I", frame)
    if count != segments:
        return False
    ends = [*starts[1:segments], len(frame)]
    return starts[0] >= 64 and all(
        start < end <= len(frame) and (end - start) * _RUN >= pixels
        for start, end in zip(starts[:segments], ends, strict=True)
    )


def inflates_within(deflated: bytes, limit: int) -> bool:
    """Whether a raw deflate stream is sound and gives fewer bytes than the limit."""
    size = _inflated_size(deflated, limit, -zlib.MAX_WBITS)
    return size is not None and size < limit


def png_ends_early(data: bytes) -> bool:
    """Whether the picture of a PNG gives fewer bytes than the rows that its header declares, or can't be inflated."""
    width, height, depth, colour, *_, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    bits = depth * _SAMPLES[colour]
    expected = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        expected += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    parts, position = [], 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IDAT":
            parts.append(data[position + 8 : position + 8 + length])
        position += 12 + length
    size = _inflated_size(b"".join(parts), expected, zlib.MAX_WBITS)
    return size is None or size < expected


def _inflated_size(deflated: bytes, limit: int, window: int) -> int | None:
    """Bytes that a stream gives, looked at up to about the limit; None where it is broken."""
    stream, total = zlib.decompressobj(window), 0
    try:
        while total < limit:  # piece by piece, and none is kept
            piece = stream.decompress(deflated, 1 << 20)
            total, deflated = total + len(piece), stream.unconsumed_tail
            if not piece:
                break
    except zlib.error:
        return None
    return total


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


def _jpeg2000_parts_are_bounded(frame: bytes, start: int) -> bool:
    """Follows the markers from one tile-part header to the next; each may have a coding style of its own (A.6)."""
    right, bottom, left, top, width, height, tiles_left, tiles_top = struct.unpack_from(">8I", frame, start + 8)
    tiles = -(-(right - tiles_left) // width) * -(-(bottom - tiles_top) // height)
    size = min(width, right - left), min(height, bottom - top)
    position, tile_part, layers = start + 2, -1, 1
    while position + 4 <= len(frame):
        fill, marker, length = struct.unpack_from(">BBH", frame, position)
        if fill != 0xFF or marker == _EOC:
            break
        if marker == _SOT:
            tile_part = position
        elif marker in (_COD, _COC):
            # COC has the number of the component first, and neither layers nor what stands beside them.
            style = position + (4 if marker == _COD else 5)
            coding = style + (5 if marker == _COD else 1)
            if marker == _COD:
                (layers,) = struct.unpack_from(">H", frame, style + 2)
            precincts = frame[coding + 5 : position + 2 + length] if frame[style] & 1 else b""
            levels, block = frame[coding], [value & 0xF for value in frame[coding + 1 : coding + 3]]
            if levels > _LEVELS or not _parts_are_bounded(tiles, size, layers, levels, block, precincts):
                return False
        elif marker == _SOD:
            if tile_part < 0:
                break
            (part_length,) = struct.unpack_from(">I", frame, tile_part + 6)
            if part_length == 0:  # the last one, to the end
                break
            position = max(tile_part + part_length, position + 2)
            continue
        position += 2 + length
    return True


def _parts_are_bounded(
    tiles: int, size: tuple[int, int], layers: int, levels: int, block: list[int], precincts: bytes
) -> bool:
    """For one coding style; `block` has the two exponents of a code-block less 2, `precincts` two in a byte a level."""
    if precincts and len(precincts) <= levels:
        return False
    number = blocks = 0
    for level in range(levels + 1):
        reduced = [-(-side >> (levels - level)) for side in size]
        exponents = (precincts[level] & 0xF, precincts[level] >> 4) if precincts else (15, 15)
        number += math.prod(-(-side >> exponent) for side, exponent in zip(reduced, exponents, strict=True))
        # A block is cut by the precinct that it lies in.
        inside = [min(code + 2, exponent) for code, exponent in zip(block, exponents, strict=True)]
        blocks += math.prod(-(-side >> exponent) for side, exponent in zip(reduced, inside, strict=True))
    return tiles * number <= _PRECINCTS and tiles * number * layers <= _PACKETS and tiles * blocks <= _BLOCKS
