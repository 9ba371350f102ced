from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from oip.core import files
from oip.studies import report
from oip.studies.report import Cost, measured, peak_bytes


def test_calls_add_up_and_one_that_fails_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "parts" / "took.json"
    with measured(path) as first:
        time.sleep(0.05)
    with pytest.raises(KeyboardInterrupt), measured(path):
        time.sleep(0.05)
        raise KeyboardInterrupt
    with measured(path) as last:
        pass
    assert (first.calls, last.calls) == (1, 3)
    assert 0.05 <= first.seconds < last.seconds
    assert last.seconds >= 0.1
    assert files.read_json(path) == last.to_dict()


def test_the_peak_is_that_of_the_block(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell it anew")
    block = np.ones(60 << 17)
    before = peak_bytes()
    del block
    with measured(tmp_path / "small.json") as small:
        pass
    with measured(tmp_path / "large.json") as large:
        np.ones(60 << 17)
    assert before is not None and small.peak_bytes is not None and large.peak_bytes is not None
    assert small.peak_bytes < before - (40 << 20)
    assert large.peak_bytes > small.peak_bytes + (40 << 20)


def test_damaged_or_unknown_costs_are_no_hindrance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "took.json"
    path.write_text("half")
    monkeypatch.setattr(report, "peak_bytes", lambda: None)
    with measured(path) as total:
        pass
    assert total.calls == 1
    assert total.peak_bytes is None
    assert Cost(0.4, None, 1).text() == "0 s"


def test_a_cost_as_text() -> None:
    assert Cost(312.4, 3 << 29, 1).text() == "312 s, 1.5 GiB"
    assert Cost(312.4, 3 << 29, 2).text() == "312 s, 1.5 GiB in 2 calls"
