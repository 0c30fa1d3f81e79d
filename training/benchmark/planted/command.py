"""`python -m training.benchmark planted`: plant, train what has no record yet, print the tables."""

from collections.abc import Sequence
from pathlib import Path

from training.console.commandline import Parser
from training.recipe.candidate import Candidate
from training.run.record import append_line, read_lines

METHODS = ("erm", "end:sampler=paired", "erm:sampler=balanced", "end", "bias_balance", "group_dro")

PAIR_METHODS = ("erm", "end", "end:bias=source,device:0", "end:bias=source:0,device", "end:sampler=paired")


def add_arguments(parser: Parser) -> None:
    """The options of the sub-command."""
    add = parser.add_argument
    add("--target", metavar="A,B", help="films of these labels alone, B the positive class (default: covid, the rest)")
    help = (
        "real sources whose films are used, separated by commas (default: the one of most patients in its rarer class)"
    )
    add("--sources", help=help)
    add("--signatures", type=int, choices=(2, 3, 4), help="how many hospitals are invented (default: 2)")
    help = "plant two shortcuts, hospital (marker, border) and device (film curve, blur): does taking out one open the other?"
    add("--pair", action="store_true", help=help)
    add("--real-sources", action="store_true", help="plant nothing: draw the sources that there are at each rho")
    help = "choose settings: leave the test patients out, and test on a part of the others, split anew"
    add("--choose", action="store_true", help=help)
    add("--rho", type=float, nargs="+", default=[0.95], help="share of training patients whose source has their label")
    help = "METHOD or METHOD:SETTING=VALUE,... (erm:sampler=balanced); ERM and the truth are trained anyway"
    add("--method", nargs="+", help=help)
    add(
        "--reference",
        default="erm",
        help="what differences are to: erm, or another of the methods, as it is written there",
    )
    add("--seeds", type=int, default=10, help="number of draws of training patients, from seed 0")
    add("--output", type=Path, default=Path("runs/planted"), help="folder of planted films, cohorts and runs")
    add("--record", type=Path, help="JSON lines file, a line a finished run (default: OUTPUT/record.jsonl)")
    add("--show", action="store_true", help="print the tables of --record, and train nothing")


def planted(
    forwarded: Sequence[str], target: str | None, sources: str | None, signatures: int | None, pair: bool,
    real_sources: bool, choose: bool, rho: list[float], method: list[str] | None, reference: str, seeds: int, output: Path,
    record: Path | None, show: bool,
) -> None:  # fmt: skip
    """Run what has no record yet, then print the tables; see `add_arguments`.

    Args:
        forwarded: flags of training.train.
    """
    from rich.console import Console

    from datasets.film.identity import hash_key
    from training.benchmark.planted.execution import Places, settings_given, train_all
    from training.benchmark.planted.pair import BOTH
    from training.benchmark.planted.pair_table import show_pairs
    from training.benchmark.planted.runs import ERM, jobs_of, key_of, require_same, whole_key_of
    from training.benchmark.planted.sheet import write_sheet
    from training.benchmark.planted.study import planted_study, real_study
    from training.benchmark.planted.table import candidates_in, rhos_in, show_tables

    console, path = Console(), record or output / "record.jsonl"
    lines, against = read_lines(path, whole_key_of), Candidate.parse(reference)
    if show:
        if not lines:
            raise ValueError(f"--record {path} holds no finished run")
        show_tables(lines, candidates_in(lines), rhos_in(lines), console, against)
        show_pairs(lines, candidates_in(lines), rhos_in(lines), console, against)
        return
    if pair and (signatures or real_sources):
        other = "--signatures" if signatures else "--real-sources"
        raise ValueError(f"--pair plants two hospitals and two devices: leave {other} out")
    if choose and real_sources:
        raise ValueError("--choose leaves out the test patients of planted films: leave --real-sources out")
    method = method or list(PAIR_METHODS if pair else METHODS)
    rhos, candidates = list(dict.fromkeys(rho)), [Candidate.parse(text) for text in method]
    for value in rhos:
        if not 0.5 < value <= 1:
            raise ValueError(f"--rho {value:g}: must be above 0.5, which is the truth's, and at most 1")
    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: must be 1 or more")
    if against not in (ERM, *candidates):
        raise ValueError(f"--reference {reference}: it is none of --method")
    given = settings_given(forwarded, candidates, real_sources, BOTH if pair else None)
    places = Places(output, given.hash_key)
    output.mkdir(parents=True, exist_ok=True)
    key = hash_key(output, given.hash_key)
    if real_sources:
        study = real_study(given, target, sources, places.films, key, console)
    else:
        count = None if pair else signatures or 2
        study = planted_study(given, target, sources, count, choose, places.films, key, console)
    for value in rhos:
        study.design.require(value)
    given = given.with_settings(external_sources=None, separate_copies=False)
    jobs = jobs_of(candidates, rhos, range(seeds))
    require_same(lines, jobs, given, study.line())
    write_sheet(study, path.with_suffix(".png"), console)

    finished = {key_of(line) for line in lines}
    for line in train_all(study, [job for job in jobs if job.key not in finished], given, places, console):
        append_line(path, line)
        lines.append(line)
    asked = {job.key for job in jobs}
    ours = [line for line in lines if key_of(line) in asked]
    show_tables(ours, candidates, rhos, console, against)
    show_pairs(ours, candidates, rhos, console, against)
    console.print(f"Every run is in {path}.", markup=False, highlight=False)
