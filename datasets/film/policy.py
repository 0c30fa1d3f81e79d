"""What is done with a DICOM film's greys, and which films are admitted: a value, free of pydicom, that settings can name."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

Voi = Literal["lut", "window", "none"]

VIEWS = ("PA", "AP", "FRONTAL", "LATERAL", "DECUBITUS", "OTHER", "UNKNOWN")
BODY_PARTS = ("CHEST", "OTHER", "UNKNOWN")
MODALITIES = (
    *("CR", "CT", "DX", "IO", "MG", "MR", "NM", "OT", "PT", "PX", "RF", "RG", "SC", "US", "XA", "XC"),
    *("OTHER", "UNKNOWN"),
)


@dataclass(frozen=True)
class DicomPolicy:
    """How `datasets.film.dicom.read_dicom` reads; the VOI part is a model's own and stands in its preprocessing.

    UNKNOWN is what a film doesn't state, or states in words that nobody here understands. It is admitted unless left out:
    only a film that states something else, in words that are understood, is refused.

    Attributes:
        voi: what is preferred of VOI LUT, window and neither; a film without it falls back in this order.
        modalities: of `MODALITIES`.
        views: of `VIEWS`.
        body_parts: of `BODY_PARTS`.
        for_processing: admit FOR PROCESSING films, whose pixels are the detector's own, linear or log.
        accept_damaged: read a picture that its codec could only guess in part, and mark it.
        view_words, body_part_words: (text, word) pairs beside the built-in words: a hospital's own text in the tag, and
            which of `VIEWS` or `BODY_PARTS` it means.
    """

    voi: Voi = "lut"
    modalities: tuple[str, ...] = ("CR", "DX", "UNKNOWN")
    views: tuple[str, ...] = ("PA", "AP", "FRONTAL", "UNKNOWN")
    body_parts: tuple[str, ...] = ("CHEST", "UNKNOWN")
    for_processing: bool = False
    accept_damaged: bool = False
    view_words: tuple[tuple[str, str], ...] = ()
    body_part_words: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.voi not in get_args(Voi):
            raise ValueError(f"voi must be one of {', '.join(get_args(Voi))}")

    def reading(self, voi: Voi) -> "DicomPolicy":
        """The same admission with another treatment of the greys."""
        return replace(self, voi=voi)


DEFAULT = DicomPolicy()
