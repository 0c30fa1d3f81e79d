import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from datasets.film.codestream import (
    CodedShape,
    coded_shape,
    ends_complete,
    has_bounded_parts,
    inflates_within,
    png_ends_early,
    rle_is_sound,
    scan_ends,
)

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


def test_end_of_scan() -> None:
    assert scan_ends(jpeg())
    assert scan_ends(jpeg() + bytes(100))
    assert not scan_ends(jpeg()[:-2])
    assert not scan_ends(jpeg()[:-2].replace(TABLE, TABLE[:-2] + b"\xff\xd9"))
    assert not scan_ends(b"\xff\xd9")


def test_inflation_is_bounded() -> None:
    packer = zlib.compressobj(wbits=-15)
    deflated = packer.compress(np.zeros(10_000, np.uint8).tobytes()) + packer.flush()
    assert inflates_within(deflated, 10_001)
    assert not inflates_within(deflated, 10_000)
    assert not inflates_within(b"\xff\xff\xff", 10)


def test_pieces_of_inflation_add_up() -> None:
    deflated = zlib.compress(np.random.default_rng(0).integers(0, 4, 3_000_000).astype(np.uint8).tobytes(), wbits=-15)
    assert inflates_within(deflated, 3_000_001)
    assert not inflates_within(deflated, 3_000_000)


def jpeg_2000(
    side: int = 6000,
    *,
    tile: int = 0,
    layers: int = 1,
    levels: int = 5,
    block: int = 4,
    precincts: list[int] | None = None,
    more: bytes = b"",
) -> bytes:
    """The main header and one tile-part; `block` is the exponent less 2 of a code-block's sides."""
    siz = struct.pack(">H8IHBBB", 0, side, side, 0, 0, tile or side, tile or side, 0, 0, 1, 11, 1, 1)
    sizes = bytes(size * 17 for size in precincts or [])
    cod = struct.pack(">BBHBBBBBB", bool(sizes), 0, layers, 0, levels, block, block, 0, 1) + sizes
    main = b"\xff\x4f" + segment(0x51, siz) + segment(0x52, cod)
    tile_part = struct.pack(">HIBB", 0, 12 + len(more) + 2 + 4, 0, 1)
    return main + segment(0x90, tile_part) + more + b"\xff\x93" + bytes(4) + b"\xff\xd9"


def test_parts_of_real_pictures_are_admitted() -> None:
    for frame in (
        jpeg_2000(),
        jpeg_2000(tile=128),
        jpeg_2000(layers=20, levels=6, precincts=[6] * 7),
        jpeg_2000(block=2),
        jpeg_2000(precincts=[7, 8, 8, 8, 8, 8]),
        jpeg_2000(64, layers=1, levels=0, block=0),
    ):
        assert coded_shape(frame) is not None
        assert has_bounded_parts(frame)
    for progressive in (False, True):
        buffer = io.BytesIO()
        Image.effect_noise((64, 64), 50).save(buffer, "JPEG", progressive=progressive)
        assert has_bounded_parts(buffer.getvalue())


@pytest.mark.parametrize(
    "frame",
    [
        jpeg_2000(tile=1),
        jpeg_2000(tile=25),
        jpeg_2000(layers=65535, levels=20),
        jpeg_2000(block=0),
        jpeg_2000(precincts=[3] * 6),
        jpeg_2000(precincts=[15, 15, 15, 15, 15, 0]),
        jpeg_2000(precincts=[15] * 3),  # fewer than levels
        jpeg_2000(more=segment(0x52, bytes([0, 0, 0, 1, 0, 5, 0, 0, 0, 1]))),  # small blocks of one tile alone
        jpeg_2000(more=segment(0x53, bytes([0, 0, 5, 0, 0, 0, 1]))),  # of one component
        jpeg_2000(more=segment(0x53, bytes([0, 1, 5, 4, 4, 0, 1]) + bytes(6))),
        jpeg_2000()[:24] + bytes(4) + jpeg_2000()[28:],  # tiles without width
        b"\xff\xd8" + segment(0xC2, FRAME) + segment(0xDA, b"\1\1\0\0\0\0") * 101,
    ],
)
def test_parts_that_no_film_has_are_refused(frame: bytes) -> None:
    assert not has_bounded_parts(frame)


def test_rle_header() -> None:
    run = bytes([129, 0]) * 10  # 1280 pixels

    def rle(count: int, *starts: int, body: bytes = run + run) -> bytes:
        return struct.pack("<16I", count, *starts, *[0] * (15 - len(starts))) + body

    assert rle_is_sound(rle(2, 64, 84), 2, 1280)
    assert rle_is_sound(rle(1, 64), 1, 1280)
    assert not rle_is_sound(rle(2, 64, 84), 2, 1281)
    assert not rle_is_sound(rle(2, 64, 84), 1, 1280)
    for starts in ((64, 64), (84, 64), (64, 104), (64, 0xFFFFFFFF), (0, 4), (64, 100)):
        assert not rle_is_sound(rle(2, *starts), 2, 1280)
    assert not rle_is_sound(rle(15, 64), 2, 10)
    assert not rle_is_sound(rle(2, 64, 84)[:60], 2, 1)


def png_of(rows: bytes, width: int = 64, height: int = 64) -> bytes:
    """A grey 8-bit PNG with this stream of filtered rows."""
    header, content = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), zlib.compress(rows, 9)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png


def test_a_png_that_ends_before_its_last_row() -> None:
    whole = bytes(64 * 65)
    assert not png_ends_early(png_of(whole))
    assert png_ends_early(png_of(whole[:-65]))
    broken = bytearray(png_of(bytes(range(65)) * 64))
    broken[60] ^= 0xFF
    assert png_ends_early(bytes(broken))


def test_a_png_bomb_is_inflated_no_further_than_its_rows() -> None:
    bomb = png_of(bytes(300_000_000))
    assert len(bomb) < 400_000
    tracemalloc.start()
    try:
        assert not png_ends_early(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
