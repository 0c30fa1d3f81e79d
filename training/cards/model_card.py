"""MODEL_CARD.md of a run: what its checkpoint and its report say, under the headings that readers of model cards know.

The words are in the templates: card.md.j2, with claim.md.j2 at its end and the phrases of facts.md.j2 in both. Nothing is
guessed, and nothing names a path or a patient.
"""

import json
import re
from collections import Counter
from pathlib import Path, PurePath
from typing import Any

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCardData

from datasets.files import write_text
from datasets.sample import Split
from training.bias.numbers.metrics import MINIMUM_PATIENTS
from training.bias.report.first_screen import FirstScreen
from training.methods import METHODS
from training.run.checkpoint import Checkpoint, load_checkpoint
from training.run.config import SELECTION_RULES
from training.run.recipe import SUMMARIES
from training.run.report import HEADLINE, headings

NAME = "MODEL_CARD.md"
COUNTS = {"n": "images"}


def write_card(folder: Path, verdict: FirstScreen | None = None, films: str = "") -> Path:
    """Write MODEL_CARD.md into a finished run's folder, over an earlier one, and return where.

    Raises ValueError where the folder has no checkpoint or no report, or they are of two runs.
    """
    checkpoint, report = load_checkpoint(folder), folder / "report.json"
    if not report.is_file():
        raise ValueError(f"{folder} holds no report.json: a card needs a finished run")
    text = model_card(checkpoint, json.loads(report.read_text(encoding="utf-8")), verdict, films)
    write_text(folder / NAME, text)
    return folder / NAME


def model_card(
    checkpoint: Checkpoint, report: dict[str, Any], verdict: FirstScreen | None = None, films: str = ""
) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        report: contents of the run's report.json; the last of its runs is the run, one before it is the twin.
        verdict: the audit of this run alone; None where no audit was made, and the card then says how to make one.
        films: those of the audit, in words.
    """
    c, runs = checkpoint, report["runs"]
    if runs[-1]["metrics"] != c.metrics:
        raise ValueError("the report is of another run than the checkpoint: their metrics differ")
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("training.cards", ""),
    )  # fmt: skip
    environment.filters |= {"plain": plain, "line": line, "short": "{:g}".format}
    environment.tests["has_images"] = lambda split: c.metrics[split]["n"] > 0
    # The reason of a near-copy names the line of the other film.
    reasons = Counter(re.sub(r"line \d+", "another line", row["reason"]) for row in report["excluded"])
    name = PurePath(runs[-1]["folder"]).name
    return environment.get_template("card.md.j2").render(
        run=name,
        front_matter=front_matter(c, name),
        report=report,
        twin=runs[0] if len(runs) == 2 else None,
        verdict=verdict,
        audited=films,
        info=c.info,
        checks=report.get("confounding_by_attribute") or {c.info.bias_name: report.get("confounding")},
        further=[attribute.name for attribute in c.info.named if attribute.name != "source"],
        model=c.model,
        architecture=architecture(c),
        pixels=c.preprocessing,
        settings={"recipe": None, "separate_copies": False, "external_column": "source", "mix_amplitude": 0.0}
        | c.settings,
        settings_yaml=yaml.safe_dump(c.settings, allow_unicode=True),
        method_summary=METHODS[c.settings["method"]].summary,
        recipe_summary=SUMMARIES.get(c.settings.get("recipe", "")),
        selection_rule=SELECTION_RULES[report["selection"]["rule"]],
        temperature=c.temperature,
        threshold=c.threshold,
        values=sum(tensor.numel() for tensor in c.weights.values()),
        versions=c.versions,
        metrics={str(split): c.metrics[split] for split in Split},
        images=sum(c.metrics[split]["n"] for split in Split),
        headings=dict(headings(c.metrics[str(Split.TEST)])) | COUNTS,
        excluded=reasons.most_common(),
        minimum_patients=MINIMUM_PATIENTS,
    )


def front_matter(c: Checkpoint, run: str) -> str:
    """What a model hub reads of the card, as YAML: tags, and accuracy and AUROC where they are known."""
    data = f"{c.info.name}, SYNTHETIC images" if c.info.synthetic else c.info.name
    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=c.info.name,
            dataset_name=f"{data} ({split})",
            dataset_split=str(split),
            metric_type=kind,
            metric_name=dict(HEADLINE)[name],
            metric_value=c.metrics[split][name],
        )
        for split in (Split.TEST, Split.EXTERNAL)
        for name, kind in (("accuracy", "accuracy"), ("auroc", "roc_auc"))
        if c.metrics[split][name] is not None
    ]
    tags = ["research-only", "not-a-medical-device", "source-bias", c.settings["method"]]
    return ModelCardData(
        library_name="end-cxr",
        pipeline_tag="image-classification",
        tags=tags + ["synthetic-data"] * c.info.synthetic,
        model_name=run,
        eval_results=results,
    ).to_yaml()


def architecture(c: Checkpoint) -> str:
    """Backbone, features, head and input, in Markdown."""
    neck = ["batch-normalised"] * c.model.centred + ["of unit length"] * c.model.unit_norm
    pooled = f"pooled features of layers {', '.join(map(str, c.model.layers))}" if c.model.layers else "pooled features"
    features = f"{pooled} ({', '.join(neck)})" if neck else pooled
    return (
        f"timm's `{c.model.name}`, {features}, one linear layer to {c.model.num_classes} logits; input "
        f"{c.model.in_chans} x {c.model.img_size} x {c.model.img_size}"
    )


def line(text: str) -> str:
    """Text on one line, with single blanks."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """Words of a user or of a file, on one line and with nothing that Markdown would take for its own."""
    return "".join(f"\\{mark}" if mark in "\\`*[]<>|" else mark for mark in line(text))
