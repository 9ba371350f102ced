"""Accuracy of pruned networks: every method, several shares, with and without repair. By hand:

python tests/benchmarks/pruning.py --work FOLDER --data mnist fashion-mnist --seeds 3

Trains conv-stack networks (kept in FOLDER), prunes each by every method, and judges it on images of
the test part: pruned only, corrected by least squares without labels, and after one epoch of
fine-tuning without correction. Prints one table a data set and stage, mean accuracy over seeds in
per cent. Rows are written to FOLDER/pruning.jsonl as they come, so that a run that is stopped is
not lost; another run adds what is missing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from oip import models
from oip.core import seeds
from oip.mi.selection import METHODS
from oip.models.datasets import take_images
from oip.network.network import Network
from oip.workflows.prune import Pruner, PruningPlan


def subset(data, count, seed):
    """`count` images drawn at random, all if there are no more."""
    order = seeds.generator(seed, "benchmark").permutation(len(data))[:count]
    return take_images(data, np.sort(order), data.source)


def measured(source, seed, options, finished):
    """Rows of one network, but those that are there."""
    data = {part: models.load(source, part=part) for part in ("train", "test")}
    train = subset(data["train"], options.images, seed)
    test = subset(data["test"], options.test_images, seed)
    settings = models.recipe("conv-stack").settings(
        len(train), epochs=options.epochs, batch=options.batch, seed=seed
    )
    path = options.work / f"{source}-{len(train)}-{seed}.keras"
    if not path.exists():
        models.train("conv-stack", train, test, settings, path)
    network = Network(path)
    pruner = Pruner(network, None, train, test)
    whole = pruner.before
    shared = {"data": source, "seed": seed}
    yield {**shared, "method": "whole", "keep": 1.0, "stage": "whole", **whole.to_dict()}
    for keep in options.keep:
        for method in options.methods:
            plan = PruningPlan(method, keep, seed=seed)
            started = time.perf_counter()
            for name, variant in (
                ("corrected", replace(plan, correct=True)),
                ("fine-tuned", replace(plan, epochs=1)),
            ):
                if name not in options.stages or (source, seed, method, keep, name) in finished:
                    continue
                for stage, quality in pruner.prune(variant).stages.items():
                    if stage != "pruned" or name == "corrected":
                        row = {"method": method, "keep": keep, "stage": stage}
                        yield {**shared, **row, **quality.to_dict()}
            taken = time.perf_counter() - started
            print(f"{source} {seed} {method} {keep}: {taken:.1f} s", flush=True)


def rows_of(path):
    """The rows that are in a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def key_of(row):
    """What a row is about."""
    return tuple(row[name] for name in ("data", "seed", "method", "keep", "stage"))


def print_tables(rows):
    """One table a data set and stage: methods by share of the maps kept."""
    groups = defaultdict(list)
    for row in {key_of(row): row for row in rows}.values():
        key = (row["data"], row["stage"], row["method"], row["keep"])
        groups[key].append(100 * row["accuracy"])
    for data, stage in sorted({(key[0], key[1]) for key in groups}):
        keeps = sorted({key[3] for key in groups if key[:2] == (data, stage)}, reverse=True)
        counts = {len(groups[key]) for key in groups if key[:2] == (data, stage)}
        print(f"\n{data}, {stage}: accuracy in %, mean of {sorted(counts)} networks")
        print("| method | " + " | ".join(f"{keep:g}" for keep in keeps) + " |")
        print("|---" * (len(keeps) + 1) + "|")
        for method in dict.fromkeys(key[2] for key in groups if key[:2] == (data, stage)):
            cells = [groups.get((data, stage, method, keep), []) for keep in keeps]
            text = " | ".join(f"{np.mean(cell):.2f}" if cell else "-" for cell in cells)
            print(f"| {method} | {text} |")


def main():
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.9, 0.7, 0.5, 0.3])
    stages = ("corrected", "fine-tuned")
    parser.add_argument("--stages", nargs="+", choices=stages, default=stages)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--work", type=Path, required=True, help="Folder of networks and rows.")
    parser.add_argument("--only-tables", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    out = options.work / "pruning.jsonl"
    finished = {key_of(row) for row in rows_of(out)}
    if not options.only_tables:
        with out.open("a") as stream:
            for seed in range(options.seeds):
                for source in options.data:
                    for row in measured(source, seed, options, finished):
                        stream.write(json.dumps(row) + "\n")
                        stream.flush()
    print_tables(rows_of(out))


if __name__ == "__main__":
    main()
