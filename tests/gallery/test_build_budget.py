"""Building a gallery: time for a map and memory, of a process that does nothing else.

10,000 maps of 96 px may take 90 s and 2 GiB. Processor time is asserted, because a busy machine is
no defect; the narrow figures are measured by hand (`tests/browser/measure.py`).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

MAPS = 200
CODE = """
import json, sys, time
import gallery
from oip.studies.report import peak_bytes
before = time.process_time()
gallery.build(sys.argv[1], progress=lambda *told: None)
print(json.dumps([time.process_time() - before, peak_bytes() / 2**30]))
"""


def _measure():
    path = Path(__file__).parents[1] / "browser" / "measure.py"
    spec = importlib.util.spec_from_file_location("gallery_measure", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_maps_are_built_in_time_and_memory(tmp_path):
    measure = _measure()
    measure.make_alone(tmp_path / "run", MAPS, 96, 0)
    printed = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, gibibytes = json.loads(printed.stdout)
    assert seconds / MAPS < 0.036, "processor; the budget is 9 ms on two cores"
    assert gibibytes < 0.4, "the budget is 2 for 10,000 maps"
