"""Export a finished run to other software: `python -m training.export {monai,timm,onnx} RUN --output PLACE`.

For research; not a medical device.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from training.console.commandline import Parser

if TYPE_CHECKING:
    from training.run.checkpoint import Checkpoint

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
    """Export, and say what was measured and how it is loaded."""
    options = read_arguments(arguments)
    # Imported here, so that --help and mistakes answer at once.
    from rich.console import Console

    from training.console.messages import mistakes_as_sentences
    from training.export.facts import ExportError, notice
    from training.run.checkpoint import load_checkpoint
    from training.run.checkpoint_header import checkpoint_file

    console = Console(soft_wrap=True, highlight=False, markup=False)
    with mistakes_as_sentences("interrupted; nothing was written"):
        checkpoint, run = load_checkpoint(options.run), checkpoint_file(options.run).resolve().parent.name
        try:
            lines = exported(options, checkpoint, run)
        except OSError as error:
            raise ExportError(f"--output {options.output} can't be written: {error.strerror or error}") from None
        console.print(f"wrote {options.output}")
        for line in (*lines, notice(checkpoint)):
            console.print(line)


def exported(options: argparse.Namespace, checkpoint: "Checkpoint", run: str) -> list[str]:
    """Write it, and return what is said of it."""
    from training.export.facts import ExportError, reading

    place: Path = options.output
    if options.command == "monai":
        from training.export.monai_bundle import export_monai

        found = export_monai(checkpoint, run, place.absolute())
        lines = [f"logits differ by at most {found:.1e} on random images", f"see {place}/docs/README.md"]
    elif options.command == "timm":
        from training.export.timm_weights import export_timm

        lines = [export_timm(checkpoint, run, place, options.backbone)]
        if options.backbone:
            return [*lines, "features alone: the last layer, and what reads its logits, is not in it"]
    else:
        try:
            from training.export.onnx_model import export_onnx

            found = export_onnx(checkpoint, run, place.absolute())
        except ModuleNotFoundError as error:  # of ours, or of those that torch's exporter imports when it is called
            raise ExportError(f"{error.name} is not installed: pip install 'end-cxr[export]'") from None
        lines = [f"features and logits differ by at most {found:.1e} on random images"]
    return [*lines, reading(checkpoint)]


if __name__ == "__main__":
    main(sys.argv[1:])
