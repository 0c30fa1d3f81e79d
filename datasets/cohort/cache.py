"""Decoded, resized films kept between epochs: in memory (by MONAI) or on disk, or decoded anew each time.

On disk each film is a safetensors file and not one of MONAI's PersistentDataset, whose files are pickles: the folder may lie
on a disk that others can write to.
"""

import hashlib
import secrets
import sys
from pathlib import Path
from typing import Any, Protocol

from monai.data import CacheDataset, Dataset
from monai.transforms import Transform
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from datasets.cohort.capacity import require_disk, require_memory
from datasets.film.preprocessing import Preprocessing
from datasets.film.radiograph import Radiograph, RadiographError


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
    """Decode `count` films now; returns their pixels by position, and why for those that can't be read.

    Raises:
        CapacityError: they are more than memory has room for.
    """
    require_memory(count, preprocessing.size)
    transform = _Tolerant(_ToPixels(films, preprocessing))
    images = CacheDataset(range(count), transform, num_workers=workers, progress=sys.stderr.isatty(), copy_cache=False)
    return images, {i: str(item) for i in range(count) if isinstance(item := images[i], RadiographError)}


def on_disk(
    films: Films, preprocessing: Preprocessing, count: int, folder: Path, workers: int = 0
) -> tuple[Images, dict[int, str]]:
    """Decode what `folder` lacks of `count` films; returns pixels by position, and why for those that can't be read.

    Raises:
        CapacityError: they are more than its disk has room for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cache = _DiskCache(_ToPixels(films, preprocessing), count, folder)
    return cache, cache.fill(workers)


class _ToPixels(Transform):
    """MONAI caches what deterministic transforms return; this one decodes and resizes."""

    def __init__(self, films: Films, preprocessing: Preprocessing) -> None:
        self.films, self.preprocessing = films, preprocessing

    def __call__(self, position: int) -> Tensor:
        return self.preprocessing.pixels(self.films.read(position))

    def cache_name(self, position: int) -> str:
        """A name that changes with the film and with the preprocessing, so that no stale pixels are read."""
        text = f"{self.films.fingerprint(position)} {self.preprocessing}"
        return hashlib.sha256(text.encode()).hexdigest()


class _DiskCache:
    """Pixels by position, each film's in a file of its own; one that is no such file is replaced, however it came there."""

    def __init__(self, transform: _ToPixels, count: int, folder: Path) -> None:
        self.transform, self.count, self.folder = transform, count, folder
        self.decoded = Dataset(range(count), transform)
        size = transform.preprocessing.size
        self.shape = [1, size, size]

    def file(self, position: int) -> Path:
        """Where the pixels of a film are kept."""
        return self.folder / f"{self.transform.cache_name(position)}.safetensors"

    def fill(self, workers: int) -> dict[int, str]:
        """Decode the films that are not there yet; returns why for those that can't be."""
        missing = [position for position in range(self.count) if not self.file(position).is_file()]
        require_disk(len(missing), self.shape[-1], self.folder)
        results = CacheDataset(missing, _Filling(self), num_workers=workers, progress=sys.stderr.isatty())
        return {position: results[i] for i, position in enumerate(missing) if results[i]}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: int) -> Tensor:
        file = self.file(position)
        pixels = self._kept(file) if file.is_file() else None
        if pixels is None:
            pixels = self.decoded[position]
            _keep(pixels, file)
        return pixels

    def _kept(self, file: Path) -> Tensor | None:
        """The pixels in a file; None where it holds none of this shape."""
        try:
            with safe_open(file, "pt") as opened:
                kept = opened.get_slice("pixels")
                if (kept.get_shape(), kept.get_dtype()) != (self.shape, "F32"):
                    return None
                pixels: Tensor = opened.get_tensor("pixels")
                return pixels
        except (SafetensorError, FileNotFoundError):  # damaged, no safetensors, or just being replaced
            return None


def _keep(pixels: Tensor, file: Path) -> None:
    """Write a film's pixels so that other processes see the whole file or none."""
    draft = file.with_name(f".{secrets.token_hex(8)}")
    try:
        draft.write_bytes(save({"pixels": pixels.contiguous()}))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


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
