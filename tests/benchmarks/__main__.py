"""Every figure of speed, size and memory, as a table and as JSON.

    python -m tests.benchmarks [--only NAME ...] [--json FILE]

Each benchmark has a process of its own; what is compared runs in one process, as a ratio of
processor seconds where it can. On a quiet machine of two cores it takes about 15 minutes. Peers are
measured where they are installed (extra `bench`), EfficientNet-Lite0 with the extra `imagenet`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

from oip.run.run import versions

_NAMES = "ascent deep ranking load estimators disk commands progress".split()
_CHILD = (
    "import json, sys; from tests.benchmarks.figures import FIGURES\n"
    "for figure in FIGURES[sys.argv[1]](): print('figure', json.dumps(figure), flush=True)"
)


def measured(name: str) -> list[dict[str, Any]]:
    """Return the figures of a benchmark, made in a process of its own."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""} | os.environ
    command = [sys.executable, "-c", _CHILD, name]
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = [line.removeprefix("figure ") for line in child.stdout.splitlines()]
    keys = ("figure", "value", "unit", "wanted", "note")
    rows = [
        {"benchmark": name, **dict(zip(keys, json.loads(line), strict=True))}
        for line in lines
        if line.startswith("[")
    ]
    if child.returncode:
        reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
        rows.append({"benchmark": name, "figure": "failed", "note": reason})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return a table in Markdown."""
    lines = ["| benchmark | figure | value | wanted | note |", "|---|---|---|---|---|"]
    for row in rows:
        value = f"{row['value']:.3g} {row['unit']}" if "value" in row else "-"
        cells = (row["benchmark"], row["figure"], value, row.get("wanted", ""), row.get("note", ""))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Make the figures and return the exit status, 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=_NAMES, metavar="NAME")
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    started = time.perf_counter()
    rows = []
    for name in options.only:
        rows += measured(name)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    about |= {"date": time.strftime("%Y-%m-%d"), "versions": versions()}
    print(table(rows))
    print(json.dumps(about))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:  # noqa: PTH123
            json.dump(about | {"figures": rows}, stream, indent=1)
    return any(row["figure"] == "failed" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
