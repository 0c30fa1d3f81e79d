"""Ways to damage small DICOM films, each damaged film a function of a seed and a number alone, how one is read, and
whether its pixels are still those of the sound film."""

import io
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from datasets.film.dicom import LOSSY, MAYBE_LOSSY, PIXEL_TAGS, read_dicom, stored_values
from datasets.film.policy import BODY_PARTS, MODALITIES, VIEWS, DicomPolicy
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import RadiographError, silenced, source_bytes
from tests.small_films import written
from training.folder.reading import Entry, ReadFilm

KEY = bytes(range(32))
EVERYTHING = DicomPolicy(
    modalities=MODALITIES,
    views=VIEWS,
    body_parts=BODY_PARTS,
    for_processing=True,
)
"""Admits all that is a film at all, so that damage reaches the codecs."""

GEOMETRIES = (
    Preprocessing(32),
    Preprocessing(32, aspect="pad", voi="none"),
    Preprocessing(32, aspect="crop", intensity="none", voi="window"),
)

Rng = np.random.Generator

_SIZES = [0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 32, 63, 64, 100, 255, 1024, 4096, 6000, 32767, 65535]
_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel", "PixelRepresentation")
_DECIMALS = ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept")
_CODES = ("PhotometricInterpretation", "PresentationLUTShape", "VOILUTFunction", "SpecificCharacterSet", "Modality")
_TEXTS = ("PatientID", "PatientAge", "Manufacturer", "ViewPosition", "BodyPartExamined", "SOPClassUID", "StationName")
_DECIMAL_VALUES = ["nan", "inf", "-inf", "1e400", "-1e308", "1e308", "0", "-1", "0.5", "1e-300", "", "abc", "1\\2\\3"]
_CODE_VALUES = [
    *("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL_422", "PALETTE COLOR", "", "INVERSE", "SIGMOID", "LINEAR_EXACT"),
    *("ISO_IR 192", "\\ISO 2022 IR 87", "ISO 2022 IR 149", "GB18030", "ISO_IR 999", "DX", "CR", "\0\0"),
]
_SYNTAXES = (
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit),
    *(uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGLSNearLossless, uid.JPEG2000Lossless),
    *(uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K, uid.MPEG2MPML, uid.UID("1.2.3"), uid.UID("")),
)
_LENGTHS = [0, 1, 2, 3, 7, 9, 127, 255, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
_VRS = (b"SQ", b"UN", b"OB", b"OW", b"US", b"DS", b"LO", b"UT", b"ZZ")
_TAGS = [
    *(0x00020010, 0x00080005, 0x00080016, 0x00080060, 0x00100020, 0x00280002, 0x00280004, 0x00280008, 0x00280010),
    *(0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00280120, 0x00281050, 0x00281051, 0x00281052),
    *(0x00281053, 0x00283000, 0x00283002, 0x00283006, 0x00283010, 0x7FE00010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD),
]


def flipped(rng: Rng, film: bytes) -> bytes:
    """Some bits or bytes exchanged, anywhere, in the beginning or at the end."""
    damaged = bytearray(film)
    parts = [(0, len(film)), (132, 1500), (len(film) // 2, len(film)), (len(film) - 200, len(film))]
    first, last = parts[rng.integers(len(parts))]
    first, last = max(0, min(first, len(film) - 1)), max(1, min(last, len(film)))
    for place in rng.integers(min(first, last - 1), last, 2 ** rng.integers(0, 6)):
        damaged[place] = damaged[place] ^ 1 << rng.integers(8) if rng.random() < 0.5 else rng.integers(256)
    return bytes(damaged)


def truncated(rng: Rng, film: bytes) -> bytes:
    """The beginning, at times with zeros in place of the rest."""
    end = int(rng.integers(0, len(film)))
    return film[:end] + (bytes(len(film) - end) if rng.random() < 0.2 else b"")


def blocks_moved(rng: Rng, film: bytes) -> bytes:
    """A block left out, put in, doubled or moved."""
    first, second = sorted(rng.integers(0, len(film) + 1, 2).tolist())
    second = min(second, first + 2 ** int(rng.integers(0, 13)))
    block = film[first:second]
    kind, place = rng.integers(4), int(rng.integers(0, len(film) + 1))
    if kind == 0:
        return film[:first] + film[second:]
    if kind == 1:
        return film[:place] + rng.bytes(len(block)) + film[place:]
    rest = film if kind == 2 else film[:first] + film[second:]
    return rest[:place] + block + rest[place:]


def lengths_changed(rng: Rng, film: bytes) -> bytes:
    """The length of an element, item or fragment, which may then be undefined; or its VR."""
    damaged = bytearray(film)
    for _ in range(rng.integers(1, 3)):
        tag = _TAGS[rng.integers(len(_TAGS))]
        places = [p for order in "<>" if (p := film.find(struct.pack(f"{order}2H", tag >> 16, tag & 0xFFFF), 132)) > 0]
        if not places or places[0] + 12 > len(damaged):
            continue
        place = places[0]
        if rng.random() < 0.2:
            damaged[place + 4 : place + 6] = _VRS[rng.integers(len(_VRS))]
            continue
        length = _LENGTHS[rng.integers(len(_LENGTHS))]
        long = tag >> 16 == 0xFFFE or damaged[place + 4 : place + 6] in (b"SQ", b"UN", b"OB", b"OW")
        if tag >> 16 == 0xFFFE:
            struct.pack_into("<I", damaged, place + 4, length)
        elif long:
            struct.pack_into("<I", damaged, place + 8, length)
        else:
            struct.pack_into("<H", damaged, place + 6, length & 0xFFFF)
    return bytes(damaged) if bytes(damaged) != film else flipped(rng, film)


def tags_changed(rng: Rng, film: bytes) -> bytes:
    """One to three tags with values that they shouldn't have, some with another VR."""
    for _ in range(4):
        try:
            with silenced():
                dataset = pydicom.dcmread(io.BytesIO(film), force=True)
                for _ in range(rng.integers(1, 4)):
                    _change_tag(rng, dataset)
                return written(dataset, enforce_file_format=False)
        except Exception:  # pydicom won't write everything: another draw
            continue
    return flipped(rng, film)


def _change_tag(rng: Rng, dataset: Dataset) -> None:
    """Set one tag; the raw element is written as it is, without a check."""

    def pick(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    def put(keyword: str, vr: str, value: bytes) -> None:
        tag = pydicom.datadict.tag_for_keyword(keyword)
        implicit, little = dataset.original_encoding
        raw = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, implicit, little, True)
        dataset._dict[raw.tag] = raw

    kind = rng.integers(8)
    if kind <= 1:
        numbers = [pick(_SIZES) for _ in range(pick([0, 1, 1, 1, 1, 2]))]
        put(pick(_NUMBERS), "US", struct.pack(f"<{len(numbers)}H", *numbers))
    elif kind == 2:
        put(pick(_DECIMALS), "DS", pick(_DECIMAL_VALUES).encode())
    elif kind == 3:
        put(pick(_CODES), "CS", pick(_CODE_VALUES).encode())
    elif kind == 4:
        put(pick(_TEXTS), "LO", rng.bytes(2 * pick(range(20))))
    elif kind == 5:
        for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
            put(keyword, pick(["US", "SS", "OB", "LO"]), struct.pack("<H", pick(_SIZES)) * pick([0, 1, 1, 2]))
    elif kind == 6:
        put("NumberOfFrames", "IS", pick(["0", "-1", "1", "2", "99999999999", "x", "", "1\\1", "1.5"]).encode())
    else:
        item = Dataset()
        parts = [pick(_SIZES), pick(_SIZES), pick([0, 1, 8, 12, 16, 17])]  # count, first input, bits
        item.add_new("LUTDescriptor", "US", parts[: pick([1, 2, 3, 3, 3, 3])])
        entries = rng.bytes(pick([0, 1, 2, 255, 256, 4096, 8192]))
        if rng.random() < 0.9:
            item.add_new("LUTData", pick(["OW", "OB"]), entries + bytes(len(entries) % 2))
        keyword = pick(["VOILUTSequence", "ModalityLUTSequence"])
        dataset.add_new(keyword, "SQ", [item] * pick([0, 1, 1, 2]))
        if rng.random() < 0.2:
            put(keyword, pick(["LO", "OB", "US", "UN"]), rng.bytes(16))


def syntax_swapped(rng: Rng, film: bytes) -> bytes:
    """Another transfer syntax declared than the one that it was written in."""
    place = film.find(b"\x02\x00\x10\x00UI")
    if place < 0:
        return flipped(rng, film)
    (length,) = struct.unpack_from("<H", film, place + 6)
    value = _SYNTAXES[rng.integers(len(_SYNTAXES))].encode()
    value += bytes(len(value) % 2)
    changed = film[: place + 6] + struct.pack("<H", len(value)) + value + film[place + 8 + length :]
    if film[132:140] == b"\x02\x00\x00\x00UL\x04\x00":  # the group's own length still holds
        (group,) = struct.unpack_from("<I", film, 140)
        changed = changed[:140] + struct.pack("<I", max(0, group + len(value) - length)) + changed[144:]
    return changed


def picture_damaged(rng: Rng, film: bytes) -> bytes:
    """Bytes of the compressed picture's own header exchanged, where codecs read sizes and tables."""
    starts = [film.find(marker, 132) for marker in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff", b"\xfe\xff\x00\xe0")]
    start = next((place for place in starts if place > 0), 132)
    damaged = bytearray(film)
    for place in rng.integers(start, min(start + 160, len(film)), 2 ** rng.integers(0, 4)):
        damaged[place] = rng.integers(256)
    return bytes(damaged)


def made_up(rng: Rng, film: bytes) -> bytes:
    """No film: nothing at all, noise, noise behind the prefix, or behind the film's own file meta information."""
    noise = rng.bytes(int(rng.integers(0, 3000)))
    kinds = [b"", noise, bytes(128) + b"DICM" + noise, film[:432] + noise, film[:132], film[132:]]
    return kinds[rng.integers(len(kinds))]


DAMAGES: dict[str, Callable[[Rng, bytes], bytes]] = {
    "bits": flipped,
    "truncation": truncated,
    "blocks": blocks_moved,
    "lengths": lengths_changed,
    "tags": tags_changed,
    "syntax": syntax_swapped,
    "picture": picture_damaged,
    "no film": made_up,
}
BOMB = "bomb"


class Damaged(NamedTuple):
    """A damaged film.

    Attributes:
        damage: a key of `DAMAGES`, or `BOMB`.
        film: which film it was.
        content: what is left of it.
    """

    damage: str
    film: str
    content: bytes


@dataclass(frozen=True)
class DamagedFolder:
    """A folder in memory: the entry called N is the Nth damaged film."""

    seed: int
    films: dict[str, bytes]
    bombs: dict[str, bytes]

    def damaged(self, number: int) -> Damaged:
        """The film of a number: every bomb as it is, then a tenth of bombs damaged further."""
        rng = np.random.default_rng([self.seed, number])
        if number < len(self.bombs):
            name = list(self.bombs)[number]
            return Damaged(BOMB, name, self.bombs[name])
        if rng.random() < 0.1:
            name = list(self.bombs)[rng.integers(len(self.bombs))]
            damage = [picture_damaged, flipped, syntax_swapped][rng.integers(3)]
            return Damaged(BOMB, name, damage(rng, self.bombs[name]))
        damage = list(DAMAGES)[rng.integers(len(DAMAGES))]
        ours = sum(not name.startswith("pydicom") for name in self.films)  # first, and drawn half of the time
        name = list(self.films)[rng.integers(ours if rng.random() < 0.5 else len(self.films))]
        content = DAMAGES[damage](rng, self.films[name])
        if content and rng.random() < 0.2:
            content = flipped(rng, content)
        return Damaged(damage, name, content)

    def read(self, name: str) -> bytes:
        """What `datasets.film.folder.LocalFolder.read` does, an empty file included."""
        return source_bytes(self.damaged(int(name)).content)


class Outcome(NamedTuple):
    """What became of one file.

    Attributes:
        status: scored, skipped or failed.
        reason: see `training.folder.shard.FILE_SCHEMA`; "" where scored.
        message: the same.
        seconds: of the processor that it took; how busy the machine is doesn't count.
        peak: largest resident memory of the process while it was read, MB (10^6 bytes).
        pixels: see `compared`; "" unless scored.
        differing: share of pixels with another stored value, where there are as many.
    """

    status: str
    reason: str
    message: str
    seconds: float
    peak: float
    pixels: str = ""
    differing: float = 0.0


@dataclass(frozen=True)
class ReadDamaged:
    """The task of a decoding process, measured."""

    folder: DamagedFolder
    policy: DicomPolicy = EVERYTHING

    def __call__(self, number: int) -> Outcome:
        """Read one film as a batch evaluation does."""
        # One voi in turn, for each is a decoding of its own.
        geometry = replace(GEOMETRIES[number % 3], voi=GEOMETRIES[number // 3 % 3].voi)
        read = ReadFilm(self.folder, KEY, self.policy, (geometry,))
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        start = time.process_time()
        facts, pixels = read(Entry(str(number), 0, ""))
        seconds = time.process_time() - start
        for image in pixels:
            assert image.dtype == np.float32 and np.isfinite(image).all() and 0 <= image.min() <= image.max() <= 1
        said = (facts.get(name, "") for name in ("status", "reason", "message"))
        outcome = Outcome(*said, seconds, resident_peak("self"))
        if outcome.status != "scored":
            return outcome
        damaged = self.folder.damaged(number)
        if damaged.film in self.folder.bombs:
            return outcome._replace(pixels="no original")
        sound = self.folder.films[damaged.film]
        with silenced():
            pixels, differing = compared(sound, damaged.content, self.policy.reading(geometry.voi))
        return outcome._replace(pixels=pixels, differing=differing)


class Content(NamedTuple):
    """A film as far as its greys go: the tags that decide them, the encoded pixels, stored values, marks."""

    tags: list[Any]
    encoded: bytes
    lossy: bool
    stored: np.ndarray | None
    marks: list[object]


def compared(sound: bytes, damaged: bytes, policy: DicomPolicy) -> tuple[str, float]:
    """What the pixels of a damaged film that is scored have to do with those of the sound one.

    Returns:
        equal (the same stored values, within 2 % of their range for a lossy codec), tags changed (one of those that decide
        greys), marked (a fact says so), unseen (other bytes of the picture that decode without a complaint, which only a
        checksum could tell), wrong (the same bytes and tags but other values), or no original (which isn't scored itself).
        And the share of pixels that differ.
    """
    before, after = _sound_content(sound, policy), _content(damaged, policy)
    if before.stored is None:
        return "no original", 0.0
    if after.stored is None or before.tags != after.tags:
        return "tags changed", 0.0
    if before.stored.shape != after.stored.shape:
        return "wrong", 1.0
    difference = np.abs(before.stored.astype(int) - after.stored)
    differing = float((difference > (0.02 * np.ptp(before.stored) if before.lossy else 0)).mean())
    if not differing:
        return "equal", 0.0
    if before.marks != after.marks:
        return "marked", differing
    return "wrong" if before.encoded == after.encoded else "unseen", differing


@lru_cache(512)
def _sound_content(film: bytes, policy: DicomPolicy) -> Content:
    return _content(film, policy)


def _content(film: bytes, policy: DicomPolicy) -> Content:
    keywords = [keyword for keyword in PIXEL_TAGS if keyword != "PixelData"]
    dataset = pydicom.dcmread(io.BytesIO(film), force=True, specific_tags=list(PIXEL_TAGS))
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    elements = [dataset.get_item(keyword) if keyword in dataset else None for keyword in keywords]
    tags = [element and (element.VR, element.value) for element in elements]
    encoded = dataset.get_item("PixelData").value if "PixelData" in dataset else b""
    try:
        facts = read_dicom(film, policy).facts
        stored = stored_values(film)
    except RadiographError:
        return Content(tags, encoded, False, None, [])
    marks = [facts[name] for name in ("damaged", "corrected", "voi_fallback", "contradictory")]
    return Content([syntax, *tags], encoded, syntax in (*LOSSY, *MAYBE_LOSSY), stored, marks)


def resident_peak(process: int | str) -> float:
    """VmHWM of a process in MB, 0 if it has gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)
