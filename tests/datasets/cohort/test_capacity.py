"""Films that don't fit are refused before one is decoded, with what they need and what is there."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.cohort import capacity
from datasets.cohort.capacity import CapacityError, free_memory, require_disk, require_memory

GB = 10**9


def test_what_fits_is_taken_and_what_does_not_is_refused_in_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(capacity, "free_memory", lambda: 10 * GB)
    require_memory(40_000, 224)  # 8.03 GB
    with pytest.raises(
        CapacityError, match=r"100000 films of 224 x 224 pixels take 20\.1 GB, and 10\.0 GB of memory are free"
    ):
        require_memory(100_000, 224)
    monkeypatch.setattr(capacity, "free_memory", lambda: None)
    require_memory(100_000, 224)
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda _: SimpleNamespace(free=GB))
    require_disk(5_000, 96, tmp_path)
    with pytest.raises(CapacityError, match=r"--cache disk: .* take 3\.7 GB in .*, and 1\.0 GB are free there"):
        require_disk(100_000, 96, tmp_path)


def linux(place: Path, monkeypatch: pytest.MonkeyPatch, group: str | None) -> Path:
    """A machine with 8 GB free, and the process in this control group."""
    monkeypatch.setattr(capacity, "MEMINFO", place / "meminfo")
    monkeypatch.setattr(capacity, "GROUP", place / "cgroup")
    monkeypatch.setattr(capacity, "GROUPS", place / "groups")
    (place / "meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total: 0\n")
    if group is not None:
        (place / "cgroup").write_text(f"1:name=systemd:/x\n0::{group}\n")
    (place / "groups/jobs/mine").mkdir(parents=True)
    return place / "groups"


def limit(group: Path, most: str, taken: int, files: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {files}\n")


@pytest.mark.parametrize("group", [None, "/", "/jobs/mine", "/gone"])
def test_free_memory_without_a_limit_is_the_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str | None
) -> None:
    groups = linux(tmp_path, monkeypatch, group)
    limit(groups / "jobs/mine", "max", GB, 0)
    assert free_memory() == 8_192_000_000


def test_the_tightest_limit_of_a_batch_job_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = linux(tmp_path, monkeypatch, "/jobs/mine")
    limit(groups / "jobs/mine", str(6 * GB), 5 * GB, 2 * GB)
    limit(groups / "jobs", str(5 * GB), 4 * GB, GB)
    assert free_memory() == 2 * GB
    limit(groups / "jobs", str(5 * GB), 6 * GB, 0)
    assert free_memory() == 0


def test_a_system_that_does_not_tell_what_is_free_tells_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(capacity.os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert free_memory() == 4_096_000
    monkeypatch.delattr(capacity.os, "sysconf")
    assert free_memory() is None
