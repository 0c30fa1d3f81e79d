"""MODEL_CARD.md of a run: what its checkpoint and its report say, under the headings that readers of model cards know.

Mitchell et al. 2019, Model cards for model reporting, in the form of Hugging Face's template (huggingface_hub 2.4), with
the checklist of `training.cards.claim` at its end. `training.cards.facts` has the phrases.
"""

import json
from pathlib import Path, PurePath
from typing import Any

import yaml

from datasets.files import write_text
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.cards import facts
from training.cards.claim import checklist, claim_items
from training.methods import METHODS
from training.run.checkpoint import Checkpoint, load_checkpoint

NAME = "MODEL_CARD.md"

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
    write_text(folder / NAME, text)
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
        ("## CLAIM 2020 Checklist", checklist(claim_items(checkpoint, report, audit))),
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
                {"type": kind, "name": facts.HEADINGS[name], "value": c.metrics[split][name]}
                for name, kind in (("accuracy", "accuracy"), ("auroc", "roc_auc"))
                if facts.is_known(c.metrics[split][name])
            ],
        }
        for split in (str(Split.TEST), str(Split.EXTERNAL))
        if facts.is_known(c.metrics[split]["accuracy"])
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
            f"A classifier of {images} into {facts.classes(c)}. It was trained with `{c.settings['method']}`: "
            f"{METHODS[c.settings['method']].summary}. {facts.bias_labels(report)}{facts.recipe(c)}\n\n"
            f"- **Developed by:** {facts.TO_FILL}\n"
            f"- **Funded by:** {facts.TO_FILL}\n"
            f"- **Shared by:** {facts.TO_FILL}\n"
            f"- **Model type:** {facts.architecture(c)}\n"
            "- **Language(s) (NLP):** none; images alone\n"
            f"- **License:** {facts.TO_FILL}\n"
            f"- **Finetuned from model:** {facts.initialisation(c)}",
        ),
        (
            "### Model Sources",
            f"- **Repository:** {facts.TO_FILL}\n- **Paper:** {facts.paper(c)}\n- **Demo:** {facts.TO_FILL}",
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
    ]


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
            f"{facts.number(check['cramers_v'])} (0: independent, 1: each gives the other away)."
        )
    lines += [
        f"Accuracy on test, where the label is its {bias}'s usual one (aligned): "
        f"{facts.value(c, 'test', 'aligned_accuracy')}; where it is not (conflicting): "
        f"{facts.value(c, 'test', 'conflicting_accuracy')}; in the worst label x {bias} group: "
        f"{facts.value(c, 'test', 'worst_group_accuracy')}.",
        f"Leak of the {bias} from the features on test: {facts.value(c, 'test', 'leak')}; chance: "
        f"{facts.value(c, 'test', 'leak_chance')}.",
        facts.external(c),
        "Every number here is a point estimate of one run; another seed or split gives others.",
        *map(facts.plain, report["notes"]),
    ]
    return [
        ("## Bias, Risks, and Limitations", f"{facts.bullets(lines)}\n\n{facts.audit(audit)}"),
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
            f"{facts.DATA[c.info.name]}: {facts.size(c, 'train')}. {facts.sources(c)} {facts.left_out(report)}"
            + facts.crosstab(c, report),
        ),
        ("### Training Procedure", f"{facts.augmentation(c)} {facts.selection(report)} {facts.calibration(c, report)}"),
        ("#### Preprocessing", facts.preprocessing(c)),
        (
            "#### Training Hyperparameters",
            f"- **Training regime:** {regime}\n\nAll settings, without places on a machine:\n\n"
            f"```yaml\n{yaml.safe_dump(c.settings, allow_unicode=True)}```",
        ),
        ("#### Speeds, Sizes, Times", f"{facts.weights(c)} Speed of each epoch: `metrics.jsonl` of the run."),
    ]


def _evaluation(c: Checkpoint, report: dict[str, Any], audit: dict[str, Any] | None) -> list[tuple[str, str]]:
    held = [split for split in facts.SPLITS if c.metrics[split]["n"]]
    rows = [[heading, *(facts.value(c, split, name) for split in held)] for name, heading in facts.HEADINGS.items()]
    return [
        ("## Evaluation", ""),
        ("### Testing Data, Factors & Metrics", ""),
        (
            "#### Testing Data",
            f"Test: {facts.size(c, 'test')}; external: {facts.size(c, 'external')}. {facts.splitting(c)}",
        ),
        (
            "#### Factors",
            f"Target, {c.info.bias_name}, their cells, and whether an image follows the training correlation (aligned) or "
            "not (conflicting).",
        ),
        ("#### Metrics", facts.metrics(c)),
        (
            "### Results",
            facts.table(["", *held], rows) + f"\n\n{facts.intervals(audit)} {CHOSEN_ON}" + facts.twin(c, report),
        ),
        (
            "#### Summary",
            f"Test: {facts.headline(c, 'test')}. External: {facts.headline(c, 'external')}."
            + (" All images are SYNTHETIC." if c.info.synthetic else ""),
        ),
    ]


def _remaining(c: Checkpoint, audit: dict[str, Any] | None) -> list[tuple[str, str]]:
    software = ", ".join(f"{name} {version}" for name, version in c.versions.items())
    return [
        ("## Model Examination", facts.examination(audit)),
        (
            "## Environmental Impact",
            "Not recorded by the run.\n\n"
            + facts.bullets(
                [
                    f"**{name}:** {facts.TO_FILL}"
                    for name in ("Hardware Type", "Hours used", "Cloud Provider", "Compute Region", "Carbon Emitted")
                ]
            ),
        ),
        ("## Technical Specifications", ""),
        (
            "### Model Architecture and Objective",
            f"{facts.architecture(c)}. Objective: {METHODS[c.settings['method']].summary}.",
        ),
        ("### Compute Infrastructure", ""),
        ("#### Hardware", facts.TO_FILL),
        ("#### Software", software),
        (
            "## Citation",
            END_BIBTEX if c.settings["method"] == "end" else f"Of this model: {facts.TO_FILL}",
        ),
        ("## Glossary", GLOSSARY),
        ("## More Information", "`config.yaml`, `report.json` and `predictions.parquet` of the run."),
        (
            "## Model Card Authors",
            f"Written by end-cxr {c.versions.get('end-cxr', '')} from the run's files. {facts.TO_FILL}",
        ),
        ("## Model Card Contact", facts.TO_FILL),
    ]
