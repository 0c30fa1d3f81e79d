"""The checklist of CLAIM, filled in as far as a run knows.

Mongan, Moy, Kahn 2020, Checklist for Artificial Intelligence in Medical Imaging (CLAIM), Radiology: Artificial Intelligence
2(2):e200029. Its 42 items are in our words.
"""

from typing import Any, NamedTuple

from training.cards import facts
from training.run.checkpoint import Checkpoint


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


def claim_items(c: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None) -> list[Item]:
    """The 42 items in CLAIM's order."""
    synthetic = c.info.synthetic
    none = "Not applicable: no image is of a person." if synthetic else ""

    def of_persons(text: str) -> str:
        return "" if synthetic else text

    twin = f"The twin `{report['runs'][0]['method']}` was trained beside it." if len(report["runs"]) == 2 else ""
    return [
        Item("Title or abstract names the AI method", f"Deep learning: {facts.architecture(c)}.", "The study's title"),
        Item("Structured summary", "", "The study's abstract"),
        Item("Background, intended use and role", "Research on bias; no clinical role is claimed.", "Background"),
        Item("Aims and hypotheses", twin, "Aims and hypotheses"),
        Item("Prospective or retrospective", none, of_persons("Which of the two")),
        Item("Goal of the study", "Model development with a measurement of bias.", "The study's own goal"),
        Item(
            "Data sources",
            f"{facts.DATA[c.info.name]}. {facts.sources(c)}",
            of_persons("Origin and terms of each source"),
        ),
        Item(
            "Eligibility: how, where and when cases were found",
            none,
            of_persons("Criteria, setting, places and dates"),
        ),
        Item("Preprocessing", facts.preprocessing(c)),
        Item("Subsets of the data", facts.subsets(c)),
        Item(
            "Definitions of data elements",
            f"Target: {facts.classes(c)}. Bias: {c.info.bias_name}.",
            of_persons("Definition of each label; common data elements"),
        ),
        Item(
            "De-identification",
            none or "In the run's tables, patients and files are keyed hashes; the checkpoint holds none.",
            of_persons("How the images were de-identified"),
        ),
        Item("Missing data", f"{facts.left_out(report)} Attributes that an image lacks stay empty; the image is kept."),
        Item("Reference standard", f"{facts.GROUND_TRUTH[c.info.name]}.", of_persons("How each label was established")),
        Item("Why this reference standard", none, of_persons("The reason, and the alternatives")),
        Item("Source of the annotations; who annotated", none, of_persons("Annotators and their training")),
        Item("Annotation tools", none, of_persons("Tools")),
        Item("Variability between and within raters", none, of_persons("How it was measured and resolved")),
        Item(
            "Intended sample size",
            "No calculation was made by the tool; sizes are in items 20 and 33.",
            "Intended size and its reason",
        ),
        Item("How data were assigned to partitions", f"{facts.splitting(c)} {facts.proportions(c)}"),
        Item("Level at which partitions are disjoint", facts.disjoint(c)),
        Item("Model: inputs, outputs, layers", f"{facts.architecture(c)}. Layers: timm's code of that name."),
        Item("Software", ", ".join(f"{name} {version}" for name, version in c.versions.items()) + "."),
        Item(
            "Initial parameters",
            f"{facts.initialisation(c)}.",
            "" if c.settings["pretrained"] else "The file of `--weights`, if there was one, and what it was trained on",
        ),
        Item(
            "Training: augmentation, hyper-parameters, number of models",
            f"{facts.augmentation(c)} Settings: Training Hyperparameters above. "
            f"Models in this report: {len(report['runs'])}.",
            "Other models trained for the study",
        ),
        Item("How the final model was chosen", facts.selection(report)),
        Item("Ensembling", "None: one network."),
        Item("Metrics", facts.metrics(c)),
        Item("Uncertainty and significance", facts.intervals(audit)),
        Item(
            "Robustness or sensitivity analysis",
            facts.examination(audit),
            "" if audit else "The audit, or another analysis",
        ),
        Item("Explainability, and its validation", "", "Saliency or the like, and how it was validated"),
        Item("External testing", facts.external(c), "" if c.metrics["external"]["n"] else "A test on external data"),
        Item(
            "Flow of cases",
            f"{facts.left_out(report)} {facts.proportions(c)}",
            of_persons("Diagram, from before metadata.csv"),
        ),
        Item(
            "Demographic and clinical characteristics by partition",
            none,
            of_persons("A table; `predictions.parquet` has view, sex and age band where they are known"),
        ),
        Item("Performance on all partitions", "See Results above."),
        Item(
            "Diagnostic accuracy with its precision",
            f"Test: {facts.headline(c, 'test')}. External: {facts.headline(c, 'external')}. {facts.intervals(audit)}",
            "Sensitivity and specificity, with intervals",
        ),
        Item(
            "Failure analysis",
            f"Accuracy on test, conflicting images: {facts.value(c, 'test', 'conflicting_accuracy')}; worst group: "
            f"{facts.value(c, 'test', 'worst_group_accuracy')}.",
            "Review of single images that were called wrong",
        ),
        Item("Limitations", "See Bias, Risks, and Limitations above.", "Limitations of the study"),
        Item("Implications for practice", "None: for research, not a medical device."),
        Item("Registration", "", "Number and registry, if any"),
        Item("Study protocol", "The run's settings are in its `config.yaml`.", "Where the protocol is"),
        Item("Funding", "", "Sources, and the funders' role"),
    ]


def checklist(items: list[Item]) -> str:
    """The items as a Markdown table, after a count of those that the run answers."""
    full = sum(bool(item.known) and not item.open for item in items)
    part = sum(bool(item.known) and bool(item.open) for item in items)
    rows = [
        [str(number), item.asked, item.known or "—", f"**{item.open}**" if item.open else "—"]
        for number, item in enumerate(items, start=1)
    ]
    return (
        "Mongan, Moy, Kahn 2020, [doi 10.1148/ryai.2020200029](https://doi.org/10.1148/ryai.2020200029), in our words. Of "
        f"{len(items)} items this run answers {full}, {part} in part; {len(items) - full - part} are the user's alone.\n\n"
        + facts.table(["#", "Item", "What the run says", "For the user to fill"], rows)
    )
