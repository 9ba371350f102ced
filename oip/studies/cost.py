"""Time and memory that a study takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from oip.core import files
from oip.core.errors import RunError

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass
class Cost:
    """The sum over all calls that a study needed; an interrupted study needs several."""

    seconds: float = 0.0
    peak_bytes: int | None = None
    """None where the system does not report it."""
    calls: int = 0

    def to_dict(self) -> dict[str, float | int | None]:
        """Return the cost as JSON holds it, in whole milliseconds."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def text(self) -> str:
        """Return the cost as text, such as "312 s, 1.4 GiB in 2 calls"."""
        memory = "" if self.peak_bytes is None else f", {self.peak_bytes / 2**30:.1f} GiB"
        calls = f" in {self.calls} calls" if self.calls > 1 else ""
        return f"{self.seconds:.0f} s{memory}{calls}"


@contextmanager
def measured(path: Path) -> Iterator[Cost]:
    """Add the cost of a block to that of earlier calls.

    Args:
        path: of the JSON file with the sum; written when the block ends, by an error too.

    Yields:
        The cost, complete once the block has ended.
    """
    try:
        record = files.read_json(path)
        cost = Cost(float(record["seconds"]), record["peak_bytes"], int(record["calls"]))
    except (RunError, KeyError, TypeError, ValueError):
        cost = Cost()
    with suppress(OSError):
        _CLEAR.write_text("5")  # resets the peak that the system reports
    began = time.monotonic()
    try:
        yield cost
    finally:
        peaks = [peak for peak in (cost.peak_bytes, peak_bytes()) if peak is not None]
        cost.seconds += time.monotonic() - began
        cost.peak_bytes = max(peaks, default=None)
        cost.calls += 1
        files.write_json(path, cost.to_dict())


def peak_bytes() -> int | None:
    """Return the peak memory of this process; None where the system does not report it.

    Outside Linux the peak cannot be reset: there it is that of the whole process so far.
    """
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10
