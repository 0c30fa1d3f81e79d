"""Make a run from a finished one, or a head on published weights: `python -m training.recipe head RUN`.

The result is a run folder as of training.train, beside RUN and named after it; its report compares the two.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datasets.seed import seed_number
from training.console.commandline import Parser, count, flag_name
from training.run.config import parse
from training.run.recipe import SUMMARIES

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."
HEAD_USAGE = """python -m training.recipe head RUN [flags]
       python -m training.recipe head --weights FILE [flags] [flags of training.train]
       python -m training.recipe head --pretrained [flags] [flags of training.train]"""
LAYERS_HELP = """layers to read, from 0, and output for the backbone's own features, such as 3,4,output (default: the layer
at two thirds of the depth, and the last)"""
NO_RUN = "-"
# Settings of a training that a head has no use for.
OF_A_TRAINING = (
    "method", "paired", "resume", "epochs", "opt", "lr", "weight_decay", "sched", "warmup_epochs", "clip_grad", "accumulate",
    "ema", "sync_bn", "amp", "amp_dtype", "compile", "augment", "no_augment", "sampler", "select", "save_minutes", "keep",
    "tracker", "unit_norm", "centred", "logit_scale",
)  # fmt: skip


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one.

    `config` of a head without RUN is the settings that training.train would read.
    """
    parser = Parser(prog="python -m training.recipe", description=__doc__, epilog=CLOSING)
    for name, text in SUMMARIES.items():
        command = parser.add_command(name, text, forwards=name == "head")
        add = command.add_argument
        if name == "head":
            command.usage = HEAD_USAGE
            add("run", type=Path, metavar="RUN", help="finished run folder, or its model.safetensors; comes first")
            add("--layers", type=layers_of, metavar="LIST", help=LAYERS_HELP)
        else:
            add("run", type=Path, metavar="RUN", help="finished run folder, or its model.safetensors")
        if name == "jtt":
            help = "lambda_up, times per epoch that an error is seen"
            add("--upweight", type=count(2, 1000), default=20, metavar="N", help=help)
            add(
                "--epochs",
                type=count(1, 1_000_000),
                metavar="N",
                help="epochs of the second training (default: as RUN)",
            )
            add("--seed", type=seed_number, metavar="N", help="seed of the second training (default: as RUN)")
        elif name == "dfr":
            add("--on", choices=("validation", "train"), default="validation", help="films to fit on")
            add("--penalty", choices=("l1", "l2"), default="l1", help="penalty of the regression")
            add("--subsets", type=count(1, 10_000), default=10, metavar="N", help="balanced draws to average over")
            add(
                "--seed",
                type=seed_number,
                default=0,
                metavar="N",
                help="seed of the draws and of the halves of validation",
            )
        add("--data-dir", type=Path, metavar="DIR", help="where the films are now (default: as RUN)")
        add("--output", type=Path, metavar="DIR", help="where the run folder is made (default: beside RUN)")
        add("--json", action="store_true", help="end with --result and JSON on a terminal too")
        add("--device", help="cuda, cpu or auto (default: as RUN)")
    words = list(arguments)
    if words[:1] == ["head"] and not {"-h", "--help"} & {*words}:
        # The value of a flag that training.train alone knows would be taken for RUN.
        words[1:1] = [NO_RUN] if len(words) == 1 or words[1].startswith("-") else []
    options = parser.parse_strictly(words)
    if options.command == "head":
        _settle_head(options, parser.commands["head"])
    return options


def layers_of(text: str) -> tuple[int | str, ...]:
    """`3,4,output` as ModelConfig has it; argparse's error otherwise."""
    words = [word.strip() for word in text.split(",")]
    numbers = {word for word in words if word.isdecimal()}
    if len({*words}) != len(words) or {*words} - numbers - {"output"}:
        raise argparse.ArgumentTypeError(f"{text}: give different numbers from 0, and output, such as 3,4,output")
    return (*sorted(map(int, numbers)), *(["output"] if "output" in words else []))


def _settle_head(options: argparse.Namespace, parser: Parser) -> None:
    """A run, or else the settings of what is read without one."""
    if options.run != Path(NO_RUN):
        if options.forwarded:
            parser.error(
                f"unknown argument {options.forwarded[0]}: RUN has its own settings; those of training.train are for a head "
                "without RUN"
            )
        return
    options.run = None
    flags = [word.partition("=")[0] for word in options.forwarded]
    for name in OF_A_TRAINING:
        if flag_name(name) in flags:
            parser.error(f"{flag_name(name)} is for trainings; a head trains no network")
    given = [(name, getattr(options, name)) for name in ("data_dir", "output", "device")]
    same = [word for name, value in given if value is not None for word in (flag_name(name), str(value))]
    # The method that this is: every target x bias group weighs the same.
    options.config = parse([*options.forwarded, *same, "--method", "reweight"])
    if not options.config.pretrained and options.config.weights is None:
        parser.error("give a RUN, or the published weights of a backbone: --weights FILE, or --pretrained")


def main(arguments: Sequence[str]) -> None:
    """Follow the recipe, print the summary with RUN beside it, then `--result` and one JSON object for programs."""
    options = read_arguments(arguments)
    # Imported after parsing, so that --help and mistakes answer at once.
    from training.console.messages import mistakes_as_sentences

    with mistakes_as_sentences("interrupted; nothing was begun"):
        from training.recipe.follow import follow

    follow(options)


if __name__ == "__main__":
    main(sys.argv[1:])
