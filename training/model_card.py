"""MODEL_CARD.md of a run: what its checkpoint and its report say, under the headings that readers of model cards know.

1. Mitchell et al. 2019, Model cards for model reporting, in the form of Hugging Face's template (huggingface_hub 2.4).
2. Mongan, Moy, Kahn 2020, Checklist for Artificial Intelligence in Medical Imaging (CLAIM), Radiology: Artificial
   Intelligence 2(2):e200029. Its 42 items are in our words.

Nothing is guessed: what neither the checkpoint nor the report knows is marked for the user to fill. The card holds no path
and no patient.
"""

import json
import math
import re
from collections import Counter
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml

from datasets.sample import Split
from training.bias.groups import MINIMUM_PATIENTS
from training.checkpoint import Checkpoint, load_checkpoint, write_aside
from training.config import SELECTION_RULES
from training.methods import METHODS
from training.report import HEADLINE

NAME = "MODEL_CARD.md"
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

GLOSSARY = f"""\
- *aligned*, *conflicting*: an image whose target is, or is not, the most frequent one of its source in training.
- *worst group*: the lowest accuracy of a target x source cell.
- *leak*: balanced accuracy of a linear probe that reads the source from the frozen features, within a target class, out of
  patient-grouped folds; chance is what guessing gives.
- *cannot conclude*: fewer than {MINIMUM_PATIENTS} patients, in either class where a metric needs both; for the leak, no
  class from two sources.
- *not defined*: the metric has no meaning there. *not measured*: it was not computed there."""

CHOSEN_ON = (
    "Those of train and validation flatter: the weights were fitted on the one, epoch and threshold on the other."
)

END_BIBTEX = """\
```bibtex
@inproceedings{tartaglione2021end,
  title     = {{EnD}: Entangling and Disentangling deep representations for bias correction},
  author    = {Tartaglione, Enzo and Barbano, Carlo Alberto and Grangetto, Marco},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2021}
}
```"""


class Item(NamedTuple):
    """One item of the checklist.

    Attributes:
        asked: what is to be reported.
        known: what the run says of it; empty where it says nothing.
        open: what only the user can add; empty where nothing is lacking.
    """

    asked: str
    known: str = ""
    open: str = ""


def write_card(folder: Path, audit: dict[str, Any] | None = None) -> Path:
    """Write MODEL_CARD.md into a finished run's folder, over an earlier one, and return where.

    Raises:
        ValueError: no report.json there, or one of another run.
        CheckpointError: no checkpoint, or a broken one.
    """
    checkpoint, report = load_checkpoint(folder), folder / "report.json"
    if not report.is_file():
        raise ValueError(f"{folder} holds no report.json: a card needs a finished run")
    text = model_card(checkpoint, json.loads(report.read_text(encoding="utf-8")), audit)
    write_aside(folder / NAME, lambda file: file.write_text(text, encoding="utf-8"))
    return folder / NAME


def model_card(checkpoint: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None = None) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        checkpoint: of the run.
        report: contents of its report.json; the last of its runs is the run, one before it is the twin.
        audit: has `verdict`, the audit's sentences; None where no audit was made, and the card then says how to make one.

    Raises:
        ValueError: the report is of another run than the checkpoint.
    """
    if report["runs"][-1]["metrics"] != checkpoint.metrics:
        raise ValueError("the report is of another run than the checkpoint: their metrics differ")
    name = PurePath(report["runs"][-1]["folder"]).name
    sections = [
        (f"# Model Card for {name}{' (SYNTHETIC images)' * checkpoint.info.synthetic}", _banner(checkpoint)),
        *_details_and_uses(checkpoint, report),
        *_limitations(checkpoint, report, audit),
        ("## How to Get Started with the Model", _get_started(checkpoint)),
        *_training(checkpoint, report),
        *_evaluation(checkpoint, report, audit),
        *_remaining(checkpoint, audit),
        ("## CLAIM 2020 Checklist", _checklist(_claim(checkpoint, report, audit))),
    ]
    body = "\n\n".join(text for section in sections for text in section if text)
    return f"---\n{_front_matter(checkpoint, name)}---\n\n{body}\n"


def _front_matter(c: Checkpoint, run: str) -> str:
    data = f"{c.info.name}, SYNTHETIC images" if c.info.synthetic else c.info.name
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": c.info.name, "name": f"{data} ({split})", "split": split},
            "metrics": [
                {"type": kind, "name": HEADINGS[name], "value": c.metrics[split][name]}
                for name, kind in (("accuracy", "accuracy"), ("auroc", "roc_auc"))
                if _is_known(c.metrics[split][name])
            ],
        }
        for split in (str(Split.TEST), str(Split.EXTERNAL))
        if _is_known(c.metrics[split]["accuracy"])
    ]
    tags = ["research-only", "not-a-medical-device", "source-bias", c.settings["method"]]
    front = {
        "library_name": "end-cxr",
        "pipeline_tag": "image-classification",
        "tags": tags + ["synthetic-data"] * c.info.synthetic,
        "model-index": [{"name": run, "results": results}],
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _banner(c: Checkpoint) -> str:
    text = "> **For research. Not a medical device; scores are model scores, not diagnoses.**"
    if c.info.synthetic:
        text += (
            "\n>\n> **SYNTHETIC IMAGES: no image of training or test is of a person. "
            "No number here says anything about a patient or a hospital.**"
        )
    return text


def _details_and_uses(c: Checkpoint, report: dict[str, Any]) -> list[tuple[str, str]]:
    images = "synthetic images" if c.info.synthetic else "chest radiographs"
    return [
        ("## Model Details", ""),
        (
            "### Model Description",
            f"A classifier of {images} into {_classes(c)}. It was trained with `{c.settings['method']}`: "
            f"{METHODS[c.settings['method']].summary}. {_bias_labels(report)}\n\n"
            f"- **Developed by:** {TO_FILL}\n"
            f"- **Funded by:** {TO_FILL}\n"
            f"- **Shared by:** {TO_FILL}\n"
            f"- **Model type:** {_architecture(c)}\n"
            "- **Language(s) (NLP):** none; images alone\n"
            f"- **License:** {TO_FILL}\n"
            f"- **Finetuned from model:** {_initialisation(c)}",
        ),
        (
            "### Model Sources",
            f"- **Repository:** {TO_FILL}\n- **Paper:** {_paper(c)}\n- **Demo:** {TO_FILL}",
        ),
        ("## Uses", ""),
        (
            "### Direct Use",
            f"Research on how far a classifier learns the {c.info.bias_name} of an image instead of its target: to compare "
            "methods, and to measure bias.",
        ),
        ("### Downstream Use", "None is foreseen. Whoever trains it further has to measure its bias anew."),
        (
            "### Out-of-Scope Use",
            "- Any use on a patient: diagnosis, triage, screening, treatment, or a second reading.\n"
            "- A score read as the probability of a disease: it is calibrated on this run's validation images alone.\n"
            f"- Images of a {c.info.bias_name} or of a kind that is not among those below, without measuring first.",
        ),
    ]  # fmt: skip


def _get_started(c: Checkpoint) -> str:
    use = "predictor.score(path)  # calibrated model score of the positive class, 0 to 1"
    if c.info.positive is None:
        use = "predictor.logits(path)  # one a class"
    return (
        "```python\nfrom pathlib import Path\nfrom training.predict import Predictor\n\n"
        f'path = Path("film.dcm")\npredictor = Predictor.load(Path("RUN"))  # this folder\n{use}\n```'
    )


def _limitations(c: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None) -> list[tuple[str, str]]:
    bias, check = c.info.bias_name, report.get("confounding")
    lines = []
    if check:
        lines.append(
            f"Can {bias} and label be told apart in the training images? **{check['verdict']}**; Cramer's V "
            f"{_number(check['cramers_v'])} (0: independent, 1: each gives the other away)."
        )
    lines += [
        f"Accuracy on test, where the label is its {bias}'s usual one (aligned): {_value(c, 'test', 'aligned_accuracy')}; "
        f"where it is not (conflicting): {_value(c, 'test', 'conflicting_accuracy')}; in the worst label x {bias} group: "
        f"{_value(c, 'test', 'worst_group_accuracy')}.",
        f"Leak of the {bias} from the features on test: {_value(c, 'test', 'leak')}; chance: "
        f"{_value(c, 'test', 'leak_chance')}.",
        _external(c),
        "Every number here is a point estimate of one run; another seed or split gives others.",
        *map(_plain, report["notes"]),
    ]
    return [
        ("## Bias, Risks, and Limitations", f"{_bullets(lines)}\n\n{_audit(audit)}"),
        (
            "### Recommendations",
            "Judge the model by conflicting images, by its worst group and by external images, not by the accuracy of a "
            f"random split, on which a model that reads the {bias} does well. Before you rely on any number, measure it on "
            "your own images.",
        ),
    ]


def _training(c: Checkpoint, report: dict[str, Any]) -> list[tuple[str, str]]:
    regime = "mixed precision (autocast)" if c.settings["amp"] else "float32"
    return [
        ("## Training Details", ""),
        (
            "### Training Data",
            f"{DATA[c.info.name]}: {_size(c, 'train')}. {_sources(c)} {_left_out(report)}" + _crosstab(c, report),
        ),
        ("### Training Procedure", f"{_augmentation(c)} {_selection(report)} {_calibration(c, report)}"),
        ("#### Preprocessing", _preprocessing(c)),
        (
            "#### Training Hyperparameters",
            f"- **Training regime:** {regime}\n\nAll settings, without places on a machine:\n\n"
            f"```yaml\n{yaml.safe_dump(c.settings, allow_unicode=True)}```",
        ),
        ("#### Speeds, Sizes, Times", f"{_weights(c)} Speed of each epoch: `metrics.jsonl` of the run."),
    ]


def _evaluation(c: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None) -> list[tuple[str, str]]:
    held = [split for split in SPLITS if c.metrics[split]["n"]]
    rows = [[heading, *(_value(c, split, name) for split in held)] for name, heading in HEADINGS.items()]
    return [
        ("## Evaluation", ""),
        ("### Testing Data, Factors & Metrics", ""),
        ("#### Testing Data", f"Test: {_size(c, 'test')}; external: {_size(c, 'external')}. {_splitting(c)}"),
        (
            "#### Factors",
            f"Target, {c.info.bias_name}, their cells, and whether an image follows the training correlation (aligned) or "
            "not (conflicting).",
        ),
        ("#### Metrics", _metrics(c)),
        ("### Results", _table(["", *held], rows) + f"\n\n{_intervals(audit)} {CHOSEN_ON}" + _twin(c, report)),
        (
            "#### Summary",
            f"Test: {_headline(c, 'test')}. External: {_headline(c, 'external')}."
            + (" All images are SYNTHETIC." if c.info.synthetic else ""),
        ),
    ]


def _remaining(c: Checkpoint, audit: dict[str, Any] | None) -> list[tuple[str, str]]:
    software = ", ".join(f"{name} {version}" for name, version in c.versions.items())
    return [
        ("## Model Examination", _examination(audit)),
        (
            "## Environmental Impact",
            "Not recorded by the run.\n\n"
            + _bullets(
                [
                    f"**{name}:** {TO_FILL}"
                    for name in ("Hardware Type", "Hours used", "Cloud Provider", "Compute Region", "Carbon Emitted")
                ]
            ),
        ),
        ("## Technical Specifications", ""),
        (
            "### Model Architecture and Objective",
            f"{_architecture(c)}. Objective: {METHODS[c.settings['method']].summary}.",
        ),
        ("### Compute Infrastructure", ""),
        ("#### Hardware", TO_FILL),
        ("#### Software", software),
        (
            "## Citation",
            END_BIBTEX if c.settings["method"] == "end" else f"Of this model: {TO_FILL}",
        ),
        ("## Glossary", GLOSSARY),
        ("## More Information", "`config.yaml`, `report.json` and `predictions.parquet` of the run."),
        ("## Model Card Authors", f"Written by end-cxr {c.versions.get('end-cxr', '')} from the run's files. {TO_FILL}"),
        ("## Model Card Contact", TO_FILL),
    ]  # fmt: skip


def _claim(c: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None) -> list[Item]:
    """The 42 items in CLAIM's order."""
    synthetic = c.info.synthetic
    none = "Not applicable: no image is of a person." if synthetic else ""

    def of_persons(text: str) -> str:
        return "" if synthetic else text

    twin = f"The twin `{report['runs'][0]['method']}` was trained beside it." if len(report["runs"]) == 2 else ""
    return [
        Item("Title or abstract names the AI method", f"Deep learning: {_architecture(c)}.", "The study's title"),
        Item("Structured summary", "", "The study's abstract"),
        Item("Background, intended use and role", "Research on bias; no clinical role is claimed.", "Background"),
        Item("Aims and hypotheses", twin, "Aims and hypotheses"),
        Item("Prospective or retrospective", none, of_persons("Which of the two")),
        Item("Goal of the study", "Model development with a measurement of bias.", "The study's own goal"),
        Item("Data sources", f"{DATA[c.info.name]}. {_sources(c)}", of_persons("Origin and terms of each source")),
        Item(
            "Eligibility: how, where and when cases were found", none,
            of_persons("Criteria, setting, places and dates"),
        ),
        Item("Preprocessing", _preprocessing(c)),
        Item("Subsets of the data", _subsets(c)),
        Item(
            "Definitions of data elements", f"Target: {_classes(c)}. Bias: {c.info.bias_name}.",
            of_persons("Definition of each label; common data elements"),
        ),
        Item(
            "De-identification",
            none or "In the run's tables, patients and files are keyed hashes; the checkpoint holds none.",
            of_persons("How the images were de-identified"),
        ),
        Item("Missing data", f"{_left_out(report)} Attributes that an image lacks stay empty; the image is kept."),
        Item("Reference standard", f"{GROUND_TRUTH[c.info.name]}.", of_persons("How each label was established")),
        Item("Why this reference standard", none, of_persons("The reason, and the alternatives")),
        Item("Source of the annotations; who annotated", none, of_persons("Annotators and their training")),
        Item("Annotation tools", none, of_persons("Tools")),
        Item("Variability between and within raters", none, of_persons("How it was measured and resolved")),
        Item(
            "Intended sample size", "No calculation was made by the tool; sizes are in items 20 and 33.",
            "Intended size and its reason",
        ),
        Item("How data were assigned to partitions", f"{_splitting(c)} {_proportions(c)}"),
        Item("Level at which partitions are disjoint", _disjoint(c)),
        Item("Model: inputs, outputs, layers", f"{_architecture(c)}. Layers: timm's code of that name."),
        Item("Software", ", ".join(f"{name} {version}" for name, version in c.versions.items()) + "."),
        Item(
            "Initial parameters", f"{_initialisation(c)}.",
            "" if c.settings["pretrained"] else "The file of `--weights`, if there was one, and what it was trained on",
        ),
        Item(
            "Training: augmentation, hyper-parameters, number of models",
            f"{_augmentation(c)} Settings: Training Hyperparameters above. Models in this report: {len(report['runs'])}.",
            "Other models trained for the study",
        ),
        Item("How the final model was chosen", _selection(report)),
        Item("Ensembling", "None: one network."),
        Item("Metrics", _metrics(c)),
        Item("Uncertainty and significance", _intervals(audit)),
        Item("Robustness or sensitivity analysis", _examination(audit), "" if audit else "The audit, or another analysis"),
        Item("Explainability, and its validation", "", "Saliency or the like, and how it was validated"),
        Item("External testing", _external(c), "" if c.metrics["external"]["n"] else "A test on external data"),
        Item("Flow of cases", f"{_left_out(report)} {_proportions(c)}", of_persons("Diagram, from before metadata.csv")),
        Item(
            "Demographic and clinical characteristics by partition", none,
            of_persons("A table; `predictions.parquet` has view, sex and age band where they are known"),
        ),
        Item("Performance on all partitions", "See Results above."),
        Item(
            "Diagnostic accuracy with its precision",
            f"Test: {_headline(c, 'test')}. External: {_headline(c, 'external')}. {_intervals(audit)}",
            "Sensitivity and specificity, with intervals",
        ),
        Item(
            "Failure analysis",
            f"Accuracy on test, conflicting images: {_value(c, 'test', 'conflicting_accuracy')}; worst group: "
            f"{_value(c, 'test', 'worst_group_accuracy')}.",
            "Review of single images that were called wrong",
        ),
        Item("Limitations", "See Bias, Risks, and Limitations above.", "Limitations of the study"),
        Item("Implications for practice", "None: for research, not a medical device."),
        Item("Registration", "", "Number and registry, if any"),
        Item("Study protocol", "The run's settings are in its `config.yaml`.", "Where the protocol is"),
        Item("Funding", "", "Sources, and the funders' role"),
    ]  # fmt: skip


def _checklist(items: list[Item]) -> str:
    full = sum(bool(item.known) and not item.open for item in items)
    part = sum(bool(item.known) and bool(item.open) for item in items)
    rows = [
        [str(number), item.asked, item.known or "—", f"**{item.open}**" if item.open else "—"]
        for number, item in enumerate(items, start=1)
    ]
    return (
        "Mongan, Moy, Kahn 2020, [doi 10.1148/ryai.2020200029](https://doi.org/10.1148/ryai.2020200029), in our words. Of "
        f"{len(items)} items this run answers {full}, {part} in part; {len(items) - full - part} are the user's alone.\n\n"
        + _table(["#", "Item", "What the run says", "For the user to fill"], rows)
    )


def _classes(c: Checkpoint) -> str:
    names = ", ".join(map(_plain, c.info.targets))
    return names if c.info.positive is None else f"{names}; positive: {_plain(c.info.targets[c.info.positive])}"


def _bias_labels(report: dict[str, Any]) -> str:
    return f"Training {'read' if report['training_used_bias_labels'] else 'did not read'} bias labels."


def _architecture(c: Checkpoint) -> str:
    neck = ["batch-normalised"] * c.model.centred + ["of unit length"] * c.model.unit_norm
    features = f"pooled features ({', '.join(neck)})" if neck else "pooled features"
    return (
        f"timm's `{c.model.name}`, {features}, one linear layer to {c.model.num_classes} logits; input "
        f"{c.model.in_chans} x {c.model.img_size} x {c.model.img_size}"
    )


def _initialisation(c: Checkpoint) -> str:
    if c.settings["pretrained"]:
        return f"Published weights of timm's `{c.model.name}`; last layer at random"
    return "Random, or a local file of weights (`--weights`): the checkpoint keeps no paths and can't tell"


def _paper(c: Checkpoint) -> str:
    return "https://arxiv.org/abs/2103.02023 (the method)" if c.settings["method"] == "end" else TO_FILL


def _weights(c: Checkpoint) -> str:
    values = sum(tensor.numel() for tensor in c.weights.values())
    return f"{values / 1e6:.2f} million values in the weights file (parameters and statistics of normalisation layers)."


def _size(c: Checkpoint, split: str) -> str:
    counts = c.metrics[split]
    return f"{counts['n']:,} images of {counts['patients']:,} {'synthetic ' * c.info.synthetic}patients"


def _sources(c: Checkpoint) -> str:
    apart = c.settings["external_sources"]
    asked = f" Set apart by `--external-sources`: {_plain(apart)}." if apart else ""
    return f"Values of {c.info.bias_name}, in all splits: {', '.join(map(_plain, c.info.biases))}.{asked}"


def _left_out(report: dict[str, Any]) -> str:
    # A copy's reason names the line of the other.
    counts = Counter(re.sub(r"line \d+", "another line", row["reason"]) for row in report["excluded"])
    reasons = "; ".join(f"{count} because {_plain(reason)}" for reason, count in counts.most_common())
    return f"Rows left out: {counts.total()} ({reasons})." if counts else "No row was left out."


def _crosstab(c: Checkpoint, report: dict[str, Any]) -> str:
    """Training images by bias and label, where the report has them."""
    if "confounding" not in report:
        return ""
    table = report["confounding"]["table"]
    labels = list(dict.fromkeys(label for row in table.values() for label in row))
    rows = [[_plain(name), *(str(row[label]) for label in labels)] for name, row in table.items()]
    return "\n\n" + _table([f"training images by {c.info.bias_name}", *map(_plain, labels)], rows)


def _subsets(c: Checkpoint) -> str:
    if c.settings["classes"]:
        return f"Only rows of the labels {_plain(c.settings['classes'])}."
    return f"{c.settings['films']} training images were asked for." if c.settings["films"] else "None: all usable rows."


def _augmentation(c: Checkpoint) -> str:
    if not c.settings["augment"]:
        return "No augmentation."
    return "Augmentation of training images: small rotation, shift, zoom, gamma, contrast and noise; never a mirror."


def _selection(report: dict[str, Any]) -> str:
    chosen = report["selection"]
    labels = " This rule reads bias labels." if chosen["used_bias_labels"] else ""
    return f"Epoch {chosen['epoch']} was kept: {SELECTION_RULES[chosen['rule']]}.{labels}"


def _calibration(c: Checkpoint, report: dict[str, Any]) -> str:
    text = f"Temperature {c.temperature:.3f}, fitted on validation."
    if c.threshold is None:
        return f"{text} An image is called for its most probable class."
    point = report["calibration"]["operating_point"]
    return f"{text} An image is called positive from a score of {c.threshold:.3f} ({point}, on validation)."


def _preprocessing(c: Checkpoint) -> str:
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


def _splitting(c: Checkpoint) -> str:
    return f"{SPLITTING[c.info.name]} (`--split-seed {c.settings['split_seed']}`)."


def _proportions(c: Checkpoint) -> str:
    total = sum(c.metrics[split]["n"] for split in SPLITS)
    return "; ".join(f"{split}: {_size(c, split)} ({c.metrics[split]['n'] / total:.0%})" for split in SPLITS) + "."


def _disjoint(c: Checkpoint) -> str:
    if c.info.name == "biased-mnist":
        return "Image: each digit stands for a patient."
    text = "Patient: none is in two splits."
    if c.info.name == "covid":
        text += " A row without patient_id counts as a patient of its own."
    if c.settings.get("separate_copies"):
        text += " Near-copies of one image stay in one split."
    return text


def _metrics(c: Checkpoint) -> str:
    at = "the most probable class" if c.threshold is None else "the stored threshold"
    area = "" if c.info.positive is None else "AUROC of the positive class against the rest, "
    return f"Accuracy at {at} (all, aligned, conflicting, worst group), {area}leak of the {c.info.bias_name}. See Glossary."


def _headline(c: Checkpoint, split: str) -> str:
    if not c.metrics[split]["n"]:
        return "no images"
    return f"accuracy {_value(c, split, 'accuracy')}, AUROC {_value(c, split, 'auroc')} on {_size(c, split)}"


def _external(c: Checkpoint) -> str:
    if not c.metrics["external"]["n"]:
        return "External images: none; nothing is known of a place that the model has not seen."
    return (
        f"External images, set apart from training: {_headline(c, 'external')}; on test: {_headline(c, 'test')}. One "
        f"{c.info.bias_name} differs from another in its patients too, so a drop is not bias alone."
    )


def _audit(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return f"**No audit was made of this run.** `{AUDIT_COMMAND}` makes one."
    return "The audit's verdict:\n\n" + _bullets([_plain(sentence) for sentence in audit["verdict"]])


def _examination(audit: dict[str, Any] | None) -> str:
    return "No audit was made." if audit is None else "The audit: see Bias, Risks, and Limitations above."


def _intervals(audit: dict[str, Any] | None) -> str:
    where = (
        f"`{AUDIT_COMMAND}` gives them" if audit is None else "as far as there are any, they are in the audit's verdict"
    )
    return f"These numbers have no intervals; {where}."


def _twin(c: Checkpoint, report: dict[str, Any]) -> str:
    """The run beside its twin on test and external, where the report has both."""
    if len(report["runs"]) != 2:
        return ""
    twin, run = report["runs"]
    rows = []
    for split in ("test", "external"):
        for name, heading in HEADINGS.items():
            if c.metrics[split]["n"] and name in report["difference"][split] and _has_meaning(c, split, name):
                gap = report["difference"][split][name]
                cells = [_number(values["metrics"][split][name]) for values in (twin, run)]
                rows.append([f"{split}: {heading}", *cells, f"{gap:+.3f}" if _is_known(gap) else "cannot conclude"])
    return (
        "\n\nBeside its twin of the same split and seed; one seed and no interval, so no difference here is evidence:\n\n"
        + _table(["", twin["method"], run["method"], "difference"], rows)
    )


def _value(c: Checkpoint, split: str, name: str) -> str:
    if not _has_meaning(c, split, name):
        return "not defined"
    if name not in c.metrics[split]:
        return "not measured"
    value = c.metrics[split][name]
    return f"{value:,}" if name in ("n", "patients") else _number(value)


def _has_meaning(c: Checkpoint, split: str, name: str) -> bool:
    if name == "auroc":
        return c.info.positive is not None
    return split != Split.EXTERNAL or name not in ("aligned_accuracy", "conflicting_accuracy")


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _number(value: float | None) -> str:
    return f"{value:.3f}" if value is not None and math.isfinite(value) else "cannot conclude"


def _bullets(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """Words of a user or of a file, on one line and with nothing that Markdown would take for its own."""
    return "".join(f"\\{mark}" if mark in "\\`*[]<>|" else mark for mark in " ".join(text.split()))
