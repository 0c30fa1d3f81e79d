"""The README of a MONAI bundle: what the model is, how to run it, and how its scores are read."""

import json

from training.cards.model_card import architecture, plain
from training.export.facts import facts, notice, reading
from training.run.checkpoint import Checkpoint


def bundle_readme(checkpoint: Checkpoint, run: str) -> str:
    """docs/README.md as Markdown."""
    c, info, p = checkpoint, checkpoint.info, checkpoint.preprocessing
    values = facts(c, run)
    classes, biases = (", ".join(map(plain, names)) for names in (info.targets, info.biases))
    return f"""\
# {run}

**{notice(c)}**

- classes, in the order of the logits: {classes}
- positive class: {plain(str(values["positive_class"]))}
- values of {info.bias_name} that it was trained and tested on: {biases}
- temperature: {c.temperature:.6g}
- threshold: {"none" if c.threshold is None else f"{c.threshold:.6g}"}
- input: {p.channels} x {p.size} x {p.size}; aspect {p.aspect}, intensity {p.intensity}
- network: {architecture(c)}

{reading(c)}

## Run it

It needs MONAI with timm, pytorch-ignite and fire (`pip install monai timm pytorch-ignite fire`), and not end-cxr. Paths are
relative to the folder where the command is given:

```sh
python -m monai.bundle run --config_file configs/inference.json --bundle_root . --dataset_dir FOLDER_OF_FILMS
```

reads the PNG, JPEG and TIFF films below the folder and writes `eval/predictions.csv`: the path of each film, then a score a
class in the order above. The paths are those of your machine: look at them before you pass the table on.

```python
from monai.bundle import load
network = load("BUNDLE", bundle_dir="FOLDER_OF_BUNDLES", workflow_type="inference")  # gives logits
```

DICOM films are not read here: MONAI's readers don't apply the greyscale pipeline that the model was trained with. Score
them with `python -m training.evaluate --dicom-dir` of end-cxr.

`scripts/film.py` prepares a film as in training. MONAI's `Resized` and `ScaleIntensityRangePercentilesd` would not do: they
use another filter before they shrink, and take padding and burnt-out markers into the percentiles.

A bundle is code: `configs/inference.json` and `scripts/film.py` are run. Use only bundles that you trust. `models/model.pt`
holds tensors only (`torch.load(..., weights_only=True)`).

## Everything the bundle says of the model

```json
{json.dumps(values, indent=2)}
```
"""
