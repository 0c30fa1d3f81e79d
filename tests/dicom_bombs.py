"""Films of a few bytes that ask a reader for much memory or time: in their tags, inside of the picture, or both."""

import io
import struct
import zlib
from typing import Any

import jpeg_ls
import numpy as np
import pydicom
from openjpeg.utils import encode_array
from PIL import Image
from pydicom import uid

from tests.small_films import SV1, compressed_film, jpeg_lossless, picture_of, plain_film


def jpeg2000(rows: int, columns: int, *, bits: int = 16, inner: int = 64, **header: Any) -> bytes:
    """A JPEG 2000 codestream of a small picture whose header declares another size.

    Args:
        rows: declared.
        columns: declared.
        bits: of a sample.
        inner: side of the picture that is there.
        header: `tile` (side), `layers`, `levels`, `block` (exponent less 2), `precincts` (a byte for each resolution).
    """
    rng = np.random.default_rng(0)
    small = rng.integers(0, 1 << bits, (inner, inner)).astype(np.uint16 if bits > 8 else np.uint8)
    stream = bytearray(encode_array(small, bits_stored=bits))
    tile = header.get("tile", 0)
    siz, cod = stream.find(b"\xff\x51"), stream.find(b"\xff\x52")
    struct.pack_into(">2I", stream, siz + 6, columns, rows)
    struct.pack_into(">2I", stream, siz + 22, tile or columns, tile or rows)
    if "layers" in header:
        struct.pack_into(">H", stream, cod + 6, header["layers"])
    if "block" in header:
        stream[cod + 10] = stream[cod + 11] = header["block"]
    levels = header.get("levels", stream[cod + 9])
    stream[cod + 9] = levels
    if "precincts" in header:
        stream[cod + 4] |= 1
        sizes = bytes([header["precincts"]]) * (levels + 1)
        stream[cod + 14 : cod + 14] = sizes
        struct.pack_into(">H", stream, cod + 2, 12 + len(sizes))
    return bytes(stream)


def jpeg_resized(frame: bytes, rows: int, columns: int) -> bytes:
    """A JPEG or JPEG-LS whose start of frame declares another size."""
    stream = bytearray(frame)
    place = min(p for marker in (0xC0, 0xC2, 0xC3, 0xF7) if (p := frame.find(bytes([0xFF, marker]))) > 0)
    struct.pack_into(">2H", stream, place + 5, rows, columns)
    return bytes(stream)


def blank_rle(rows: int, columns: int, segments: int = 2) -> bytes:
    """A black picture at the best ratio that runs allow."""
    runs = bytes([129, 0]) * -(-rows * columns // 128)
    starts = [64 + k * len(runs) for k in range(segments)]
    return struct.pack("<16I", segments, *starts, *[0] * (15 - segments)) + runs * segments


def scan_bomb(frame: bytes, scans: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    last = frame.rfind(b"\xff\xda")
    return frame[:last] + frame[last:-2] * scans + frame[-2:]


def bombs() -> dict[str, bytes]:
    """Films that declare far more than they hold, in their tags and inside alike, or inside alone."""
    large, limit = 60_000, 6_304  # beyond every bound, and near the largest film that is read
    little = uid.ExplicitVRLittleEndian
    progressive, baseline = io.BytesIO(), io.BytesIO()
    Image.new("L", (64, 64), 90).save(progressive, "JPEG", progressive=True)
    Image.new("L", (64, 64), 90).save(baseline, "JPEG")
    wide = io.BytesIO()
    Image.new("L", (limit, limit), 90).save(wide, "JPEG", progressive=True)
    coded = {
        "jpeg 2000": (uid.JPEG2000Lossless, lambda n: jpeg2000(n, n)),
        "jpeg 2000 lossy": (uid.JPEG2000, lambda n: jpeg2000(n, n)),
        "ht jpeg 2000": (uid.HTJ2KLossless, lambda n: jpeg2000(n, n)),
        "jpeg-ls": (uid.JPEGLSLossless, lambda n: jpeg_resized(_jpeg_ls(64), n, n)),
        "jpeg": (uid.JPEGBaseline8Bit, lambda n: jpeg_resized(baseline.getvalue(), n, n)),
        "jpeg progressive": (uid.JPEGBaseline8Bit, lambda n: jpeg_resized(progressive.getvalue(), n, n)),
        "jpeg lossless": (
            uid.JPEGLosslessSV1,
            lambda n: jpeg_resized(picture_of(jpeg_lossless(plain_film(12), SV1)), n, n),
        ),
    }
    films = {}
    for name, (syntax, picture) in coded.items():
        bits = 8 if name in ("jpeg", "jpeg progressive") else 12 if name == "jpeg lossless" else 16
        films[f"{name}, tags agree"] = compressed_film(large, large, syntax, picture(large), bits)
        films[f"{name}, tags agree, at the limit"] = compressed_film(limit, limit, syntax, picture(limit), bits)
        films[f"{name}, tags small"] = compressed_film(64, 64, syntax, picture(large), bits)
        films[f"{name}, tags large"] = compressed_film(limit, limit, syntax, picture(64), bits)
    for name, header in (
        ("tiny tiles", {"tile": 25}),
        ("tiles of a pixel", {"tile": 1}),
        ("tiny precincts", {"precincts": 0x00}),
        ("small precincts", {"precincts": 0x33}),
        ("tiny blocks", {"block": 0}),
        ("all layers", {"layers": 65535}),
        ("all levels", {"levels": 32}),
        ("all of it", {"layers": 65535, "levels": 32, "precincts": 0x11, "block": 0}),
    ):
        for side in (limit, 256):
            frame = jpeg2000(side, side, **header)
            films[f"jpeg 2000, {name}, {side}"] = compressed_film(side, side, uid.JPEG2000Lossless, frame)
    films["jpeg-ls, blank"] = compressed_film(limit, limit, uid.JPEGLSLossless, _jpeg_ls(limit))
    films["jpeg, many scans"] = compressed_film(limit, limit, uid.JPEGBaseline8Bit, scan_bomb(wide.getvalue(), 3000), 8)
    films["rle, blank"] = compressed_film(limit, limit, uid.RLELossless, blank_rle(limit, limit))
    films["rle, short"] = compressed_film(limit, limit, uid.RLELossless, blank_rle(64, 64))
    films["rle, long"] = compressed_film(64, 64, uid.RLELossless, blank_rle(limit, limit))
    for name, table in (
        ("no segments", [0]),
        ("15 segments", [15, *range(64, 79)]),
        ("4 billion segments", [0xFFFFFFFF, 64, 128]),
        ("offsets beyond", [2, 64, 0xFFFFFFF0]),
        ("offsets back", [2, 5000, 64]),
        ("offsets the same", [2, 64, 64]),
        ("offsets in the table", [2, 0, 4]),
    ):
        frame = struct.pack("<16I", *table, *[0] * (16 - len(table))) + blank_rle(64, 64)[64:]
        films[f"rle, {name}"] = compressed_film(64, 64, uid.RLELossless, frame)
    films["deflated, film"] = _deflated(_film_head(limit, limit), limit * limit * 2)
    films["deflated, too many pixels"] = _deflated(_film_head(large, large), 1 << 29)
    films["deflated, junk"] = _deflated(b"\x09\x00\x10\x00OB\0\0" + struct.pack("<I", 1 << 30), 1 << 29)
    films["deflated, no prefix"] = films["deflated, junk"][132:]
    films["native, tags large"] = compressed_film(65535, 65535, little, bytes(8192))
    films["native, narrow"] = compressed_film(1, 65535, little, bytes(131_070))
    films["native, tall"] = compressed_film(65535, 1, little, bytes(131_070))
    films["rle, narrow"] = compressed_film(600, 65535, uid.RLELossless, blank_rle(600, 65535))
    films["nested"] = _nested(2000)
    films["many fragments"] = compressed_film(64, 64, uid.JPEG2000Lossless, [b"\xff\x4f"] * 20_000)
    return films


def _jpeg_ls(side: int) -> bytes:
    return bytes(jpeg_ls.encode_array(np.zeros((side, side), np.uint16)))


def _film_head(rows: int, columns: int) -> bytes:
    """The data set of an uncompressed film up to its pixels, whose length is a lie."""
    whole = compressed_film(rows, columns, uid.ExplicitVRLittleEndian, b"\0\0")
    start = whole.index(b"\x08\x00\x16\x00")
    length = min(rows * columns * 2, 0xFFFFFFFE)
    return whole[start : whole.index(b"\xe0\x7f\x10\x00OW") + 8] + struct.pack("<I", length)


def _deflated(head: bytes, zeros: int) -> bytes:
    """A deflated data set of this beginning and so many zeros."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = [stream.compress(head)]
    block = bytes(1 << 20)
    parts += [stream.compress(block) for _ in range(zeros >> 20)]
    parts += [stream.compress(bytes(zeros & 0xFFFFF)), stream.flush()]
    whole = compressed_film(8, 8, uid.DeflatedExplicitVRLittleEndian, bytes(128))
    meta = pydicom.dcmread(io.BytesIO(whole), stop_before_pixels=True).file_meta
    return whole[: 144 + meta.FileMetaInformationGroupLength] + b"".join(parts)


def _nested(depth: int) -> bytes:
    """Sequences in sequences, none closed."""
    whole = compressed_film(8, 8, uid.ExplicitVRLittleEndian, bytes(128))
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    place = whole.index(b"\x28\x00\x02\x00US")
    return whole[:place] + opening * depth + whole[place:]
