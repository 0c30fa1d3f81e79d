"""A MONAI bundle, which runs with MONAI, ignite and timm and without this package.

`configs/inference.json` builds the network out of timm and torch by name, reads PNG, JPEG and TIFF films and writes a table
of scores; `models/model.pt` is a plain state dict (`torch.load(..., weights_only=True)`); `scripts/film.py` prepares a film.
MONAI's own resizing and percentiles are not used: its antialiasing is another filter, its percentiles take in the padding.
"""

import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import monai
import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from datasets.files import full_disk_in_words
from models.classifier import Classifier, ModelError, timm_arguments
from models.plain import TOLERANCE, difference, layers, plain_timm
from training.export.bundle_readme import bundle_readme
from training.export.facts import ExportError, facts, notice, reading, require_close
from training.run.checkpoint import Checkpoint

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
NOT_STATED = "Not stated: whoever shares this bundle fills it in."
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def export_monai(checkpoint: Checkpoint, run: str, folder: Path) -> float:
    """Write a new folder, and return the largest difference of its logits from the classifier's on random images.

    Raises:
        ModelError: a backbone that timm can't build without this package.
        ExportError: a run that isn't of films, or a bundle that gives other logits.
    """
    if checkpoint.info.name == "biased-mnist":
        raise ExportError("a MONAI bundle reads films, and this run is of coloured digits: export it as onnx or timm")
    model = checkpoint.build()
    network, weights = network_config(model)
    about = metadata(checkpoint, run)
    _require_no_code(about)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
        place = Path(aside) / "bundle"
        for name in ("configs", "models", "docs", "scripts"):
            (place / name).mkdir(parents=True)
        _write_json(place / "configs" / "inference.json", inference_config(checkpoint, network))
        _write_json(place / "configs" / "metadata.json", about)
        with full_disk_in_words(folder):
            torch.save(weights, place / "models" / "model.pt")
        shutil.copyfile(Path(__file__).with_name("film.py"), place / "scripts" / "film.py")
        (place / "docs" / "README.md").write_text(bundle_readme(checkpoint, run), encoding="utf-8")
        largest = difference(built(place), model)
        require_close(largest, TOLERANCE, f"the bundle of {checkpoint.model.name}")
        place.rename(folder)
    return largest


def network_config(model: Classifier) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Entries of inference.json that build the network, `network_def` among them, and its weights.

    Plain timm where timm has the whole model, else a sequence of timm's backbone and layers of torch's.
    """
    config = model.config
    created = part("timm.create_model", model_name=config.name, **timm_arguments(config))
    try:
        return {"network_def": {**created, "num_classes": config.num_classes}}, plain_timm(model).state_dict()
    except ModelError:
        stages = layers(model)
    entries: list[dict[str, Any]] = [{**created, "num_classes": 0}]
    for layer in stages[1:]:
        if isinstance(layer, nn.BatchNorm1d):
            entries.append(part("torch.nn.BatchNorm1d", num_features=layer.num_features, affine=False))
        elif isinstance(layer, nn.RMSNorm):
            shape = list(layer.normalized_shape)
            entries.append(part("torch.nn.RMSNorm", normalized_shape=shape, eps=layer.eps, elementwise_affine=False))
        elif isinstance(layer, nn.Linear):
            entries.append(part("torch.nn.Linear", in_features=layer.in_features, out_features=layer.out_features))
    weights = nn.Sequential(*stages).state_dict()
    return {"layers": entries, "network_def": "$torch.nn.Sequential(*@layers)"}, weights


def part(target: str, **arguments: Any) -> dict[str, Any]:
    """What MONAI's parser builds as `target(**arguments)`."""
    return {"_target_": target, **arguments}


def inference_config(checkpoint: Checkpoint, network: dict[str, Any]) -> dict[str, Any]:
    """What `python -m monai.bundle run` follows, from the films of a folder to a table of scores."""
    p = checkpoint.preprocessing
    mean, std = (list(values) * (p.channels if len(values) == 1 else 1) for values in (p.mean, p.std))
    grey, image = part("scripts.film.grey", _mode_="callable"), {"keys": "image"}
    prepare = [
        part("LoadImaged", **image, reader="PILReader", reverse_indexing=False, converter=grey),
        part("EnsureChannelFirstd", **image, channel_dim="no_channel"),
        part("scripts.film.FilmPixelsd", **image, size=p.size, aspect=p.aspect, intensity=p.intensity),
        part("RepeatChanneld", **image, repeats=p.channels),
        part("NormalizeIntensityd", **image, subtrahend=mean, divisor=std, channel_wise=True),
        part("EnsureTyped", **image, device="@device"),
    ]
    to_scores = [
        part("Lambdad", keys="pred", func="$lambda logits: logits / @temperature"),
        part("Activationsd", keys="pred", softmax=True),
    ]
    load = part("CheckpointLoader", load_path="@ckpt_path", load_dict={"model": "@network"}, map_location="@device")
    save = part(
        "ClassificationSaver", output_dir="@output_dir",
        batch_transform="$lambda batch: [film['image'].meta for film in batch]",
        output_transform="$lambda output: [film['pred'] for film in output]",
    )  # fmt: skip
    run = {name: f"@{name}" for name in ("device", "network", "inferer", "postprocessing")}
    return {
        "imports": ["$import glob", "$import os", "$import torch"],
        "bundle_root": ".",
        "dataset_dir": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "suffixes": f"${SUFFIXES}",
        "datalist": "$sorted(f for f in glob.glob(@dataset_dir + '/**', recursive=True) if f.lower().endswith(@suffixes))",
        **network,
        "network": "$@network_def.to(@device)",
        "preprocessing": part("Compose", transforms=prepare),
        "dataset": part("Dataset", data="$[{'image': film} for film in @datalist]", transform="@preprocessing"),
        "dataloader": part("DataLoader", dataset="@dataset", batch_size=8, num_workers=0),
        "inferer": part("SimpleInferer"),
        "temperature": checkpoint.temperature,
        "postprocessing": part("Compose", transforms=to_scores),
        "handlers": [load, save],
        "evaluator": part("SupervisedEvaluator", val_data_loader="@dataloader", val_handlers="@handlers", **run),
        "run": ["$@evaluator.run()"],
    }


def metadata(checkpoint: Checkpoint, run: str) -> dict[str, Any]:
    """metadata.json, by MONAI's schema of July 2024."""
    c, p, classes = checkpoint, checkpoint.preprocessing, checkpoint.info.targets
    version = importlib.metadata.version
    packages = {name: version(name) for name in ("timm", "torchvision", "pillow")} | {"pytorch-ignite": "0.4.11"}
    metrics = {f"test_{name}": value for name, value in c.metrics.get("test", {}).items() if value is not None}
    kind: dict[str, Any] = {"dtype": "float32", "is_patch_data": False}
    image = {"type": "image", "format": "magnitude", "modality": "CR, DX", "value_range": [], **kind}
    image |= {"num_channels": p.channels, "spatial_shape": [p.size, p.size]}
    image["channel_def"] = {str(number): "film, normalised" for number in range(p.channels)}
    scores = {"format": "classes", "num_channels": len(classes), "spatial_shape": [], **kind}
    scores["channel_def"] = {str(number): name for number, name in enumerate(classes)}
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by end-cxr {version('end-cxr')}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": packages,
        "name": run,
        "task": f"Research: classification of {'SYNTHETIC ' * c.info.synthetic}chest radiographs into {', '.join(classes)}",
        "description": f"{notice(c)} {reading(c)}",
        "intended_use": "Research on how far a classifier reads the source of a film. Not a medical device.",
        "authors": NOT_STATED,
        "copyright": NOT_STATED,
        "data_type": "PNG, JPEG or TIFF",
        "pred_classes": "classes: " + ", ".join(f"{name} ({number})" for number, name in enumerate(classes)),
        "eval_metrics": metrics,
        "references": ["https://arxiv.org/abs/2103.02023"] if c.settings.get("method") == "end" else [],
        "end_cxr": facts(c, run),
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": {"type": "logits", "value_range": [], **scores}},
            "post_processed_outputs": {"pred": {"type": "probabilities", "value_range": [0, 1], **scores}},
        },
    }


def built(bundle: Path) -> nn.Module:
    """The network that a bundle describes, with its weights, as MONAI builds it: its configuration is run."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", map_location="cpu", weights_only=True))
    return network


def _require_no_code(value: object) -> None:
    """Refuse a name that MONAI's parser would run; the names of classes and sources come from whoever made the run."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for part in value:
            _require_no_code(part)
    elif isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise ExportError(f"{value!r} can't stand in a MONAI bundle: MONAI runs what begins with {value[0]}")


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n", encoding="utf-8")
