"""Who works off the shards: this machine alone, or a Ray cluster; the tables are the same, bit for bit."""

import dataclasses
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datasets.film.folder import LocalFolder
from training.folder.engines import EngineError, run_locally, run_on_ray
from training.folder.shard import FolderJob, Shard, shards_of
from training.folder.store import ShardStore

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def small_folder(film_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hospitals and the odd files."""
    root = tmp_path_factory.mktemp("small") / "films"
    for name in ("hill", "odd", "north"):
        shutil.copytree(film_folder / name, root / name)
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.dcm")).write_bytes(next(root.glob("hill/*")).read_bytes())
    return root


@pytest.fixture(scope="module")
def small_job(small_folder: Path, folder_runs: tuple[Path, Path]) -> FolderJob:
    return FolderJob(
        LocalFolder(small_folder), folder_runs, bytes(range(32)), perturbations=("mirrored",), files=8, workers=1
    )


@pytest.fixture(scope="module")
def local_tables(small_job: FolderJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    store, done = ShardStore(str(tmp_path_factory.mktemp("local"))), list[int]()
    shards = list(shards_of(small_job, small_job.folder.entries()))
    run_locally(small_job, store, shards, done.append)
    assert done == [len(shard.entries) for shard in shards]
    return {shard.name: store.read(shard.name) for shard in shards}


class RayHere:
    """What `run_on_ray` asks of Ray, done in this process: a cluster of one machine with two CPUs."""

    def __init__(self) -> None:
        self.running = False
        self.asked: dict[str, Any] = {}

    def modules(self) -> dict[str, ModuleType]:
        """To stand in for those of Ray."""
        ray, data = ModuleType("ray"), ModuleType("ray.data")
        ray.init, ray.shutdown = lambda **_: self.turn(True), lambda: self.turn(False)  # type: ignore[attr-defined]
        ray.is_initialized = lambda: self.running  # type: ignore[attr-defined]
        ray.nodes = lambda: [{"Resources": {"CPU": 2.0}, "Alive": True}]  # type: ignore[attr-defined]
        ray.exceptions = SimpleNamespace(RayError=RuntimeError)  # type: ignore[attr-defined]
        context = SimpleNamespace()
        data.DataContext = SimpleNamespace(get_current=lambda: context)  # type: ignore[attr-defined]
        data.ActorPoolStrategy = SimpleNamespace  # type: ignore[attr-defined]
        data.from_items = self.from_items  # type: ignore[attr-defined]
        ray.data = data  # type: ignore[attr-defined]
        return {"ray": ray, "ray.data": data}

    def turn(self, on: bool) -> None:
        assert self.running is not on
        self.running = on

    def from_items(self, rows: list[dict[str, str]], override_num_blocks: int) -> SimpleNamespace:
        assert override_num_blocks == len(rows)

        def map_batches(actor: Any, fn_constructor_args: tuple[Any, ...], batch_size: int, **asked: Any) -> Any:
            self.asked = asked
            work = actor(*fn_constructor_args)
            return SimpleNamespace(
                iter_batches=lambda batch_size: (
                    {name: np.array(values) for name, values in work({k: np.array([row[k]]) for k in row}).items()}
                    for row in reversed(rows)  # in whatever order they end
                )
            )

        return SimpleNamespace(map_batches=map_batches)


def test_what_is_asked_of_ray_makes_the_same_tables(
    small_job: FolderJob, local_tables: dict[str, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more processes than the machine has; a real cluster is among the slow tests."""
    ray = RayHere()
    for name, module in ray.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    store, done = ShardStore(str(tmp_path / "shards")), list[int]()
    shards = list(shards_of(small_job, small_job.folder.entries()))
    run_on_ray(dataclasses.replace(small_job, workers=4), store, shards, done.append)
    assert sorted(done) == sorted(len(shard.entries) for shard in shards)
    assert ray.asked["num_cpus"] == 2 and ray.asked["num_gpus"] == 0 and ray.asked["compute"].size == 1
    assert not ray.running, "a cluster of its own is ended"
    for shard in shards:
        assert store.read(shard.name).equals(local_tables[shard.name]), "bit for bit"


@pytest.mark.slow
def test_ray_makes_the_same_tables(
    small_job: FolderJob, local_tables: dict[str, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for more processes than the machine has, which must not wait for a larger machine."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # sockets lie there: long paths won't do
    context = ray.init(num_cpus=1, log_to_driver=False, include_dashboard=False)
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path())
    try:
        store, done = ShardStore(str(tmp_path / "shards")), list[int]()
        shards = list(shards_of(small_job, small_job.folder.entries()))
        store.write(shards[1], local_tables[shards[1].name])  # one that was finished before
        job = dataclasses.replace(small_job, workers=4)
        run_on_ray(job, store, [shard for shard in shards if not store.has(shard)], done.append)
        assert ray.is_initialized(), "a cluster that was there before is left there"
        assert sorted(done) == sorted(len(shard.entries) for shard in shards if shard is not shards[1])
        for shard in shards:
            assert store.read(shard.name).equals(local_tables[shard.name]), "bit for bit"
    finally:
        ray.shutdown()
    assert context is not None
    for file in session.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"truncated.dcm" not in content and b"for_processing" not in content, file


@pytest.mark.parametrize("run", [run_locally, run_on_ray])
def test_nothing_to_do_loads_no_model_and_starts_no_cluster(
    run: object, small_job: FolderJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if run is run_on_ray:
        pytest.importorskip("ray")
        monkeypatch.setattr("ray.init", lambda **_: pytest.fail("started"))
    monkeypatch.setattr("training.folder.engines.ShardScorer", lambda *_: pytest.fail("loaded"))
    run(small_job, ShardStore(str(tmp_path)), iter([]), print)  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_without_ray_the_engine_says_what_to_install(
    small_job: FolderJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'end-cxr\[ray\]'"):
        run_on_ray(small_job, ShardStore(str(tmp_path)), [Shard("0", [])], print)
