"""Share a finished run: `python -m training.hub push RUN REPO` and `python -m training.hub pull REPO --output DIR`.

The hub is Hugging Face's, or the one that $HF_ENDPOINT names; the token is $HF_TOKEN or that of `hf auth login`. A run is
pushed to a private repository unless --public is given. For research; not a medical device.
"""

import argparse
import errno
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from training.console.commandline import Parser

if TYPE_CHECKING:
    from huggingface_hub import HfApi

CLOSING = "For research; not a medical device. Scores are model scores, not diagnoses."


def push(run: Path, repo: str, api: "HfApi", public: bool = False, films: bool = False) -> list[str]:
    """Copy a finished run to a repository, in one commit, and return the names of the files.

    Args:
        run: its folder.
        repo: `user/name`; made where there is none.
        api: the hub.
        public: anyone may see it.
        films: also what holds a row a film; see `training.hub.shared_run`.

    Raises:
        ShareError: a run that can't be shared, a repository that others see though `public` isn't asked for, no access.
    """
    from training.hub.shared_run import FILM_FILES, ShareError, copy_to_share

    with tempfile.TemporaryDirectory() as aside:
        names = copy_to_share(run, Path(aside), films)
        with _mistakes_of_the_hub(repo):
            api.create_repo(repo, private=not public, exist_ok=True)
            if not public and not api.model_info(repo).private:
                raise ShareError(f"{repo} exists and anyone can see it: give --public, or another name")
            api.upload_folder(
                repo_id=repo,
                folder_path=aside,
                allow_patterns=names,
                delete_patterns=[name for name in FILM_FILES if name not in names],
                commit_message=f"Run {run.resolve().name}",
            )
    return names


def pull(repo: str, folder: Path, api: "HfApi", revision: str | None = None) -> tuple[list[str], dict[str, str]]:
    """Fetch a run and put it in place once every file of it was checked.

    Args:
        repo: `user/name`.
        folder: of the run; it must not exist.
        api: the hub.
        revision: branch, tag or commit.

    Returns:
        Names of the files, and for each file that was left there why.

    Raises:
        ShareError: what is there is no run, or not a sound one; no such repository, or no access.
    """
    from training.cards.model_card import NAME as CARD
    from training.hub.shared_run import README, ShareError, check_arrived, check_size, refusal

    try:
        workplace = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
    except OSError as error:
        raise ShareError(f"{folder} can't be made: {error.strerror or error}") from None
    with workplace as aside:
        fetched, place = Path(aside) / "fetched", Path(aside) / "run"
        place.mkdir()
        with _mistakes_of_the_hub(repo):
            info = api.model_info(repo, revision=revision, files_metadata=True)
            if not re.fullmatch("[0-9a-f]{40}", info.sha or ""):
                raise ShareError(f"{repo}: the hub names no commit")
            sizes = {file.rfilename: file.size for file in info.siblings or ()}
            reasons = {name: reason for name in sizes if (reason := refusal(name))}
            names = sorted(sizes.keys() - reasons.keys())
            for name in names:
                check_size(name, sizes[name])
            for name in names:
                api.hf_hub_download(repo, name, revision=info.sha, local_dir=fetched)
                (fetched / name).replace(place / name)
        check_arrived(place)
        if README in names:
            (place / README).replace(place / CARD)
            names = sorted({*names, CARD} - {README})
        place.rename(folder)
    return names, {name: reason for name, reason in reasons.items() if name != ".gitattributes"}


@contextmanager
def _mistakes_of_the_hub(repo: str) -> Iterator[None]:
    """What can go wrong between here and the hub, as sentences."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    from training.hub.shared_run import ShareError

    try:
        yield
    except ShareError:
        raise
    except HFValidationError as error:
        raise ShareError(f"{repo!r} is no name of a repository, user/name: {str(error).splitlines()[0]}") from None
    except RepositoryNotFoundError:
        raise ShareError(
            f"{repo}: there is no such repository, or it is private: sign in with `hf auth login`"
        ) from None
    except RevisionNotFoundError:
        raise ShareError(f"{repo} has no such branch, tag or commit: leave --revision out for the newest") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = (
            ": sign in with `hf auth login` or set HF_TOKEN to a token that may do this" if status in (401, 403) else ""
        )
        raise ShareError(f"{repo}: the hub answered {status}{hint}") from None
    except Exception as error:  # of whichever HTTP client the library is built on
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        why = "no room is left here" if full else "the hub can't be reached or answered otherwise than expected"
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ShareError(f"{repo}: {why} ({detail})") from None


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; exits with a sentence on a bad one."""
    parser = Parser(prog="python -m training.hub", description=__doc__, epilog=CLOSING)
    add = parser.add_command("push", "copy a finished run to a repository").add_argument
    add("run", type=Path, metavar="RUN", help="folder of a finished run")
    add("repo", metavar="REPO", help="user/name; created as private if it doesn't exist")
    add("--public", action="store_true", help="let anyone see the repository")
    add(
        "--films",
        action="store_true",
        help="also share predictions and features, a row per film, patients as keyed hashes",
    )
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
    """Push or pull, and say which files went and which did not."""
    options = read_arguments(arguments)
    # Imported here, so that --help and mistakes answer at once.
    from huggingface_hub import HfApi
    from rich.console import Console

    from training.console.messages import RESEARCH_ONLY, mistakes_as_sentences

    console, api = Console(soft_wrap=True, highlight=False, markup=False), HfApi(library_name="end-cxr")
    with mistakes_as_sentences("interrupted"):
        if options.command == "push":
            names = push(options.run, options.repo, api, options.public, options.films)
            console.print(f"pushed to {options.repo} ({'public' if options.public else 'private'}): {', '.join(names)}")
            if not options.films:
                console.print("what holds a row a film (predictions, features) stayed here; --films sends it too")
        else:
            names, left = pull(options.repo, options.output.absolute(), api, options.revision)
            console.print(f"pulled to {options.output}: {', '.join(names)}")
            for name, reason in left.items():
                console.print(f"not taken: {name!r}: {reason}")
    console.print(RESEARCH_ONLY)


if __name__ == "__main__":
    main(sys.argv[1:])
