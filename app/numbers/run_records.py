"""Run folders as tables: their headers, training curves, settings and model cards."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from app.numbers.run_labels import configuration, method
from training.run.index import RunEntry

HEADLINE = {
    "test AUROC": ("test", "auroc"),
    "external AUROC": ("external", "auroc"),
    "conflicting accuracy": ("test", "conflicting_accuracy"),
    "leak": ("test", "leak"),
}
LOWER_IS_BETTER = ("leak",)
CHANCE = ("test", "leak_chance")
TERMS = {"ce": "training: cross-entropy", "r_perp": "training: term R_perp", "r_par": "training: term R_par"}
PAIRS = {"disentangling": "pairs that R_perp uses", "entangling": "pairs that R_par uses"}
VALIDATION = {
    "ce": "validation: cross-entropy",
    "auroc": "validation: AUROC",
    "accuracy": "validation: accuracy",
    "conflicting_accuracy": "validation: conflicting accuracy",
    "worst_group_accuracy": "validation: worst-group accuracy",
}
CARD = "MODEL_CARD.md"
LONGEST_CARD = 200_000
LONGEST_RECORD = 20_000_000


def usable_runs(entries: Sequence[RunEntry], labels: Mapping[str, str]) -> pd.DataFrame:
    """A row a run that can be loaded; a metric it did not record is NaN.

    Columns run (its label), folder, films, method, those of `HEADLINE`, leak by chance, seed, dataset, backbone and
    configuration (the same for runs that differ in their seed alone).
    """
    records = []
    for entry in entries:
        if entry.usable:
            info, settings = entry.header["info"], entry.header["settings"]
            metrics = entry.header.get("metrics")
            records.append(
                {
                    "run": labels.get(entry.name, entry.name),
                    "folder": entry.name,
                    "films": ("synthetic" if entry.synthetic else "real") if entry.films else "no chest films",
                    "method": method(entry),
                    **{name: _number(metrics, *path) for name, path in HEADLINE.items()},
                    "leak by chance": _number(metrics, *CHANCE),
                    "seed": settings.get("seed"),
                    "dataset": info.get("name"),
                    "backbone": entry.header["model"].get("name"),
                    "configuration": configuration(entry),
                }
            )
    columns = ["run", "folder", "films", "method", *HEADLINE, "leak by chance", "seed", "dataset", "backbone"]
    return pd.DataFrame(records, columns=[*columns, "configuration"])


def matching(runs: pd.DataFrame, text: str) -> pd.DataFrame:
    """The rows of `usable_runs` in whose words each word of a text is found, whatever its case."""
    said = runs[["run", "folder", "films", "dataset", "backbone"]].astype(str).agg(" ".join, axis=1).str.lower()
    for word in text.lower().split():
        found = said.str.contains(word, regex=False)
        runs, said = runs[found], said[found]
    return runs


def by_configuration(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of `usable_runs` that differ in their seed alone as one: means, and `NAME spread` with standard deviations.

    `seeds` says how many there are; the spread of one is NaN. A run's label loses its seed where it has company.
    """
    records = []
    for _, group in runs.groupby("configuration", sort=False):
        first, numbers = group.iloc[0], group[[*HEADLINE, "leak by chance"]]
        name = str(first["run"])
        if len(group) > 1:
            seeds = ", ".join(map(str, sorted(group["seed"], key=str)))
            own = f" · s{first['seed']}"
            name = f"{name.replace(own, '', 1)} · {len(group)} seeds ({seeds})"
        spread = numbers.std(ddof=1).add_suffix(" spread")
        records.append({"run": name, "films": first["films"], "seeds": len(group), **numbers.mean(), **spread})
    return pd.DataFrame(records)


def in_words(runs: pd.DataFrame) -> pd.DataFrame:
    """Rows of `usable_runs` or `by_configuration` to be read; empty where not known. Films where of several kinds."""
    table = pd.DataFrame({"run": runs["run"]})
    for name in HEADLINE:
        spread = runs[f"{name} spread"] if f"{name} spread" in runs else pd.Series(float("nan"), runs.index)
        chance = runs["leak by chance"] if name == "leak" else pd.Series(float("nan"), runs.index)
        table[name] = [_cell(*values) for values in zip(runs[name], spread, chance, strict=True)]
    return table.assign(films=runs["films"]) if runs["films"].nunique() > 1 else table


def _cell(value: float, spread: float, chance: float) -> str:
    if math.isnan(value):
        return ""
    words = f"{value:.3f}" + ("" if math.isnan(spread) else f" ± {spread:.3f}")
    return words if math.isnan(chance) else f"{words} (chance {chance:.2f})"


def in_training(entries: Sequence[RunEntry]) -> list[RunEntry]:
    """Runs that are being trained now."""
    return [entry for entry in entries if entry.training is not None and entry.training.live]


def unusable_runs(entries: Sequence[RunEntry]) -> pd.DataFrame:
    """Columns folder, why: what looks like a run and can't be loaded, but for trainings under way."""
    running = in_training(entries)
    rows = [(entry.name, entry.problem) for entry in entries if not entry.usable and entry not in running]
    return pd.DataFrame(rows, columns=["folder", "why"])


def training_curves(folder: Path) -> pd.DataFrame:
    """Columns panel, epoch, value, kept, from metrics.jsonl; lines that hold no epoch are skipped."""
    kept, rows = kept_epoch(folder), []
    for line in (_text(folder / "metrics.jsonl", LONGEST_RECORD) or "").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # the last line of a training that was killed
            continue
        if not isinstance(record, dict) or not isinstance(record.get("epoch"), int):
            continue
        for part, titles in (("terms", TERMS), ("pairs_per_batch", PAIRS), ("validation", VALIDATION)):
            values = record.get(part)
            for name, value in (values if isinstance(values, dict) else {}).items():
                title = titles.get(name) or (f"training: {name}" if part == "terms" else None)
                if title and isinstance(value, int | float) and not isinstance(value, bool):
                    rows.append((title, record["epoch"], float(value), record["epoch"] == kept))
    return pd.DataFrame(rows, columns=["panel", "epoch", "value", "kept"])


def panels(curves: pd.DataFrame) -> list[str]:
    """Titles of what was recorded, in the order in which they are to be read."""
    known = [*TERMS.values(), *PAIRS.values(), *VALIDATION.values()]
    place = {title: number for number, title in enumerate(known)}
    return sorted(curves["panel"].unique(), key=lambda title: place.get(title, len(TERMS) - 0.5))


def kept_epoch(folder: Path) -> int | None:
    """The epoch whose weights the checkpoint holds; None where report.json doesn't say."""
    try:
        report = json.loads(_text(folder / "report.json", LONGEST_RECORD) or "null")
    except (ValueError, RecursionError):
        return None
    selection = report.get("selection") if isinstance(report, dict) else None
    epoch = selection.get("epoch") if isinstance(selection, dict) else None
    return epoch if isinstance(epoch, int) else None


def model_card(folder: Path) -> str | None:
    """MODEL_CARD.md, if any, as Markdown that loads nothing: no front matter, images as links, headings below a page's."""
    text = _text(folder / CARD, LONGEST_CARD)
    if text is None:
        return None
    text = re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)
    lines, code = [], False
    for line in text.replace("![", "[").strip().splitlines():
        code ^= line.startswith("```")
        lines.append("##" + line if line.startswith("#") and not code else line)
    return "\n".join(lines)


def settings_table(
    entries: Sequence[RunEntry], only_different: bool, labels: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Settings as rows, runs (by label) as columns, in words; with `only_different`, without those that all runs share."""
    heads = labels or {}
    columns = {
        heads.get(entry.name, entry.name): {name: _words(value) for name, value in _settings(entry).items()}
        for entry in entries
    }
    names = dict.fromkeys(name for column in columns.values() for name in column)
    table = pd.DataFrame(columns, list(names)).fillna("not set").rename_axis("setting")
    return table[table.nunique(axis=1) > 1] if only_different else table


def _settings(entry: RunEntry) -> dict[str, Any]:
    header = entry.header
    read = {f"read: {name}": value for name, value in header["preprocessing"].items()}
    return {**header["settings"], **read} | {name: header.get(name) for name in ("threshold", "temperature")}


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(values: object, *path: str) -> float:
    for name in path:
        values = values.get(name) if isinstance(values, dict) else None
    return float(values) if isinstance(values, int | float) else float("nan")


def _text(file: Path, longest: int) -> str | None:
    """A file's text; None where there is none, or it is too long or not text."""
    try:
        return file.read_text(encoding="utf-8") if file.is_file() and file.stat().st_size <= longest else None
    except (OSError, UnicodeDecodeError):
        return None
