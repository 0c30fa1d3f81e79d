"""What the source of a DICOM film is: its institution, station, manufacturer or model, or its group of detectors.

De-identified archives name no hospital. There the detector that a film was taken with is the nearest thing: manufacturer,
model and pixel matrix. A hospital has several, and patients who were filmed on more than one of them say which belong
together, so that a group of detectors joined by patients is like a site. It is no named hospital: one hospital may be several
groups, and one patient who went to two hospitals joins them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from datasets.listed import listed
from datasets.prepare.layouts.film import Film

FIELDS = ("institution", "station", "manufacturer", "model")  # of a `Film`, and tags
DETECTOR = "detector"
TAGS = (*FIELDS, DETECTOR)
OF_HEADERS = ("manufacturer", "model", DETECTOR)  # of public data sets, which name no institution
FEW = 10  # patients


def with_sources(films: Sequence[Film], tag: str) -> tuple[list[Film], list[str]]:
    """Films with their source by a tag, empty where it isn't stated, and sentences that a user should read.

    Args:
        tag: of `TAGS`.
    """
    if tag != DETECTOR:
        return [film._replace(source=getattr(film, tag)) for film in films], []
    names, groups = detector_groups(films)
    found = [film._replace(source=name) for film, name in zip(films, names, strict=True)]
    patients = pd.DataFrame(found)[["source", "patient_id"]].groupby("source")["patient_id"].nunique()
    joined = sum(len(detectors) > 1 for detectors in groups.values())
    notes = [
        f"Sources are {len(groups)} groups of detectors (manufacturer, model and pixel matrix), {joined} of them joined where"
        " patients were filmed on more than one. They are like sites, and no named hospitals."
    ]
    small = int((patients < FEW).sum())
    if small > len(patients) / 2 and len(patients) > 2:
        notes.append(
            f"{small} of the groups have fewer than {FEW} patients: pixel matrices that differ from film to film, as where "
            "films are cropped, tell detectors apart too finely. --source-tag model goes by the model alone."
        )
    return found, notes


def detector_groups(films: Sequence[Film]) -> tuple[list[str], dict[str, list[str]]]:
    """The group of detectors of each film, and the detectors of each group, that of the most films first.

    Two detectors are in one group where a patient was filmed on both, or where a chain of such patients leads from one to the
    other. A group is named after its first detector.
    """
    named = [" ".join(filter(None, (film.manufacturer, film.model, film.matrix))) or "not stated" for film in films]
    detector, names = pd.factorize(np.array(named, dtype=object))
    patient, patients = pd.factorize(np.array([film.patient_id for film in films], dtype=object))
    nodes = len(names) + len(patients)
    graph = coo_array((np.ones(len(films)), (detector, len(names) + patient)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][: len(names)]
    films_of, groups = np.bincount(detector), dict[int, list[int]]()
    for number in sorted(range(len(names)), key=lambda number: (-films_of[number], names[number])):
        groups.setdefault(int(component[number]), []).append(number)
    titles = {group: _title([str(names[i]) for i in members]) for group, members in groups.items()}
    members = {titles[group]: [str(names[i]) for i in found] for group, found in groups.items()}
    return [titles[int(component[number])] for number in detector.tolist()], members


def _title(detectors: list[str]) -> str:
    return listed(detectors, 1)
