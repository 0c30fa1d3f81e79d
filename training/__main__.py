"""All commands under one name: `end-cxr train --dataset covid` is `python -m training.train --dataset covid`."""

import difflib
import os
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

COMMANDS = {
    "train": ("training.train", "train a classifier, with EnD or without"),
    "evaluate": ("training.evaluate", "audit checkpoints, or score a folder of DICOM films"),
    "calibrate": ("training.calibrate", "a temperature and a threshold for each site"),
    "crossval": ("training.crossval", "leave each source out in turn"),
    "sweep": ("training.sweep", "search for settings"),
    "benchmark": ("training.benchmark", "methods compared, and how fast things are"),
    "export": ("training.export", "a run as ONNX, timm weights or MONAI bundle"),
    "hub": ("training.hub", "share a run, or fetch one"),
    "recipe": ("training.recipe", "trainings of several stages"),
    "prepare": ("datasets.prepare", "a cohort from DICOM films or public data sets"),
    "manifest": ("datasets.manifest", "which public films a cohort holds"),
    "phantom": ("datasets.phantom", "synthetic films"),
    "app": ("streamlit", "compare checkpoints in the browser"),
}


def main() -> None:
    """Run the command of the first argument with the others, as `python -m` would."""
    name, *others = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_help())  # noqa: T201
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        sys.exit(f"end-cxr: no command {name!r}{hint} There are {', '.join(COMMANDS)}.")
    module = COMMANDS[name][0]
    if name == "app":
        spec = find_spec("app")
        assert spec is not None and spec.origin is not None
        place = Path(spec.origin).parent
        # Streamlit runs the script by its path, with the script's folder first; its settings lie beside the script.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(place.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        sys.path.insert(0, str(place.parent))
        others = ["run", str(place / "main.py"), *others]
    sys.argv = [module, *others]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _help() -> str:
    lines = [f"  {name:10}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: end-cxr COMMAND ...",
            "",
            *lines,
            "",
            "end-cxr COMMAND --help has the flags. For research; not a medical device.",
        ]
    )


if __name__ == "__main__":
    main()
