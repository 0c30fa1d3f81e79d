"""What is studied: the user's films of two labels, and how they are drawn."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from datasets.cohort.films import Cohort
from datasets.cohort.splits import split_by_patient
from datasets.listed import named, quoted, split_names
from datasets.sample import Split
from datasets.spelling import spelling_key
from training.benchmark.planted.cohort import digest, metadata, write_cohort
from training.benchmark.planted.draw import TRUTH, Design, PlantedDesign
from training.benchmark.planted.films import PlantedFilms, without_unreadable
from training.benchmark.planted.pair import DEVICE, OWN_DEVICE, SITES, pair_signatures
from training.benchmark.planted.real_sources import RealDesign
from training.benchmark.planted.signatures import OWN, SIGNATURES
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.loop.tables import show_notices
from training.run.config import TrainConfig
from training.run.films import cohort_of, preprocessing_of


@dataclass(frozen=True)
class Study:
    """Films, made, and their design."""

    films: PlantedFilms
    design: Design

    def line(self) -> dict[str, Any]:
        """The part of a record's line that every run of the study has."""
        targets = self.films.cohort.info.targets
        drawn = self.design.drawn(TRUTH, 0)
        planted = "planted pair" if self.design.others else "planted"
        others = {
            name: {value: targets[own] for value, own in owns.items()} for name, owns in self.design.others.items()
        }
        return {
            "design": "real sources" if isinstance(self.design, RealDesign) else planted,
            "films": digest(self.films, drawn, self.design.signatures),
            "targets": list(targets),
            "own": {source: targets[own] for source, own in self.design.own.items()},
            **({"others": others} if others else {}),
        }

    def folder(self, root: Path, rho: float, seed: int) -> Path:
        """The cohort of a draw, as a folder to train on."""
        table = metadata(self.films, self.design.drawn(rho, seed), self.design.signatures)
        return write_cohort(self.films, table, root, f"rho-{rho:g}-seed-{seed}")


def planted_study(
    given: TrainConfig,
    target: str | None,
    sources: str | None,
    signatures: int | None,
    choose: bool,
    folder: Path,
    key: bytes,
    console: Console,
) -> Study:
    """Films of one real source, unless others are named, under invented signatures.

    Args:
        signatures: how many hospitals; None for two of them with two devices each, a pair of shortcuts.
        choose: without the test patients, see `for_choosing`.
        folder: of the planted films.
        key: of their names.
    """
    cohort = _cohort(given, target, console)
    names = split_names(sources) or (best_source(cohort),)
    cohort = of_sources(cohort, names)
    if set(cohort.table["source"]) != set(cohort.info.biases):
        others = sorted(set(cohort.info.biases) - set(cohort.table["source"]))
        why = "" if sources else ": their own shortcuts would mix with the planted one; --sources chooses"
        console.print(
            f"Films of {', '.join(sorted(set(cohort.table['source'])))} alone, without {', '.join(others)}{why}.",
            markup=False, highlight=False,
        )  # fmt: skip
    if choose:
        cohort = for_choosing(cohort, given.split_seed)
    sites = [signature.name for signature in SIGNATURES[: signatures or len(SITES)]]
    planted = {signature.name: signature for signature in SIGNATURES[:signatures]} if signatures else pair_signatures()
    films = _made(cohort, planted, folder, key, console)
    design = PlantedDesign(
        films.cohort, {name: OWN[name] for name in sites}, dict(planted), {} if signatures else {DEVICE: OWN_DEVICE}
    )
    return Study(films, design)


def real_study(
    given: TrainConfig, target: str | None, sources: str | None, folder: Path, key: bytes, console: Console
) -> Study:
    """Films of the sources that there are, as they are; arguments as `planted_study`."""
    cohort = _cohort(given, target, console)
    if sources:
        cohort = of_sources(cohort, (*split_names(sources), *split_names(given.external_sources)))
    films = _made(cohort, {"": None}, folder, key, console)
    design = RealDesign(films.cohort, given.split_seed)
    for name, why in design.left_out.items():
        console.print(f"not used: {name} ({why})", markup=False, highlight=False)
    return Study(films, design)


def best_source(cohort: Cohort) -> str:
    """The source of the most patients in its rarer class, the first by name of equals.

    Raises:
        ValueError: no source has ten patients of both classes.
    """
    counts = cohort.table.groupby(["source", "target"])["patient"].nunique().unstack(fill_value=0)
    counts = counts.reindex(columns=[0, 1], fill_value=0)
    rarer = counts.min(axis=1)
    if rarer.max() < MINIMUM_PATIENTS:
        both = " and ".join(cohort.info.targets)
        shown = "; ".join(f"{name} {row[0]} and {row[1]}" for name, row in counts.iterrows())
        raise ValueError(
            f"no source has {MINIMUM_PATIENTS} patients of both {both} ({shown}): choose other labels with --target, or "
            "several sources with --sources"
        )
    return str(rarer.idxmax())


def of_sources(cohort: Cohort, names: tuple[str, ...]) -> Cohort:
    """The films of these sources; raises ValueError where no film comes from one of them."""
    spelled = {spelling_key(name): name for name in cohort.table["source"]}
    unknown = [name for name in names if spelling_key(name) not in spelled]
    if unknown:
        known = named(sorted(spelled.values()))
        raise ValueError(f"--sources: no film comes from {unknown[0]!r}; sources are {known}")
    chosen = cohort.table["source"].isin([spelled[spelling_key(name)] for name in names])
    return cohort.part(np.flatnonzero(chosen).tolist())


def for_choosing(cohort: Cohort, split_seed: int) -> Cohort:
    """A cohort of the training and validation patients alone, split anew: what is chosen on it has not seen the real test."""
    rest = cohort.part(np.flatnonzero(cohort.table["split"] != str(Split.TEST)).tolist())
    split = split_by_patient(rest.table["target_name"], rest.table["source"], rest.table["patient"], split_seed)
    return dataclasses.replace(rest, table=rest.table.assign(split=split))


def _cohort(given: TrainConfig, target: str | None, console: Console) -> Cohort:
    labels = tuple(name.lower() for name in split_names(target))
    if labels and len(set(labels)) != 2:
        raise ValueError(f"--target {target}: name two labels, the second being the positive class")
    if labels and labels[0] == "covid":
        raise ValueError(f"--target {target}: covid is the positive class wherever it is one; write {labels[1]},covid")
    # What trainings must not use may be planted: the user's films need not have it.
    config = given.with_settings(classes=",".join(map(quoted, labels)) or None, bias="source")
    cohort = cohort_of(config, preprocessing_of(config))
    show_notices(console, cohort)
    if not cohort.positions(Split.TEST).size:
        raise ValueError(f"no film of {given.data_dir} is in split test")
    return cohort


def _made(cohort: Cohort, signatures: dict[str, Any], folder: Path, key: bytes, console: Console) -> PlantedFilms:
    """The films, written; those that can't be read are left out."""
    unreadable = PlantedFilms(cohort, folder, key).make(signatures.values())
    return PlantedFilms(without_unreadable(cohort, unreadable, console), folder, key)
