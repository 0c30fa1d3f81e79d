"""Export a finished run to other software: `python -m training.export {monai,timm,onnx} RUN --output PLACE`.

For research; not a medical device.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.console.commandline import Parser

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."
SUMMARIES = {
    "monai": "MONAI bundle: a folder that MONAI runs with timm and without this package",
    "timm": "plain timm weights: a .safetensors file for timm.create_model(..., checkpoint_path=FILE)",
    "onnx": "ONNX: a .onnx file with features and logits for any batch (pip install 'end-cxr[export]')",
}
SUFFIXES = {"monai": "", "timm": ".safetensors", "onnx": ".onnx"}


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(prog="python -m training.export", description=__doc__, epilog=CLOSING)
    for name, text in SUMMARIES.items():
        command = parser.add_command(name, text)
        command.add_argument("run", type=Path, metavar="RUN", help="finished run folder, or its model.safetensors")
        kind = f"{SUFFIXES[name]} file" if SUFFIXES[name] else "folder"
        command.add_argument("--output", type=Path, metavar="PLACE", required=True, help=f"new {kind}")
        if name == "timm":
            command.add_argument("--backbone", action="store_true", help="without the last layer: features, no logits")
    options = parser.parse_strictly(arguments)
    suffix = SUFFIXES[options.command]
    if options.output.suffix != suffix and suffix:
        parser.error(f"--output {options.output}: must end in {suffix}")
    if options.output.exists():
        parser.error(f"--output {options.output} exists already: give a new place")
    if not options.output.absolute().parent.is_dir():
        parser.error(f"--output {options.output}: its folder does not exist")
    return options


def main(arguments: Sequence[str]) -> None:
    """Export, and print what was measured and how the file is loaded."""
    options = read_arguments(arguments)
    # Imported here, so that --help and mistakes answer at once.
    from rich.console import Console

    from training.console.messages import mistakes_as_sentences

    console = Console(soft_wrap=True, highlight=False, markup=False)
    with mistakes_as_sentences("interrupted; nothing was written"):
        from training.export.formats import export

        for line in export(options.command, options.run, options.output, getattr(options, "backbone", False)):
            console.print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
