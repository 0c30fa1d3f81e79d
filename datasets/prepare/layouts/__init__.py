"""The register of public data sets that `datasets.prepare` reads: a name on the command line, and what its folder holds.

A layout is a file here with one function, `read(src, policy)`, that turns the downloaded folder into films and into what is
left out, each row of its tables once. To add one: that file and one entry below. This file imports none of them, so that
`--help` answers at once.

bimcv.py cohen.py covidx.py hannover.py nih.py rsna.py siim.py  one data set each
dicom.py    any folder of DICOM films, with a table of labels
film.py     a film of a data set, or why it is left out
header.py   view, sex, age and detector from a DICOM header
sidecar.py  DICOM attributes in a JSON file beside the film
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets.prepare.layouts.film import Film, LeftOut


@dataclass(frozen=True)
class Layout:
    """A public data set.

    Attributes:
        expects: what must be in its folder, as a sentence of an error goes on.
        notes: what a user should know of its labels, sources or patients before training.
        labelled: it has no labels of its own: `read` also takes a table of them, and the key of its hashes.
        headers: its films have DICOM headers, so that the source can be a tag.
    """

    title: str
    expects: str
    notes: tuple[str, ...] = ()
    labelled: bool = False
    headers: bool = False


LAYOUTS = {
    "dicom": Layout(
        "Folder of DICOM films",
        "DICOM films, in any sub-folders; --labels FILE names their labels",
        labelled=True,
        headers=True,
    ),
    "cohen": Layout(
        "COVID-19 image data collection (Cohen et al.)",
        "metadata.csv (columns patientid, finding, view, filename) and images/",
        ("Labels are per case, not per film; nearly every 'No Finding' is a film of a COVID-19 patient.",),
    ),
    "hannover": Layout(
        "COVID-19 image repository (Hannover Medical School)",
        "data.csv (columns patient_id, image_id, projection) and png/",
        ("Every patient has COVID-19: alone it has one label, beside others its source gives the label away.",),
    ),
    "nih": Layout(
        "NIH ChestX-ray14",
        "Data_Entry_2017.csv or Data_Entry_2017_v2020.csv and the PNG files below images/ or images_001/ to images_012/",
        ("Labels were mined from reports; films are from before 2018, so none shows COVID-19.",),
    ),
    "covidx": Layout(
        "COVIDx (COVID-Net)",
        "train.txt and test.txt (or train_COVIDx*.txt, also in labels/; lines 'patient file class source') and the folders "
        "train/ and test/",
        (
            "A collection of other collections: each film keeps the one that its list names as its source.",
            "In the lists of two classes 'negative' is any film without COVID-19 and becomes label other.",
        ),
    ),
    "bimcv": Layout(
        "BIMCV-COVID19+ and BIMCV-COVID19-",
        "the folders sub-*/ses-*/mod-rx/ with PNG and JSON files, and derivatives/labels/ with a table of labels (TSV), "
        "or two folders that are such sets",
        (
            "Films of the positive set are covid because their patients had a positive test, whatever the film shows.",
            "Its PNG files hold raw detector values; they are written anew, 8 bits, as their JSON files say.",
        ),
    ),
    "siim": Layout(
        "SIIM-FISABIO-RSNA COVID-19 detection",
        "train_study_level.csv, train_image_level.csv and train/<study>/<series>/<image>.dcm",
        headers=True,
        notes=(
            "Labels are readings of the film, no test: typical appearance is covid, negative for pneumonia is normal.",
            "Its films come from BIMCV and RICORD, and nothing says which: do not combine it with either.",
        ),
    ),
    "rsna": Layout(
        "RSNA pneumonia detection challenge",
        "stage_2_train_labels.csv, stage_2_detailed_class_info.csv and stage_2_train_images/<patientId>.dcm",
        headers=True,
        notes=("Its films are a part of NIH ChestX-ray14: beside nih each is there twice.",),
    ),
}


def reader(name: str) -> Callable[..., "Iterator[Film | LeftOut]"]:
    """The function `read` of a layout."""
    return import_module(f"datasets.prepare.layouts.{name}").read
