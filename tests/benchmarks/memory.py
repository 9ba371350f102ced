"""Resident memory of one process while the OIPs of 1,000 maps are grown.

    python tests/benchmarks/memory.py [--maps 1000] [--every 200] [--opened 100]

First into a run, 200 maps a call; then a call for each map, with one network that is opened once;
then calls with the path of the model, which is opened anew each time, for 100 maps. Prints MiB
after every 200 maps; after every 20 of the last.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
from pathlib import Path

from oip.core.frameworks import import_quietly


def resident() -> float:
    """Return the MiB that this process has in memory now, after a garbage collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def write_model(path: Path, maps: int) -> None:
    """Write a small network whose second layer has so many maps."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(maps, 3, activation="relu", name="wide"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
        ]
    ).save(path)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--opened", type=int, default=100)
    options = parser.parse_args()
    import_quietly("keras")
    import oip
    from oip.core.progress import silent

    quick = {"starts": 2, "steps": 16, "screened": 32, "progress": silent}
    with tempfile.TemporaryDirectory() as name:
        path, run = Path(name) / "model.keras", Path(name) / "run"
        write_model(path, options.maps)
        network = oip.Network(path)
        oip.reconstruct(network, "wide", maps=0, **quick)
        print(json.dumps({"after one map": resident()}), flush=True)
        memory = []
        for first in range(0, options.maps, options.every):
            text = f"wide:{first}-{first + options.every - 1}"
            oip.reconstruct_into(run, network, text, **quick)
            memory.append(resident())
        print(json.dumps({"into a run": memory}), flush=True)
        series = {
            "a call for each map": (network, options.maps, options.every),
            "opened for each map": (path, options.opened, max(1, options.opened // 5)),
        }
        for kind, (model, maps, every) in series.items():
            memory = []
            for number in range(maps):
                oip.reconstruct(model, "wide", maps=number, **quick)
                if (number + 1) % every == 0:
                    memory.append(resident())
            print(json.dumps({kind: memory}), flush=True)


if __name__ == "__main__":
    main()
