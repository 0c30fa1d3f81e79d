"""Whether `app`, `datasets`, `models` and `training` are EnD-CXR's: Hugging Face's `datasets` has the name of one of them.

Checked before anything else of ours is imported. A command makes ours come first on the path; where that does not help,
because the files of both packages lie in one folder, it ends with a sentence.
"""

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

NAMES = ("app", "datasets", "models", "training")
ROOT = Path(__file__).resolve().parent.parent
MARK = "EnD-CXR"  # in the docstring of each of our packages
SHORT_COMMAND = "end-cxr"


def require_own() -> None:
    """Raise ImportError with a sentence where another package is in the way; a command exits with that sentence.

    A program of somebody else that imports us keeps its path: it may want the other package.
    """
    why = _in_the_way()
    is_command = sys.argv[:1] == ["-m"] or Path(sys.argv[0] if sys.argv else "").stem in (SHORT_COMMAND, "streamlit")
    if why and is_command:
        sys.path.insert(0, str(ROOT))
        # For processes that a command starts.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        importlib.invalidate_caches()
        why = _in_the_way()
        if why:
            print(why, file=sys.stderr)  # noqa: T201
            raise SystemExit(2)
    if why:
        raise ImportError(why)


def _in_the_way() -> str:
    """A sentence on the first package that is not ours; empty where all are."""
    for name in NAMES:
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec is not None and spec.origin is not None else None
        if found is not None and found.parent == ROOT / name and MARK in found.read_text(encoding="utf-8"):
            continue
        whose = " (pip's `datasets` is Hugging Face's)" if name == "datasets" else ""
        if found is None:
            return f"The folder {ROOT / name} is missing or incomplete: install EnD-CXR again."
        if found.parent == ROOT / name:
            return (
                f"Another package's files lie over EnD-CXR's in {found.parent}{whose}: install EnD-CXR again in a virtual "
                "environment of its own."
            )
        return (
            f"The package {name} in {found.parent} is another one's{whose} and hides EnD-CXR's: work in a virtual "
            f"environment of its own, run {SHORT_COMMAND} COMMAND, or put {ROOT} first on PYTHONPATH."
        )
    return ""
