"""Jobs run in processes of their own, on every device; each process keeps what it imported and the digits it read."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training.benchmark.biased_mnist.protocol import PROTOCOLS
from training.benchmark.biased_mnist.records import Job
from training.run.config import TrainConfig, configure

_device = "cpu"


def settings_of(job: Job, data_dir: Path | None = None, device: str = "auto") -> TrainConfig:
    """The run's settings, checked as those of a command line are."""
    fixed = dict(job.candidate.fixed)
    given = {**PROTOCOLS[job.protocol].settings, **job.chosen, **fixed}
    given |= {"rho": job.rho, "seed": job.seed, "split_seed": job.seed, "device": device, "amp": device != "cpu"}
    if data_dir is not None:
        given["data_dir"] = data_dir
    return configure(given | {"dataset": "biased-mnist", "method": job.candidate.method})


def run_all(
    jobs: list[Job], then: Callable[[Job, dict[str, Any]], list[Job]], data_dir: Path | None, at_once: int, device: str
) -> Iterator[dict[str, Any]]:
    """Yield each job's record as it finishes; raises OSError when a process is killed from outside.

    Args:
        then: called with each finished job and its record; returns the jobs that can start now.
        data_dir: MNIST's folder, or None for torchvision's.
        at_once: processes on each device.
        device: `auto` (every CUDA device, else the CPU), or one device.
    """
    import torch  # the processes import it anyway, but --help need not

    all_devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
    places = at_once * (all_devices if device == "auto" else [device])
    context = get_context("forkserver")
    context.set_forkserver_preload(["training.loop.obtain"])  # imported once, not by every process
    queue = context.Queue()
    for place in places:
        queue.put(place)
    threads = max(1, (os.cpu_count() or 1) // len(places))
    pool = ProcessPoolExecutor(len(places), mp_context=context, initializer=_begin, initargs=(queue,))
    running: dict[Future[dict[str, Any]], Job] = {}

    def start(new: list[Job]) -> None:
        running.update({pool.submit(_run, job, data_dir, threads): job for job in new})

    try:
        start(jobs)
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    record = future.result()
                except BrokenProcessPool:
                    raise OSError(
                        "a training process was killed, most often for memory: give fewer --jobs; what finished is kept"
                    ) from None
                start(then(job, record))
                yield record
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(devices: "Queue[str]") -> None:
    global _device
    _device = devices.get()


def _run(job: Job, data_dir: Path | None, threads: int) -> dict[str, Any]:
    """Train and measure; a training that diverges is recorded with its reason and without numbers."""
    import torch

    from training.console.messages import ERRORS
    from training.loop.divergence import DivergenceError
    from training.loop.fit import fit
    from training.loop.mistakes import DeviceFullError
    from training.loop.obtain import start, train
    from training.run.report import machine

    torch.set_num_threads(threads)
    ERRORS.quiet = True  # one bar for all jobs, not one each
    config = settings_of(job, data_dir, _device)
    cohort = _digits(data_dir, job.rho, job.seed, config.films, config.img_size)
    seen = cohort.table[cohort.table["split"] == "train"]
    record = job.line() | {"conflicting_digits": int((seen["target"] != seen["bias"]).sum())}
    with TemporaryDirectory() as folder:
        config = dataclasses.replace(config, output=Path(folder))
        started = time.perf_counter()
        accuracies: list[float] = []
        try:
            if job.stage == "trial":  # chosen on validation: no test digit is looked at
                fit(*start(config, cohort), [lambda _, epoch: accuracies.append(epoch["validation"]["accuracy"])])
                seconds = time.perf_counter() - started
                record |= {"validation_accuracy": max(accuracies), "seconds": round(seconds, 1), "machine": machine()}
                return record
            run = train(config, cohort)
        except DeviceFullError:
            raise OSError(f"{_device} is out of memory: give fewer --jobs; what finished is kept") from None
        except DivergenceError as error:  # of these settings, whoever runs them: an answer, not a mistake
            return record | {"failed": str(error), "seconds": round(time.perf_counter() - started, 1)}
        seconds = time.perf_counter() - started
    test, last = run.metrics["test"], run.details["selection"]["last_epoch_on_test"]
    return record | {
        "validation_accuracy": run.metrics["validation"]["accuracy"],
        "unbiased_accuracy": test["accuracy"],
        "conflicting_accuracy": test["conflicting_accuracy"],
        "biased_accuracy": test["aligned_accuracy"],
        "leak": test["leak"],
        "epoch": run.details["selection"]["epoch"],
        "unbiased_accuracy_last_epoch": last["accuracy"],
        "conflicting_accuracy_last_epoch": last["conflicting_accuracy"],
        "seconds": round(seconds, 1),
        "machine": machine(),
    }


@lru_cache(maxsize=2)
def _digits(data_dir: Path | None, rho: float, seed: int, films: int | None, img_size: int) -> Any:
    """The coloured digits; jobs of one draw follow one another."""
    from rich.console import Console

    from training.loop.prepare import prepare

    settings = {"rho": rho, "split_seed": seed, "img_size": img_size, "films": films, "data_dir": data_dir}
    return prepare(configure({"dataset": "biased-mnist"} | settings), Console(quiet=True))
