"""What a visitor wants scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datasets.film.folder import Folder
from datasets.film.policy import DicomPolicy


@dataclass
class Request:
    """What a visitor wants scored."""

    films: Folder
    runs: Mapping[str, Path]  # run folders by the names that pages give them
    policy: DicomPolicy
    uploaded: bool
    notice: str  # a sentence for every row that leaves
    key: bytes | None = None  # of the hashes; None for one of this job alone, which is not kept
    names: Sequence[str] | None = None  # of the films for their owner, in the folder's order; None where not asked for
    own_names: bool = False  # the names in the folder are asked for, instead of `names`
    thresholds: Mapping[str, float] = field(default_factory=dict)  # the visitor's, by the name of the run
    labels: Mapping[str, str] = field(default_factory=dict)  # shorter names of runs, for the page
