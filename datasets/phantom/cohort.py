"""The phantom as a cohort: synthetic films of several hospitals whose label follows the hospital with probability rho."""

from datasets.cohort.external import external_films
from datasets.cohort.films import Cohort, CohortError, age_bands
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph
from datasets.phantom import film as phantom
from datasets.sample import DatasetInfo

FILM_SIZE = 128


class PhantomFilms:
    """Films by position, rendered anew at every reading."""

    def __init__(self, seed: int, rows: list[int], labels: list[str], hospitals: list[str]) -> None:
        self.seed, self.rows, self.labels, self.hospitals = seed, rows, labels, hospitals

    def read(self, position: int) -> Radiograph:
        """Render one film."""
        return phantom.film(self.seed, self.rows[position], self.labels[position], self.hospitals[position], FILM_SIZE)

    def fingerprint(self, position: int) -> str:
        """What the film is a function of."""
        row, label, hospital = self.rows[position], self.labels[position], self.hospitals[position]
        return f"phantom {self.seed} {row} {label} {hospital} {FILM_SIZE}"

    def not_understood(self) -> dict[str, int]:
        """Nothing: drawn films have no tags."""
        return {}


def load_phantom(
    preprocessing: Preprocessing,
    rho: float = 0.95,
    films: int = 1600,
    seed: int = 0,
    external_sources: tuple[str, ...] = (),
    external_column: str = "source",
) -> Cohort:
    """Training and validation films at `rho`, test films at 0.5 (unbiased), and hospitals never seen in training.

    Args:
        rho: probability that a film has its hospital's own label; 0.5 is independence.
        films: training films. Validation has a quarter as many; test and external have as many, at least 120, and at most
            1,000 and 600.
        external_sources: hospitals, or values of `external_column` (view, sex, age_band), whose films form the external
            split instead; all other external films are dropped, and all others of their patients.

    Raises:
        CohortError: rho or films out of range, or no such hospital.
    """
    try:
        test, external = (min(most, max(120, films)) for most in (1000, 600))
        table = phantom.table(rho, seed, films, films // 4, test, external)
    except ValueError as error:
        raise CohortError(str(error)) from None
    hospitals = [hospital.name for hospital in phantom.HOSPITALS]
    targets = ("not covid", "covid")
    unknown = sorted(set(external_sources) - set(hospitals))
    if unknown and external_column == "source":
        raise CohortError(
            f"--external-sources: the phantom has no hospital {unknown[0]!r}; it has {', '.join(hospitals)}"
        )
    if external_sources:
        outside, _ = external_films(table, external_column, external_sources)
        inside = (table["split"] != "external") & ~table["patient"].isin(table["patient"][outside])
        table.loc[outside, "split"] = "external"
        table = table[outside | inside].reset_index(drop=True)
    for split in ("train", "validation"):
        if table["label"][table["split"] == split].eq("covid").nunique() < 2:
            raise CohortError(
                f"split {split} of the phantom has films of one class only: take more --films or a lower --rho"
            )
    table["target"] = (table["label"] == "covid").astype(int)
    table["target_name"] = table["target"].map(dict(enumerate(targets)))
    table["bias"] = table["source"].map({name: i for i, name in enumerate(hospitals)})
    table["age_band"] = age_bands(table["age"])
    films_ = PhantomFilms(seed, *(table[name].tolist() for name in ("row", "label", "source")))
    note = "SYNTHETIC: procedural phantoms, not patients; results say nothing of clinical use. --data-dir takes real films."
    info = DatasetInfo("phantom", targets, tuple(hospitals), "source", positive=1, synthetic=True)
    return Cohort(info, table, preprocessing, films_, notes=(note,))
