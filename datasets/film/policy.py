"""What is done with a DICOM film's greys, and which films are admitted: a value, free of pydicom, that settings can name."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

Voi = Literal["lut", "window", "none"]


@dataclass(frozen=True)
class DicomPolicy:
    """How `datasets.film.dicom.read_dicom` reads; the VOI part is a model's own and stands in its preprocessing.

    Attributes:
        voi: what is preferred of VOI LUT, window and neither; a film without it falls back in this order.
        views: in the words of `datasets.film.facts.VIEWS`; many CR films don't state theirs.
        body_parts: of CHEST, OTHER, UNKNOWN (not stated).
        for_processing: admit FOR PROCESSING films, whose pixels are the detector's own, linear or log.
    """

    voi: Voi = "lut"
    modalities: tuple[str, ...] = ("CR", "DX")
    views: tuple[str, ...] = ("PA", "AP", "FRONTAL", "UNKNOWN")
    body_parts: tuple[str, ...] = ("CHEST", "UNKNOWN")
    for_processing: bool = False

    def __post_init__(self) -> None:
        if self.voi not in get_args(Voi):
            raise ValueError(f"voi must be one of {', '.join(get_args(Voi))}")

    def reading(self, voi: Voi) -> "DicomPolicy":
        """The same admission with another treatment of the greys."""
        return replace(self, voi=voi)


DEFAULT = DicomPolicy()
