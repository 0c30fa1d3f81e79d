"""A run to a model hub and back, errors as sentences."""

import errno
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

from training.cards.model_card import NAME as CARD
from training.hub.shared_run import FILM_FILES, README, ShareError, check_arrived, check_size, copy_to_share, refusal


def hub() -> HfApi:
    """The hub that the environment names, under the user's own token."""
    return HfApi(library_name="end-cxr")


def push(run: Path, repo: str, api: HfApi, public: bool = False, films: bool = False) -> list[str]:
    """Copy a finished run to a repository, in one commit, and return the names of the files.

    Args:
        repo: `user/name`; made where there is none.
        films: also the files that hold a row a film; see `training.hub.shared_run`.

    Raises:
        ShareError: a run that can't be shared, a repository that others see though `public` isn't asked for, no access.
    """
    with tempfile.TemporaryDirectory() as aside:
        names = copy_to_share(run, Path(aside), films)
        with hub_errors(repo):
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


def pull(repo: str, folder: Path, api: HfApi, revision: str | None = None) -> tuple[list[str], dict[str, str]]:
    """Fetch a run, check every file of it, then put it in place; raises ShareError where it is no whole run, or no access.

    Args:
        repo: `user/name`.
        folder: of the run; it must not exist.
        revision: branch, tag or commit.

    Returns:
        Names of the files, and the reason for each file of the repository that was not fetched.
    """
    try:
        workplace = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
    except OSError as error:
        raise ShareError(f"{folder} can't be made: {error.strerror or error}") from None
    with workplace as aside:
        fetched, place = Path(aside) / "fetched", Path(aside) / "run"
        place.mkdir()
        with hub_errors(repo):
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
def hub_errors(repo: str) -> Iterator[None]:
    """Turn every error of the hub, the network and the disk into a ShareError of one sentence."""
    try:
        yield
    except ShareError:
        raise
    except HFValidationError as error:
        raise ShareError(f"{repo!r} is no name of a repository, user/name: {str(error).splitlines()[0]}") from None
    except RepositoryNotFoundError:
        why = "there is no such repository, or it is private: sign in with `hf auth login`"
        raise ShareError(f"{repo}: {why}") from None
    except RevisionNotFoundError:
        raise ShareError(f"{repo} has no such branch, tag or commit: leave --revision out for the newest") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = ": sign in with `hf auth login` or set HF_TOKEN to a token that may do this"
        raise ShareError(f"{repo}: the hub answered {status}{hint if status in (401, 403) else ''}") from None
    except Exception as error:  # of whichever HTTP client the library is built on
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        why = "no room is left here" if full else "the hub can't be reached, or its answer is not as expected"
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ShareError(f"{repo}: {why} ({detail})") from None
