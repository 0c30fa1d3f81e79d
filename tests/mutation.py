"""Do the tests notice a changed line? `python -m tests.mutation --n 300 --seed 0`, by hand; needs `pip install cosmic-ray`.

Cosmic Ray's operators (another comparison, number or arithmetic, a condition turned round, an exception exchanged, a loop
that never runs, a decorator or a `not` removed) change one place of `FILES` at a time, in a copy of the last commit in the
folder for temporary files, and the tests named beside the file run there until one fails. Which places, and which change at
each, is drawn by the seed: places first, for one `+` has eleven substitutes and one `not` has one. A mutant that can't even
be imported is no test's merit: it is counted apart and another is drawn. One whose tests take five times as long as usual is
killed.

Every process is forked from one that has imported all libraries, so that a mutant costs its tests and no more.
"""

import argparse
import contextlib
import difflib
import os
import platform
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

FILES = {
    "training/methods/end.py": ("methods/test_end", "methods/test_end_options"),
    "training/bias/numbers/uncertainty.py": (
        "bias/numbers/test_uncertainty", "bias/numbers/test_auroc", "bias/numbers/test_groups",
        "bias/numbers/test_compare", "bias/simulation/test_coverage",
    ),
    "training/bias/numbers/groups.py": (
        "bias/numbers/test_groups", "bias/numbers/test_group_gaps", "bias/numbers/test_compare",
    ),
    "datasets/film/dicom.py": (
        "../datasets/film/test_dicom", "../datasets/film/test_dicom_edges", "../datasets/film/test_dicom_privacy",
        "../datasets/film/test_dicom_greys", "../datasets/film/test_shown_texts",
        "../datasets/film/test_dicom_facts", "../datasets/phantom/test_dicom_write",
        "../datasets/prepare/layouts/test_header", "../datasets/film/test_geometry", "../datasets/film/test_codecs",
        "../datasets/prepare/test_prepare_dicom",
    ),
}  # fmt: skip
"""Files, and what tests each, relative to tests/training and its own tests first."""

ROOMS = ("app", "datasets", "models", "training", "tests")
MEMORY = 8 << 30  # a mutant may ask for any size
KILLED, SURVIVED, TIMED_OUT, NO_MODULE = "killed", "survived", "timed out", "can't be imported"


class Mutant(NamedTuple):
    """One change of one place."""

    file: str
    line: int
    operator: str
    code: str
    difference: str


def mutants(file: str, seed: int) -> Iterator[Mutant]:
    """One mutant of every place in a file, in the order drawn."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import get_ast
    from cosmic_ray.mutating import mutate_code

    source = Path(file).read_text(encoding="utf-8")
    tree = get_ast(source)
    places: dict[tuple[str, tuple[int, int]], list[tuple[str, int]]] = {}
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments():  # needs to be told which variable
            continue
        count = 0
        for node in _nodes(tree):
            for start, _ in kind().mutation_positions(node):
                places.setdefault((_family(name), start), []).append((name, count))
                count += 1
    rng = random.Random(f"{seed} {file}")
    for (_, (line, _)), ways in rng.sample(sorted(places.items()), len(places)):
        name, occurrence = rng.choice(sorted(ways))
        code = mutate_code(source.encode(), plugins.get_operator(name)(), occurrence)
        if code is not None and code != source:
            changed = difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm="")
            lines = [text for text in changed if text[0] in "+-" and text[:3] not in ("+++", "---")]
            yield Mutant(file, line, name.removeprefix("core/"), code, "\n".join(lines))


def _nodes(node: "object") -> Iterator["object"]:
    """In the order of Cosmic Ray's own visitor, which numbers the places."""
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)


def _family(operator: str) -> str:
    """`ReplaceBinaryOperator_Add_Sub` is one of the substitutes of `ReplaceBinaryOperator_Add`."""
    return operator.rpartition("_")[0] if operator.count("_") > 1 else operator


def in_child(work: Callable[[], int], limit: float, log: Path) -> int | None:
    """The exit code of `work` in a forked process that writes to `log`; None where it takes longer than `limit` seconds."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            code = work()
            sys.stdout.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            with_children(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with_children(child)
    os.waitpid(child, 0)
    return None


def with_children(leader: int) -> None:
    """End what is left of a test run's session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def run_tests(tests: tuple[str, ...]) -> int:
    """Exit code of pytest, which stops at the first failure."""
    import pytest

    quiet = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={Path.cwd() / 'aside'}"]
    return int(pytest.main([*quiet, *(f"tests/training/{name}.py" for name in tests)]))


def can_be_imported(module: str) -> int:
    """0 or 1; in a process of its own, for the tests import anew, under the type checks of tests/conftest.py."""
    try:
        import_module(module)
    except Exception:
        return 1
    return 0


def copied_tree() -> Path:
    """A copy of the last commit, in which Python then runs."""
    root = Path(tempfile.mkdtemp(prefix="mutation-"))
    archive = subprocess.run(["git", "archive", "HEAD"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(root)], input=archive, check=True)
    sys.path[:] = [str(root), *(place for place in sys.path if place not in ("", str(Path.cwd())))]
    os.chdir(root)
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path[:1]), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    sys.dont_write_bytecode = True  # a mutant may be as long as the last one and as old to the second
    return root


def import_libraries(log: Path, tests: tuple[str, ...]) -> None:
    """Run tests unchanged, then import here all that they imported and that isn't ours."""
    names = log.with_suffix(".modules")

    def work() -> int:
        code = run_tests(tests)
        names.write_text("\n".join(sorted(name for name in sys.modules if name.partition(".")[0] not in ROOMS)))
        return code

    if in_child(work, 1200, log) != 0:
        sys.exit(f"the unchanged tests fail:\n{log.read_text()[-3000:]}")
    for name in names.read_text().splitlines():
        if name not in sys.modules and not name.startswith(("test_", "conftest", "__")):
            try:
                import_module(name)
            except Exception:  # made on the fly, or to be imported in its own order
                sys.modules.pop(name, None)


def main() -> None:
    """Draw, run, print each mutant that no test notices, and how many were."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--n", type=int, default=300, help="mutants in all; each file has its share of them by its places"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", nargs="*", choices=FILES, default=list(FILES), help="only these, with the same share")
    options = parser.parse_args()
    started, here = time.monotonic(), str(Path.cwd())
    root, found = copied_tree(), dict[Mutant, str]()
    drawn = {file: list(mutants(file, options.seed)) for file in FILES}
    places = sum(map(len, drawn.values()))
    commit = subprocess.run(
        ["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(f"python -m tests.mutation --n {options.n} --seed {options.seed}, commit {commit}: {places} places")
    print(
        f"Cosmic Ray {version('cosmic-ray')}, Python {platform.python_version()}, {platform.machine()}, one core",
        flush=True,
    )
    log = root / "log"
    try:
        for file in options.file:
            found |= work_through(file, drawn[file], round(options.n * len(drawn[file]) / places), log)
    finally:
        shutil.rmtree(root)
    summary(found)
    print(f"{(time.monotonic() - started) / 60:.0f} minutes")


def work_through(file: str, candidates: list[Mutant], n: int, log: Path) -> dict[Mutant, str]:
    """What becomes of the first `n` mutants of a file that can be imported, and of those drawn between that can't."""
    tests, place, found = FILES[file], Path(file), dict[Mutant, str]()
    original = place.read_text(encoding="utf-8")
    import_libraries(log, tests)
    module = file.removesuffix(".py").replace("/", ".")
    started = time.monotonic()
    if in_child(lambda: can_be_imported(module), 1200, log) != 0 or in_child(lambda: run_tests(tests), 1200, log) != 0:
        sys.exit(f"the unchanged file is taken for a mutant:\n{log.read_text()[-3000:]}")
    usual = time.monotonic() - started
    print(f"\n{file}: {len(candidates)} places, {n} mutants; its tests take {usual:.0f} s", flush=True)
    killers: Counter[str] = Counter()
    for mutant in candidates:
        if sum(outcome != NO_MODULE for outcome in found.values()) == n:
            break
        place.write_text(mutant.code, encoding="utf-8")
        if in_child(lambda: can_be_imported(module), 60, log) != 0:
            found[mutant] = NO_MODULE
        else:
            code = in_child(lambda: run_tests(tests), 5 * usual + 20, log)
            if code in (4, 5, 70):
                sys.exit(f"the tests could not be run:\n{log.read_text()[-3000:]}")
            found[mutant] = {0: SURVIVED, None: TIMED_OUT}.get(code, KILLED)
        place.write_text(original, encoding="utf-8")
        killers.update(re.findall(r"(?m)^(?:FAILED|ERROR) \S+?/(\w+\.py)", log.read_text())[:1])
        if found[mutant] == SURVIVED:
            print(f"survived  {file}:{mutant.line}  {mutant.operator}\n{mutant.difference}", flush=True)
    print("first to notice: " + ", ".join(f"{name} {count}" for name, count in killers.most_common()), flush=True)
    return found


def summary(found: dict[Mutant, str]) -> None:
    """Killed of all that can be imported, by file and in all, with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    print(f"\n{'':32}{'mutants':>8}{KILLED:>8}{TIMED_OUT:>11}{SURVIVED:>10}   {'noticed (95 %)':26}{NO_MODULE}")
    for file in (*dict.fromkeys(mutant.file for mutant in found), "all"):
        outcomes = [outcome for mutant, outcome in found.items() if file in ("all", mutant.file)]
        counts = {name: outcomes.count(name) for name in (KILLED, TIMED_OUT, SURVIVED, NO_MODULE)}
        n, noticed = len(outcomes) - counts[NO_MODULE], counts[KILLED] + counts[TIMED_OUT]
        low, high = binomtest(noticed, n).proportion_ci(method="wilson")
        share = f"{noticed / n:.1%} ({low:.1%} to {high:.1%})"
        row = f"{file:32}{n:8}{counts[KILLED]:8}{counts[TIMED_OUT]:11}{counts[SURVIVED]:10}   {share:26}{counts[NO_MODULE]}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
