"""What a finished run's checkpoint and report say of it, each fact as a phrase in Markdown for its model card.

Nothing is guessed: a fact that neither knows is marked for the user to fill. No phrase holds a path or a patient. In all of
them `c` is the checkpoint, `report` the contents of the run's report.json, `audit` has `verdict`, the audit's sentences.
"""

import math
import re
from collections import Counter
from typing import Any

from datasets.sample import Split
from training.run.checkpoint import Checkpoint
from training.run.config import SELECTION_RULES
from training.run.recipe import SUMMARIES
from training.run.report import HEADLINE

TO_FILL = "*For the user to fill.*"
AUDIT_COMMAND = "python -m training.evaluate RUN"
SPLITS = tuple(map(str, Split))
HEADINGS = dict(HEADLINE) | {"n": "images"}

# What each dataset is, where its labels come from, how it is split.
DATA = {
    "covid": "Chest radiographs of the user's, listed in a metadata.csv",
    "phantom": "Procedural phantoms of chest radiographs, drawn by this package",
    "biased-mnist": "Biased MNIST: handwritten digits on a coloured background",
}
GROUND_TRUTH = {
    "covid": "The column `label` of metadata.csv, taken as given",
    "phantom": "The label that each phantom was drawn with",
    "biased-mnist": "The digit, as MNIST gives it",
}
SPLITTING = {
    "covid": "By the column `split` of metadata.csv where it has one; else StratifiedGroupKFold, grouped by patient and "
    "stratified by label and source",
    "phantom": "Each split is drawn with patients of its own; test images have no correlation of label and hospital, and "
    "external hospitals are not in training",
    "biased-mnist": "MNIST's own test digits; validation is cut from its training digits at random",
}


def classes(c: Checkpoint) -> str:
    """Names of the classes, and which is the positive one."""
    names = ", ".join(map(plain, c.info.targets))
    return names if c.info.positive is None else f"{names}; positive: {plain(c.info.targets[c.info.positive])}"


def bias_labels(report: dict[str, Any]) -> str:
    """Whether training read the bias of each image."""
    return f"Training {'read' if report['training_used_bias_labels'] else 'did not read'} bias labels."


def recipe(c: Checkpoint) -> str:
    """From which run it was made by which recipe, where it was."""
    name = c.settings.get("recipe")
    return (
        f" It was made from the run `{c.settings['parent']}` by the recipe `{name}`. {SUMMARIES[name]}." if name else ""
    )


def architecture(c: Checkpoint) -> str:
    """Backbone, features, head and input."""
    neck = ["batch-normalised"] * c.model.centred + ["of unit length"] * c.model.unit_norm
    features = f"pooled features ({', '.join(neck)})" if neck else "pooled features"
    return (
        f"timm's `{c.model.name}`, {features}, one linear layer to {c.model.num_classes} logits; input "
        f"{c.model.in_chans} x {c.model.img_size} x {c.model.img_size}"
    )


def initialisation(c: Checkpoint) -> str:
    """What the weights were before training, as far as the run knows."""
    if c.settings["pretrained"]:
        return f"Published weights of timm's `{c.model.name}`; last layer at random"
    return "Random, or a local file of weights (`--weights`): the checkpoint keeps no paths and can't tell"


def paper(c: Checkpoint) -> str:
    """Where the method is published."""
    return "https://arxiv.org/abs/2103.02023 (the method)" if c.settings["method"] == "end" else TO_FILL


def weights(c: Checkpoint) -> str:
    """Number of values in the weights file."""
    values = sum(tensor.numel() for tensor in c.weights.values())
    return f"{values / 1e6:.2f} million values in the weights file (parameters and statistics of normalisation layers)."


def size(c: Checkpoint, split: str) -> str:
    """Images and patients of a split."""
    counts = c.metrics[split]
    return f"{counts['n']:,} images of {counts['patients']:,} {'synthetic ' * c.info.synthetic}patients"


def sources(c: Checkpoint) -> str:
    """The values of the bias, and those set apart."""
    apart = c.settings["external_sources"]
    asked = f" Set apart by `--external-sources`: {plain(apart)}." if apart else ""
    return f"Values of {c.info.bias_name}, in all splits: {', '.join(map(plain, c.info.biases))}.{asked}"


def left_out(report: dict[str, Any]) -> str:
    """How many rows were left out, and why."""
    # A copy's reason names the line of the other.
    counts = Counter(re.sub(r"line \d+", "another line", row["reason"]) for row in report["excluded"])
    reasons = "; ".join(f"{count} because {plain(reason)}" for reason, count in counts.most_common())
    return f"Rows left out: {counts.total()} ({reasons})." if counts else "No row was left out."


def crosstab(c: Checkpoint, report: dict[str, Any]) -> str:
    """Training images by bias and label, where the report has them."""
    if "confounding" not in report:
        return ""
    counts = report["confounding"]["table"]
    labels = list(dict.fromkeys(label for row in counts.values() for label in row))
    rows = [[plain(name), *(str(row[label]) for label in labels)] for name, row in counts.items()]
    return "\n\n" + table([f"training images by {c.info.bias_name}", *map(plain, labels)], rows)


def subsets(c: Checkpoint) -> str:
    """Which of the images were used."""
    if c.settings["classes"]:
        return f"Only rows of the labels {plain(c.settings['classes'])}."
    return f"{c.settings['films']} training images were asked for." if c.settings["films"] else "None: all usable rows."


def augmentation(c: Checkpoint) -> str:
    """What was done to training images."""
    if not c.settings["augment"]:
        return "No augmentation."
    return "Augmentation of training images: small rotation, shift, zoom, gamma, contrast and noise; never a mirror."


def selection(report: dict[str, Any]) -> str:
    """Which epoch was kept, by which rule."""
    chosen = report["selection"]
    labels = " This rule reads bias labels." if chosen["used_bias_labels"] else ""
    return f"Epoch {chosen['epoch']} was kept: {SELECTION_RULES[chosen['rule']]}.{labels}"


def calibration(c: Checkpoint, report: dict[str, Any]) -> str:
    """Temperature and threshold, and what they were fitted on."""
    text = f"Temperature {c.temperature:.3f}, fitted on validation."
    if c.threshold is None:
        return f"{text} An image is called for its most probable class."
    point = report["calibration"]["operating_point"]
    return f"{text} An image is called positive from a score of {c.threshold:.3f} ({point}, on validation)."


def preprocessing(c: Checkpoint) -> str:
    """From an image to the model's input."""
    p = c.preprocessing
    fit = {
        "stretch": "stretched to the square",
        "pad": "padded with black to a square",
        "crop": "cropped to its central square",
    }
    grey = {
        "percentile": "grey levels from the 0.5th to the 99.5th percentile to [0, 1]",
        "none": "grey levels as read",
    }
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (p.mean, p.std))
    return (
        f"Image {fit[p.aspect]}, {p.size} x {p.size} px, {p.channels} channel(s); {grey[p.intensity]}; mean {mean} "
        f"subtracted, divided by {std}. Stored in the checkpoint and used wherever it is used."
    )


def splitting(c: Checkpoint) -> str:
    """How images were assigned to splits."""
    return f"{SPLITTING[c.info.name]} (`--split-seed {c.settings['split_seed']}`)."


def proportions(c: Checkpoint) -> str:
    """Share of each split."""
    total = sum(c.metrics[split]["n"] for split in SPLITS)
    return "; ".join(f"{split}: {size(c, split)} ({c.metrics[split]['n'] / total:.0%})" for split in SPLITS) + "."


def disjoint(c: Checkpoint) -> str:
    """What never lies in two splits."""
    if c.info.name == "biased-mnist":
        return "Image: each digit stands for a patient."
    text = "Patient: none is in two splits."
    if c.info.name == "covid":
        text += " A row without patient_id counts as a patient of its own."
    if c.settings.get("separate_copies"):
        text += " Near-copies of one image stay in one split."
    return text


def metrics(c: Checkpoint) -> str:
    """What was measured."""
    at = "the most probable class" if c.threshold is None else "the stored threshold"
    area = "" if c.info.positive is None else "AUROC of the positive class against the rest, "
    return f"Accuracy at {at} (all, aligned, conflicting, worst group), {area}leak of the {c.info.bias_name}. See Glossary."


def headline(c: Checkpoint, split: str) -> str:
    """Accuracy and AUROC of a split."""
    if not c.metrics[split]["n"]:
        return "no images"
    return f"accuracy {value(c, split, 'accuracy')}, AUROC {value(c, split, 'auroc')} on {size(c, split)}"


def external(c: Checkpoint) -> str:
    """Images of places that training did not see, beside the test images."""
    if not c.metrics["external"]["n"]:
        return "External images: none; nothing is known of a place that the model has not seen."
    return (
        f"External images, set apart from training: {headline(c, 'external')}; on test: {headline(c, 'test')}. One "
        f"{c.info.bias_name} differs from another in its patients too, so a drop is not bias alone."
    )


def audit(audit: dict[str, Any] | None) -> str:
    """The verdict of the audit, or how to get one."""
    if audit is None:
        return f"**No audit was made of this run.** `{AUDIT_COMMAND}` makes one."
    return "The audit's verdict:\n\n" + bullets([plain(sentence) for sentence in audit["verdict"]])


def examination(audit: dict[str, Any] | None) -> str:
    """Whether there is an audit."""
    return "No audit was made." if audit is None else "The audit: see Bias, Risks, and Limitations above."


def intervals(audit: dict[str, Any] | None) -> str:
    """Where intervals are."""
    where = (
        f"`{AUDIT_COMMAND}` gives them" if audit is None else "as far as there are any, they are in the audit's verdict"
    )
    return f"These numbers have no intervals; {where}."


def twin(c: Checkpoint, report: dict[str, Any]) -> str:
    """The run beside its twin on test and external, where the report has both."""
    if len(report["runs"]) != 2:
        return ""
    twin, run = report["runs"]
    rows = []
    for split in ("test", "external"):
        for name, heading in HEADINGS.items():
            if c.metrics[split]["n"] and name in report["difference"][split] and has_meaning(c, split, name):
                gap = report["difference"][split][name]
                cells = [number(values["metrics"][split][name]) for values in (twin, run)]
                rows.append([f"{split}: {heading}", *cells, f"{gap:+.3f}" if is_known(gap) else "cannot conclude"])
    return (
        "\n\nBeside its twin of the same split and seed; one seed and no interval, so no difference here is evidence:\n\n"
        + table(["", twin["method"], run["method"], "difference"], rows)
    )


def value(c: Checkpoint, split: str, name: str) -> str:
    """A metric of a split as text: a number, or why there is none."""
    if not has_meaning(c, split, name):
        return "not defined"
    if name not in c.metrics[split]:
        return "not measured"
    found = c.metrics[split][name]
    return f"{found:,}" if name in ("n", "patients") else number(found)


def has_meaning(c: Checkpoint, split: str, name: str) -> bool:
    """Whether a metric means anything on a split, however many patients there are."""
    if name == "auroc":
        return c.info.positive is not None
    return split != Split.EXTERNAL or name not in ("aligned_accuracy", "conflicting_accuracy")


def is_known(value: float | None) -> bool:
    """Whether there is a number."""
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """Three decimals, or that nothing can be concluded."""
    return f"{value:.3f}" if value is not None and math.isfinite(value) else "cannot conclude"


def bullets(lines: list[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(text: str) -> str:
    """Words of a user or of a file, on one line and with nothing that Markdown would take for its own."""
    return "".join(f"\\{mark}" if mark in "\\`*[]<>|" else mark for mark in " ".join(text.split()))
