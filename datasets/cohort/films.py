"""A validated table of films, and the way from its rows to batches of `Sample`.

The table has one row a film with the columns `row` (0-based, in the metadata file), `patient`, `label`, `source`, `split`,
`target`, `bias` (the index of the source), and whatever else is known of the films.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.cohort.amplitude import AmplitudeMixing, mix_amplitude
from datasets.cohort.augmentation import Augmentation
from datasets.cohort.cache import FilmReader, FilmSubset, in_memory, on_disk
from datasets.cohort.capacity import CapacityError
from datasets.film.facts import age_band
from datasets.film.grey_arithmetic import looks_inverted
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import RadiographError
from datasets.listed import listed
from datasets.sample import UNKNOWN, Attribute, DatasetInfo, Sample, Split

TRAINING = (Split.TRAIN, Split.VALIDATION)  # the splits that training can't do without
STAND_INS = 20  # films tried in the place of one that can't be decoded
REQUIRED_COLUMNS = ("row", "patient", "label", "source", "split", "target", "bias")
MOST_TEXTS = 20  # in a note
AGE_BANDS = frozenset(["0-9", *(f"{decade}0-{decade}9" for decade in range(1, 9)), "90+"])
INVERSION_SAMPLE = 20_000  # films whose polarity is looked at


class CohortError(ValueError):
    """A cohort that can't be used; the message says what to change, and where."""


class UnreadableFilmError(CohortError):
    """A film that can't be decoded now; `position` says which of the cohort's, where no process lies between.

    It has one argument, so that a DataLoader can pass it on from its processes.
    """

    position: int | None = None


def left_out(reasons: dict[int, str]) -> pd.DataFrame:
    """Rows of the metadata with the reason for leaving each out, in the order of the rows."""
    return pd.DataFrame(sorted(reasons.items()), columns=["row", "reason"]).astype({"row": "int64", "reason": str})


class Draw(NamedTuple):
    """One place in an epoch's order: which film, and what its augmentation is drawn from."""

    film: int
    epoch: int
    position: int


@dataclass(frozen=True)
class Cohort:
    """Films with their targets, biases, patients and splits.

    Attributes:
        table: one row a film, see the module; its index is 0, 1, ... (positions).
        films: where the films come from; None where `images` is given from the start.
        images: decoded films in one tensor, rows x channels x size x size, uint8 or float in [0, 1]; None where they are
            decoded at each use, see `cached`.
        places: int64, the row of `images` that each film has; None where film i has row i.
        excluded: rows of the metadata left out, columns `row` and `reason`.
        notes: sentences that a user should read before training.
    """

    info: DatasetInfo
    table: pd.DataFrame
    preprocessing: Preprocessing
    films: FilmReader | None = None
    images: Tensor | None = None
    places: Tensor | None = None
    excluded: pd.DataFrame = field(default_factory=lambda: left_out({}))
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [column for column in REQUIRED_COLUMNS if column not in self.table]
        if missing:
            raise CohortError(f"the cohort's table lacks the columns {', '.join(missing)}")

    @property
    def bias(self) -> np.ndarray:
        """What training must not use, as `Sample.bias` has it: films, or films x attributes where there are several."""
        codes = [self.codes(attribute) for attribute in self.info.unwanted]
        return codes[0] if len(codes) == 1 else np.stack(codes, axis=1)

    def codes(self, attribute: Attribute) -> np.ndarray:
        """Of each film, int64: the index of its value of one of `info.attributes`."""
        if not self.info.named:
            return self.table["bias"].to_numpy(dtype=np.int64)
        values = self.table[attribute.name].replace("", UNKNOWN)
        return values.map({name: i for i, name in enumerate(attribute.values)}).to_numpy(dtype=np.int64)

    def values(self, attribute: Attribute) -> pd.Series:
        """Of each film, the name of its value of one of `info.attributes`."""
        names = np.array(attribute.values, dtype=object)
        return pd.Series(names[self.codes(attribute)], index=self.table.index, name=attribute.name)

    def positions(self, split: Split) -> np.ndarray:
        """Positions of the films of one split, in table order."""
        return np.flatnonzero(self.table["split"] == str(split))

    def cached(self, mode: str, folder: Path | None = None) -> "Cohort":
        """Return the cohort with decoded, resized films kept in `memory`, on `disk` or not at all (`none`).

        In memory and on disk, each film is decoded here unless an earlier run left it on disk; those that can't be are left
        out of the table and named in `excluded`. Without a cache, such a film raises UnreadableFilmError when it is used.

        Args:
            folder: where `disk` keeps its files; their names tell nothing of the films.

        Raises:
            CohortError: a split that training needs has no readable film left, or the films do not fit.
            ValueError: an unknown mode, or `disk` without a folder.
            OSError: the folder can't be written to.
        """
        if mode not in ("memory", "disk", "none") or (mode == "disk" and folder is None):
            raise ValueError(f"mode {mode!r}: memory, disk (with a folder) or none")
        if self.films is None:
            return self
        if mode == "none":
            return dataclasses.replace(self, images=None, places=None)
        try:
            if folder is not None and mode == "disk":
                decoded = on_disk(self.films, self.preprocessing, len(self.table), folder)
            else:
                decoded = in_memory(self.films, self.preprocessing, len(self.table))
        except CapacityError as error:
            raise CohortError(str(error)) from None
        cohort = dataclasses.replace(self, images=decoded.images, places=decoded.places)
        cohort = cohort.without(decoded.unreadable) if decoded.unreadable else cohort
        notes = (*self.text_notes(), *cohort._cached_inversion_notes())
        return dataclasses.replace(cohort, notes=(*cohort.notes, *notes))

    def text_notes(self) -> list[str]:
        """Texts of tags that count as unknown because no word fits, in the films decoded here; nothing without any."""
        texts = self.films.not_understood() if self.films is not None else {}
        if not texts:
            return []
        counts = listed([f"{text} ({count})" for text, count in texts.items()], MOST_TEXTS)
        return [
            f"Admitted, but not understood: {counts}. --view-is 'TEXT=PA' or --body-part-is 'TEXT=CHEST' says what "
            f"one means."
        ]

    def _cached_inversion_notes(self) -> list[str]:
        if self.images is None or self.places is None or self.info.name != "covid" or "row" not in self.table:
            return []
        # Of very many films some tell.
        looked = np.unique(np.linspace(0, len(self.table) - 1, min(len(self.table), INVERSION_SAMPLE)).astype(int))
        found = [i for i in looked.tolist() if looks_inverted(self.images[self.places[i]][0].numpy())]
        return self.inversion_notes(found, len(looked))

    def inversion_notes(self, inverted: Sequence[int], looked: int) -> list[str]:
        """How many films look inverted, with their lines and sources; nothing where none does.

        Args:
            inverted: positions of those that do.
            looked: how many were looked at.
        """
        if not inverted:
            return []
        found = sorted(inverted)
        rows = self.table.iloc[found]
        lines = ", ".join(str(int(row) + 2) for row in rows["row"].head(5)) + (", ..." if len(found) > 5 else "")
        sources = ", ".join(f"{source} {count}" for source, count in rows["source"].value_counts().head(5).items())
        of = "" if looked == len(self.table) else f" of {looked} looked at"
        return [
            f"{len(found)} film(s){of} look inverted, air bright (lines {lines} of metadata.csv; by source: {sources}): "
            f"look at them, and invert or leave them out."
        ]

    @property
    def on_device(self) -> bool:
        """Whether the pixels are on an accelerator."""
        return self.images is not None and self.images.device.type != "cpu"

    def on(self, device: torch.device) -> "Cohort":
        """Move pixels that were given to the device, where batches are then cut and normalised; decoded films stay."""
        if self.images is None or self.films is not None:
            return self
        return dataclasses.replace(self, images=self.images.to(device))

    def pixels(self, films: Tensor) -> Tensor:
        """Pixels in [0, 1] of the films at these positions, on the device of `images`, which must be there."""
        assert self.images is not None
        rows = films if self.places is None else self.places[films]
        # Indexing of uint8 in brackets is several times slower than index_select.
        pixels = self.images.index_select(0, rows.to(self.images.device, non_blocking=True))
        return pixels / 255 if pixels.dtype == torch.uint8 else pixels.float()

    def without(self, reasons: dict[int, str]) -> "Cohort":
        """Leave out the films at these positions; raises CohortError where training or validation would have none left."""
        kept = [i for i in range(len(self.table)) if i not in reasons]
        dropped = left_out({int(self.table["row"].iloc[i]): reason for i, reason in reasons.items()})
        cohort = dataclasses.replace(self.part(kept), excluded=pd.concat([self.excluded, dropped], ignore_index=True))
        emptied = [split for split in TRAINING if len(self.positions(split)) and not len(cohort.positions(split))]
        if emptied or not kept:
            which = f"no film of split {emptied[0]}" if emptied else "no film"
            raise CohortError(f"{which} is left; the first reason: {next(iter(reasons.values()))}")
        return cohort

    def part(self, kept: Sequence[int]) -> "Cohort":
        """The films at these positions, addressed anew from 0."""
        kept = [int(position) for position in kept]
        places = torch.arange(len(self.table)) if self.places is None else self.places
        return dataclasses.replace(
            self,
            table=self.table.iloc[kept].reset_index(drop=True),
            films=None if self.films is None else FilmSubset(self.films, kept),
            places=None if self.images is None else places[kept],
        )

    def samples(
        self,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        stand_ins: bool = False,
        mixing: AmplitudeMixing | None = None,
    ) -> "CohortSamples":
        """The films as a dataset of `Sample`, see `CohortSamples`; mixed and augmented are those addressed by `Draw`."""
        return CohortSamples(self, augmentation, seed, stand_ins, mixing)


class CohortSamples(Dataset[Sample]):
    """A map-style dataset that hands out whole batches, so that tensors in memory are indexed once a batch.

    Use it with `collate_fn=whole_batch`. Keys are positions (films as they are) or `Draw`s (mixed, then augmented).

    A film that can't be decoded raises UnreadableFilmError. With stand-ins, one addressed by `Draw` is replaced by another
    training film of its target and bias, drawn from (seed, epoch, position) alone; the sample's `row` is the other's, so
    that whoever knows the order sees what was replaced.
    """

    def __init__(
        self,
        cohort: Cohort,
        augmentation: Augmentation | None,
        seed: int,
        stand_ins: bool,
        mixing: AmplitudeMixing | None,
    ) -> None:
        self.cohort, self.augmentation, self.seed, self.stand_ins = cohort, augmentation, seed, stand_ins
        self.mixing = mixing
        self.training = torch.tensor((cohort.table["split"] == str(Split.TRAIN)).to_numpy())
        self.target, self.source, self.row = (
            torch.tensor(cohort.table[name].to_numpy(dtype=np.int64)) for name in ("target", "bias", "row")
        )
        self.bias = torch.tensor(cohort.bias)

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, key: int | Draw) -> Sample:
        return Sample(*(field[0] for field in self.__getitems__([key])))

    def __getitems__(self, keys: Sequence[int | Draw]) -> Sample:
        films, pixels = self._pixels(keys)
        if self.mixing is not None:
            pixels = self._mixed(pixels, films, keys, self.mixing)
        if self.augmentation is not None:
            pixels = torch.stack([self._augmented(image, key) for image, key in zip(pixels, keys, strict=True)])
        return Sample(
            self.cohort.preprocessing.normalise(pixels), self.target[films], self.bias[films], self.row[films]
        )

    def _pixels(self, keys: Sequence[int | Draw]) -> tuple[Tensor, Tensor]:
        """Positions and pixels in [0, 1] of the films, or of those that stand in for them."""
        if self.cohort.images is not None:
            films = torch.tensor([key.film if isinstance(key, Draw) else key for key in keys], dtype=torch.int64)
            return films, self.cohort.pixels(films)
        read, images = zip(*(self._read(key) for key in keys), strict=True)
        return torch.tensor(read), torch.stack(images)

    def _mixed(self, pixels: Tensor, films: Tensor, keys: Sequence[int | Draw], mixing: AmplitudeMixing) -> Tensor:
        """The films, those that `mixing` draws with amplitudes of donors, which are not augmented."""
        chosen, donors, weights = [], [], []
        for place, key in enumerate(keys):
            if not isinstance(key, Draw):
                continue
            drawn = mixing.draw(int(self.source[films[place]]), self.seed, key.epoch, key.position)
            if drawn is not None:
                donor, weight = drawn
                chosen.append(place)
                donors.append(key._replace(film=donor))
                weights.append(weight)
        if chosen:
            pixels[chosen] = mix_amplitude(pixels[chosen], self._pixels(donors)[1], torch.tensor(weights))
        return pixels

    def _read(self, key: int | Draw) -> tuple[int, Tensor]:
        """Position and pixels of the film, or of the one that stands in for it."""
        film = key.film if isinstance(key, Draw) else int(key)
        try:
            return film, self._decode(film)
        except UnreadableFilmError as error:
            if not self.stand_ins or not isinstance(key, Draw):
                raise
            bias = self.bias.view(len(self), -1)
            alike = self.training & (self.target == self.target[film]) & (bias == bias[film]).all(1)
            others = np.random.default_rng([self.seed, key.epoch, key.position]).permutation(alike.nonzero().flatten())
            for other in others[others != film][:STAND_INS]:
                try:
                    return int(other), self._decode(int(other))
                except UnreadableFilmError:
                    continue
            raise UnreadableFilmError(f"{error}; nor can {STAND_INS} others of its label and source") from None

    def why_not(self, film: int) -> str:
        """Why the film at this position can't be decoded."""
        try:
            self._decode(film)
        except UnreadableFilmError as error:
            return str(error)
        return f"the film on line {int(self.row[film]) + 2} of metadata.csv could not be read at first"

    def _decode(self, film: int) -> Tensor:
        """Pixels in [0, 1] of the film at this position; raises UnreadableFilmError."""
        assert self.cohort.films is not None
        try:
            return self.cohort.preprocessing.pixels(self.cohort.films.read(film))
        except RadiographError as error:
            line = int(self.row[film]) + 2
            unreadable = UnreadableFilmError(f"the film on line {line} of metadata.csv can't be used: {error}")
        unreadable.position = film
        raise unreadable

    def _augmented(self, pixels: Tensor, key: int | Draw) -> Tensor:
        if self.augmentation is None or not isinstance(key, Draw):
            return pixels
        seed = np.random.SeedSequence([self.seed, key.epoch, key.position]).generate_state(1, np.uint64)[0]
        return self.augmentation(pixels, torch.Generator().manual_seed(int(seed >> np.uint64(1))))


def age_bands(age: pd.Series) -> pd.Series:
    """Decades of life ("40-49") of ages in years, in DICOM's form ("045Y") or decades; empty where they can't be read."""
    text = age.astype(object).where(age.notna(), "").astype(str).str.strip().str.replace(r"\.\d+$", "", regex=True)
    years = text.where(~text.str.isdigit(), text + "Y").replace(
        "0Y", "1M"
    )  # a table's 0 is a baby, DICOM's 000Y nobody
    return years.map(lambda value: value if value in AGE_BANDS else age_band(value) or "")


def whole_batch(batch: Any) -> Sample:
    """Collate function for `CohortSamples`, which hands out batches as they are."""
    return batch
