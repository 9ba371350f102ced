"""What a study took: seconds, and the most memory that its process held."""

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
    """Of all calls that a study needed: one that is interrupted and goes on needs several."""

    seconds: float = 0.0
    peak_bytes: int | None = None
    """None where the system does not tell."""
    calls: int = 0

    def told(self) -> dict[str, float | int | None]:
        """As JSON holds it, whole milliseconds."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def text(self) -> str:
        """Such as "312 s, 1.4 GiB in 2 calls"."""
        memory = "" if self.peak_bytes is None else f", {self.peak_bytes / 2**30:.1f} GiB"
        calls = f" in {self.calls} calls" if self.calls > 1 else ""
        return f"{self.seconds:.0f} s{memory}{calls}"


@contextmanager
def measured(path: Path) -> Iterator[Cost]:
    """Adds what its block takes to what earlier calls took, and keeps the sum.

    Args:
        path: of the JSON that keeps it; written when the block ends, by an error too.

    Yields:
        The cost, complete once the block has ended.
    """
    try:
        told = files.read_json(path)
        cost = Cost(float(told["seconds"]), told["peak_bytes"], int(told["calls"]))
    except (RunError, KeyError, TypeError, ValueError):
        cost = Cost()
    with suppress(OSError):
        _CLEAR.write_text("5")  # from here on the system tells the peak anew
    began = time.monotonic()
    try:
        yield cost
    finally:
        peak = peak_bytes()
        known = [one for one in (cost.peak_bytes, peak) if one is not None]
        cost.seconds += time.monotonic() - began
        cost.peak_bytes = max(known, default=None)
        cost.calls += 1
        files.write_json(path, cost.told())


def peak_bytes() -> int | None:
    """The most memory that this process held, as far as the system tells; None where it does not.

    Where it cannot be asked for anew (outside Linux), that of the whole process so far.
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
