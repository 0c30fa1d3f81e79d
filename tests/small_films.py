"""Small valid DICOM films of every transfer syntax that there is an encoder for, and pydicom's own test files.

None of them is a patient's: the films are phantoms of `datasets.phantom.folder`.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pydicom
from PIL import Image
from pydicom import uid
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame

from datasets.phantom.folder import SCANNERS, film_dataset

SECRET = "PHANTOM^SECRET"
"""Like the names of the phantoms: no message may hold it."""

SV1 = gdcm.TransferSyntax.JPEGLosslessProcess14_1  # the first selection value, what scanners write
SMALL = 65_536  # pydicom's test files up to so many bytes


def pydicom_files() -> list[Path]:
    """The test files inside of the package; those that it would download aren't touched."""
    return sorted(path for path in (Path(DATA_ROOT) / "test_files").rglob("*") if path.is_file())


def sound_films() -> dict[str, bytes]:
    """Valid films of every transfer syntax that there is an encoder for, and pydicom's small test files."""
    films = {}
    size = 64
    for source, scanners in SCANNERS.items():
        for number, scanner in enumerate(scanners):
            dataset = film_dataset(0, 90_000, "pneumonia" if number else "normal", source, size, scanner)
            films[f"{scanner.syntax} {scanner.bits} bits {scanner.greys}"] = written(dataset)
            size = size + 16 if size < 128 else 64
    for bits in (8, 12):
        plain = plain_film(bits)
        big = plain_film(bits)
        if bits > 8:
            big.PixelData = np.frombuffer(plain.PixelData, "<u2").astype(">u2").tobytes()
        big.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
        films[f"big endian {bits} bits"] = written(big)
        for name, syntax, plugin, options in (
            ("jpeg-ls near", uid.JPEGLSNearLossless, "pyjpegls", {"jls_error": 2}),
            ("jpeg 2000 lossy", uid.JPEG2000, "pylibjpeg", {"j2k_cr": [8]}),
        ):
            compressed = _copy(plain)
            compressed.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False, **options)
            films[f"{name} {bits} bits"] = written(compressed)
        for name, process in (("14", gdcm.TransferSyntax.JPEGLosslessProcess14), ("14 SV1", SV1)):
            films[f"jpeg lossless {name} {bits} bits"] = jpeg_lossless(plain, process)
    grey = Image.fromarray(np.frombuffer(plain_film(8).PixelData, np.uint8).reshape(plain_film(8).Rows, -1))
    for name, syntax, options in (
        ("jpeg baseline", uid.JPEGBaseline8Bit, {}),
        ("jpeg extended", uid.JPEGExtended12Bit, {}),
        ("jpeg progressive", uid.JPEGBaseline8Bit, {"progressive": True}),
    ):
        buffer = io.BytesIO()
        grey.save(buffer, "JPEG", **options)
        films[f"{name} 8 bits"] = compressed_film(grey.height, grey.width, syntax, buffer.getvalue(), 8)
    for path in pydicom_files():
        if path.stat().st_size <= SMALL and path.suffix not in (".py", ".txt", ".json", ".dump", ".icc", ".gz"):
            films[f"pydicom {path.name}"] = path.read_bytes()
    return films


def plain_film(bits: int) -> Dataset:
    """An uncompressed phantom without padding."""
    scanner = SCANNERS["north"][0] if bits > 8 else SCANNERS["hill"][1]
    return film_dataset(1, 90_003, "normal", "north", 72, scanner)


def _copy(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(written(dataset)))


def written(dataset: Dataset, **options: Any) -> bytes:
    buffer = io.BytesIO()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(buffer, **{"enforce_file_format": True, **options})
    return buffer.getvalue()


def jpeg_lossless(dataset: Dataset, process: int) -> bytes:
    """Through gdcm, which is alone in writing it."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = f"{folder}/before.dcm", f"{folder}/after.dcm"
        Path(before).write_bytes(written(dataset))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(before)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(process))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFileName(after)
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return Path(after).read_bytes()


def compressed_film(rows: int, columns: int, syntax: str, frame: bytes | list[bytes], bits: int = 16) -> bytes:
    """A film of these tags around a compressed picture, whatever that says of itself; plain pixels for native syntaxes."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.SOPClassUID, dataset.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3.4"
    dataset.Modality, dataset.PresentationIntentType, dataset.ViewPosition = "DX", "FOR PRESENTATION", "PA"
    dataset.BodyPartExamined, dataset.PatientName, dataset.PatientID = "CHEST", SECRET, SECRET
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.PixelRepresentation = rows, columns, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 if bits <= 8 else 16, bits, bits - 1
    native = uid.UID(syntax) in (uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
    dataset.PixelData = frame if native else encapsulate([frame] if isinstance(frame, bytes) else frame)
    dataset["PixelData"].VR = "OW" if native else "OB"
    dataset["PixelData"].is_undefined_length = not native
    return written(dataset)


def picture_of(film: bytes) -> bytes:
    """The compressed picture of a film."""
    return get_frame(pydicom.dcmread(io.BytesIO(film)).PixelData, 0, number_of_frames=1)
