"""A folder of phantom DICOM films from several hospitals, with their labels: a batch evaluation without patient data.

    OUT/<hospital>/im00001.dcm ...   the films: CR and DX, each scanner with its own greys and transfer syntax
    OUT/labels.csv                   file, sop_instance_uid, accession_number, label
    OUT/odd/                         what an archive also sends, and an evaluation must skip or fail with a reason
    OUT/DICOMDIR                     as discs have it

The patients are none that a run of `--dataset phantom` was trained on: theirs are the first films of the same stream.
"""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import track

from datasets.phantom import film as phantom
from datasets.phantom.anatomy import patient_of
from datasets.phantom.dicom_write import Dataset, Exam, Scanner, dicom_film, save, save_dicomdir
from datasets.phantom.odd import write_odd

MOST_FILMS = 1_000_000
FIRST_ROW = 90_000  # film indices before it are left to training; a multiple of 3, so that no patient is cut in two
SCANNERS = {
    "north": (
        Scanner("N-DX1", "Erewhon X-Ray", "Clarity 12", "DX", "MONOCHROME2", 12, False, "window", "explicit"),
        Scanner("N-CR1", "Erewhon X-Ray", "Plate 10", "CR", "MONOCHROME1", 10, False, "voi lut", "implicit"),
    ),
    "east": (
        Scanner("E-DX1", "Lilliput Imaging", "Panel 14", "DX", "MONOCHROME1", 14, False, "voi lut", "jpeg-ls"),
        Scanner("E-DX2", "Lilliput Imaging", "Panel 12", "DX", "MONOCHROME2", 12, False, "window", "rle", 0.05),
    ),
    "west": (
        Scanner("W-CR1", "Laputa Radiography", "Cassette", "CR", "MONOCHROME1", 12, True, "rescale", "rle", 0.04),
        Scanner("W-DX1", "Laputa Radiography", "Ward 16", "DX", "MONOCHROME2", 16, False, "exact", "jpeg 2000"),
    ),
    "harbour": (
        Scanner("H-CR1", "Brobdingnag Systems", "Log 12", "CR", "MONOCHROME2", 12, True, "modality lut", "deflated"),
    ),
    "hill": (
        Scanner("HI-DX1", "Lilliput Imaging", "Panel 14", "DX", "MONOCHROME1", 14, False, "sigmoid", "jpeg 2000"),
        Scanner("HI-CR1", "Laputa Radiography", "Export 8", "CR", "MONOCHROME2", 8, False, "none", "explicit"),
    ),
    "south": (
        Scanner("S-CR1", "Brobdingnag Systems", "Log 10", "CR", "MONOCHROME1", 10, False, "none", "jpeg-ls", 0.03),
    ),
}
"""Each hospital's machines. All manufacturers are invented."""


def write_folder(out: Path, films: int, rho: float, seed: int, size: int) -> int:
    """Write the folder described above and return how many files are in `odd`. The same arguments give the same bytes.

    Args:
        films: half of them from the hospitals of training, half from the external ones; 4 or more.
        rho: probability that a film of a training hospital has that hospital's own label; 0.5 is independence.
        size: rows of a film, and its columns without padding.

    Raises:
        ValueError: an argument out of range, or a folder that holds something already.
    """
    if films < 4:
        raise ValueError(f"{films} films: it must be 4 or more, two from either group of hospitals")
    if films > MOST_FILMS:
        raise ValueError(f"{films} films: at most {MOST_FILMS} go into a folder")
    phantom.require_size(size)
    cohort = phantom.table(rho, seed, films - films // 2, 0, 0, films // 2)
    problem = (
        "" if not out.exists() else "is a file" if not out.is_dir() else "isn't empty" if any(out.iterdir()) else ""
    )
    if problem:
        raise ValueError(f"{out} {problem}: name a new folder")
    for name in (*sorted(set(cohort["source"])), "odd"):
        (out / name).mkdir(parents=True)
    records = []
    rows = list(zip(cohort["row"], cohort["label"], cohort["source"], strict=True))
    for number, (row, label, source) in enumerate(track(rows, "films", console=Console(stderr=True)), 1):
        row += FIRST_ROW
        dataset = film_dataset(seed, row, label, source, size, scanner_of(source, row))
        name = f"{source}/im{number:05d}.dcm"
        save(dataset, out / name)
        records.append((name, dataset.SOPInstanceUID, dataset.AccessionNumber, label))
    columns = ["file", "sop_instance_uid", "accession_number", "label"]
    pd.DataFrame(records, columns=columns).to_csv(out / "labels.csv", index=False, lineterminator="\n")
    save_dicomdir(out, f"phantom {seed}")
    after = FIRST_ROW + 3 * films  # a patient of nobody else's
    model = film_dataset(seed, after, "normal", "north", size, SCANNERS["north"][0])
    first = min(name for name, *_ in records)  # in order of path the film comes before its copy
    return write_odd(out / "odd", model, out / first)


def film_dataset(seed: int, row: int, label: str, source: str, size: int, scanner: Scanner) -> Dataset:
    """One phantom as a scanner files it; the two films of a patient are one study."""
    film, patient = phantom.film(seed, row, label, source, size), patient_of(row)
    exam = Exam(
        patient=f"phantom-{patient:05d}",
        name=f"PHANTOM^{patient:05d}",
        sex=str(film.facts["sex"]),
        age=int(str(film.facts["age"])),
        view=str(film.facts["view"]),
        institution=f"{source.title()} Hospital (invented)",
        accession=f"PH{seed % 10**6}-{patient:05d}",
        study=f"phantom {seed} {patient} {label} {source} {size}",
        film=f"phantom {seed} {row} {label} {source} {size}",
        number=1 + (row % 3 == 1),
    )
    return dicom_film(film.pixels, scanner, exam)


def scanner_of(source: str, row: int) -> Scanner:
    """A hospital's scanners take its patients in turn."""
    scanners = SCANNERS[source]
    return scanners[patient_of(row) // 2 % len(scanners)]  # // 2, for every other patient has two films
