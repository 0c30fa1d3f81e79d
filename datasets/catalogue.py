"""Every dataset by its name on the command line."""

from pathlib import Path
from typing import Any

from datasets.biased_mnist import load_biased_mnist
from datasets.cohort.films import Cohort, CohortError
from datasets.cohort.label_words import LabelMap
from datasets.covid import load_covid
from datasets.film.policy import DEFAULT, DicomPolicy
from datasets.film.preprocessing import Preprocessing
from datasets.phantom.cohort import load_phantom


def load_cohort(
    name: str,
    preprocessing: Preprocessing,
    *,
    data_dir: Path | None = None,
    classes: tuple[str, ...] = (),
    external_sources: tuple[str, ...] = (),
    rho: float | None = None,
    films: int | None = None,
    split_seed: int = 0,
    separate_copies: bool = False,
    policy: DicomPolicy = DEFAULT,
    external_column: str = "source",
    words: LabelMap | None = None,
) -> Cohort:
    """Load `covid`, `phantom` or `biased-mnist`; the last two take `rho` and `films`, the first two `external_sources`
    of `external_column`.

    DICOM films are those of `covid` alone: they are admitted as the policy says. So are labels that `words` give a meaning.

    Raises:
        CohortError: the data can't be used, or there is no dataset of that name.
    """
    if name == "covid":
        if data_dir is None:
            raise CohortError("--dataset covid needs --data-dir, a folder with metadata.csv")
        return load_covid(
            data_dir, preprocessing, classes, external_sources, split_seed, separate_copies, policy, external_column,
            words,
        )  # fmt: skip
    given: dict[str, Any] = {key: value for key, value in (("rho", rho), ("films", films)) if value is not None}
    if name == "phantom":
        given |= {"external_sources": external_sources, "external_column": external_column}
        return load_phantom(preprocessing, seed=split_seed, **given)
    if name == "biased-mnist":
        return load_biased_mnist(preprocessing, data_dir=data_dir, seed=split_seed, **given)
    raise CohortError(f"there is no dataset {name!r}")
