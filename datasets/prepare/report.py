"""What `datasets.prepare` says at the end: films by source and label, what was left out, copies, and what to do next."""

import shlex
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from datasets.cohort.confounding import check_confounding
from datasets.listed import listed, quoted
from datasets.prepare.cohort import Prepared
from datasets.prepare.layouts import LAYOUTS
from datasets.prepare.placing import WAYS
from datasets.prepare.request import PNG16, Request

BATCH = 32  # films a step, of which the sentence on confounding speaks
ENOUGH = 10  # patients of a class, to judge a model on
MOST = 30  # rows of a table on the terminal; the files have all


def report(
    request: Request, prepared: Prepared, copies: pd.DataFrame | None, flags: str = "", then: str = "Next:"
) -> None:
    """Print it to the standard output.

    Args:
        copies: None where they were not looked for.
        flags: of the policy, for the next command.
        then: what stands before the training command; empty for no word on what to do with the cohort.
    """
    console, name, out = Console(file=sys.stdout, emoji=False), request.name, request.out
    table, left_out, placing, notes = prepared
    own = int((table["dataset"] == name).sum())
    how = ", ".join(f"{placing.placed[way]} {way}" for way in WAYS if placing.placed[way])
    _say(console, f"{LAYOUTS[name].title}: {own} films (files: {how}); the cohort {out} has {len(table)}.")
    _counts(console, table)
    trained = table[table["label"].isin(request.classes)] if request.classes else table
    target = _target(trained, request.classes)
    verdict = _confounding(console, target, trained["source"], request.classes)
    for note in (*LAYOUTS[name].notes, *notes):
        _say(console, f"- {note}")
    if name == "rsna" and table.loc[table["dataset"] == name, "patient_id"].str.startswith("rsna_").any():
        _say(
            console,
            "- Its patientId names a film, so films of one person may be on both sides of a split. Put RSNA's "
            "pneumonia-challenge-dataset-mappings_2018.json into SRC: it says who is who.",
            "bold",
        )
    _in_two_sources(console, table)
    _not_understood(console, table)
    _reasons(console, left_out)
    if copies is not None:
        _copies(console, out, copies)
    else:
        _say(console, "Near-copies were not looked for, nor was any film decoded.")
    if then and verdict == "not identifiable":
        _say(
            console,
            f"Next: add a data set: python -m datasets.prepare NAME SRC --out {shlex.quote(str(out))}",
            whole=True,
        )
    elif then:
        if held_out := _held_out(target, trained["source"], trained["patient_id"]):
            _say(
                console,
                f"A source to hold out, as a hospital never seen: add --external-sources {shlex.quote(quoted(held_out))}",
            )
        separate = "--separate-copies" if copies is None or len(copies) > 0 else ""
        _say(console, f"{then} {_training(request, separate, flags)}", whole=True)
    _say(console, "For research. Not a medical device.", "dim")


def _training(request: Request, separate: str, flags: str) -> str:
    """The command that trains on the cohort."""
    key = f"--hash-key {shlex.quote(str(request.hash_key))}" if request.hash_key is not None else ""
    classes = f"--classes {shlex.quote(','.join(request.classes))}" if request.classes else ""
    parts = [shlex.quote(str(request.out)), separate, classes, key, "" if request.pixels == PNG16 else flags]
    return " ".join(["python -m training.train --data-dir", *filter(None, parts)])


def _counts(console: Console, table: pd.DataFrame) -> None:
    """Films by source and label, and patients by source."""
    counts = pd.crosstab(table["source"], table["label"])
    patients = table.groupby("source")["patient_id"].nunique().to_dict()
    shown = Table(
        "source", *(escape(str(label)) for label in counts), "films", "patients", title="Films by source and label"
    )
    for number in range(1, len(shown.columns)):
        shown.columns[number].justify = "right"
    ordered = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    for source, row in ordered.head(MOST).iterrows():
        shown.add_row(escape(str(source)), *map(str, row), str(row.sum()), str(patients[str(source)]))
    if len(ordered) > MOST:
        rest = ordered.iloc[MOST:].sum()
        shown.add_row(f"{len(ordered) - MOST} more", *map(str, rest), str(rest.sum()), "")
    console.print(shown)


def _target(table: pd.DataFrame, classes: tuple[str, ...]) -> pd.Series:
    """The class that each film has in training: covid against the rest unless classes are named."""
    return table["label"] if classes else (table["label"] == "covid").map({True: "covid", False: "not covid"})


def _confounding(console: Console, target: pd.Series, source: pd.Series, classes: tuple[str, ...]) -> str:
    """How far the source gives the class away.

    Returns the verdict of `check_confounding`; training refuses what is not identifiable.
    """
    wanted = classes or ("covid", "not covid")
    if absent := [name for name in wanted if not (target == name).any()]:
        every = "All films are covid" if absent == ["not covid"] else f"No film is {' or '.join(absent)}"
        _say(console, f"{every}: add a data set with others before training.", "bold")
        return "not identifiable"
    checked = check_confounding(target, source, BATCH)
    v = "" if checked.cramers_v != checked.cramers_v else f" Cramer's V of source and label is {checked.cramers_v:.2f}."
    what = "Covid against the rest" if "not covid" in set(target) else "Classes"
    _say(console, f"{what}: {checked.sentence}{v}", "" if checked.verdict == "identifiable" else "bold")
    single = target.groupby(source).agg(["nunique", "size"])
    single = single[single["nunique"] == 1].sort_values("size", ascending=False)
    if len(single):
        names = [str(source) for source in single.index]
        _say(
            console,
            f"{single['size'].sum()} of {len(target)} films come from sources with one class alone "
            f"({listed(names, 8)}): a model can get them right by knowing the source. A random split measures that too; "
            f"judge on sources with both classes, or on one left out (--external-sources).",
            "bold",
        )
    return checked.verdict


def _held_out(target: pd.Series, source: pd.Series, patient: pd.Series) -> str:
    """The smallest source on which a model can be judged, without which training still can tell source and class; or ""."""
    patients = patient.groupby([source, target]).nunique().unstack(fill_value=0)
    enough = patients[patients.min(axis=1) >= ENOUGH]
    for name in enough.sum(axis=1).sort_values(kind="stable").index:
        rest = source != name
        if set(str(name)) & set(',"') or target[rest].nunique() < target.nunique():
            continue
        if check_confounding(target[rest], source[rest], BATCH).verdict == "identifiable":
            return str(name)
    return ""


def _in_two_sources(console: Console, table: pd.DataFrame) -> None:
    """How many patients have films in several sources."""
    several = int((table.groupby("patient_id")["source"].nunique() > 1).sum())
    if several:
        who = "1 patient has" if several == 1 else f"{several} patients have"
        _say(console, f"{who} films in two sources or more: all films of a patient go to one split.")


def _not_understood(console: Console, table: pd.DataFrame) -> None:
    """Texts of the view and of the body part that no word fits, with the number of films."""
    texts = table.get("not_understood", pd.Series(dtype=str))
    counts = texts[texts != ""].value_counts()
    if len(counts):
        shown = listed([f"{text} ({count})" for text, count in counts.items()], MOST)
        flags = "--view-is 'TEXT=PA' or --body-part-is 'TEXT=CHEST' says what one means"
        _say(console, f"Admitted, but not understood: {shown}. {flags}.")


def _reasons(console: Console, left_out: pd.DataFrame) -> None:
    """Why rows were left out, how many, and an example of each."""
    if left_out.empty:
        _say(console, "No row was left out.")
        return
    groups = (
        left_out.groupby(["dataset", "reason"])["origin"].agg(["size", "first"]).sort_values("size", ascending=False)
    )
    shown = Table("data set", "reason", "rows", "for example", title="Left out")
    shown.columns[2].justify = "right"
    for dataset, reason, size, example in groups.head(MOST).reset_index().itertuples(index=False):
        shown.add_row(escape(str(dataset)), escape(str(reason)), str(size), escape(str(example)))
    console.print(shown)
    more = f", {len(groups) - MOST} reasons more" if len(groups) > MOST else ""
    number = "1 row was" if len(left_out) == 1 else f"{len(left_out)} rows were"
    _say(console, f"{number} left out{more}: left_out.csv has each with its reason.")


def _copies(console: Console, out: Path, copies: pd.DataFrame) -> None:
    """Near-copies by pair of sources."""
    if copies.empty:
        _say(console, "No film is a near-copy of another patient's (perceptual hash).")
        return
    names = [tuple(sorted(pair)) for pair in zip(copies["source_1"], copies["source_2"], strict=True)]
    differ = copies["label_1"] != copies["label_2"]
    pairs = pd.DataFrame(names, columns=["one", "other"]).assign(differ=differ.to_numpy())
    groups = pairs.groupby(["one", "other"])["differ"].agg(["size", "sum"]).sort_values("size", ascending=False)
    shown = Table("sources", "pairs", "of two labels", title="Near-copies of films of different patients")
    shown.columns[1].justify = shown.columns[2].justify = "right"
    for one, other, size, two in groups.head(MOST).reset_index().itertuples(index=False):
        where = f"within {one}" if one == other else f"{one}, {other}"
        shown.add_row(escape(where), str(size), str(two))
    console.print(shown)
    across = int((copies["source_1"] != copies["source_2"]).sum())
    number = "1 pair" if len(copies) == 1 else f"{len(copies)} pairs"
    _say(
        console,
        f"{number}, {across} across sources: {out / 'near_copies.csv'}. A copy in training of a test film is a leak: "
        f"train with --separate-copies, which keeps them on one side, or delete one of each pair's rows from metadata.csv.",
        "bold",
    )


def _say(console: Console, sentence: str, style: str = "", whole: bool = False) -> None:
    """Print a sentence; on a terminal it is wrapped between words, but for a command, which is to be copied `whole`."""
    soft = whole or not console.is_terminal
    console.print(sentence, style=style or None, markup=False, highlight=False, soft_wrap=soft)
