"""A training in a process of its own, which may be one of several ranks, and which a test can disturb."""

import os
import signal
import socket
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Disturbance:
    """A signal that a process sends itself just before it updates its weights for the so-many-th time."""

    update: int
    number: int = signal.SIGKILL
    rank: int = 0


def start(
    arguments: list[str],
    ranks: int = 1,
    disturbance: Disturbance | None = None,
    double: bool = False,
    errors: Path | None = None,
    group: bool = False,
) -> list[BaseProcess]:
    """Start `training.train` with these arguments, one process a rank, forked from a server that has all imports.

    Args:
        arguments: the command line.
        ranks: how many processes.
        disturbance: of one of them.
        double: train in float64.
        errors: file that their stderr goes to.
        group: each leads a process group of its own, as what a terminal runs.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    processes: list[BaseProcess] = []
    for rank in range(ranks):
        environment = place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if ranks > 1 else {}
        mine = disturbance if disturbance is not None and disturbance.rank == rank else None
        process = get_context("forkserver").Process(
            target=_train, args=(arguments, environment, mine, double, errors, group)
        )
        process.start()
        processes.append(process)
    return processes


def codes(processes: list[BaseProcess], seconds: float = 120) -> list[int | None]:
    """Exit codes once all have ended; None for one that had to be killed after so many seconds."""
    for process in processes:
        process.join(seconds)
    found = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return found


def _train(
    arguments: list[str],
    environment: dict[str, str],
    mine: Disturbance | None,
    double: bool,
    errors: Path | None,
    group: bool,
) -> None:
    if group:
        os.setsid()
    os.environ.update(environment)
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # mistakes are on stderr
    if errors is not None:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    from datasets.film.preprocessing import Preprocessing
    from training.loop.assembly import Assembly
    from training.train import main

    if double:
        torch.set_default_dtype(torch.float64)
        normalise = Preprocessing.normalise
        Preprocessing.normalise = lambda self, pixels: normalise(self, pixels).double()  # type: ignore[method-assign]
    if mine is not None:
        update, done = Assembly.update, [0]

        def disturbed(self: Assembly, step: int) -> Any:
            done[0] += 1
            if done[0] == mine.update:
                os.kill(os.getpid(), mine.number)
            return update(self, step)

        Assembly.update = disturbed  # type: ignore[method-assign]
    main(arguments)
