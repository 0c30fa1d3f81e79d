"""How long something takes, for the benchmarks."""

import statistics
import time
from collections.abc import Callable


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Median wall time of `action` in milliseconds, after one call to warm up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def in_turn(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Wall times of each action in seconds, taken in turn after a round to warm up.

    In turn, and every other round backwards, so that a change of the machine's speed meets all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name, action in list(actions.items())[:: 1 if repeat % 2 else -1]:
            started = time.perf_counter()
            action()
            if repeat:
                times[name].append(time.perf_counter() - started)
    return times


def in_turn_ms(actions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median of `in_turn` in milliseconds."""
    return {name: 1000 * statistics.median(times) for name, times in in_turn(actions, repeats).items()}
