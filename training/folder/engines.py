"""Where the shards of a folder are scored: on this machine, or on the machines of a Ray cluster.

Both run the same function on the same shards and keep the same tables, so one can continue where the other was stopped.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from datasets.film.folder import Entry
from training.folder.shard import FolderJob, Shard, ShardScorer
from training.folder.store import ShardStore

Advance = Callable[[int], object]


class EngineError(ValueError):
    """An engine that can't be used here; the message says what to install."""


def run_locally(job: FolderJob, store: ShardStore, shards: Iterable[Shard], advance: Advance) -> None:
    """Score shards here, with `job.workers` decoding processes; `advance` gets the files scored since its last call."""
    missing = iter(shards)
    first = next(missing, None)
    if first is None:  # no model is loaded when nothing is to be scored
        return
    with ShardScorer(job) as scorer:
        for shard, table in scorer.tables(chain([first], missing)):
            store.write(shard, table)
            advance(len(shard.entries))


def run_on_ray(job: FolderJob, store: ShardStore, shards: Iterable[Shard], advance: Advance) -> None:
    """Score shards on a Ray cluster: the one at RAY_ADDRESS, or one of this machine's own.

    Every machine must reach the folder, the checkpoints and the store under the same names. An actor takes `job.workers`
    CPUs, or all of the smallest machine where that has fewer; as many run as the cluster has room for. A shard whose
    machine is lost is given to another. Raises EngineError where Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise EngineError("--engine ray needs Ray: pip install 'end-cxr[ray]'") from None
    rows = [{"name": shard.name, "entries": json.dumps(shard.entries)} for shard in shards]
    if not rows:
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported from a hospital's network
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data makes its core warn of its own doings
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.enable_operator_progress_bars = False, False
    try:
        machines = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        # An actor that asks for more than a machine has would be waited for without end.
        job = replace(job, workers=max(1, min(job.workers, *(int(cpus) for cpus in machines if cpus >= 1))))
        room = max(1, sum(int(cpus) // job.workers for cpus in machines))
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _RayScorer,
            fn_constructor_args=(job, store),
            batch_size=1,
            num_cpus=job.workers,
            num_gpus=1 if job.device.startswith("cuda") else 0,
            compute=ray.data.ActorPoolStrategy(size=min(room, len(rows))),
        )
        for batch in results.iter_batches(batch_size=1):
            advance(int(batch["files"].sum()))
    except ray.exceptions.RayError as error:  # its text holds the traceback of another machine
        needs = "this package, the checkpoints under the same path, and access to the folder and to --shards"
        kept = f"each machine needs {needs}; finished shards are kept"
        raise EngineError(f"the Ray cluster gave up ({type(error).__name__}): {kept}") from None
    finally:
        if started:
            ray.shutdown()


class _RayScorer:
    """An actor: checkpoints and decoding processes that stay from one shard to the next."""

    def __init__(self, job: FolderJob, store: ShardStore) -> None:
        self.scorer, self.store = ShardScorer(job), store

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        entries = [Entry(*entry) for entry in json.loads(str(batch["entries"][0]))]  # batches are of one shard
        for shard, table in self.scorer.tables([Shard(str(batch["name"][0]), entries)]):
            self.store.write(shard, table)
        return {"files": [len(entries)]}


ENGINES = {"local": run_locally, "ray": run_on_ray}
