"""A film with a model's saliency map over it, as a DICOM secondary capture that an archive files beside the film.

References:
    [1] DICOM PS3.3 A.8.1 Secondary Capture Image, C.7.6.1 general image (derivation), C.8.6 SC modules.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from training.folder.dicom_derived import (
    RESEARCH_ONLY,
    DicomReportError,
    ModelResult,
    line,
    series,
    write_derived,
)
from training.scoring.saliency_picture import draw

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SERIES_NUMBER = 9902  # far from those of the modality and of the structured reports


def write_secondary_capture(
    source: bytes,
    film: Radiograph,
    heat: np.ndarray,
    result: ModelResult,
    preprocessing: Preprocessing,
    folder: Path,
    name: str,
    *,
    made: datetime | None = None,
) -> Path:
    """Write the film with the map over it and a line of text below into `folder/name.dcm`.

    The picture is in the film's study, in one series for each study and model, at most 1024 pixels wide and high and
    without a size in millimetres. Its UIDs follow from the film's and from the checkpoint.

    Args:
        film: what `read_radiograph` made of the bytes `source`.
        heat: Grad-CAM, rows x columns of the model's input, in [0, 1], for the positive class.
        folder: exists.
        name: of the file, without suffix; it must not identify anyone (a keyed hash).

    Raises:
        DicomReportError: the film says that text is burned into it, which may be a name; it can't carry an object of its
            study; or highdicom is missing.
        ValueError: a map that isn't two-dimensional and in [0, 1].
    """
    if heat.ndim != 2 or not np.isfinite(heat).all() or heat.min() < 0 or heat.max() > 1:
        raise ValueError(f"the map has shape {heat.shape}: rows x columns in [0, 1] are needed")
    _refuse_burned_in(film.facts.get("burned_in") is True)
    words = ("RESEARCH ONLY - not a medical device", result.run, f"score {result.score:.2f}")
    picture = draw(film.pixels, heat, preprocessing, words)
    what = f"Grad-CAM of {result.model} ({result.method}), run {result.run}, for the class {result.positive}"

    def make(header: "Dataset", moment: datetime) -> "Dataset":
        _refuse_burned_in(header.get("BurnedInAnnotation") == "YES")
        return _capture(header, picture, what, result, moment)

    return write_derived(source, make, folder / f"{name}.dcm", made)


def _capture(header: "Dataset", picture: np.ndarray, what: str, result: ModelResult, moment: datetime) -> "Dataset":
    """The data set of the picture."""
    # Imported here, because highdicom is an extra.
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import ExplicitVRLittleEndian

    image = SCImage.from_ref_dataset(
        header,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # highdicom insists; replaced below by what the film says
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **series("capture", header, [result], SERIES_NUMBER),
    )
    image.copy_patient_and_study_information(header)
    image.PatientOrientation = header.get("PatientOrientation") or None
    if header.get("BodyPartExamined") == "CHEST":
        image.BodyPartExamined = "CHEST"
    else:
        image.Laterality = None  # has to be there unless the body part is known to be unpaired
    image.ConversionType = "WSD"
    image.DateOfSecondaryCapture = image.ContentDate = moment.strftime("%Y%m%d")
    image.TimeOfSecondaryCapture = image.ContentTime = moment.strftime("%H%M%S")
    image.DerivationDescription = line(f"{what}, over the film at reduced size; score {result.score:.4f}.", 1024)
    image.ImageComments = RESEARCH_ONLY
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    purpose = Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = code.value, "DCM", code.meaning
    reference.PurposeOfReferenceCodeSequence = [purpose]
    image.SourceImageSequence = [reference]
    # The line below the film identifies nobody. What the film itself holds is only known where it says so.
    if header.get("BurnedInAnnotation") == "NO":
        image.BurnedInAnnotation = "NO"
    if header.get("LossyImageCompression") == "01":  # once lossy, always lossy
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                image[keyword] = header[keyword]
    return image


def _refuse_burned_in(burned_in: bool) -> None:
    if burned_in:
        stated = "the film states that text is burned into its pixels, perhaps a name"
        raise DicomReportError(f"{stated}: no picture is made of it")
