"""What `datasets.prepare` is asked to do: which data set, where, and how."""

from dataclasses import dataclass
from pathlib import Path

from datasets.cohort.label_words import LabelMap
from datasets.film.policy import DEFAULT, DicomPolicy

AS_IS, PNG16 = "as-is", "png16"


@dataclass(frozen=True)
class Request:
    """One data set to be prepared.

    Attributes:
        name: of a layout.
        out: the cohort's folder, made if it isn't there. Rows of other data sets stay, this one's are replaced.
        policy: which views and parts of the body are admitted.
        labels: table of labels, of a layout that has none of its own.
        words: what the words of the labels mean.
        classes: labels that are classes of their own, beside covid, pneumonia, normal and other.
        source_tag: what a source is, of `sources.TAGS` or a column of the labels; None for the layout's own.
        copy: copy films in place of linking them.
        pixels: `AS_IS`, or `PNG16`: films as 16-bit PNG files of the greys that the reader gives.
        workers: threads that decode.
        copies: look for near-copies, which decodes every film.
        hash_key: key file of the hashes; None for `out`/.hash-key.
        linkage: where to write what the hashes of the files stand for.
    """

    name: str
    src: Path
    out: Path
    policy: DicomPolicy = DEFAULT
    labels: Path | None = None
    words: LabelMap | None = None
    classes: tuple[str, ...] = ()
    source_tag: str | None = None
    copy: bool = False
    pixels: str = AS_IS
    workers: int = 1
    copies: bool = True
    hash_key: Path | None = None
    linkage: Path | None = None
