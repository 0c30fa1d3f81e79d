"""Temperatures and thresholds of sites, kept beside a checkpoint, which stays as it is: `site_calibration.json`."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.files import write_text
from training.console.messages import RESEARCH_ONLY
from training.run.checkpoint_header import head_digest

NAME = "site_calibration.json"
SCHEMA_VERSION = 1


class SiteCalibrationError(ValueError):
    """A file of site calibrations that can't be used; the message says why and what to do."""


class FilmCalibration(NamedTuple):
    """A temperature and a threshold for each film, as `checkpoint.Calibration` has them for all; `own` is the model's.

    Temperatures of sites are fitted to the labels there: only films of one site may be ordered by such scores.
    """

    temperature: np.ndarray
    threshold: np.ndarray
    own: float


@dataclass(frozen=True)
class SiteCalibration:
    """What `training.calibrate` fitted for a checkpoint.

    Attributes:
        sites: temperature and threshold of each site that has its own.
        others: why each other site of the fit has none.
        patients: keyed hashes of the patients that it was fitted on; `key` tells the key of the hashes.
        about: everything that the file says.
    """

    sites: dict[str, tuple[float, float]]
    others: dict[str, str]
    patients: frozenset[str]
    key: str
    about: dict[str, Any]

    def of(self, sources: np.ndarray, temperature: float, threshold: float) -> FilmCalibration:
        """Each film's by its source; the model's own temperature and threshold where the site has none."""
        values = np.array([self.sites.get(str(source), (temperature, threshold)) for source in sources], float)
        temperatures, thresholds = values.reshape(-1, 2).T
        return FilmCalibration(temperatures, thresholds, temperature)

    def threshold_of(self, site: str, temperature: float) -> float:
        """A site's threshold for scores of the model's own temperature: films are called as by the site's on its scores."""
        own, threshold = self.sites[site]
        with np.errstate(divide="ignore", over="ignore"):  # thresholds of 0 and 1
            margin = own * np.log(np.float64(threshold) / (1 - np.float64(threshold)))
            return float(1 / (1 + np.exp(-margin / temperature)))

    def note(self, sources: Collection[str]) -> str:
        """What the scores of an evaluation of films of these sources are, in a sentence or two."""
        if self.sites and not set(self.sites) & set(sources):
            return (
                f"No film is of a site that has a calibration of its own ({', '.join(self.sites)}): all are read with the "
                "model's. A site is known by its source."
            )
        here = [name for name in self.sites if name in sources]
        own = f"Scores and calls are calibrated by site: {', '.join(here) or 'none'} by their own films."
        kept = "; ".join(f"{name} ({why})" for name, why in self.others.items())
        return own + " Other sites keep the model's calibration" + (f": {kept}." if kept else ".")


def write_site_calibration(run: Path, values: dict[str, Any]) -> Path:
    """Write the file into a run folder, with what tells its checkpoint from others."""
    file = run / NAME
    first = {"schema_version": SCHEMA_VERSION, "notice": RESEARCH_ONLY, "checkpoint": head_digest(run)}
    write_text(file, json.dumps(first | values, indent=1, allow_nan=False) + "\n")
    return file


def read_site_calibration(run: Path) -> SiteCalibration:
    """Read it from a run folder.

    Raises:
        SiteCalibrationError: there is none, it is no such file, or of another checkpoint than the folder's.
    """
    file = run / NAME
    again = f"fit it anew with python -m training.calibrate {run}"
    if not file.is_file():
        raise SiteCalibrationError(f"{run} has no {NAME}: {again}")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        if about["schema_version"] != SCHEMA_VERSION:
            raise SiteCalibrationError(f"{file} is of schema version {about['schema_version']}: {again}")
        sites, others = dict[str, tuple[float, float]](), dict[str, str]()
        for name, site in about["sites"].items():
            if site["own"]:
                sites[name] = float(site["temperature"]["estimate"]), float(site["threshold"]["estimate"])
                if not (sites[name][0] > 0 and np.isfinite(sites[name]).all()):
                    raise SiteCalibrationError(f"{file}: the temperature of {name} is no number above 0: {again}")
            else:
                others[name] = str(site["reason"])
        found = SiteCalibration(sites, others, frozenset(about["patients"]), str(about["key"]), about)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, SiteCalibrationError):
            raise
        raise SiteCalibrationError(f"{file} is no site calibration: {again}") from None
    if about["checkpoint"] != head_digest(run):
        raise SiteCalibrationError(f"{file} was fitted for another checkpoint than the one beside it: {again}")
    return found
