"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from oip.core.errors import SettingsError

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def usable_cores(groups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return how many cores this process may use, one or more.

    That is `OIP_THREADS` where it is set, else the cores that the process may run on, as far as
    the quotas of its control groups go (containers, batch systems).

    Args:
        groups, own: the folder of the control groups, and the list of those of this process.

    Raises:
        SettingsError: `OIP_THREADS` is no whole number from 1.
    """
    threads = os.environ.get("OIP_THREADS", "")
    if threads:
        if not threads.isdecimal() or int(threads) < 1:
            raise SettingsError("OIP_THREADS", "a whole number from 1", f"'{threads}'")
        return int(threads)
    return max(1, math.floor(min([allowed_cores(), *_quotas(groups, own)])))


def allowed_cores() -> int:
    """Return how many cores the process may run on, whatever its share of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Yield cores that control groups of version 1 or 2 grant, those above this process, too."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers
        folder = root / path.lstrip("/")
        for group in (folder, *folder.parents):
            if controllers:
                files = group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us"
            else:
                files = (group / "cpu.max",)
            try:
                quota, period = " ".join(file.read_text() for file in files).split()
                if quota not in ("max", "-1"):
                    yield int(quota) / int(period)
            except (OSError, ValueError, ZeroDivisionError):
                pass  # no such group here, as in a container
            if group == root:
                break
