"""A film of the folder, from its entry to pixels and facts: what the decoding processes do.

They import this module and no more than it needs, for each holds what it imports: no model, no metric.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

from datasets.film.dicom import read_dicom
from datasets.film.facts import DicomRefusedError
from datasets.film.folder import LINK, SPECIAL, Entry, Folder
from datasets.film.identity import keyed_hash
from datasets.film.policy import DicomPolicy
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import RadiographError

# Why a file is left alone, rather than being an error of the file.
SKIPPED = {"not DICOM", "no pixel data", "too large", "strip", LINK, SPECIAL}
HASHES = ("patient", "patient_alike", "study", "series", "instance", "institution", "station", "accession")
TEXTS = (
    *("modality", "view_position", "view_text", "body_part", "body_part_text", "orientation", "contradictory"),
    *(
        "manufacturer",
        "model",
        "presentation_intent",
        "age_band",
        "sex",
        "syntax",
        "photometric",
        "modality_lut",
        "voi",
    ),
    *("scale", "corrected"),
)
FLAGS = ("burned_in", "lossy", "signed", "padding", "voi_fallback", "inverted", "looks_inverted", "damaged")
NUMBERS = ("bits", "bits_allocated")
FACTS = (*TEXTS, *FLAGS, *NUMBERS)


class Read(NamedTuple):
    """What a decoding process made of a file.

    Attributes:
        facts: the values of `FILE_SCHEMA` that are known.
        pixels: for each geometry asked for, size x size float32 in [0, 1]; empty unless the status is scored.
    """

    facts: dict[str, Any]
    pixels: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class ReadFilm:
    """From an entry to pixels and facts, in the decoding processes."""

    folder: Folder
    key: bytes = field(repr=False)
    policy: DicomPolicy
    geometries: tuple[Preprocessing, ...]

    def __call__(self, entry: Entry) -> Read:
        """Never raises RadiographError: that a film can't be read is a result."""
        facts: dict[str, Any] = self.named(entry)
        if entry.problem:
            status = "skipped" if entry.problem in SKIPPED else "failed"
            return Read(facts | {"status": status, "reason": entry.problem, "message": f"{entry.problem}: not opened"})
        try:
            content = self.folder.read(entry.name)
            # A codec's work is shared by all checkpoints unless these were trained on different greys.
            films = {
                voi: read_dicom(content, self.policy.reading(voi), key=self.key)
                for voi in dict.fromkeys(geometry.voi for geometry in self.geometries)
            }
        except RadiographError as error:
            refused = isinstance(error, DicomRefusedError) or error.reason in SKIPPED
            facts |= {"status": "skipped" if refused else "failed", "reason": error.reason, "message": str(error)}
            return Read(facts)
        pixels = tuple(geometry.pixels(films[geometry.voi])[0].numpy() for geometry in self.geometries)
        known = films[self.geometries[0].voi].facts
        facts |= {"status": "scored", "pixels": keyed_hash(self.key, blake2b(pixels[0].tobytes()).hexdigest())}
        return Read(facts | {name: known[name] for name in (*HASHES, *FACTS)}, pixels)

    def named(self, entry: Entry) -> dict[str, Any]:
        """The hashes that stand for a file."""
        name = entry.name.rpartition("/")[2]
        return {"file": keyed_hash(self.key, entry.name), "file_name": keyed_hash(self.key, name)}
