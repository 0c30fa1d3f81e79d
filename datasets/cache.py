"""Decoded, resized films kept between epochs, by MONAI: in memory or on disk, or decoded anew each time."""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from monai.data import CacheDataset, Dataset, PersistentDataset
from monai.transforms import Transform
from torch import Tensor

from datasets.preprocessing import Preprocessing
from datasets.radiograph import Radiograph, RadiographError


class Films(Protocol):
    """Where a cohort's films come from, by position in its table."""

    def read(self, position: int) -> Radiograph:
        """Decode one film; raises RadiographError with the reason."""
        ...

    def fingerprint(self, position: int) -> str:
        """Text that changes when the film does; a disk cache files its pixels under a hash of it."""
        ...


class Images(Protocol):
    """Pixels by position, or why a film has none."""

    def __getitem__(self, position: int, /) -> Any:
        """A float tensor in [0, 1], or a RadiographError."""
        ...


class Subset:
    """Some of the films, addressed anew from 0."""

    def __init__(self, films: Films, kept: list[int]) -> None:
        self.films, self.kept = films, kept

    def read(self, position: int) -> Radiograph:
        """Decode one film."""
        return self.films.read(self.kept[position])

    def fingerprint(self, position: int) -> str:
        """Text that changes when the film does."""
        return self.films.fingerprint(self.kept[position])


def uncached(films: Films, preprocessing: Preprocessing, count: int) -> Images:
    """Pixels of `count` films by position, decoded at each use."""
    images: Images = Dataset(range(count), _ToPixels(films, preprocessing))
    return images


def in_memory(films: Films, preprocessing: Preprocessing, count: int, workers: int) -> tuple[Images, dict[int, str]]:
    """Decode `count` films now; returns their pixels by position, and why for those that can't be read."""
    transform = _Tolerant(_ToPixels(films, preprocessing))
    images = CacheDataset(range(count), transform, num_workers=workers, progress=sys.stderr.isatty(), copy_cache=False)
    return images, {i: str(item) for i in range(count) if isinstance(item := images[i], RadiographError)}


def on_disk(
    films: Films, preprocessing: Preprocessing, count: int, folder: Path, workers: int = 0
) -> tuple[Images, dict[int, str]]:
    """Decode what `folder` lacks of `count` films; returns pixels by position, and why for those that can't be read."""
    cache = _DiskCache(range(count), _ToPixels(films, preprocessing), folder)
    return cache, cache.fill(workers)


class _ToPixels(Transform):
    """MONAI caches what deterministic transforms return; this one decodes and resizes."""

    def __init__(self, films: Films, preprocessing: Preprocessing) -> None:
        self.films, self.preprocessing = films, preprocessing

    def __call__(self, position: int) -> Tensor:
        return self.preprocessing.pixels(self.films.read(position))

    def cache_name(self, position: int) -> bytes:
        """A name that changes with the film and with the preprocessing, so that no stale pixels are read."""
        text = f"{self.films.fingerprint(position)} {self.preprocessing}"
        return hashlib.sha256(text.encode()).hexdigest().encode()


class _DiskCache(PersistentDataset):
    """Replaces a file that was cut short by a killed job or a full disk, where MONAI's own gives up."""

    def __init__(self, data: Sequence[int], transform: _ToPixels, folder: Path) -> None:
        super().__init__(data, transform, cache_dir=folder, hash_func=transform.cache_name)

    def file(self, position: int) -> Path:
        """Where the pixels of a film are kept."""
        return Path(self.cache_dir) / f"{self.hash_func(position).decode()}.pt"

    def fill(self, workers: int) -> dict[int, str]:
        """Decode the films that are not there yet; returns why for those that can't be."""
        missing = [position for position in self.data if not self.file(position).is_file()]
        results = CacheDataset(missing, _Filling(self), num_workers=workers, progress=sys.stderr.isatty())
        return {position: results[i] for i, position in enumerate(missing) if results[i]}

    def _cachecheck(self, item_transformed: int) -> Tensor:
        file = self.file(item_transformed)
        try:
            return super()._cachecheck(item_transformed)
        except (RuntimeError, EOFError):
            if not file.is_file():  # then the film itself can't be read
                raise
            file.unlink()
            return super()._cachecheck(item_transformed)


class _Filling(Transform):
    """Puts a film on disk and returns nothing, or why it can't be read."""

    def __init__(self, cache: _DiskCache) -> None:
        self.cache = cache

    def __call__(self, position: int) -> str:
        try:
            self.cache[position]
        except RuntimeError as error:  # MONAI's, about the transform; its cause is about the film
            if not isinstance(error.__cause__, RadiographError):
                raise
            return str(error.__cause__)
        return ""


class _Tolerant(Transform):
    """Returns the error in place of a film that can't be read, so that one file does not end the run."""

    def __init__(self, transform: _ToPixels) -> None:
        self.transform = transform

    def __call__(self, position: int) -> Tensor | RadiographError:
        try:
            return self.transform(position)
        except RadiographError as error:
            return error
