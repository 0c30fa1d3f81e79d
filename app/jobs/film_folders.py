"""The one folder of the server whose films visitors may score: its sub-folders, and no way out of it.

An administrator names it in the environment variable END_CXR_FILMS. Visitors see names below it, never its path.
"""

import os
from collections import deque
from pathlib import Path

VARIABLE = "END_CXR_FILMS"
WHOLE = "(all of it)"
LISTED = 200  # folders at most in the list that visitors choose from
DEPTH = 2
NO_SUCH_FOLDER = "There is no such folder below the films' folder of this server."


class FilmsFolderError(ValueError):
    """A folder that may not be read or isn't there; the same sentence for both, so that it reveals nothing of the server."""


def films_root() -> Path | None:
    """The folder that visitors may score, links resolved; None where none is named or it isn't there."""
    named = os.environ.get(VARIABLE)
    root = Path(named or "").resolve()
    return root if named and root.is_dir() else None


def names_no_folder() -> bool:
    """Whether the variable is set, but to no folder: a mistake of the administrator."""
    return bool(os.environ.get(VARIABLE)) and films_root() is None


def sub_folders(root: Path) -> list[str]:
    """Folders below the root as `a/b`, the nearest first; without links, hidden folders and those below DEPTH."""
    folders: list[str] = []
    waiting = deque([""])
    while waiting and len(folders) < LISTED:
        below = waiting.popleft()
        try:
            with os.scandir(root / below) as children:
                names = sorted(child.name for child in children if child.is_dir(follow_symlinks=False))
        except OSError:
            continue
        for name in names:
            if name.startswith(".") or name != name.encode(errors="ignore").decode():  # no page can show surrogates
                continue
            path = f"{below}/{name}" if below else name
            folders.append(path)
            if path.count("/") + 1 < DEPTH:
                waiting.append(path)
    return folders[:LISTED]


def confined(root: Path, typed: str) -> Path:
    """The folder below the root that a visitor asks for; `WHOLE` or nothing is the root itself.

    Raises FilmsFolderError for what is no folder, or lies outside once all links are followed.
    """
    typed = typed.strip()
    if typed in ("", WHOLE):
        return root
    try:
        folder = (root / typed).resolve(strict=True)
        if folder.is_relative_to(root) and folder.is_dir():
            return folder
    except (OSError, ValueError, RuntimeError):  # not there, a name with a NUL, a circle of links
        pass
    raise FilmsFolderError(NO_SUCH_FOLDER)
