"""Share a finished run: `python -m training.hub push RUN REPO` and `python -m training.hub pull REPO --output DIR`.

The hub is Hugging Face's, or the one that $HF_ENDPOINT names; the token is $HF_TOKEN or that of `hf auth login`. A run is
pushed to a private repository unless --public is given. For research; not a medical device.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.console.commandline import Parser

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(prog="python -m training.hub", description=__doc__, epilog=CLOSING)
    add = parser.add_command("push", "copy a finished run to a repository").add_argument
    add("run", type=Path, metavar="RUN", help="folder of a finished run")
    add("repo", metavar="REPO", help="user/name; created as private if it doesn't exist")
    add("--public", action="store_true", help="let anyone see the repository")
    help = "also share predictions and features, a row per film, patients as keyed hashes"
    add("--films", action="store_true", help=help)
    add = parser.add_command("pull", "download a run, check it, then move it into place").add_argument
    add("repo", metavar="REPO", help="user/name")
    add("--output", type=Path, metavar="DIR", required=True, help="new folder for the run")
    add("--revision", metavar="NAME", help="branch, tag or commit (default: the newest)")
    options = parser.parse_strictly(arguments)
    if options.repo.count("/") != 1:
        parser.error(f"{options.repo!r} is no name of a repository: give user/name")
    if options.command == "push" and not options.run.is_dir():
        parser.error(f"{options.run} is no folder: give the folder of a finished run")
    if options.command == "pull" and options.output.exists():
        parser.error(f"--output {options.output} exists already: give a new folder")
    if options.command == "pull" and not options.output.absolute().parent.is_dir():
        parser.error(f"--output {options.output}: its folder does not exist")
    return options


def main(arguments: Sequence[str]) -> None:
    """Push or pull, and print which files were transferred."""
    options = read_arguments(arguments)
    # Imported here, so that --help and mistakes answer at once.
    from rich.console import Console

    from training.console.messages import RESEARCH_ONLY, mistakes_as_sentences

    console = Console(soft_wrap=True, highlight=False, markup=False)
    with mistakes_as_sentences("interrupted"):
        from training.hub.transfer import hub, pull, push

        api = hub()
        if options.command == "push":
            names = push(options.run, options.repo, api, options.public, options.films)
            console.print(f"pushed to {options.repo} ({'public' if options.public else 'private'}): {', '.join(names)}")
            if not options.films:
                console.print(
                    "files with a row a film (predictions, features) were not pushed; --films pushes them too"
                )
        else:
            names, left = pull(options.repo, options.output.absolute(), api, options.revision)
            console.print(f"pulled to {options.output}: {', '.join(names)}")
            for name, reason in left.items():
                console.print(f"not fetched: {name!r}: {reason}")
    console.print(RESEARCH_ONLY)


if __name__ == "__main__":
    main(sys.argv[1:])
