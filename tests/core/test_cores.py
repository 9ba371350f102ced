import os

import pytest

from oip.core.errors import SettingsError
from oip.core.frameworks import allowed_cores, usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.delenv("OIP_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.fixture
def cgroup(tmp_path):
    """Write files of control groups and the list of the process's own; count the cores."""

    def cores(listing, **files):
        (tmp_path / "own").write_text(listing)
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return usable_cores(tmp_path, tmp_path / "own")

    return cores


def test_cores_are_those_of_the_affinity_without_a_quota(cgroup, tmp_path):
    assert allowed_cores() == 8
    assert usable_cores(tmp_path, tmp_path / "none") == 8
    assert cgroup("0::/job\n", job__cpu_DOT_max="max 100000\n") == 8


@pytest.mark.parametrize(
    ("quota", "cores"), [("300000 100000", 3), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_quota_of_version_2_is_kept_also_above_the_process(cgroup, quota, cores):
    assert cgroup("0::/job/step\n", job__cpu_DOT_max=quota, job__step__cpu_DOT_max="max 1") == cores


def test_a_quota_of_version_1_is_kept(cgroup):
    files = {
        "cpu,cpuacct__cpu_DOT_cfs_quota_us": "400000",
        "cpu,cpuacct__cpu_DOT_cfs_period_us": "100000",
    }
    assert cgroup("4:memory:/x\n2:cpu,cpuacct:/not/here\n", **files) == 4
    files["cpu,cpuacct__cpu_DOT_cfs_quota_us"] = "-1"
    assert cgroup("2:cpu,cpuacct:/not/here\n", **files) == 8


def test_oip_threads_comes_first(monkeypatch):
    monkeypatch.setenv("OIP_THREADS", "12")
    assert usable_cores() == 12
    for threads in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("OIP_THREADS", threads)
        with pytest.raises(SettingsError, match="OIP_THREADS: expected a whole number from 1"):
            usable_cores()
