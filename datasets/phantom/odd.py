"""What an archive sends besides chest films: DICOM files that an evaluation must skip or fail, each with a reason.

References:
    [1] DICOM PS3.3 A.8 secondary capture, A.26 DX image.
"""

from copy import deepcopy
from pathlib import Path

import numpy as np

from datasets.phantom.dicom_write import Dataset, made_uid, save

_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SECONDARY_CAPTURE_FRAMES = "1.2.840.10008.5.1.4.1.1.7.3"  # grey words
_DX_ONLY = (
    *("PresentationIntentType", "ViewPosition", "ImagerPixelSpacing", "DetectorType", "PositionerType"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "AcquisitionContextSequence"),
)
_GREY_ONLY = (
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
)


def write_odd(folder: Path, film: Dataset, scored: Path) -> int:
    """Write the odd files into a folder, and say how many there are.

    Args:
        film: what they are made from: an uncompressed, unpadded DX film, MONOCHROME2 with 12 bits.
        scored: a film of the cohort, of which `duplicate.dcm` is a copy.
    """
    lateral = _variant(film, "lateral", ViewPosition="LL", PatientOrientation=["A", "F"])
    lateral.ViewCodeSequence[0].CodeValue = "399067008"
    lateral.ViewCodeSequence[0].CodeMeaning = "lateral projection"
    save(lateral, folder / "lateral.dcm")

    raw = _variant(film, "raw", SOPClassUID=_FOR_PROCESSING, PresentationIntentType="FOR PROCESSING")
    _drop(raw, ("WindowCenter", "WindowWidth", "VOILUTFunction"))
    save(raw, folder / "for_processing.dcm")

    frames = _variant(film, "frames", SOPClassUID=_SECONDARY_CAPTURE_FRAMES, ConversionType="WSD", NumberOfFrames=2)
    frames.FrameIncrementPointer, frames.FrameTime = 0x00181063, 500
    _drop(frames, _DX_ONLY)
    frames.PixelData = 2 * film.PixelData
    save(frames, folder / "two_frames.dcm")

    colour = _variant(film, "colour", SOPClassUID=_SECONDARY_CAPTURE, ConversionType="WSD", SamplesPerPixel=3)
    _drop(colour, _DX_ONLY + _GREY_ONLY)
    colour.PhotometricInterpretation, colour.PlanarConfiguration = "RGB", 0
    colour.BitsAllocated, colour.BitsStored, colour.HighBit = 8, 8, 7
    data = (np.frombuffer(film.PixelData, "<u2") >> 4).astype(np.uint8).repeat(3).tobytes()
    colour.PixelData = data + bytes(len(data) % 2)
    save(colour, folder / "colour.dcm")

    cut = folder / "truncated.dcm"
    save(_variant(film, "cut"), cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 3 // 5])
    (folder / "duplicate.dcm").write_bytes(scored.read_bytes())
    (folder / "notes.txt").write_text("Synthetic phantoms, no patient data. This file is no film.\n", encoding="utf-8")
    return len(list(folder.iterdir()))


def _variant(film: Dataset, name: str, **tags: object) -> Dataset:
    """Another instance of the film's study, with other tags."""
    dataset = deepcopy(film)
    text = f"{name} {film.SOPInstanceUID}"
    dataset.SeriesInstanceUID, dataset.SOPInstanceUID = made_uid("series", text), made_uid("instance", text)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def _drop(dataset: Dataset, keywords: tuple[str, ...]) -> None:
    for keyword in keywords:
        delattr(dataset, keyword)
