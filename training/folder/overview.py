"""What became of a folder's files, for the terminal."""

from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.table import Table

from datasets.listed import listed
from training.folder.merge import NOT_RECORDED, Survey

MOST_TEXTS = 20  # of a tag in a sentence; the table of facts has more
TWO_LABELS = (
    "scored films have two labels, by different columns: SOP instance before file before accession number counts"
)


def show_files(surveyed: Survey, console: Console) -> None:
    """Print what became of the files; the counts add up."""
    by_status = surveyed.files["status"].value_counts()
    parts = ", ".join(f"{by_status.get(status, 0):,} {status}" for status in ("scored", "skipped", "failed"))
    console.print(f"[bold]{len(surveyed.files):,} files[/bold]: {parts}", highlight=False)
    others = surveyed.counts[surveyed.counts["status"] != "scored"].sort_values("files", ascending=False)
    if len(others):
        table = Table(box=None, show_header=False, pad_edge=True)
        table.add_column(justify="right")
        for _, row in others.iterrows():
            table.add_row(f"{row['files']:,}", row["status"], row["reason"])
        console.print(table, highlight=False)
    without = int(((surveyed.files["status"] == "scored") & (surveyed.files["label"] < 0)).sum())
    inverted = "scored films look inverted (air bright): look at some of them, files.parquet names them"
    marks = {
        "scored films have tags that contradict each other: files.parquet, column contradictory": _stated(
            surveyed.facts["contradictory"]
        ),
        "scored films are stored mirrored or rotated, by their PatientOrientation: read as they are stored": sum(
            surveyed.facts["orientation"].get(name, 0) for name in ("mirrored", "rotated")
        ),
        "scored films are damaged: a part of the picture was guessed": surveyed.facts["damaged"].get("True", 0),
    }
    warnings = {f"lines of the labels go with {what}": count for what, count in surveyed.unmatched.items()} | {
        TWO_LABELS: surveyed.contradicted,
        "scored films have no label": without if surveyed.unmatched else 0,
        inverted: surveyed.facts["looks_inverted"].get("True", 0),
        **marks,
        "films are of patients that a run was trained on: not audited": surveyed.trained,
    }
    for what, count in warnings.items():
        if count:
            console.print(f"{count:,} {what}", style="yellow", highlight=False)
    for sentence in not_understood(surveyed):
        console.print(sentence, style="yellow", highlight=False, markup=False)


def not_understood(surveyed: Survey) -> Iterator[str]:
    """A sentence for each tag whose texts nobody here understands, with the texts, their films and what to do."""
    for tag, fact, flag, word in (
        ("view", "view_text", "--view-is", "PA"),
        ("body part", "body_part_text", "--body-part-is", "CHEST"),
    ):
        texts = {text: count for text, count in surveyed.facts[fact].items() if text != NOT_RECORDED}
        if texts:
            counts = listed([f"{text} ({count:,})" for text, count in texts.items()], MOST_TEXTS)
            yield (
                f"{sum(texts.values()):,} scored films state a {tag} that is not understood and count as UNKNOWN: "
                f"{counts}. {flag} 'TEXT={word}' says what one means."
            )


def _stated(counts: Mapping[str, int]) -> int:
    return sum(count for value, count in counts.items() if value != NOT_RECORDED)
