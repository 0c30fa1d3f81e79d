"""A film, float pixels in [0, 1] with bone bright, as a valid CR or DX DICOM file: for phantoms, never for patients.

The writer is the standard's grayscale pipeline run backwards: a scanner's tags say how bright each stored value is
shown, and a pixel is stored as the value that is shown nearest to it. It shares no code with `datasets.film.dicom`, so that
reading back what it wrote is a test of both.

References:
    [1] DICOM PS3.3 A.2 CR image, A.26 DX image, C.8.1 CR modules, C.8.11 DX modules, C.11.1 Modality LUT, C.11.2 VOI
        LUT. PS3.16 CID 4009 DX anatomy imaged, CID 4010 DX view.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_encoder

Greys = Literal["window", "exact", "sigmoid", "voi lut", "rescale", "modality lut", "none"]
SYNTHETIC = "Synthetic phantom, no patient"
SYNTAXES = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg-ls": uid.JPEGLSLossless,
    "jpeg 2000": uid.JPEG2000Lossless,
}
_ENCODERS = {"rle": "pylibjpeg", "jpeg-ls": "pyjpegls", "jpeg 2000": "pylibjpeg"}
_VIEWS = {"PA": ("272479007", "postero-anterior"), "AP": ("399348003", "antero-posterior")}


@dataclass(frozen=True)
class Scanner:
    """A machine, and how it files what it sees.

    Attributes:
        modality: `CR` or `DX`.
        photometric: `MONOCHROME1` (0 is white) or `MONOCHROME2` (0 is black).
        bits: BitsStored, 8 to 16.
        signed: stored values are two's complement; CR only.
        greys: which tags say how bright a stored value is shown. `window`, `exact` and `sigmoid` are the three window
            functions; `voi lut` a table; `rescale` and `modality lut` come before a window and, as `none`, are for CR
            only: a DX film has an identity rescale and must say how it is shown.
        syntax: a key of `SYNTAXES`.
        padding: columns of PixelPaddingValue on either side, as a fraction of the film's width.
        plate: side of the detector in mm.
    """

    station: str
    manufacturer: str
    model: str
    modality: str
    photometric: str
    bits: int
    signed: bool
    greys: Greys
    syntax: str
    padding: float = 0.0
    plate: float = 350.0

    def __post_init__(self) -> None:
        if self.modality not in ("CR", "DX") or self.photometric not in ("MONOCHROME1", "MONOCHROME2"):
            raise ValueError(f"{self.station}: modality must be CR or DX, photometric MONOCHROME1 or MONOCHROME2")
        if not 8 <= self.bits <= 16 or self.syntax not in SYNTAXES:
            raise ValueError(f"{self.station}: bits must be 8 to 16, syntax one of {', '.join(SYNTAXES)}")
        if self.modality == "DX" and (self.signed or self.greys in ("rescale", "modality lut", "none")):
            raise ValueError(f"{self.station}: a DX film is unsigned, and shown by a window or a VOI LUT (C.8.11.3)")


@dataclass(frozen=True)
class Exam:
    """Whom and what a film shows.

    Attributes:
        name: `FAMILY^GIVEN`.
        sex: `F`, `M` or `O`.
        age: in years.
        view: `PA` or `AP`.
        accession: one for each study.
        study: text of which StudyInstanceUID is made: the same for films of one study.
        film: text of which the other UIDs are made: another for every film.
        number: of the film in its study, from 1.
    """

    patient: str
    name: str
    sex: str
    age: int
    view: str
    institution: str
    accession: str
    study: str
    film: str
    number: int = 1


def dicom_film(pixels: np.ndarray, scanner: Scanner, exam: Exam) -> Dataset:
    """The data set of a film, pixels (bone bright, clipped to [0, 1]) quantised and compressed as the scanner does.

    The same arguments give the same bytes. Where the codec is not installed the film is stored uncompressed.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    _describe(dataset, scanner, exam)
    if scanner.modality == "DX":
        _describe_dx(dataset, scanner, exam)
    else:
        dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    _store(dataset, pixels, scanner)
    dataset.ImagerPixelSpacing = [round(scanner.plate / max(pixels.shape), 5)] * 2
    syntax = SYNTAXES[scanner.syntax]
    if encoder := _ENCODERS.get(scanner.syntax):
        if encoder not in get_encoder(syntax).available_plugins:  # pyjpegls has no wheel for Python 3.14
            return dataset
        dataset.compress(syntax, encoding_plugin=encoder, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def save(dataset: Dataset, path: Path) -> None:
    """Write a data set as a DICOM file, its file meta information made to agree with it."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(path, enforce_file_format=True)


def save_dicomdir(folder: Path, text: str) -> None:
    """Write a DICOMDIR without entries, as a disc carries one beside its films; its UID is made of the text."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = made_uid("directory", text)
    directory.FileSetID = "PHANTOMS"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    directory.DirectoryRecordSequence = []
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)


def made_uid(kind: str, text: str) -> uid.UID:
    """A UID that is a function of the text alone, another for each kind."""
    return uid.generate_uid(entropy_srcs=["end-cxr", kind, text])


def _describe(dataset: Dataset, scanner: Scanner, exam: Exam) -> None:
    """Patient, study, series, equipment and image: what CR and DX have in common."""
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = exam.name, exam.patient, ""
    dataset.PatientSex, dataset.PatientAge = exam.sex, f"{exam.age:03d}Y"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = made_uid("study", exam.study), made_uid("series", exam.film)
    dataset.SOPInstanceUID = made_uid("instance", exam.film)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20210301"
    dataset.StudyTime, dataset.SeriesTime = "090000", f"09{exam.number:02d}00"
    dataset.AcquisitionTime = dataset.ContentTime = dataset.SeriesTime
    dataset.StudyID, dataset.AccessionNumber, dataset.ReferringPhysicianName = "1", exam.accession, ""
    dataset.StudyDescription, dataset.SeriesDescription = "Chest", SYNTHETIC
    dataset.SeriesNumber, dataset.InstanceNumber = exam.number, 1
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = scanner.modality, "CHEST", exam.view
    dataset.PatientOrientation = ["L", "F"]  # of rows and of columns: as hung, head up, the patient's left on the right
    dataset.Manufacturer, dataset.ManufacturerModelName = scanner.manufacturer, scanner.model
    dataset.InstitutionName, dataset.StationName = exam.institution, scanner.station
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = f"PHANTOM-{scanner.station}", "1.0"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.ImageComments = f"{SYNTHETIC}: drawn by a program, not for diagnosis"
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"


def _describe_dx(dataset: Dataset, scanner: Scanner, exam: Exam) -> None:
    """The DX modules: series, anatomy imaged, image, detector, positioning, acquisition context."""
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.ImageLaterality = "U"
    dataset.AnatomicRegionSequence = [_coded("51185008", "Chest")]
    dataset.ViewCodeSequence = [_coded(*_VIEWS[exam.view])]
    dataset.DetectorType, dataset.PositionerType = "SCINTILLATOR", "COLUMN"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    inverse = scanner.photometric == "MONOCHROME1"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = 1 if inverse else -1  # 1: larger values saw more X-rays
    dataset.AcquisitionContextSequence = []


def _coded(value: str, meaning: str) -> Dataset:
    """An item of a code sequence, SNOMED CT."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _store(dataset: Dataset, pixels: np.ndarray, scanner: Scanner) -> None:
    """The image pixel module: stored values, padding, and the tags that say how they are shown."""
    lowest = -(2 ** (scanner.bits - 1)) if scanner.signed else 0
    margin = 2**scanner.bits // 16  # no film uses its whole range; the ends are left to padding
    stored = np.arange(lowest + margin, lowest + 2**scanner.bits - margin)
    inverse = scanner.photometric == "MONOCHROME1"
    shown = _shown(dataset, stored, scanner)
    cells = np.rint(np.interp(1 - pixels if inverse else pixels, shown, stored))
    if scanner.padding:
        black = lowest + 2**scanner.bits - 1 if inverse else lowest
        width = round(scanner.padding * pixels.shape[1])
        cells = np.pad(cells, ((0, 0), (width, width)), constant_values=black)
        dataset.add_new("PixelPaddingValue", "SS" if scanner.signed else "US", black)
    bytes_each = 1 if scanner.bits == 8 else 2
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, scanner.photometric
    dataset.Rows, dataset.Columns = cells.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 * bytes_each, scanner.bits, scanner.bits - 1
    dataset.PixelRepresentation = int(scanner.signed)
    data = cells.astype(f"<{'i' if scanner.signed else 'u'}{bytes_each}").tobytes()
    dataset.add_new("PixelData", "OW", data + bytes(len(data) % 2))


def _shown(dataset: Dataset, stored: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Sets the tags of `scanner.greys`; returns how bright they show each stored value, rising from 0 to 1."""
    along = np.linspace(0, 1, len(stored))
    first = int(stored[0])
    if scanner.greys == "none":
        return along
    if scanner.greys == "voi lut":  # a toe and a shoulder, as film has
        entries = np.rint(65535 * along**1.5 * (2.5 - 1.5 * along)).astype(int)
        dataset.VOILUTSequence = [_table(entries, first, 16, scanner.signed)]
        return entries / 65535
    values = stored.astype(float)
    if scanner.greys == "rescale":
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 0.5, 100, "US"
        values = 0.5 * stored + 100
    elif scanner.greys == "modality lut":  # the logarithm of a linear detector
        values = np.rint(65535 * np.log1p(4 * along) / np.log(5))
        dataset.ModalityLUTSequence = [_table(values.astype(int), first, 16, scanner.signed)]
        dataset.ModalityLUTSequence[0].ModalityLUTType = "OD"
    low, high = float(values[0]), float(values[-1])
    if scanner.greys == "sigmoid":
        dataset.WindowCenter, dataset.WindowWidth = (low + high) / 2, round((high - low) / 3, 1)
        dataset.VOILUTFunction = "SIGMOID"
        return 1 / (1 + np.exp(-4 * (values - dataset.WindowCenter) / dataset.WindowWidth))
    exact = scanner.greys == "exact"  # C.11.2.1.2.1: the plain window is half a value off centre, and one wider
    dataset.WindowCenter, dataset.WindowWidth = (low + high) / 2 + 0.5 * (not exact), high - low + (not exact)
    dataset.VOILUTFunction = "LINEAR_EXACT" if exact else "LINEAR"
    return (values - low) / (high - low)


def _table(entries: np.ndarray, first: int, bits: int, signed: bool) -> Dataset:
    """An item of a lookup table sequence; `first` is the stored value of the first entry."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item
