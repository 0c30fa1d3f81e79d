"""Short names of runs, with what tells them apart, and which of them differ in their seed alone."""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import yaml

from training.run.index import RunEntry

SEED = "seed"
# Settings that change where and how fast a run was trained, or what it was made from, and not what it is.
NO_PART = (SEED, "paired", "parent", "tracker", "keep", "save_minutes", "workers", "device", "compile", "channels_last")
MOST = 2  # settings in a label
LONGEST = 1 << 16  # bytes of a config.yaml that is read
SYNTHETIC = "SYNTHETIC"


def run_labels(entries: Sequence[RunEntry]) -> dict[str, str]:
    """`erm · s0` by name of the run, with what else tells these runs apart.

    The cohort's folder where these runs have several; the network, and settings, that differ between runs of one method and
    cohort; the run's folder where two labels would be the same. Runs on synthetic films are marked where others are not.
    """
    mixed = len({entry.synthetic for entry in entries}) > 1
    alike: dict[tuple[str, str], list[RunEntry]] = defaultdict(list)
    for entry in entries:
        alike[method(entry), cohort(entry)].append(entry)
    several = len({place for _, place in alike}) > 1
    labels = {}
    for (name, place), runs in alike.items():
        networks = len({_network(entry) for entry in runs}) > 1
        for entry in runs:
            words = [name, f"s{entry.header['settings'].get(SEED)}"]
            words += [SYNTHETIC] * (mixed and entry.synthetic) + [place] * several + [_network(entry)] * networks
            labels[entry.name] = " · ".join([*words, *_differing(entry, runs)])
    taken = list(labels.values())
    return {
        entry.name: labels[entry.name] + (f" · {entry.name}" if taken.count(labels[entry.name]) > 1 else "")
        for entry in entries
    }


def configuration(entry: RunEntry) -> Hashable:
    """The same for runs that differ in their seed alone."""
    settings = entry.header["settings"]
    kept = sorted((name, str(value)) for name, value in settings.items() if name not in NO_PART)
    return (cohort(entry), *kept)


def method(entry: RunEntry) -> str:
    """The method, and the recipe that came after it."""
    settings = entry.header["settings"]
    return f"{settings.get('method')}{'+' + str(settings['recipe']) if settings.get('recipe') else ''}"


def cohort(entry: RunEntry) -> str:
    """Name of the folder of its films, without the folders around it; of the data set where it has no such folder."""
    own = str(entry.header["info"].get("name"))
    file = entry.folder / "config.yaml"
    try:
        if file.stat().st_size > LONGEST:
            return own
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("data_dir:")]
        value = yaml.safe_load(lines[0])["data_dir"] if lines else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return own
    return value.replace("\\", "/").rstrip("/").rpartition("/")[2] or own if isinstance(value, str) else own


def _network(entry: RunEntry) -> str:
    return str(entry.header["model"]["name"])


def _differing(entry: RunEntry, runs: Sequence[RunEntry]) -> list[str]:
    """The first settings in which runs of one method differ, as words."""
    own = entry.header["settings"]
    names = dict.fromkeys(name for run in runs for name in run.header["settings"] if name not in (*NO_PART, "model"))
    differ = [name for name in names if len({str(run.header["settings"].get(name)) for run in runs}) > 1]
    return [f"{name.replace('_', ' ')} {_word(own.get(name))}" for name in differ[:MOST]]


def _word(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
